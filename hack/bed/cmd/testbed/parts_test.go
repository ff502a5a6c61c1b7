package main

import (
	"context"
	"errors"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"
)

func testBed(t *testing.T) *bed {
	b := &bed{name: "test", folder: t.TempDir()}
	t.Cleanup(func() {
		for _, r := range b.records() {
			b.stopPart(r, syscall.SIGKILL, stopGrace)
		}
	})
	return b
}

func start(t *testing.T, b *bed, p part) record {
	t.Helper()
	if err := b.startPart(context.Background(), p); err != nil {
		t.Fatal(err)
	}
	r, found := b.record(p.name)
	if !found {
		t.Fatal("a started part has no record")
	}
	return r
}

func healthy(context.Context) error { return nil }

func never(context.Context) error { return errors.New("not yet") }

func TestAPartIsFoundAgainAndStopped(t *testing.T) {
	b := testBed(t)
	r := start(t, b, part{name: "sleeper", command: []string{"sleep", "60"}, healthy: healthy, within: time.Second})
	if !r.alive() {
		t.Fatal("it does not run")
	}
	b.stopPart(r, syscall.SIGTERM, stopGrace)
	if r.alive() {
		t.Error("it still runs")
	}
	if _, found := b.record("sleeper"); found {
		t.Error("it still has a record")
	}
}

func TestAPidThatBelongsToSomebodyElseIsNotTouched(t *testing.T) {
	b := testBed(t)
	r := start(t, b, part{name: "sleeper", command: []string{"sleep", "60"}, healthy: healthy, within: time.Second})
	impostor := r
	impostor.Birth = "another time"
	if impostor.alive() {
		t.Error("a process that was born at another time passes for the part")
	}
	b.stopPart(impostor, syscall.SIGKILL, stopGrace)
	if !r.alive() {
		t.Error("the other process was ended")
	}
	if err := b.writeRecord(r); err != nil { // for the clean-up
		t.Fatal(err)
	}
}

func TestAPartThatIgnoresTheSignalIsEndedAllTheSame(t *testing.T) {
	b := testBed(t)
	mark := b.path("ready")
	r := start(t, b, part{
		name: "deaf", command: []string{"sh", "-c", `trap "" TERM; : > "$0"; while :; do sleep 1; done`, mark}, within: stopGrace,
		healthy: func(context.Context) error { _, err := os.Stat(mark); return err },
	})
	b.stopPart(r, syscall.SIGTERM, 50*time.Millisecond)
	if r.alive() {
		t.Error("it still runs")
	}
}

func TestAPartThatEndsAtOnceSaysWhy(t *testing.T) {
	b := testBed(t)
	err := b.startPart(context.Background(), part{name: "wrong", command: []string{"sh", "-c", "echo no such flag >&2; exit 3"},
		healthy: never, within: time.Minute})
	if err == nil || !strings.Contains(err.Error(), "wrong: has ended (exit status 3)") || !strings.Contains(err.Error(), "no such flag") {
		t.Errorf("got %v", err)
	}
}

func TestAPartThatNeverGetsHealthySaysWhatItWasAsked(t *testing.T) {
	b := testBed(t)
	err := b.startPart(context.Background(), part{name: "slow", command: []string{"sleep", "60"}, healthy: never, within: 50 * time.Millisecond})
	if err == nil || !strings.Contains(err.Error(), "not healthy within 50ms: not yet") {
		t.Errorf("got %v", err)
	}
}

func TestPartsAreShownInTheOrderInWhichTheyLeanOnEachOther(t *testing.T) {
	b := testBed(t)
	for _, name := range []string{"kubelet", "etcd", "kube-apiserver"} {
		if err := b.writeRecord(record{Name: name, Pid: -1}); err != nil {
			t.Fatal(err)
		}
	}
	var names []string
	for _, r := range b.records() {
		names = append(names, r.Name)
	}
	if got := strings.Join(names, " "); got != "etcd kube-apiserver kubelet" {
		t.Errorf("got %s", got)
	}
}

func TestALostPartIsFoundByItsMark(t *testing.T) {
	b := testBed(t)
	r := start(t, b, part{name: "lost", command: []string{"sleep", "60"}, healthy: healthy, within: time.Second})
	if err := os.Remove(b.recordPath("lost")); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat("/proc/self/environ"); err != nil {
		b.stopPart(r, syscall.SIGKILL, stopGrace)
		t.Skip("no /proc on this machine")
	}
	endMarked(b.folder)
	if r.alive() {
		t.Error("it still runs")
	}
}
