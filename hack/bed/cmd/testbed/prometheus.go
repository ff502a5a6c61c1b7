// Prometheus, for gates that ask it: a real one, which looks at pods every second (targets.go).
//
// Comes in: Debian's package, a control plane; files with rules and targets, which tests write. Goes out: a part that answers the
// Prometheus API and tells the bed's Alertmanager, and the variables by which all of it is found.
package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
)

// What the package holds and a bed uses: the server, and a command to ask it.
var prometheusPackage = unpacked{name: "prometheus", folder: "prometheus", programs: []string{"prometheus", "promtool"}}

// prometheusTools is the folder of its programs.
func prometheusTools(ctx context.Context) (string, error) { return prometheusPackage.tools(ctx) }

func (b *bed) startPrometheus(ctx context.Context) error {
	folder, err := prometheusTools(ctx)
	if err != nil {
		return err
	}
	link := b.path("bin", "promtool")
	os.Remove(link)
	if err := os.Symlink(filepath.Join(folder, "promtool"), link); err != nil {
		return err
	}
	pods := ""
	// Addresses of fake pods are nobody's, or somebody else's: they are never asked.
	if b.state.Node == real {
		if err := b.startTargets(ctx); err != nil {
			return err
		}
		pods = "http://" + b.address("prometheus-targets")
	}
	for _, folder := range []string{b.rulesFolder(), b.scrapeFolder()} {
		if err := os.MkdirAll(folder, 0o755); err != nil {
			return err
		}
	}
	if err := replaceFile(b.path("prometheus.yaml"), []byte(b.prometheusConfig(pods)), 0o644); err != nil {
		return err
	}
	return b.startPart(ctx, part{
		name: "prometheus",
		command: b.inside(filepath.Join(folder, "prometheus"), "--config.file="+b.path("prometheus.yaml"),
			"--storage.tsdb.path="+b.path("prometheus"), "--storage.tsdb.retention.time=1h",
			"--web.listen-address="+b.address("prometheus"), "--web.enable-lifecycle", "--log.level=warn",
			// It hears of new pods every 5 s, whatever is said here; without this another 5 s would come on top.
			"--scrape.discovery-reload-interval=100ms",
			// In its first seconds it does not know Alertmanager yet, and drops what it has to say; a minute later it would say it again.
			"--rules.alert.resend-delay=1s"),
		port: b.state.Ports["prometheus"], healthy: b.answers200("http://" + b.address("prometheus") + "/-/ready"), within: healthyWithin,
	})
}

// Where tests put rules (then they POST /-/reload) and targets (which are seen by themselves).
func (b *bed) rulesFolder() string  { return b.path("rules") }
func (b *bed) scrapeFolder() string { return b.path("scrape") }

// prometheusConfig looks at whatever the files of tests name, and at whatever pods targets names.
func (b *bed) prometheusConfig(targets string) string {
	text := "global: {scrape_interval: 1s, scrape_timeout: 1s, evaluation_interval: 1s}\n" +
		fmt.Sprintf("rule_files: [%q]\n", filepath.Join(b.rulesFolder(), "*.yaml"))
	if b.hasAlertmanager() {
		text += fmt.Sprintf("alerting: {alertmanagers: [{static_configs: [{targets: [%q]}]}]}\n", b.address("alertmanager"))
	}
	// honor_labels: the namespace that a series of the controller names is a Release's, and not that of its pod.
	text += fmt.Sprintf("scrape_configs:\n- {job_name: files, honor_labels: true, file_sd_configs: [{files: [%q], refresh_interval: 1s}]}\n",
		filepath.Join(b.scrapeFolder(), "*.json"))
	if targets != "" {
		text += fmt.Sprintf("- {job_name: pods, http_sd_configs: [{url: %q, refresh_interval: 1s}]}\n", targets)
	}
	return text
}

// prometheusEnvironment is how tests find it: the same address inside and outside of the bed's network.
func (b *bed) prometheusEnvironment() [][2]string {
	if !b.state.Prometheus {
		return nil
	}
	vars := [][2]string{{"BASCULE_PROMETHEUS", "http://" + b.address("prometheus")}}
	if b.hasAlertmanager() {
		vars = append(vars, [2]string{"BASCULE_ALERTMANAGER", "http://" + b.address("alertmanager")},
			[2]string{"BASCULE_PROMETHEUS_RULES", b.rulesFolder()}, [2]string{"BASCULE_PROMETHEUS_TARGETS", b.scrapeFolder()})
	}
	return vars
}
