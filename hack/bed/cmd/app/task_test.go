package main

import (
	"bytes"
	"context"
	"log"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// ended is what became of a task: its exit code, its output, its termination message, and what it complained about.
type ended struct {
	code                   int
	output, message, wrong string
}

func perform(t *testing.T, ctx context.Context, pairs map[string]string) ended {
	t.Helper()
	var output, wrong bytes.Buffer
	log.SetOutput(&wrong)
	defer log.SetOutput(os.Stderr)
	path := filepath.Join(t.TempDir(), "termination-log")
	code := task(ctx, env(pairs), &output, path)
	message, _ := os.ReadFile(path)
	return ended{code, output.String(), string(message), wrong.String()}
}

func TestATaskSaysAndEndsAsItIsTold(t *testing.T) {
	got := perform(t, context.Background(), map[string]string{
		"TASK_SAYS": `first\nsecond`, "TASK_MESSAGE": "p99 0.2", "TASK_EXIT": "3", "TASK_TAKES": "1ms"})
	if want := (ended{3, "first\nsecond\n", "p99 0.2", ""}); got != want {
		t.Errorf("got %+v", got)
	}
	if got := perform(t, context.Background(), nil); got != (ended{}) {
		t.Errorf("without any switch: %+v", got)
	}
}

func TestATaskThatIsToldToStopComesToNoEnd(t *testing.T) {
	ctx, stop := context.WithCancel(context.Background())
	stop()
	got := perform(t, ctx, map[string]string{"TASK_TAKES": "never", "TASK_SAYS": "working", "TASK_MESSAGE": "done"})
	if want := (ended{143, "working\n", "", ""}); got != want {
		t.Errorf("got %+v", got)
	}
}

func TestATaskCallsFirst(t *testing.T) {
	code := http.StatusOK
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(code) }))
	defer server.Close()
	pairs := map[string]string{"TASK_CALL": server.URL + "/", "TASK_SAYS": "called", "TASK_EXIT": "5"}
	if got := perform(t, context.Background(), pairs); got.code != 5 || got.output != "called\n" {
		t.Errorf("got %+v", got)
	}
	code = http.StatusServiceUnavailable
	got := perform(t, context.Background(), pairs)
	if got.code != 1 || got.output != "" || !strings.Contains(got.wrong, "GET "+server.URL+"/ answers 503") {
		t.Errorf("got %+v", got)
	}
	server.Close()
	if got := perform(t, context.Background(), pairs); got.code != 1 || !strings.Contains(got.wrong, "TASK_CALL: ") {
		t.Errorf("nobody answers: %+v", got)
	}
}

func TestATasksWrongSettingsAreNamed(t *testing.T) {
	for _, wrong := range []map[string]string{{"TASK_EXIT": "256"}, {"TASK_EXIT": "one"}, {"TASK_TAKES": "long"}} {
		got := perform(t, context.Background(), wrong)
		for name := range wrong {
			if got.code != 1 || !strings.Contains(got.wrong, name) {
				t.Errorf("%v: %+v", wrong, got)
			}
		}
	}
}
