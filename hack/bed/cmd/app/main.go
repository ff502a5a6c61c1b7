// Command app is the example application of the bed: a small HTTP server whose faults are switches.
//
// Comes in: environment variables and requests. Goes out: its version, its readiness, and at /metrics what it has answered.
// It never talks to anybody and keeps nothing; but as `app fetch` it fetches an archive first, and is over (fetch.go), and as
// `app task` it is a hook or a gate (task.go).
//
//	VERSION        what it answers; the image of a tag sets it                       v0
//	VERSION_FILE   a file that has it instead: something that was unpacked           none
//	PORT           where it listens                                                  8080
//	START_AFTER    waits this long before it listens                                 0s
//	READY_AFTER    /healthz fails before this time; "never" fails for ever           0s
//	UNREADY_AFTER  /healthz fails after this time                                    never
//	EXIT_AFTER     exits with code 1 after this time                                 never
//	ANSWER         status code of every answer but /healthz and /metrics             200
//	FAIL_AFTER     these answers are 500 after this time                             never
//	FAIL_FROM      they are 500 from this one on; 1 is the first                     never
//	FAIL_FILE      they are 500 while this file is there                             none
//	DRAIN          keeps serving this long after SIGTERM, then exits with code 0     3s
//
// The drain matters: between a pod's deletion and the moment every node has forgotten its address new
// connections still arrive, and an app that closes its door at once loses them.
package main

import (
	"context"
	"errors"
	"fmt"
	"log"
	"net"
	"net/http"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"time"
)

// never stands for "this switch is off": longer than any bed lives.
const never = time.Duration(1<<63 - 1)

type settings struct {
	version, port                                   string
	startAfter, readyAfter, unreadyAfter, exitAfter time.Duration
	failAfter, drain                                time.Duration
	answer                                          int
	failFrom                                        int // 0 is never
	failFile                                        string
}

func main() {
	log.SetFlags(log.LstdFlags | log.Lmicroseconds)
	if len(os.Args) > 1 && os.Args[1] == "fetch" {
		if err := fetch(os.Getenv); err != nil {
			log.Fatal(err)
		}
		return
	}
	if len(os.Args) > 1 && os.Args[1] == "task" {
		ctx, _ := signal.NotifyContext(context.Background(), syscall.SIGTERM)
		os.Exit(task(ctx, os.Getenv, os.Stdout, terminationLog))
	}
	s, err := read(os.Getenv)
	if err != nil {
		log.Fatal(err)
	}
	if err := run(s); err != nil {
		log.Fatal(err)
	}
}

func read(env func(string) string) (settings, error) {
	s := settings{version: "v0", port: "8080", answer: http.StatusOK, drain: 3 * time.Second,
		unreadyAfter: never, exitAfter: never, failAfter: never, failFile: env("FAIL_FILE")}
	if v := env("VERSION"); v != "" {
		s.version = v
	}
	if path := env("VERSION_FILE"); path != "" {
		text, err := os.ReadFile(path)
		if err != nil {
			return s, fmt.Errorf("VERSION_FILE: %w", err)
		}
		s.version = strings.TrimSpace(string(text))
	}
	if v := env("PORT"); v != "" {
		s.port = v
	}
	if v := env("ANSWER"); v != "" {
		code, err := strconv.Atoi(v)
		if err != nil || code < 100 || code > 599 {
			return s, fmt.Errorf("ANSWER=%q is not a status code", v)
		}
		s.answer = code
	}
	if v := env("FAIL_FROM"); v != "" && v != "never" {
		number, err := strconv.Atoi(v)
		if err != nil || number < 1 {
			return s, fmt.Errorf("FAIL_FROM=%q is not the number of a request", v)
		}
		s.failFrom = number
	}
	for name, into := range map[string]*time.Duration{
		"START_AFTER": &s.startAfter, "READY_AFTER": &s.readyAfter, "UNREADY_AFTER": &s.unreadyAfter,
		"EXIT_AFTER": &s.exitAfter, "FAIL_AFTER": &s.failAfter, "DRAIN": &s.drain,
	} {
		d, err := duration(env(name), *into)
		if err != nil {
			return s, fmt.Errorf("%s: %w", name, err)
		}
		*into = d
	}
	return s, nil
}

func duration(text string, otherwise time.Duration) (time.Duration, error) {
	switch text {
	case "":
		return otherwise, nil
	case "never":
		return never, nil
	}
	return time.ParseDuration(text)
}

func run(s settings) error {
	began := time.Now()
	stop := make(chan os.Signal, 1)
	signal.Notify(stop, syscall.SIGINT, syscall.SIGTERM)

	log.Printf("%s: starting", s.version)
	select {
	case <-time.After(s.startAfter):
	case <-stop:
		return nil
	}

	var draining atomic.Bool
	server := &http.Server{Handler: s.handler(began, &draining), ReadHeaderTimeout: 10 * time.Second}
	listener, err := net.Listen("tcp", ":"+s.port)
	if err != nil {
		return err
	}
	failed := make(chan error, 1)
	go func() { failed <- server.Serve(listener) }()
	log.Printf("%s: listening on %s", s.version, listener.Addr())

	select {
	case err := <-failed:
		return err
	case <-time.After(s.exitAfter):
		return errors.New(s.version + ": EXIT_AFTER is over")
	case <-stop:
	}

	log.Printf("%s: told to stop, serving for another %s", s.version, s.drain)
	draining.Store(true)
	server.SetKeepAlivesEnabled(false)
	time.Sleep(s.drain) // the one wait that is the program's purpose: see the head of this file
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	return server.Shutdown(ctx)
}

func (s settings) handler(began time.Time, draining *atomic.Bool) http.Handler {
	mux := http.NewServeMux()
	counted := newRequests(s.answer, http.StatusInternalServerError)
	mux.HandleFunc("/healthz", func(w http.ResponseWriter, _ *http.Request) {
		age := time.Since(began)
		switch {
		case age < s.readyAfter:
			http.Error(w, "not ready yet", http.StatusServiceUnavailable)
		case age >= s.unreadyAfter:
			http.Error(w, "no longer ready", http.StatusServiceUnavailable)
		case draining.Load():
			http.Error(w, "draining", http.StatusServiceUnavailable)
		default:
			fmt.Fprintln(w, "ok")
		}
	})
	mux.HandleFunc("/metrics", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/plain; version=0.0.4; charset=utf-8")
		counted.write(w, s.version)
	})
	mux.HandleFunc("/", func(w http.ResponseWriter, _ *http.Request) {
		code := counted.next(func(number int) int {
			if s.fails(number, time.Since(began)) {
				return http.StatusInternalServerError
			}
			return s.answer
		})
		w.Header().Set("X-Version", s.version)
		w.WriteHeader(code)
		fmt.Fprintln(w, s.version)
	})
	return mux
}

func (s settings) fails(number int, age time.Duration) bool {
	if age >= s.failAfter || s.failFrom > 0 && number >= s.failFrom {
		return true
	}
	if s.failFile == "" {
		return false
	}
	_, err := os.Stat(s.failFile)
	return err == nil
}
