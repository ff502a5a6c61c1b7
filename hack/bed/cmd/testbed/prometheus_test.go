package main

import (
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
)

func program(t *testing.T, path string) {
	t.Helper()
	write(t, path, "#!/bin/sh\n")
	if err := os.Chmod(path, 0o755); err != nil {
		t.Fatal(err)
	}
}

func TestWithoutPodsNothingIsLookedAt(t *testing.T) {
	if config := prometheusConfig(""); strings.Contains(config, "scrape_configs") {
		t.Errorf("got\n%s", config)
	}
	if config := prometheusConfig("http://127.0.0.1:20010"); !strings.Contains(config, `http_sd_configs: [{url: "http://127.0.0.1:20010"`) {
		t.Errorf("got\n%s", config)
	}
}

func TestHalfAPackageIsNotTakenForAWholeOne(t *testing.T) {
	cache := t.TempDir()
	folder := filepath.Join(cache, "prometheus-2.42.0+ds-5", "usr", "bin")
	program(t, filepath.Join(folder, "prometheus"))
	if got := unpackedPrometheus(cache); got != "" {
		t.Errorf("got %q without promtool", got)
	}
	program(t, filepath.Join(folder, "promtool"))
	if got := unpackedPrometheus(cache); got != folder {
		t.Errorf("got %q", got)
	}
}

func TestAPackagesVersionIsInItsName(t *testing.T) {
	if got, err := packageVersion("/cache/prometheus_2.42.0+ds-5+deb12u1_amd64.deb"); err != nil || got != "2.42.0+ds-5+deb12u1" {
		t.Errorf("%q %v", got, err)
	}
	if got, err := packageVersion("/cache/prometheus.deb"); err == nil {
		t.Errorf("got %q", got)
	}
}

func TestOnlyABedWithPrometheusNamesOne(t *testing.T) {
	b := bed{name: "x", folder: "/bed", state: state{Node: fake, Ports: map[string]int{"prometheus": 20009}}}
	if got := b.prometheusEnvironment(); got != nil {
		t.Errorf("got %v", got)
	}
	b.state.Prometheus = true
	if got := b.prometheusEnvironment(); !reflect.DeepEqual(got, [][2]string{{"BASCULE_PROMETHEUS", "http://127.0.0.1:20009"}}) {
		t.Errorf("got %v", got)
	}
	if !b.mustHave("prometheus") || b.mustHave("prometheus-targets") || (&bed{}).mustHave("prometheus") {
		t.Error("it belongs to the beds that were asked for one, and its targets to those with real pods")
	}
}
