// Command argo writes and compares objects as Argo CD does, with Argo CD's own engine.
//
// Comes in: the manifests on standard input, and a cluster by KUBECONFIG. Goes out: one line for each object, `Synced` or `OutOfSync` with the
// difference. With -apply they are applied first, as a sync does it. There is no Git in it, no Application and no pruning.
package main

import (
	"context"
	"flag"
	"fmt"
	"log"
	"os"

	"github.com/argoproj/gitops-engine/pkg/diff"
	"github.com/argoproj/gitops-engine/pkg/utils/kube"
	"github.com/argoproj/gitops-engine/pkg/utils/tracing"
	"github.com/go-logr/logr"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/client-go/tools/clientcmd"
	cmdutil "k8s.io/kubectl/pkg/cmd/util"
)

// manager is the name under which Argo CD writes.
const manager = "argocd-controller"

func main() {
	log.SetFlags(0)
	apply := flag.Bool("apply", false, "apply first")
	server := flag.Bool("server-side", false, "server-side apply, and server-side diff")
	webhooks := flag.Bool("include-mutation-webhook", false, "as the compare option of that name")
	flag.Parse()
	if err := run(*apply, *server, *webhooks); err != nil {
		log.Fatalf("argo: %v", err)
	}
}

type noStatus struct{}

// Normalize leaves out what Argo CD leaves out by default: the status.
func (noStatus) Normalize(object *unstructured.Unstructured) error {
	if object != nil {
		unstructured.RemoveNestedField(object.Object, "status")
	}
	return nil
}

func run(apply, server, webhooks bool) error {
	ctx := context.Background()
	config, err := clientcmd.BuildConfigFromFlags("", os.Getenv("KUBECONFIG"))
	if err != nil {
		return err
	}
	text, err := os.ReadFile("/dev/stdin")
	if err != nil {
		return err
	}
	targets, err := kube.SplitYAML(text)
	if err != nil {
		return err
	}
	kubectl := &kube.KubectlCmd{Log: logr.Discard(), Tracer: tracing.NopTracer{}}
	schema, parser, err := kubectl.LoadOpenAPISchema(config)
	if err != nil {
		return err
	}
	operations, clean, err := kubectl.ManageResources(config, schema)
	if err != nil {
		return err
	}
	defer clean()
	dry, cleanDry, err := kube.ManageServerSideDiffDryRuns(config, schema, tracing.NopTracer{}, logr.Discard(), nil)
	if err != nil {
		return err
	}
	defer cleanDry()
	for _, target := range targets {
		tracked := fmt.Sprintf("apps:%s/%s:%s/%s", target.GroupVersionKind().Group, target.GetKind(), target.GetNamespace(), target.GetName())
		notes := target.GetAnnotations()
		if notes == nil {
			notes = map[string]string{}
		}
		notes["argocd.argoproj.io/tracking-id"] = tracked
		target.SetAnnotations(notes)
		if apply {
			said, err := operations.ApplyResource(ctx, target.DeepCopy(), cmdutil.DryRunNone, false, true, server, manager)
			if err != nil {
				return err
			}
			fmt.Println(said)
		}
		live, err := kubectl.GetResource(ctx, config, target.GroupVersionKind(), target.GetName(), target.GetNamespace())
		if err != nil {
			return err
		}
		result, err := diff.Diff(target, live,
			diff.WithNormalizer(noStatus{}), diff.WithLogr(logr.Discard()), diff.WithGVKParser(parser), diff.WithManager(manager),
			diff.WithServerSideDiff(server), diff.WithServerSideDryRunner(diff.NewK8sServerSideDryRunner(dry)),
			diff.WithIgnoreMutationWebhook(!webhooks))
		if err != nil {
			return err
		}
		name := target.GetKind() + "/" + target.GetName()
		if result.Modified {
			fmt.Printf("%s OutOfSync\n  live   %s\n  target %s\n", name, result.NormalizedLive, result.PredictedLive)
		} else {
			fmt.Println(name, "Synced")
		}
	}
	return nil
}
