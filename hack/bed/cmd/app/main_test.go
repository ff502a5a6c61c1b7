package main

import (
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"sync/atomic"
	"testing"
	"time"
)

func env(pairs map[string]string) func(string) string {
	return func(name string) string { return pairs[name] }
}

func status(s settings, path string, age time.Duration, draining bool) int {
	var d atomic.Bool
	d.Store(draining)
	answer := httptest.NewRecorder()
	s.handler(time.Now().Add(-age), &d).ServeHTTP(answer, httptest.NewRequest("GET", path, nil))
	return answer.Code
}

func TestItIsReadyBetweenItsTwoTimes(t *testing.T) {
	s, err := read(env(map[string]string{"READY_AFTER": "10s", "UNREADY_AFTER": "20s"}))
	if err != nil {
		t.Fatal(err)
	}
	for age, want := range map[time.Duration]int{5 * time.Second: 503, 15 * time.Second: 200, 25 * time.Second: 503} {
		if got := status(s, "/healthz", age, false); got != want {
			t.Errorf("at the age of %s: %d, want %d", age, got, want)
		}
	}
}

func TestItStillServesWhileDraining(t *testing.T) {
	s, _ := read(env(nil))
	if got := status(s, "/", time.Second, true); got != 200 {
		t.Errorf("/ answers %d while draining", got)
	}
	if got := status(s, "/healthz", time.Second, true); got != 503 {
		t.Errorf("/healthz answers %d while draining", got)
	}
}

func TestNeverIsNeverReady(t *testing.T) {
	s, _ := read(env(map[string]string{"READY_AFTER": "never"}))
	if got := status(s, "/healthz", 1000*time.Hour, false); got != 503 {
		t.Errorf("/healthz answers %d", got)
	}
}

func TestAnswerIsTheStatusOfTheRoot(t *testing.T) {
	s, _ := read(env(map[string]string{"ANSWER": "500", "VERSION": "v9"}))
	answer := httptest.NewRecorder()
	s.handler(time.Now(), new(atomic.Bool)).ServeHTTP(answer, httptest.NewRequest("GET", "/", nil))
	if answer.Code != 500 || answer.Body.String() != "v9\n" || answer.Header().Get("X-Version") != "v9" {
		t.Errorf("got %d %q %q", answer.Code, answer.Body, answer.Header())
	}
}

func TestWrongSettingsAreNamed(t *testing.T) {
	for _, wrong := range []map[string]string{{"ANSWER": "teapot"}, {"DRAIN": "soon"}, {"FAIL_AFTER": "soon"}, {"FAIL_FROM": "0"}} {
		if _, err := read(env(wrong)); err == nil {
			t.Errorf("%v is accepted", wrong)
		}
	}
}

func TestItFailsAfterItsTimeAndIsReadyAllTheSame(t *testing.T) {
	s, err := read(env(map[string]string{"FAIL_AFTER": "10s"}))
	if err != nil {
		t.Fatal(err)
	}
	for age, want := range map[time.Duration]int{5 * time.Second: 200, 15 * time.Second: 500} {
		if got := status(s, "/", age, false); got != want {
			t.Errorf("at the age of %s: %d, want %d", age, got, want)
		}
	}
	for _, path := range []string{"/healthz", "/metrics"} {
		if got := status(s, path, 15*time.Second, false); got != 200 {
			t.Errorf("%s answers %d", path, got)
		}
	}
}

func TestItFailsFromARequestOn(t *testing.T) {
	s, err := read(env(map[string]string{"FAIL_FROM": "3"}))
	if err != nil {
		t.Fatal(err)
	}
	handler := s.handler(time.Now(), new(atomic.Bool))
	var got []int
	for _, path := range []string{"/", "/healthz", "/metrics", "/any", "/", "/"} {
		answer := httptest.NewRecorder()
		handler.ServeHTTP(answer, httptest.NewRequest("GET", path, nil))
		got = append(got, answer.Code)
	}
	if want := []int{200, 200, 200, 200, 500, 500}; !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}

func TestItFailsWhileAFileIsThere(t *testing.T) {
	path := filepath.Join(t.TempDir(), "fail")
	s, _ := read(env(map[string]string{"FAIL_FILE": path}))
	for _, want := range []int{200, 500, 200} {
		if got := status(s, "/", time.Second, false); got != want {
			t.Fatalf("got %d, want %d", got, want)
		}
		if want == 200 {
			if err := os.WriteFile(path, nil, 0o644); err != nil {
				t.Fatal(err)
			}
		} else if err := os.Remove(path); err != nil {
			t.Fatal(err)
		}
	}
}
