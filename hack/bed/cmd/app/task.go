package main

import (
	"context"
	"fmt"
	"io"
	"log"
	"net/http"
	"os"
	"strconv"
	"strings"
	"time"
)

// terminationLog is where Kubernetes looks for what a container has to say at its end.
const terminationLog = "/dev/termination-log"

// terminated is what a shell makes of SIGTERM: 128 and its number.
const terminated = 143

// callTimeout bounds the one request of a task.
const callTimeout = 10 * time.Second

// task is a piece of work with an end: a hook, or a gate that is a Job. It does what is set, in this order.
//
//	TASK_CALL      a URL; whatever it answers but 200 ends the task with code 1   none
//	TASK_SAYS      text on standard output; \n begins a new line                  none
//	TASK_TAKES     how long it works; "never" is never over                       0s
//	TASK_MESSAGE   its termination message, when it comes to its end              none
//	TASK_EXIT      its exit code                                                  0
//
// SIGTERM, which ends ctx, ends it with code 143 and without the rest.
func task(ctx context.Context, env func(string) string, output io.Writer, message string) (code int) {
	takes, err := duration(env("TASK_TAKES"), 0)
	if err != nil {
		log.Printf("TASK_TAKES: %v", err)
		return 1
	}
	if v := env("TASK_EXIT"); v != "" {
		if code, err = strconv.Atoi(v); err != nil || code < 0 || code > 255 {
			log.Printf("TASK_EXIT=%q is not an exit code", v)
			return 1
		}
	}
	if url := env("TASK_CALL"); url != "" {
		err := call(ctx, url)
		if ctx.Err() != nil {
			return terminated
		}
		if err != nil {
			log.Printf("TASK_CALL: %v", err)
			return 1
		}
	}
	if says := env("TASK_SAYS"); says != "" {
		fmt.Fprintln(output, strings.ReplaceAll(says, `\n`, "\n"))
	}
	select {
	case <-ctx.Done():
		return terminated
	case <-time.After(takes):
	}
	if text := env("TASK_MESSAGE"); text != "" {
		if err := os.WriteFile(message, []byte(text), 0o644); err != nil {
			log.Printf("TASK_MESSAGE: %v", err)
			return 1
		}
	}
	return code
}

func call(ctx context.Context, url string) error {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	client := http.Client{Timeout: callTimeout}
	answer, err := client.Do(request)
	if err != nil {
		return err
	}
	answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		return fmt.Errorf("GET %s answers %s, not 200", url, answer.Status)
	}
	return nil
}
