// What the driver says while it works: one calm line for each step, with the time it took.
//
// Comes in: steps. Goes out: lines on standard error; standard output belongs to results. On a terminal
// the running step is redrawn in place, elsewhere a long step says now and then that it is alive.
package main

import (
	"fmt"
	"os"
	"strings"
	"sync"
	"time"
)

// quietStep is how long a step may take before it is worth a line when nobody watches a terminal.
const quietStep = 20 * time.Second

// redraw is how often the running step's time is redrawn on a terminal.
const redraw = 200 * time.Millisecond

var terminal = func() bool {
	info, err := os.Stderr.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0 && os.Getenv("TERM") != "dumb"
}()

func say(format string, args ...any) {
	fmt.Fprintf(os.Stderr, format+"\n", args...)
}

// step runs one piece of work under its name. detail, when given, is asked for what to show beside the time.
func step(name string, detail func() string, work func() error) error {
	began := time.Now()
	done := make(chan struct{})
	var drawing sync.WaitGroup
	drawing.Add(1)
	go func() {
		defer drawing.Done()
		tell(name, detail, began, done)
	}()
	err := work()
	close(done)
	drawing.Wait()
	mark := "ok"
	if err != nil {
		mark = "failed"
	}
	if terminal {
		fmt.Fprint(os.Stderr, "\r\033[K")
	}
	say("  %-30s %-7s %7s", name, mark, elapsed(began))
	return err
}

func tell(name string, detail func() string, began time.Time, done <-chan struct{}) {
	every := quietStep
	if terminal {
		every = redraw
	}
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		select {
		case <-done:
			return
		case <-tick.C:
		}
		more := ""
		if detail != nil {
			more = detail()
		}
		line := strings.TrimRight(fmt.Sprintf("  %-30s %-7s %7s  %s", name, "…", elapsed(began), more), " ")
		if terminal {
			fmt.Fprint(os.Stderr, "\r\033[K", line)
		} else {
			say("%s", line)
		}
	}
}

func elapsed(since time.Time) string {
	d := time.Since(since)
	if d < time.Minute {
		return fmt.Sprintf("%.1fs", d.Seconds())
	}
	return fmt.Sprintf("%dm%02ds", int(d.Minutes()), int(d.Seconds())%60)
}
