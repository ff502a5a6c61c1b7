// Taking a bed down, so that nothing of it is left: no process, mount, network namespace, cgroup or file.
//
// Comes in: a bed in any condition, also one whose `up` was killed. Goes out: an empty place. Only what carries the
// bed's own marks is touched.
package main

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"syscall"
)

func (b *bed) down(ctx context.Context) error {
	release, err := b.lock(ctx)
	if err != nil {
		return err
	}
	defer release()
	if b, err = openBed(b.name); err != nil {
		return err
	}
	os.RemoveAll(b.failedFolder())
	if !b.leftovers() {
		say("bed %q is not up", b.name)
		return nil
	}
	return step("stop bed "+b.name, nil, b.clear)
}

// leftovers says whether there is anything to take down. The namespace outlives the folder if somebody has removed
// that by hand.
func (b *bed) leftovers() bool {
	_, folder := os.Lstat(b.folder)
	_, netns := os.Lstat(filepath.Join(netnsFolder, b.ownName()))
	return folder == nil || netns == nil
}

func (b *bed) clear() error {
	b.endController(syscall.SIGTERM)
	b.endByName("kubelet", "kube-proxy") // before the containers, or the kubelet would start them again
	b.endContainers(context.Background())

	records := b.records()
	slices.Reverse(records)
	for _, r := range records {
		// Their data goes with them, so there is nothing to end in order.
		b.stopPart(r, syscall.SIGKILL, stopGrace)
	}
	endMarked(b.folder)

	if err := errors.Join(b.removeCgroups(), unmountBelow(b.folder), unmountBelow(b.runtimeFolder()), b.removeNetwork()); err != nil {
		return err
	}
	b.forgetContainers()
	if err := errors.Join(os.RemoveAll(b.runtimeFolder()), os.RemoveAll(b.folder)); err != nil || b.state.Node != real {
		return err
	}
	return restoreSettings(context.Background(), runtimeFolder, procSys)
}

func (b *bed) endByName(names ...string) {
	for _, name := range names {
		if r, found := b.record(name); found {
			b.stopPart(r, syscall.SIGKILL, stopGrace)
		}
	}
}
