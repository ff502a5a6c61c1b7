// Who a process is, on Linux: its start time and the boot it belongs to.
//
// Comes in: a pid. Goes out: a mark that no later process of the same pid shares.
package main

import (
	"errors"
	"fmt"
	"os"
	"strings"
)

func birth(pid int) (string, error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return "", err
	}
	boot, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return "", err
	}
	start, err := startTime(string(text))
	if err != nil {
		return "", err
	}
	return start + "@" + strings.TrimSpace(string(boot)), nil
}

// startTime reads field 22 of a stat line. The second field is the program's name in brackets and may hold
// anything, blanks and brackets too, so counting begins behind the last bracket.
func startTime(stat string) (string, error) {
	_, rest, found := cutLast(stat, ")")
	fields := strings.Fields(rest)
	if !found || len(fields) < 20 {
		return "", errors.New("stat line is too short")
	}
	if fields[0] == "Z" || fields[0] == "X" {
		return "", errors.New("has ended") // a zombie does nothing any more
	}
	return fields[19], nil
}

func cutLast(text, at string) (before, after string, found bool) {
	i := strings.LastIndex(text, at)
	if i < 0 {
		return text, "", false
	}
	return text[:i], text[i+len(at):], true
}
