// Connections from within another network namespace.
//
// Comes in: the namespace's file, an address. Goes out: a connection. A socket belongs for ever to the namespace
// in which it was made, so only the thread that makes it has to go there.
package main

import (
	"context"
	"fmt"
	"net"
	"os"
	"runtime"

	"golang.org/x/sys/unix"
)

func dialInside(ctx context.Context, netns, network, address string) (net.Conn, error) {
	type result struct {
		connection net.Conn
		err        error
	}
	done := make(chan result, 1)
	go func() {
		// Never unlocked: the thread is in the wrong namespace from here on, and ends with this goroutine.
		runtime.LockOSThread()
		connection, err := dialHere(ctx, netns, network, address)
		done <- result{connection, err}
	}()
	got := <-done
	return got.connection, got.err
}

func dialHere(ctx context.Context, netns, network, address string) (net.Conn, error) {
	file, err := os.Open(netns)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	if err := unix.Setns(int(file.Fd()), unix.CLONE_NEWNET); err != nil {
		return nil, fmt.Errorf("entering %s: %w", netns, err)
	}
	// A literal address: no name to look up, so the dialer stays on this thread.
	return new(net.Dialer).DialContext(ctx, network, address)
}
