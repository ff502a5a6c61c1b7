// What a killed run leaves behind, found by marks that cannot be mistaken.
//
// Comes in: a bed's folder. Goes out: no process that carries the bed's mark in its environment, no mount below it.
// Where there is no /proc there is nothing to find: only real nodes make such leftovers, and they need Linux.
package main

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"sort"
	"strconv"
	"strings"
	"syscall"
)

// endMarked ends processes that carry this bed's mark: parts whose record was lost, and what they have
// started, such as containerd's shims.
func endMarked(folder string) {
	for _, r := range marked(folder) {
		syscall.Kill(r.Pid, syscall.SIGKILL)
		r.gone(stopGrace)
	}
}

func marked(folder string) []record {
	var found []record
	mark := []byte(partMark + "=" + folder + "/")
	paths, _ := filepath.Glob("/proc/[0-9]*/environ")
	for _, path := range paths {
		environ, err := os.ReadFile(path)
		if err != nil || !carries(environ, mark) {
			continue
		}
		pid, err := strconv.Atoi(filepath.Base(filepath.Dir(path)))
		if err != nil || pid == os.Getpid() {
			continue
		}
		if birth, err := birth(pid); err == nil {
			found = append(found, record{Pid: pid, Birth: birth})
		}
	}
	return found
}

func carries(environ, mark []byte) bool {
	for variable := range bytes.SplitSeq(environ, []byte{0}) {
		if bytes.HasPrefix(variable, mark) {
			return true
		}
	}
	return false
}

// unmountBelow unmounts everything below a folder, the deepest first.
func unmountBelow(folder string) error {
	table, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return nil
	}
	points := mountsBelow(string(table), folder)
	for _, point := range points {
		if err := unmount(point); err != nil {
			return fmt.Errorf("unmounting %s: %w", point, err)
		}
	}
	return nil
}

// mountsBelow reads mount points out of a mountinfo table. Blanks and the like in paths are written as octal there.
func mountsBelow(table, folder string) []string {
	octal := strings.NewReplacer(`\040`, " ", `\011`, "\t", `\012`, "\n", `\134`, `\`)
	var points []string
	for line := range strings.Lines(table) {
		fields := strings.Fields(line)
		if len(fields) < 5 {
			continue
		}
		if point := octal.Replace(fields[4]); strings.HasPrefix(point, folder+"/") {
			points = append(points, point)
		}
	}
	sort.Sort(sort.Reverse(sort.StringSlice(points)))
	return points
}
