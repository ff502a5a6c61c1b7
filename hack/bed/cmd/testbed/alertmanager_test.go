package main

import (
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
)

func TestABedWithPrometheusHasAnAlertmanager(t *testing.T) {
	b := bed{state: state{Prometheus: true, Ports: map[string]int{"prometheus": 20009, "alertmanager": 20010}}}
	if !b.mustHave("alertmanager") {
		t.Error("it is not missed")
	}
	b.state.Prometheus = false
	if b.mustHave("alertmanager") {
		t.Error("nobody asked for it")
	}
}

// Such a bed is of an earlier checkout, and somebody works with it.
func TestABedWithoutAPortForItGoesOnWithoutIt(t *testing.T) {
	b := bed{name: "x", folder: "/bed", state: state{Prometheus: true, Ports: map[string]int{"prometheus": 20009}}}
	if b.mustHave("alertmanager") {
		t.Error("the bed would be made anew")
	}
	if got := b.prometheusEnvironment(); !reflect.DeepEqual(got, [][2]string{{"BASCULE_PROMETHEUS", "http://127.0.0.1:20009"}}) {
		t.Errorf("got %v", got)
	}
	if config := b.prometheusConfig(""); strings.Contains(config, "alerting") {
		t.Errorf("got\n%s", config)
	}
}

func TestWhatIsUnpackedSeesItsOwnFiles(t *testing.T) {
	home := t.TempDir()
	programs := filepath.Join(home, "usr", "bin")
	if got := withOwnShare(programs, 0, "alertmanager"); !reflect.DeepEqual(got, []string{"alertmanager"}) {
		t.Errorf("it was installed, and is started as it is, not %v", got)
	}
	if err := os.MkdirAll(filepath.Join(home, "usr", "share", "prometheus", "alertmanager"), 0o755); err != nil {
		t.Fatal(err)
	}
	root := strings.Join(withOwnShare(programs, 0, "alertmanager", "--flag"), " ")
	if !strings.HasPrefix(root, "unshare --mount -- sh ") || !strings.HasSuffix(root, filepath.Join(home, "usr", "share")+" alertmanager --flag") {
		t.Errorf("got %s", root)
	}
	if other := strings.Join(withOwnShare(programs, 1000, "alertmanager"), " "); !strings.HasPrefix(other, "unshare --mount --user --map-root-user -- ") {
		t.Errorf("without root it may not mount: %s", other)
	}
}
