package main

import (
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

func metrics(t *testing.T, pairs map[string]string, paths ...string) string {
	t.Helper()
	s, err := read(env(pairs))
	if err != nil {
		t.Fatal(err)
	}
	handler := s.handler(time.Now(), new(atomic.Bool))
	for _, path := range paths {
		handler.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest("GET", path, nil))
	}
	answer := httptest.NewRecorder()
	handler.ServeHTTP(answer, httptest.NewRequest("GET", "/metrics", nil))
	if kind := answer.Header().Get("Content-Type"); !strings.HasPrefix(kind, "text/plain; version=0.0.4") {
		t.Errorf("it is %q", kind)
	}
	return answer.Body.String()
}

func holds(t *testing.T, text string, lines ...string) {
	t.Helper()
	for _, line := range lines {
		if !strings.Contains("\n"+text, "\n"+line+"\n") {
			t.Errorf("%s is missing:\n%s", line, text)
		}
	}
}

func TestItCountsItsAnswersButNoProbesAndNoScrapes(t *testing.T) {
	text := metrics(t, map[string]string{"VERSION": "v1", "FAIL_FROM": "3"}, "/", "/any", "/healthz", "/metrics", "/")
	holds(t, text, `http_requests_total{code="200",version="v1"} 2`, `http_requests_total{code="500",version="v1"} 1`,
		`app_info{version="v1"} 1`)
}

func TestACounterIsThereBeforeTheFirstRequest(t *testing.T) {
	text := metrics(t, map[string]string{"VERSION": "v1", "ANSWER": "404"})
	holds(t, text, `http_requests_total{code="404",version="v1"} 0`, `http_requests_total{code="500",version="v1"} 0`)
}

func TestAVersionCannotEndItsLabel(t *testing.T) {
	holds(t, metrics(t, map[string]string{"VERSION": "a\"\\\nb"}), `app_info{version="a\"\\\nb"} 1`)
}
