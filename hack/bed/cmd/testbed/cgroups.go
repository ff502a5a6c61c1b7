// The cgroups below which all pods of a real bed run.
//
// Comes in: the bed's own name. Goes out: a cgroup of that name in every hierarchy, which the kubelet takes as its
// root; and, when the bed goes, no process in it and then no cgroup. That the pods of a bed are in there and nothing
// else is, makes them safe to end even when everything that started them is gone.
package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// cgroupRemoval bounds the wait for a cgroup whose processes have been ended; the kernel needs moments.
const cgroupRemoval = 10 * time.Second

// hierarchies are the mount points of cgroup file systems: many with version 1, one with version 2.
func hierarchies() []string {
	table, err := os.ReadFile("/proc/self/mounts")
	if err != nil {
		return nil
	}
	var points []string
	for line := range strings.Lines(string(table)) {
		fields := strings.Fields(line)
		if len(fields) > 2 && (fields[2] == "cgroup" || fields[2] == "cgroup2") {
			points = append(points, fields[1])
		}
	}
	return points
}

func cgroup2(point string) bool {
	_, err := os.Stat(filepath.Join(point, "cgroup.controllers"))
	return err == nil
}

func (b *bed) makeCgroups() error {
	points := hierarchies()
	if len(points) == 0 {
		return errors.New("no cgroups are mounted on this machine")
	}
	for _, point := range points {
		folder := filepath.Join(point, b.ownName())
		if err := os.MkdirAll(folder, 0o755); err != nil {
			return err
		}
		// A new cpuset has no CPU and no memory node until it is told; nothing could run in it.
		for _, name := range []string{"cpuset.cpus", "cpuset.mems"} {
			if cgroup2(point) {
				continue
			}
			if above, err := os.ReadFile(filepath.Join(point, name)); err == nil {
				if err := os.WriteFile(filepath.Join(folder, name), above, 0o644); err != nil {
					return err
				}
			}
		}
		if cgroup2(point) {
			if err := passControllers(point); err != nil {
				return err
			}
		}
	}
	return nil
}

// passControllers hands every controller of the root to its children, as version 2 wants it.
func passControllers(point string) error {
	controllers, err := os.ReadFile(filepath.Join(point, "cgroup.controllers"))
	if err != nil {
		return err
	}
	var words []string
	for _, name := range strings.Fields(string(controllers)) {
		words = append(words, "+"+name)
	}
	return os.WriteFile(filepath.Join(point, "cgroup.subtree_control"), []byte(strings.Join(words, " ")), 0o644)
}

func (b *bed) removeCgroups() error {
	points := hierarchies()
	var failed error
	for _, point := range points {
		failed = errors.Join(failed, removeCgroup(filepath.Join(point, b.ownName())))
	}
	return failed
}

// removeCgroup ends what runs in a cgroup and below, and removes it from the leaves up.
func removeCgroup(root string) error {
	for end := time.Now().Add(cgroupRemoval); ; time.Sleep(look) {
		folders := cgroupFolders(root)
		if len(folders) == 0 {
			return nil
		}
		var last error
		for _, folder := range folders {
			for _, pid := range processesIn(folder) {
				syscall.Kill(pid, syscall.SIGKILL)
			}
			if err := syscall.Rmdir(folder); err != nil && !errors.Is(err, syscall.ENOENT) {
				last = fmt.Errorf("removing cgroup %s: %w", folder, err)
			}
		}
		if last != nil && time.Now().After(end) {
			return last
		}
	}
}

func cgroupFolders(root string) []string {
	var folders []string
	filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
		if err == nil && entry.IsDir() {
			folders = append(folders, path)
		}
		return nil // one that vanished meanwhile is what we want
	})
	slices.Reverse(folders)
	return folders
}

func processesIn(folder string) []int {
	text, err := os.ReadFile(filepath.Join(folder, "cgroup.procs"))
	if err != nil {
		return nil
	}
	var pids []int
	for _, word := range strings.Fields(string(text)) {
		if pid, err := strconv.Atoi(word); err == nil && pid > 1 {
			pids = append(pids, pid)
		}
	}
	return pids
}
