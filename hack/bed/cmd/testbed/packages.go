// What a real node needs of the machine: Linux, root, and a few Debian packages. And how a package is had without installing it.
//
// Comes in: the machine. Goes out: everything is there, or a sentence with the exact command that brings it. No
// service of those packages is started: the bed runs its own.
package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
)

// needs are programs, and the Debian packages that hold them.
var needs = []struct{ program, pkg string }{
	{"containerd", "containerd"}, {"ctr", "containerd"}, {"runc", "runc"},
	{"nft", "nftables"}, {"conntrack", "conntrack"}, {"iptables", "iptables"},
	{"ip", "iproute2"}, {"nsenter", "util-linux"},
}

// cniPlugins are those that files/cni.json names. Distributions disagree on where they belong.
var (
	cniPlugins = []string{"ptp", "host-local", "loopback"}
	cniFolders = []string{"/usr/lib/cni", "/opt/cni/bin", "/usr/libexec/cni"}
)

// systemFolders hold administrators' programs, which not every shell's PATH names.
var systemFolders = []string{"/usr/local/sbin", "/usr/sbin", "/sbin", "/usr/local/bin", "/usr/bin", "/bin"}

// policyFile keeps Debian's packages from starting their services.
const policyFile = "/usr/sbin/policy-rc.d"

func needRealNode(ctx context.Context) error {
	if runtime.GOOS != "linux" {
		return errors.New("--node real needs Linux; --node fake works anywhere")
	}
	if os.Geteuid() != 0 {
		return errors.New("--node real needs root (containers, a network namespace); --node fake does not")
	}
	missing := missingPackages()
	if len(missing) == 0 {
		return nil
	}
	install := "apt-get install --yes --no-install-recommends " + strings.Join(missing, " ")
	if _, err := exec.LookPath("apt-get"); err != nil {
		return fmt.Errorf("--node real needs programs that are missing here; on Debian: %s", install)
	}
	if err := step("install "+strings.Join(missing, " "), nil, func() error { return aptInstall(ctx, missing) }); err != nil {
		return fmt.Errorf("%w\n  by hand: apt-get update && %s", err, install)
	}
	if still := missingPackages(); len(still) > 0 {
		return fmt.Errorf("%s: installed, but without the programs that were expected", strings.Join(still, " "))
	}
	return nil
}

func missingPackages() []string {
	var missing []string
	for _, need := range needs {
		if _, err := findProgram(need.program); err != nil && !slices.Contains(missing, need.pkg) {
			missing = append(missing, need.pkg)
		}
	}
	if _, err := cniFolder(); err != nil {
		missing = append(missing, "containernetworking-plugins")
	}
	return missing
}

func findProgram(name string) (string, error) {
	if path, err := exec.LookPath(name); err == nil {
		return path, nil
	}
	for _, folder := range systemFolders {
		if path := filepath.Join(folder, name); executable(path) {
			return path, nil
		}
	}
	return "", fmt.Errorf("%s is not installed", name)
}

func cniFolder() (string, error) {
	for _, folder := range cniFolders {
		if !slices.ContainsFunc(cniPlugins, func(name string) bool { return !executable(filepath.Join(folder, name)) }) {
			return folder, nil
		}
	}
	return "", fmt.Errorf("no folder of %s holds the CNI plugins %s", strings.Join(cniFolders, ", "), strings.Join(cniPlugins, ", "))
}

func aptInstall(ctx context.Context, packages []string) error {
	release, err := aptLock(ctx)
	if err != nil {
		return err
	}
	defer release()
	if _, err := os.Lstat(policyFile); errors.Is(err, fs.ErrNotExist) {
		// 101 means "not allowed".
		if err := os.WriteFile(policyFile, []byte("#!/bin/sh\nexit 101\n"), 0o755); err != nil {
			return err
		}
		defer os.Remove(policyFile)
	}
	if err := aptGet(ctx, "", "update"); err != nil {
		return err
	}
	return aptGet(ctx, "", append([]string{"install", "--no-install-recommends"}, packages...)...)
}

// aptDownload brings a package's file into a folder and installs nothing. That alone needs no root.
func aptDownload(ctx context.Context, name, folder string) error {
	first := aptGet(ctx, folder, "download", name)
	if first == nil {
		return nil
	}
	// There are no lists of packages yet, or old ones.
	if os.Geteuid() != 0 {
		return fmt.Errorf("%w\n  by hand, as root: apt-get update", first)
	}
	release, err := aptLock(ctx)
	if err != nil {
		return err
	}
	defer release()
	if err := aptGet(ctx, "", "update"); err != nil {
		return err
	}
	return aptGet(ctx, folder, "download", name)
}

// aptLock is for what changes the machine: two beds of different checkouts may come up at once.
func aptLock(ctx context.Context) (release func(), err error) {
	return lockFile(ctx, filepath.Join(os.TempDir(), "bascule-apt.lock"))
}

func aptGet(ctx context.Context, folder string, words ...string) error {
	command := exec.CommandContext(ctx, "apt-get", append([]string{"--quiet", "--yes", "-o", "DPkg::Lock::Timeout=120"}, words...)...)
	command.Dir = folder
	command.Env = append(os.Environ(), "DEBIAN_FRONTEND=noninteractive")
	var output lastLines
	command.Stdout, command.Stderr = &output, &output
	if err := command.Run(); err != nil {
		return fmt.Errorf("apt-get %s: %w\n%s", words[0], err, indent(output.tail(15)))
	}
	return nil
}
