//go:build !linux

package main

import (
	"fmt"
	"os/exec"
	"runtime"
)

func confine(*exec.Cmd, string) error {
	return fmt.Errorf("%w: a Linux program does not run on %s", errNotHere, runtime.GOOS)
}

func notHere(err error) error { return err }
