// Bringing a bed up: the order of things.
//
// Comes in: what is wanted. Goes out: a bed whose every part is healthy, or none at all: an `up` that fails
// takes down what it has started and says which part it was. A running bed is looked at and left alone.
package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"hash/fnv"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"
)

// wish is what `up` was asked for. An empty node means: as it is, or fake.
type wish struct {
	node       string
	audit      bool
	aws        bool
	prometheus bool
	context    string
}

func (b *bed) up(ctx context.Context, want wish) error {
	if want.context != "" {
		if want.node != "" || want.audit || want.aws || want.prometheus {
			return errors.New("--context takes a cluster as it is: --node, --audit, --aws and --prometheus are not for it")
		}
		want.node = existing
	}
	release, err := b.lock(ctx)
	if err != nil {
		return err
	}
	defer release()
	// Another command may have changed it while we waited for the lock.
	if b, err = openBed(b.name); err != nil {
		return err
	}
	began := time.Now()
	ill := b.ill(ctx)
	if b.state.Ready && ill == nil && want.node != "" && (want.node != b.state.Node || want.context != b.state.Context) {
		return fmt.Errorf("bed %q is up with other nodes (%s); take it down first: %s", b.name,
			strings.TrimSpace(b.state.Node+" "+b.state.Context), b.command("down"))
	}
	if want.node == "" {
		// What is there, even if a killed run has left it, says what its owner wanted.
		want.node, want.context = cmp.Or(b.state.Node, fake), b.state.Context
	}
	t, err := prepare(ctx, b.repo, want.node)
	if err != nil {
		return err
	}
	if want.aws = want.aws || b.state.AWS; want.aws {
		if _, err := awsTools(ctx); err != nil {
			return err
		}
	}
	if want.prometheus = want.prometheus || b.state.Prometheus; want.prometheus {
		for _, each := range unpackedPackages {
			if _, err := each.tools(ctx); err != nil {
				return fmt.Errorf("--prometheus: %w", err)
			}
		}
	}
	if b.state.Ready && ill == nil {
		return b.refresh(ctx, t, want, began)
	}
	if b.leftovers() {
		if b.state.Ready {
			say("bed %q is no longer healthy (%v); it is made anew", b.name, ill)
		}
		if err := step("clean up an earlier run", nil, b.clear); err != nil {
			return err
		}
	}
	say("bed %q (%s nodes)", b.name, want.node)
	b.state = state{Node: want.node, Audit: want.audit, AWS: want.aws, Prometheus: want.prometheus, Context: want.context}
	if err := b.build(ctx, t); err != nil {
		return b.giveUp(err)
	}
	b.state.Ready = true
	if err := b.save(); err != nil {
		return b.giveUp(err)
	}
	os.RemoveAll(b.failedFolder())
	b.sayUp(began)
	return nil
}

// prepare makes sure of everything that a bed is made of, before anything of it exists.
func prepare(ctx context.Context, repo, node string) (tools, error) {
	if node == real {
		if err := needRealNode(ctx); err != nil {
			return nil, err
		}
	}
	if node == existing {
		return existingTools(ctx, repo)
	}
	return buildAll(ctx, repo)
}

// refresh is `up` on a running bed: the chart of this tree, and the audit log if it is newly wanted.
func (b *bed) refresh(ctx context.Context, t tools, want wish, began time.Time) error {
	if want.audit && !b.state.Audit {
		b.state.Audit = true
		err := step("restart with audit log", nil, func() error {
			if r, found := b.record("kube-apiserver"); found {
				b.stopPart(r, syscall.SIGKILL, stopGrace) // told to stop in order it would wait for every watch
			}
			return b.startAPIServer(ctx, t)
		})
		if err != nil {
			return err
		}
	}
	if want.aws && !b.state.AWS {
		if b.state.Ports["aws-strict"] == 0 {
			return fmt.Errorf("bed %q was made before --aws was what it is; take it down first: %s", b.name, b.command("down"))
		}
		b.state.AWS = true
		if err := step("AWS", nil, func() error { return b.startAWS(ctx) }); err != nil {
			return err
		}
	}
	if want.prometheus && !b.state.Prometheus {
		if b.state.Ports["prometheus"] == 0 || b.state.Ports["alertmanager"] == 0 {
			return fmt.Errorf("bed %q was made before --prometheus was what it is; take it down first: %s", b.name, b.command("down"))
		}
		b.state.Prometheus = true
		err := step("Prometheus", nil, func() error { return together(ctx, b.startAlertmanager, b.startPrometheus) })
		if err != nil {
			return err
		}
	}
	if b.state.Node == existing {
		if err := b.adopt(ctx, t); err != nil { // its credentials may have been renewed
			return err
		}
	}
	if err := b.applyChart(ctx, t); err != nil {
		return errors.Join(err, b.save())
	}
	if err := b.save(); err != nil {
		return err
	}
	b.sayUp(began)
	return nil
}

func (b *bed) sayUp(began time.Time) {
	say("bed %q is up   %s nodes   %s", b.name, b.state.Node, elapsed(began))
	say("  %-30s %s", "use it", b.command("exec -- kubectl get nodes"))
	say("  %-30s %s", "in this shell", `eval "$(`+b.command("env")+`)"`)
	if !b.hasChart() {
		say("  %-30s %s", "without chart", "charts/bascule is not there: no CRDs, no kubeconfig for the controller")
	}
}

// build makes a bed in an empty folder.
func (b *bed) build(ctx context.Context, t tools) error {
	if err := os.MkdirAll(b.path("bin"), 0o755); err != nil {
		return err
	}
	for _, name := range []string{"kubectl", "helm"} {
		if err := os.Symlink(t[name], b.path("bin", name)); err != nil {
			return err
		}
	}
	if err := b.choosePorts(ctx); err != nil {
		return err
	}
	if b.state.Node == existing {
		if err := b.adopt(ctx, t); err != nil {
			return err
		}
		return b.applyChart(ctx, t)
	}
	steps := []struct {
		name string
		work func(context.Context) error
	}{
		{"network", b.startNetwork},
		{"certificates", func(context.Context) error { return b.writePKI() }},
		{"etcd", func(ctx context.Context) error { return b.startEtcd(ctx, t) }},
		{"API server", func(ctx context.Context) error { return b.startAPIServer(ctx, t) }},
		{"controllers, node, registries", func(ctx context.Context) error { return b.startRest(ctx, t) }},
		{"images", func(ctx context.Context) error { return b.deliverImages(ctx, t) }},
		{"nodes ready", func(ctx context.Context) error { return waitUntil(ctx, healthyWithin, b.usable, nil) }},
	}
	for _, each := range steps {
		if each.name == "network" && b.state.Node != real {
			continue
		}
		if err := step(each.name, nil, func() error { return each.work(ctx) }); err != nil {
			return err
		}
	}
	return b.applyChart(ctx, t)
}

func (b *bed) startNetwork(ctx context.Context) error {
	if err := b.makeNetwork(ctx); err != nil {
		return err
	}
	if err := b.save(); err != nil { // from here on a killed run must find the namespace again
		return err
	}
	return b.startForward(ctx)
}

// startRest starts everything that needs only the API server, side by side.
func (b *bed) startRest(ctx context.Context, t tools) error {
	work := []func(context.Context) error{
		func(ctx context.Context) error { return b.startControllerManager(ctx, t) },
		func(ctx context.Context) error { return b.startScheduler(ctx, t) },
	}
	for _, each := range registries {
		work = append(work, func(ctx context.Context) error { return b.startRegistry(ctx, t, each.name, each.password) })
	}
	if b.state.AWS {
		work = append(work, b.startAWS)
	}
	if b.state.Prometheus {
		work = append(work, b.startAlertmanager, b.startPrometheus)
	}
	if b.state.Node == real {
		work = append(work, func(ctx context.Context) error { return b.startRealNode(ctx, t) })
	} else {
		work = append(work, b.addFakeNodes, func(ctx context.Context) error { return b.startKwok(ctx, t) })
	}
	return together(ctx, work...)
}

func (b *bed) deliverImages(ctx context.Context, t tools) error {
	if b.state.Node == real {
		if err := b.importImages(ctx, t); err != nil {
			return err
		}
	}
	return b.pushExamples(ctx, t)
}

// usable agrees when a pod could be made now: a node takes it, and its service account exists.
func (b *bed) usable(ctx context.Context) error {
	if err := b.nodesReady(ctx); err != nil {
		return err
	}
	api, err := b.api()
	if err != nil {
		return err
	}
	return api.do(ctx, "GET", "/api/v1/namespaces/default/serviceaccounts/default", nil, nil)
}

// together runs all at once; the first error ends the others.
func together(ctx context.Context, work ...func(context.Context) error) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var all sync.WaitGroup
	var once sync.Once
	var first error
	for _, each := range work {
		all.Add(1)
		go func() {
			defer all.Done()
			if err := each(ctx); err != nil {
				once.Do(func() { first = err })
				cancel()
			}
		}()
	}
	all.Wait()
	return first
}

// giveUp takes down what a failed `up` has made. The logs survive it, outside of the bed.
func (b *bed) giveUp(cause error) error {
	failed := b.failedFolder()
	os.RemoveAll(failed)
	if !errors.Is(cause, context.Canceled) && os.Rename(b.path("log"), failed) == nil {
		cause = fmt.Errorf("%w\n  all logs: %s", cause, failed)
	}
	if err := b.clear(); err != nil {
		return errors.Join(cause, fmt.Errorf("and cleaning up: %w", err))
	}
	return cause
}

func (b *bed) failedFolder() string {
	return filepath.Join(filepath.Dir(b.folder), "."+b.name+".failed")
}

// ill says what is wrong with a bed that should be up.
func (b *bed) ill(ctx context.Context) error {
	if !b.state.Ready {
		return errors.New("not up")
	}
	if b.state.Node == existing {
		return nil
	}
	for _, name := range startOrder {
		r, found := b.record(name)
		if b.mustHave(name) && (!found || !r.alive()) {
			return fmt.Errorf("%s does not run", name)
		}
	}
	api, err := b.api()
	if err != nil {
		return err
	}
	return api.ready(ctx)
}

// mustHave says which parts belong to a bed of this kind. The controller comes and goes.
func (b *bed) mustHave(part string) bool {
	switch part {
	case "controller":
		return false
	case "kwok":
		return b.state.Node == fake
	case "aws", "aws-strict":
		return b.state.AWS
	case "prometheus":
		return b.state.Prometheus
	case "alertmanager":
		return b.hasAlertmanager()
	case "prometheus-targets":
		return b.state.Prometheus && b.state.Node == real
	case "forward", "containerd", "kubelet", "kube-proxy":
		return b.state.Node == real
	default:
		return true
	}
}

var portNames = []string{"etcd", "etcd-peer", "kube-apiserver", "kube-controller-manager", "kube-scheduler", "kwok",
	"registry", "registry-auth", "aws", "aws-strict", "prometheus", "prometheus-targets", "alertmanager", "controller"}

// choosePorts takes free ports that no other bed of this checkout has been promised, and writes them down before the
// next bed may choose. The starting point differs between checkouts, so that two of them rarely meet.
func (b *bed) choosePorts(ctx context.Context) error {
	release, err := lockFile(ctx, filepath.Join(filepath.Dir(b.folder), ".ports.lock"))
	if err != nil {
		return err
	}
	defer release()
	var taken []int
	others, _ := filepath.Glob(filepath.Join(filepath.Dir(b.folder), "*", "state.json"))
	for _, path := range others {
		var other state
		if text, err := os.ReadFile(path); err == nil && json.Unmarshal(text, &other) == nil {
			for _, port := range other.Ports {
				taken = append(taken, port)
			}
		}
	}
	sum := fnv.New32a()
	sum.Write([]byte(b.folder))
	b.state.Ports, err = freePorts(portNames, int(sum.Sum32()%(lastPort-firstPort)), func(port int) bool {
		return slices.Contains(taken, port)
	})
	if err != nil {
		return err
	}
	return b.save()
}
