package main

import (
	"encoding/json"
	"testing"
)

func TestPodsThatAskAreLookedAtUnderTheirLabels(t *testing.T) {
	var pods podList
	decode(t, []byte(`{"items": [
		{"metadata": {"name": "web-1", "namespace": "shop", "annotations": {"prometheus.io/scrape": "true", "prometheus.io/port": "8080"},
			"labels": {"app": "web", "bascule.dev/release": "web", "bascule.dev/track": "green", "bascule.dev/revision": "r2",
				"bascule.dev/workload": "web"}}, "status": {"podIP": "10.88.0.2"}},
		{"metadata": {"name": "bare", "namespace": "shop", "annotations": {"prometheus.io/scrape": "true", "prometheus.io/port": "80"}},
			"status": {"podIP": "10.88.0.3"}}]}`), &pods)
	got, err := json.Marshal(targets(pods))
	want := `[{"targets":["10.88.0.2:8080"],"labels":{"namespace":"shop","pod":"web-1","release":"web","revision":"r2","track":"green","workload":"web"}},` +
		`{"targets":["10.88.0.3:80"],"labels":{"namespace":"shop","pod":"bare"}}]`
	if err != nil || string(got) != want {
		t.Errorf("got  %s %v\nwant %s", got, err, want)
	}
}

func TestOtherPodsAreLeftAlone(t *testing.T) {
	var pods podList
	decode(t, []byte(`{"items": [
		{"metadata": {"name": "asks-not"}, "status": {"podIP": "10.88.0.2"}},
		{"metadata": {"name": "says-no", "annotations": {"prometheus.io/scrape": "false", "prometheus.io/port": "80"}}, "status": {"podIP": "10.88.0.3"}},
		{"metadata": {"name": "no-port", "annotations": {"prometheus.io/scrape": "true"}}, "status": {"podIP": "10.88.0.4"}},
		{"metadata": {"name": "no-address", "annotations": {"prometheus.io/scrape": "true", "prometheus.io/port": "80"}}}]}`), &pods)
	if got, err := json.Marshal(targets(pods)); err != nil || string(got) != "[]" {
		t.Errorf("got %s %v", got, err)
	}
}
