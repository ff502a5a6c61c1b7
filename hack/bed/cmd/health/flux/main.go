// Command flux applies objects as Flux' kustomize-controller does, with Flux' own library.
//
// Comes in: objects as YAML or JSON on standard input, and a cluster by KUBECONFIG. Goes out: one line for each object, `created`, `configured`
// or `unchanged`; with -wait the end of the health check too. There is no Git in it, no Kustomization and no pruning: only how Flux writes,
// and how it waits. The options are those of kustomize-controller; what they do is the library's.
package main

import (
	"context"
	"flag"
	"fmt"
	"log"
	"os"
	"time"

	"github.com/fluxcd/cli-utils/pkg/kstatus/polling"
	"github.com/fluxcd/pkg/ssa"
	"github.com/fluxcd/pkg/ssa/jsondiff"
	"github.com/fluxcd/pkg/ssa/normalize"
	"github.com/fluxcd/pkg/ssa/utils"
	"github.com/go-logr/logr"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/clientcmd"
	"sigs.k8s.io/controller-runtime/pkg/client"
	crlog "sigs.k8s.io/controller-runtime/pkg/log"
)

const group = "kustomize.toolkit.fluxcd.io"

func main() {
	log.SetFlags(0)
	name := flag.String("name", "apps", "the Kustomization that the objects belong to")
	wait := flag.Duration("wait", 0, "as spec.wait with this timeout")
	ignore := flag.String("ignore", "", "as spec.ignore with this path, for Services")
	flag.Parse()
	crlog.SetLogger(logr.Discard())
	if err := apply(context.Background(), *name, *ignore, *wait); err != nil {
		log.Fatalf("flux: %v", err)
	}
}

func apply(ctx context.Context, name, ignore string, wait time.Duration) error {
	manager, err := connect()
	if err != nil {
		return err
	}
	objects, err := utils.ReadObjects(os.Stdin)
	if err != nil {
		return err
	}
	if err := normalize.UnstructuredList(objects); err != nil {
		return err
	}
	manager.SetOwnerLabels(objects, name, "flux-system")
	with := options()
	if ignore != "" {
		with.DriftIgnoreRules = []jsondiff.IgnoreRule{{Paths: []string{ignore}, Selector: &jsondiff.Selector{Kind: "Service"}}}
	}
	changes, err := manager.ApplyAllStaged(ctx, objects, with)
	if err != nil {
		return err
	}
	for _, change := range changes.Entries {
		fmt.Println(change.Subject, change.Action)
	}
	if wait == 0 {
		return nil
	}
	// Flux asks every 5 s; a test wants its answer sooner.
	err = manager.WaitForSetWithContext(ctx, changes.ToObjMetadataSet(), ssa.WaitOptions{Interval: 200 * time.Millisecond, Timeout: wait})
	if err != nil {
		return fmt.Errorf("health check failed: %w", err)
	}
	fmt.Println("health check passed")
	return nil
}

func connect() (*ssa.ResourceManager, error) {
	config, err := clientcmd.BuildConfigFromFlags("", os.Getenv("KUBECONFIG"))
	if err != nil {
		return nil, err
	}
	// A test asks as often as it likes; who slows it down is the API server.
	config.QPS = -1
	plain, err := client.New(config, client.Options{})
	if err != nil {
		return nil, err
	}
	poller := polling.NewStatusPoller(plain, plain.RESTMapper(), polling.Options{})
	return ssa.NewResourceManager(plain, poller, ssa.Owner{Field: "kustomize-controller", Group: group}), nil
}

// options are those with which kustomize-controller calls the library, with no setting in the Kustomization.
func options() ssa.ApplyOptions {
	with := ssa.DefaultApplyOptions()
	with.ExclusionSelector = map[string]string{group + "/reconcile": "Disabled", group + "/ssa": "Ignore"}
	with.IfNotPresentSelector = map[string]string{group + "/ssa": "IfNotPresent"}
	with.ForceSelector = map[string]string{group + "/force": "Enabled"}
	with.Cleanup = ssa.ApplyCleanupOptions{
		Annotations: []string{corev1.LastAppliedConfigAnnotation},
		FieldManagers: []ssa.FieldManager{
			{Name: "kubectl", OperationType: metav1.ManagedFieldsOperationApply},
			{Name: "kubectl", OperationType: metav1.ManagedFieldsOperationUpdate},
			{Name: "before-first-apply", OperationType: metav1.ManagedFieldsOperationUpdate},
			{Name: "kustomize-controller", OperationType: metav1.ManagedFieldsOperationUpdate},
		},
		Exclusions: map[string]string{group + "/ssa": "Merge"},
	}
	return with
}
