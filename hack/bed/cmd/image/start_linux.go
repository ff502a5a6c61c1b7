package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"syscall"
)

const userNumber = 65532

// confine gives a command another root and the user of the image. Who is not root does it in a user namespace of their own.
func confine(command *exec.Cmd, root string) error {
	attributes := &syscall.SysProcAttr{Chroot: root}
	if os.Geteuid() == 0 {
		attributes.Credential = &syscall.Credential{Uid: userNumber, Gid: userNumber}
	} else {
		attributes.Cloneflags = syscall.CLONE_NEWUSER
		attributes.UidMappings = []syscall.SysProcIDMap{{ContainerID: userNumber, HostID: os.Geteuid(), Size: 1}}
		attributes.GidMappings = []syscall.SysProcIDMap{{ContainerID: userNumber, HostID: os.Getegid(), Size: 1}}
	}
	command.SysProcAttr = attributes
	return nil
}

// notHere tells a machine that forbids the attempt from an image that is wrong.
func notHere(err error) error {
	if errors.Is(err, syscall.EPERM) || errors.Is(err, syscall.ENOSPC) { // no chroot; no user namespaces
		return fmt.Errorf("%w: this user may neither chroot nor make a user namespace (%w)", errNotHere, err)
	}
	return fmt.Errorf("the program does not start in its own image: %w", err)
}
