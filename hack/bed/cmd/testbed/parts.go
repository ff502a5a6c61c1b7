// The processes of a bed: started, found again and stopped by their own pid.
//
// Comes in: a command line for each part. Goes out: a running process in a session of its own, so that it
// outlives the command that started it, its log, and a record of who it is. A pid that the machine has
// given to somebody else in the meantime is recognised by its start time and never touched.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"sort"
	"strings"
	"syscall"
	"time"
)

// partMark is the environment variable that every part carries. It finds processes whose record was lost.
const partMark = "BASCULE_BED_PART"

// How long a part may take to stop by itself. Nothing in a bed is worth waiting longer for.
const stopGrace = 5 * time.Second

// look is how often a condition without an event of its own is looked at.
const look = 20 * time.Millisecond

// record is what is kept of a started part.
type record struct {
	Name    string    `json:"name"`
	Pid     int       `json:"pid"`
	Birth   string    `json:"birth"` // see birth(): what distinguishes this process from the next one of that pid
	Port    int       `json:"port,omitempty"`
	Started time.Time `json:"started"`
}

// part is a process to start.
type part struct {
	name    string
	command []string
	env     []string
	port    int
	// healthy says whether the part does its work. It is asked until it agrees.
	healthy func(ctx context.Context) error
	// within bounds the wait for that.
	within time.Duration
}

func (b *bed) recordPath(name string) string { return b.path("parts", name+".json") }
func (b *bed) logPath(name string) string    { return b.path("log", name+".log") }

// startPart starts a part and waits until it is healthy. A part that ends or never gets there is an error that
// shows the end of its log.
func (b *bed) startPart(ctx context.Context, p part) error {
	log, err := b.openLog(p.name)
	if err != nil {
		return err
	}
	defer log.Close()
	began, err := log.Seek(0, 2)
	if err != nil {
		return err
	}
	command := exec.Command(p.command[0], p.command[1:]...)
	command.Dir = b.folder
	command.Env = append(append(bareEnvironment(), p.env...), partMark+"="+b.folder+"/"+p.name)
	command.Stdout, command.Stderr = log, log
	command.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := command.Start(); err != nil {
		return fmt.Errorf("%s does not start: %w", p.name, err)
	}
	ended := make(chan error, 1)
	go func() { ended <- command.Wait() }()

	r := record{Name: p.name, Pid: command.Process.Pid, Port: p.port, Started: time.Now()}
	if r.Birth, err = birth(r.Pid); err != nil {
		// It has ended within this moment. What follows says how.
		early := err
		p.healthy, p.within = func(context.Context) error { return early }, stopGrace
	} else if err := b.writeRecord(r); err != nil {
		command.Process.Kill()
		return fmt.Errorf("%s: %w", p.name, err)
	}
	if p.healthy == nil {
		return nil
	}
	why := waitUntil(ctx, p.within, p.healthy, ended)
	if why == nil {
		return nil
	}
	if ctx.Err() != nil {
		return ctx.Err()
	}
	return fmt.Errorf("%s: %w\n%s", p.name, why, indent(tailFrom(b.logPath(p.name), began, 15)))
}

// bareEnvironment is what a part gets from ours: enough to find programs and a home. Anything else of the
// user's shell, such as proxies or another KUBECONFIG, would make beds differ from machine to machine.
func bareEnvironment() []string {
	env := []string{"PATH=" + os.Getenv("PATH") + ":/usr/local/sbin:/usr/sbin:/sbin:/usr/bin:/bin"}
	for _, name := range []string{"HOME", "TMPDIR", "XDG_CACHE_HOME"} {
		if value := os.Getenv(name); value != "" {
			env = append(env, name+"="+value)
		}
	}
	return env
}

// waitUntil asks until the answer is nil, the process has ended or the time is over.
func waitUntil(ctx context.Context, within time.Duration, ask func(context.Context) error, ended <-chan error) error {
	ctx, cancel := context.WithTimeout(ctx, within)
	defer cancel()
	tick := time.NewTicker(look)
	defer tick.Stop()
	for {
		why := ask(ctx)
		if why == nil {
			return nil
		}
		select {
		case how := <-ended:
			if how == nil {
				how = errors.New("exit status 0")
			}
			return fmt.Errorf("has ended (%w)", how)
		case <-ctx.Done():
			return fmt.Errorf("not healthy within %s: %w", within, why)
		case <-tick.C:
		}
	}
}

func (b *bed) openLog(name string) (*os.File, error) {
	if err := os.MkdirAll(b.path("log"), 0o755); err != nil {
		return nil, err
	}
	return os.OpenFile(b.logPath(name), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o644)
}

func (b *bed) writeRecord(r record) error {
	text, err := json.Marshal(r)
	if err != nil {
		return err
	}
	return replaceFile(b.recordPath(r.Name), text, 0o644)
}

// startOrder is the order in which parts lean on each other. They are shown in it, and stopped in reverse.
var startOrder = []string{"forward", "etcd", "kube-apiserver", "registry", "registry-auth", "aws", "aws-strict", "prometheus-targets",
	"alertmanager", "prometheus", "kube-controller-manager", "kube-scheduler", "kwok", "containerd", "kubelet", "kube-proxy", "controller"}

// records are the parts that were started, in their order, running or not.
func (b *bed) records() []record {
	paths, _ := filepath.Glob(b.path("parts", "*.json"))
	var all []record
	for _, path := range paths {
		var r record
		if text, err := os.ReadFile(path); err == nil && json.Unmarshal(text, &r) == nil {
			all = append(all, r)
		}
	}
	sort.Slice(all, func(i, j int) bool {
		return slices.Index(startOrder, all[i].Name) < slices.Index(startOrder, all[j].Name)
	})
	return all
}

func (b *bed) record(name string) (record, bool) {
	all := b.records()
	i := slices.IndexFunc(all, func(r record) bool { return r.Name == name })
	if i < 0 {
		return record{}, false
	}
	return all[i], true
}

// alive says whether the very process of this record runs.
func (r record) alive() bool {
	now, err := birth(r.Pid)
	return err == nil && now == r.Birth
}

// stopPart ends a part: the signal first, and after grace the end without asking. The record goes last.
func (b *bed) stopPart(r record, first syscall.Signal, grace time.Duration) {
	if r.alive() {
		syscall.Kill(r.Pid, first)
		if !r.gone(grace) && r.alive() {
			syscall.Kill(r.Pid, syscall.SIGKILL)
			r.gone(stopGrace)
		}
	}
	os.Remove(b.recordPath(r.Name))
}

// gone waits until the process has ended. It is not always our child, so there is nothing to wait on but its absence.
func (r record) gone(within time.Duration) bool {
	for end := time.Now().Add(within); r.alive(); time.Sleep(look) {
		if time.Now().After(end) {
			return false
		}
	}
	return true
}

// tailFrom is the end of what a log says since a position.
func tailFrom(path string, from int64, lines int) string {
	file, err := os.Open(path)
	if err != nil {
		return err.Error()
	}
	defer file.Close()
	if info, err := file.Stat(); err == nil {
		from = max(from, info.Size()-keepOutput)
	}
	if _, err := file.Seek(from, 0); err != nil {
		return err.Error()
	}
	var end lastLines
	if _, err := file.WriteTo(&end); err != nil {
		return err.Error()
	}
	return end.tail(lines)
}

func indent(text string) string {
	return "    " + strings.ReplaceAll(text, "\n", "\n    ")
}
