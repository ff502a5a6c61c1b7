//go:build !linux

// Who a process is, where there is no /proc: what ps says of its start.
//
// Comes in: a pid. Goes out: a mark that no later process of the same pid shares (to the second).
package main

import (
	"errors"
	"os/exec"
	"strconv"
	"strings"
)

func birth(pid int) (string, error) {
	text, err := exec.Command("ps", "-o", "stat=,lstart=", "-p", strconv.Itoa(pid)).Output()
	if err != nil {
		return "", err
	}
	stat, start, _ := strings.Cut(strings.TrimSpace(string(text)), " ")
	if strings.HasPrefix(stat, "Z") || start == "" {
		return "", errors.New("has ended")
	}
	return strings.Join(strings.Fields(start), " "), nil
}
