// The controller of this tree, as a local process against a bed.
//
// Comes in: start, stop, restart. Goes out: a process with exactly the rights of the chart's service account, in the
// bed's network, with its log in the bed's folder. Nothing here knows what the controller does.
package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"syscall"
	"time"
)

const controllerName = "bascule-controller"

// The controller finishes what is in flight after SIGTERM; one that needs longer than this hangs.
const controllerGrace = 15 * time.Second

func (b *bed) startController(ctx context.Context, args []string) error {
	if err := b.mustRun(); err != nil {
		return err
	}
	if r, found := b.record("controller"); found && r.alive() {
		say("the controller runs already (pid %d); %s", r.Pid, b.command("controller restart"))
		return nil
	}
	if _, err := os.Stat(b.path("controller.kubeconfig")); err != nil {
		return fmt.Errorf("the chart is not installed in this bed; run: %s", b.command("up"))
	}
	binary, err := b.controllerBinary(ctx)
	if err != nil {
		return err
	}
	release, err := b.lock(ctx)
	if err != nil {
		return err
	}
	defer release()
	address := b.address("controller")
	err = b.startPart(ctx, part{
		name:    "controller",
		command: b.inside(append([]string{binary, "--listen", address}, args...)...),
		// Unlike the other parts it gets the whole environment: its switches (RUST_LOG, AWS_…) are the user's.
		env:  append(append(os.Environ(), pairs(b.awsEnvironment())...), "KUBECONFIG="+b.path("controller.kubeconfig")),
		port: b.state.Ports["controller"], healthy: b.answers200("http://" + address + "/readyz"), within: healthyWithin,
	})
	if err != nil {
		b.endController(syscall.SIGKILL)
		return err
	}
	r, _ := b.record("controller")
	say("controller is ready   pid %d   http://%s/metrics   %s", r.Pid, address, b.command("controller logs"))
	return nil
}

func pairs(vars [][2]string) []string {
	var texts []string
	for _, each := range vars {
		texts = append(texts, each[0]+"="+each[1])
	}
	return texts
}

func (b *bed) stopController(ctx context.Context, first syscall.Signal) error {
	release, err := b.lock(ctx)
	if err != nil {
		return err
	}
	defer release()
	if r, found := b.record("controller"); !found || !r.alive() {
		say("the controller does not run")
	}
	b.endController(first)
	return nil
}

func (b *bed) endController(first syscall.Signal) {
	if r, found := b.record("controller"); found {
		b.stopPart(r, first, controllerGrace)
	}
}

// controllerBinary builds it, or takes the one that BASCULE_CONTROLLER_BIN names.
func (b *bed) controllerBinary(ctx context.Context) (string, error) {
	if path := os.Getenv("BASCULE_CONTROLLER_BIN"); path != "" {
		if !executable(path) {
			return "", fmt.Errorf("BASCULE_CONTROLLER_BIN=%s is no program", path)
		}
		return path, nil
	}
	var path string
	var output lastLines
	err := step("build controller", nil, func() error {
		build := exec.CommandContext(ctx, "cargo", "build", "--package", controllerName, "--message-format", "json-render-diagnostics")
		build.Dir = b.repo
		build.Stderr = &output
		messages, err := build.Output()
		path = builtExecutable(messages)
		return err
	})
	switch {
	case ctx.Err() != nil:
		return "", ctx.Err()
	case err != nil:
		return "", fmt.Errorf("cargo build failed: %w\n%s", err, output.tail(60))
	case path == "":
		return "", errors.New("cargo built no program called " + controllerName)
	}
	return path, nil
}

// builtExecutable finds the program in cargo's messages: the target folder may be anywhere.
func builtExecutable(messages []byte) string {
	path := ""
	lines := bufio.NewScanner(bytes.NewReader(messages))
	lines.Buffer(nil, len(messages)+1)
	for lines.Scan() {
		var message struct {
			Reason     string
			Executable string
			Target     struct{ Name string }
		}
		if json.Unmarshal(lines.Bytes(), &message) == nil && message.Reason == "compiler-artifact" &&
			message.Target.Name == controllerName && message.Executable != "" {
			path = message.Executable
		}
	}
	return path
}
