package main

import (
	"context"
	"os"
	"path/filepath"
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

func TestHalfAPackageIsNotTakenForAWholeOne(t *testing.T) {
	cache := t.TempDir()
	folder := filepath.Join(cache, "prometheus-2.42.0+ds-5", "usr", "bin")
	program(t, filepath.Join(folder, "prometheus"))
	if got := prometheusPackage.find(cache); got != "" {
		t.Errorf("got %q without promtool", got)
	}
	program(t, filepath.Join(folder, "promtool"))
	if got := prometheusPackage.find(cache); got != folder {
		t.Errorf("got %q", got)
	}
	if got := alertmanagerPackage.find(cache); got != "" {
		t.Errorf("another package was taken for it: %q", got)
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

func TestAToolThatNobodyHasIsNamedBesideThoseThatThereAre(t *testing.T) {
	err := printTool(context.Background(), []string{"grafana"})
	if err == nil || !strings.Contains(err.Error(), "promtool") || !strings.Contains(err.Error(), "amtool") {
		t.Errorf("got %v", err)
	}
}
