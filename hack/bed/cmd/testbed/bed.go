// A bed: its name, its folder and what is remembered of it.
//
// Comes in: the repository, a name. Goes out: paths, the state file, the lock under which a bed is
// changed, and the environment of `exec` and `env`. Nothing is started or stopped here.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// Kinds of node.
const (
	fake     = "fake"     // kwok plays the nodes
	real     = "real"     // containerd, kubelet and kube-proxy in a network namespace
	existing = "existing" // the nodes of somebody else's cluster
)

// bed is one test bed. Its folder holds everything that it has on disk, except what a real node must have
// under shorter paths (see node.runtimeFolder).
type bed struct {
	repo   string
	name   string
	folder string
	state  state
}

// state is what later commands must know; it is written once `up` has come to its end.
type state struct {
	Node       string         `json:"node"`
	Audit      bool           `json:"audit"`
	AWS        bool           `json:"aws,omitempty"`
	Prometheus bool           `json:"prometheus,omitempty"`
	Context    string         `json:"context,omitempty"` // existing: the context of the user's kubeconfig
	Netns      string         `json:"netns,omitempty"`   // real: the network namespace
	Ports      map[string]int `json:"ports,omitempty"`
	Chart      string         `json:"chart,omitempty"` // hash of the chart that is installed
	Ready      bool           `json:"ready"`
}

// A bed's name ends up in names of network namespaces, cgroups and nodes.
var nameRule = regexp.MustCompile(`^[a-z0-9]([a-z0-9-]{0,30}[a-z0-9])?$`)

func openBed(name string) (*bed, error) {
	if !nameRule.MatchString(name) {
		return nil, fmt.Errorf("%q is no name for a bed: lower-case letters, digits and dashes, at most 32", name)
	}
	repo := os.Getenv("BASCULE_REPO")
	if repo == "" {
		return nil, errors.New("BASCULE_REPO is not set: start the driver through hack/testbed")
	}
	b := &bed{repo: repo, name: name, folder: filepath.Join(repo, "target", "testbed", name)}
	text, err := os.ReadFile(b.path("state.json"))
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return b, nil
	case err != nil:
		return nil, err
	}
	if err := json.Unmarshal(text, &b.state); err != nil {
		// Half a file of a killed run: as good as none, `up` cleans and starts anew.
		b.state = state{}
	}
	return b, nil
}

func (b *bed) path(parts ...string) string {
	return filepath.Join(append([]string{b.folder}, parts...)...)
}

func (b *bed) save() error {
	text, err := json.MarshalIndent(b.state, "", "  ")
	if err != nil {
		return err
	}
	return replaceFile(b.path("state.json"), text, 0o644)
}

// mustRun is the answer to commands that need a bed that is up.
func (b *bed) mustRun() error {
	if !b.state.Ready {
		return fmt.Errorf("bed %q is not up; start it with: %s", b.name, b.command("up"))
	}
	return nil
}

// command is how a person would type it, for messages.
func (b *bed) command(words string) string {
	if b.name == defaultName {
		return "hack/testbed " + words
	}
	// Before the words of somebody else's command, otherwise last.
	own, theirs, found := strings.Cut(words, " -- ")
	if found {
		return fmt.Sprintf("hack/testbed %s --name %s -- %s", own, b.name, theirs)
	}
	return fmt.Sprintf("hack/testbed %s --name %s", own, b.name)
}

// lock keeps two commands from changing one bed at once. It lies beside the folder, which `down` removes.
func (b *bed) lock(ctx context.Context) (release func(), err error) {
	return lockFile(ctx, filepath.Join(filepath.Dir(b.folder), "."+b.name+".lock"))
}

func lockFile(ctx context.Context, path string) (release func(), err error) {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return nil, err
	}
	file, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR|syscall.O_CLOEXEC, 0o644)
	if err != nil {
		return nil, err
	}
	// Asked again and again, because a blocking call would not hear a Ctrl-C.
	for told := false; ; told = true {
		err := syscall.Flock(int(file.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
		if err == nil {
			return func() { file.Close() }, nil
		}
		if !errors.Is(err, syscall.EWOULDBLOCK) && !errors.Is(err, syscall.EINTR) {
			file.Close()
			return nil, fmt.Errorf("locking %s: %w", path, err)
		}
		if !told {
			say("waiting for another testbed command (%s)", filepath.Base(path))
		}
		select {
		case <-ctx.Done():
			file.Close()
			return nil, ctx.Err()
		case <-time.After(look):
		}
	}
}

func (b *bed) address(port string) string {
	return "127.0.0.1:" + strconv.Itoa(b.state.Ports[port])
}

// environment is what `env` prints and `exec` sets, in this order.
func (b *bed) environment() [][2]string {
	vars := [][2]string{
		{"KUBECONFIG", b.path("admin.kubeconfig")},
		{"BASCULE_KUBECONFIG", b.path("controller.kubeconfig")},
		{"BASCULE_BED", b.name},
		{"BASCULE_BED_STATE", b.folder},
		{"BASCULE_BED_NODE", b.state.Node},
	}
	if b.state.Node != existing {
		vars = append(vars,
			[2]string{"BASCULE_REGISTRY", b.address("registry")},
			[2]string{"BASCULE_REGISTRY_AUTH", b.address("registry-auth")})
		if b.state.Netns != "" {
			vars = append(vars, [2]string{"BASCULE_REGISTRY_IN_PODS", nodeAddress + ":" + strconv.Itoa(b.state.Ports["registry"])})
		}
	}
	vars = append(vars, b.awsEnvironment()...)
	vars = append(vars, b.prometheusEnvironment()...)
	return append(vars,
		[2]string{"BASCULE_CONTROLLER", "http://" + b.address("controller")},
		[2]string{"PATH", b.path("bin") + ":" + os.Getenv("PATH")})
}

// replaceFile writes a file in one step, so that a reader or a killed run never leaves half of it.
func replaceFile(path string, text []byte, mode os.FileMode) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	file, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+"-")
	if err != nil {
		return err
	}
	_, err = file.Write(text)
	if err == nil {
		err = file.Chmod(mode)
	}
	if closing := file.Close(); err == nil {
		err = closing
	}
	if err == nil {
		err = os.Rename(file.Name(), path)
	}
	if err != nil {
		os.Remove(file.Name())
	}
	return err
}
