// The network of a bed: a namespace of its own for a real one, the machine's loopback for the others.
//
// Comes in: the bed. Goes out: commands and connections that run inside its network. Other beds and the machine
// never see what happens there; only the ports named here are reachable from outside, and only on loopback.
package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"
)

// Addresses inside the namespace. They are the same in every bed, as nobody sees two of them.
const (
	nodeAddress = "10.99.0.1"
	podRange    = "10.88.0.0/16"
)

// netnsFolder is where `ip netns` keeps its names.
const netnsFolder = "/var/run/netns"

// forwarded are the ports that mean the same inside and outside of the namespace.
var forwarded = []string{"kube-apiserver", "registry", "registry-auth", "aws", "aws-strict", "prometheus", "alertmanager", "controller"}

// ownName is short and differs between beds and between checkouts: it names the namespace, the cgroup, the CNI network.
func (b *bed) ownName() string {
	sum := sha256.Sum256([]byte(b.folder))
	return "bascule-" + b.name + "-" + hex.EncodeToString(sum[:3])
}

func (b *bed) netnsPath() string { return filepath.Join(netnsFolder, b.state.Netns) }

// inside makes a command run in the bed's network. nsenter, because `ip netns exec` would also replace /sys and
// with it hide the cgroups.
func (b *bed) inside(command ...string) []string {
	if b.state.Netns == "" {
		return command
	}
	return append([]string{"nsenter", "--net=" + b.netnsPath(), "--"}, command...)
}

// dial connects from within the bed's network.
func (b *bed) dial(ctx context.Context, network, address string) (net.Conn, error) {
	var dialer net.Dialer
	if b.state.Netns == "" {
		return dialer.DialContext(ctx, network, address)
	}
	return dialInside(ctx, b.netnsPath(), network, address)
}

func (b *bed) makeNetwork(ctx context.Context) error {
	name := b.ownName()
	if err := runQuietly(ctx, "ip", "netns", "add", name); err != nil {
		return err
	}
	b.state.Netns = name
	for _, words := range []string{
		"link set lo up",
		// The kubelet wants a node address that exists, and services a route by which to leave: a pair that leads nowhere.
		"link add node0 type veth peer name node1",
		"address add " + nodeAddress + "/24 dev node0",
		"link set node0 up",
		"link set node1 up",
		"route add default via " + nodeAddress + " dev node0",
	} {
		if err := runQuietly(ctx, "ip", append([]string{"-n", name}, strings.Fields(words)...)...); err != nil {
			return err
		}
	}
	return nil
}

func (b *bed) removeNetwork() error {
	name := b.ownName()
	if _, err := os.Lstat(filepath.Join(netnsFolder, name)); err != nil {
		return nil
	}
	return runQuietly(context.Background(), "ip", "netns", "delete", name)
}

// startForward makes the forwarded ports reachable from the machine's loopback.
func (b *bed) startForward(ctx context.Context) error {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	command := []string{self, "forward", b.netnsPath()}
	for _, name := range forwarded {
		command = append(command, strconv.Itoa(b.state.Ports[name]))
	}
	last := "127.0.0.1:" + command[len(command)-1]
	return b.startPart(ctx, part{name: "forward", command: command, within: healthyWithin,
		healthy: func(ctx context.Context) error {
			connection, err := new(net.Dialer).DialContext(ctx, "tcp", last)
			if err == nil {
				connection.Close()
			}
			return err
		}})
}

// forward is the part of that name: for each port it listens on the machine's loopback and connects to the same
// port of the namespace's.
func forward(ctx context.Context, netns string, ports []string) error {
	var listeners []net.Listener
	for _, port := range ports {
		listener, err := net.Listen("tcp", net.JoinHostPort("127.0.0.1", port))
		if err != nil {
			return err
		}
		listeners = append(listeners, listener)
	}
	failed := make(chan error, len(listeners))
	for i, listener := range listeners {
		go func() { failed <- serve(ctx, listener, netns, net.JoinHostPort("127.0.0.1", ports[i])) }()
	}
	select {
	case err := <-failed:
		return err
	case <-ctx.Done():
		return nil
	}
}

func serve(ctx context.Context, listener net.Listener, netns, address string) error {
	for {
		outer, err := listener.Accept()
		if err != nil {
			return err
		}
		go func() {
			defer outer.Close()
			inner, err := dialInside(ctx, netns, "tcp", address)
			if err != nil {
				return // the caller sees a closed connection, as with any server that is down
			}
			defer inner.Close()
			join(outer, inner)
		}()
	}
}

// join copies both ways until both are done; the end of one direction is passed on, so that half-closed
// connections work.
func join(a, b net.Conn) {
	var both sync.WaitGroup
	for _, pair := range [][2]net.Conn{{a, b}, {b, a}} {
		both.Add(1)
		go func() {
			defer both.Done()
			if _, err := io.Copy(pair[0], pair[1]); err != nil {
				// Broken, not ended: the other direction cannot go on either.
				pair[0].Close()
				pair[1].Close()
				return
			}
			if half, ok := pair[0].(interface{ CloseWrite() error }); ok {
				half.CloseWrite()
			}
		}()
	}
	both.Wait()
}

// commandTimeout bounds the small system commands of the driver.
const commandTimeout = time.Minute

// runQuietly runs a command whose output matters only when it fails.
func runQuietly(ctx context.Context, name string, args ...string) error {
	ctx, cancel := context.WithTimeout(ctx, commandTimeout)
	defer cancel()
	command := exec.CommandContext(ctx, name, args...)
	command.Env = bareEnvironment()
	output, err := command.CombinedOutput()
	if err == nil {
		return nil
	}
	if errors.Is(ctx.Err(), context.DeadlineExceeded) {
		err = fmt.Errorf("no end within %s", commandTimeout)
	}
	return fmt.Errorf("%s %s: %w: %s", name, strings.Join(args, " "), err, strings.TrimSpace(string(output)))
}
