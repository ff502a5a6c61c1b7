package main

import (
	"os"
	"strings"
	"testing"
)

func TestAProgramsNameDoesNotConfuseItsStartTime(t *testing.T) {
	fields := " S 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 424242 20"
	for _, name := range []string{"(sleep)", "(a b) S 1)", "(tmux: server)"} {
		if got, err := startTime("17 " + name + fields); err != nil || got != "424242" {
			t.Errorf("%s: %q %v", name, got, err)
		}
	}
}

func TestAZombieIsNotAlive(t *testing.T) {
	if _, err := startTime("17 (x) Z 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 424242 20"); err == nil {
		t.Error("it passes for alive")
	}
}

func TestOneIsAliveOneself(t *testing.T) {
	mark, err := birth(os.Getpid())
	if err != nil || !strings.Contains(mark, "@") {
		t.Errorf("%q %v", mark, err)
	}
}
