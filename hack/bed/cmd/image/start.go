package main

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"time"
)

// starts is odd, so that there is one in the middle.
const starts = 5

// startWithin is for a program that only says its version; one that needs longer hangs.
const startWithin = 30 * time.Second

// errNotHere says that this machine does not let us try; nothing is wrong with the image.
var errNotHere = errors.New("not measured")

// tryStart runs `--version` with a folder as its whole file system, and says how long that takes. A program that does not start in
// its own image is an error; a machine on which it cannot be tried is not.
func tryStart(ctx context.Context, root, arch string) (string, error) {
	if arch != runtime.GOARCH {
		return fmt.Sprintf("not measured: %s does not run on %s", arch, runtime.GOARCH), nil
	}
	root, err := filepath.Abs(root)
	if err != nil {
		return "", err
	}
	var times []time.Duration
	for range starts {
		took, err := startOnce(ctx, root)
		if errors.Is(err, errNotHere) {
			return err.Error(), nil
		}
		if err != nil {
			return "", err
		}
		times = append(times, took)
	}
	return fmt.Sprintf("%s (--version in a chroot as %s; median of %s)", milliseconds(median(times)), user, list(times)), nil
}

func startOnce(ctx context.Context, root string) (time.Duration, error) {
	ctx, stop := context.WithTimeout(ctx, startWithin)
	defer stop()
	command := exec.CommandContext(ctx, "/"+programName, "--version")
	command.Dir, command.Env = "/", []string{}
	if err := confine(command, root); err != nil {
		return 0, err
	}
	var said strings.Builder
	command.Stdout, command.Stderr = &said, &said
	began := time.Now()
	if err := command.Start(); err != nil {
		return 0, notHere(err)
	}
	if err := command.Wait(); err != nil {
		return 0, fmt.Errorf("the program does not start in its own image: %w\n%s", err, said.String())
	}
	return time.Since(began), nil
}

func median(times []time.Duration) time.Duration {
	sorted := slices.Sorted(slices.Values(times))
	return sorted[len(sorted)/2]
}

func milliseconds(d time.Duration) string {
	return fmt.Sprintf("%.1f ms", float64(d.Microseconds())/1000)
}

func list(times []time.Duration) string {
	var all []string
	for _, one := range times {
		all = append(all, fmt.Sprintf("%.1f", float64(one.Microseconds())/1000))
	}
	return strings.Join(all, " ")
}
