// Command testbed brings up a real Kubernetes on this machine, and takes it down again.
//
// The rooms of this driver, in the order in which `up` walks through them:
//
//	cli.go            what a person types           build.go          binaries, built once
//	bed.go            a bed: name, folder, state    parts.go          processes, found again by pid
//	up.go, down.go    the order of things           pki.go            certificates and kubeconfigs
//	control_plane.go  etcd to the scheduler         api.go            the few requests of our own
//	fake_node.go      kwok and its stages           registry.go       two registries
//	real_node.go      containerd to kube-proxy      netns.go          the network of a real bed
//	packages.go       what Debian must bring        images.go, push.go  the example images
//	chart.go          the chart, by helm            existing.go       somebody else's cluster
//	controller.go     the controller of this tree   audit.go          the meter
//	aws.go            AWS on loopback               prometheus.go, targets.go  Prometheus
//	unpacked.go       packages, not installed       alertmanager.go   whom Prometheus tells
//	cgroups.go, sweep.go  what a killed run leaves  kernel.go         what a kubelet changes
//	progress.go       what is said meanwhile
//
// It never touches the machine's own network, and it ends only processes that it started.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"syscall"
)

func main() {
	// The first signal ends the command in order: `up` then cleans up after itself.
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	err := run(ctx, os.Args[1:])
	stop()
	switch {
	case err == nil:
	case errors.Is(err, context.Canceled):
		fmt.Fprintln(os.Stderr, "testbed: interrupted; nothing is left of what this command had started")
		os.Exit(interrupted)
	default:
		fmt.Fprintln(os.Stderr, "testbed:", err)
		os.Exit(1)
	}
}

// interrupted is what shells report after a Ctrl-C.
const interrupted = 130
