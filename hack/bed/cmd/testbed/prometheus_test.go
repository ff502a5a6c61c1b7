package main

import (
	"reflect"
	"strings"
	"testing"
)

func TestPrometheusReadsWhatTestsWrite(t *testing.T) {
	b := bed{name: "x", folder: "/bed", state: state{Prometheus: true, Ports: map[string]int{"prometheus": 20009, "alertmanager": 20010}}}
	config := b.prometheusConfig("")
	for _, part := range []string{
		`rule_files: ["/bed/rules/*.yaml"]`,
		`alerting: {alertmanagers: [{static_configs: [{targets: ["127.0.0.1:20010"]}]}]}`,
		`honor_labels: true, file_sd_configs: [{files: ["/bed/scrape/*.json"]`,
	} {
		if !strings.Contains(config, part) {
			t.Errorf("%s is missing in\n%s", part, config)
		}
	}
	if strings.Contains(config, "http_sd_configs") {
		t.Errorf("addresses of fake pods are asked:\n%s", config)
	}
	if config := b.prometheusConfig("http://127.0.0.1:20011"); !strings.Contains(config, `http_sd_configs: [{url: "http://127.0.0.1:20011"`) {
		t.Errorf("pods are not looked at:\n%s", config)
	}
}

func TestOnlyABedWithPrometheusNamesOne(t *testing.T) {
	b := bed{name: "x", folder: "/bed", state: state{Node: fake, Ports: map[string]int{"prometheus": 20009, "alertmanager": 20010}}}
	if got := b.prometheusEnvironment(); got != nil {
		t.Errorf("got %v", got)
	}
	b.state.Prometheus = true
	if got := b.prometheusEnvironment(); !reflect.DeepEqual(got, [][2]string{{"BASCULE_PROMETHEUS", "http://127.0.0.1:20009"},
		{"BASCULE_ALERTMANAGER", "http://127.0.0.1:20010"}, {"BASCULE_PROMETHEUS_RULES", "/bed/rules"},
		{"BASCULE_PROMETHEUS_TARGETS", "/bed/scrape"}}) {
		t.Errorf("got %v", got)
	}
	if !b.mustHave("prometheus") || b.mustHave("prometheus-targets") || (&bed{}).mustHave("prometheus") {
		t.Error("it belongs to the beds that were asked for one, and its targets to those with real pods")
	}
}
