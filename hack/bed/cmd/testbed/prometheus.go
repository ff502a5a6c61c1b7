// Prometheus, for gates that ask it: a real one, which looks at pods every second (targets.go).
//
// Comes in: Debian's package, a control plane. Goes out: a part that answers the Prometheus API, and the variable by which it
// is found. The package is unpacked into the cache and never installed, so no service of it starts.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
)

// What the package holds and a bed uses: the server, and a command to ask it.
var prometheusPrograms = []string{"prometheus", "promtool"}

// prometheusTools is the folder of its programs. A version that is in the cache stays: one that changes over night breaks tests.
func prometheusTools(ctx context.Context) (string, error) {
	cache, err := cacheFolder()
	if err != nil {
		return "", err
	}
	release, err := lockFile(ctx, filepath.Join(cache, ".prometheus.lock"))
	if err != nil {
		return "", err
	}
	defer release()
	if folder := unpackedPrometheus(cache); folder != "" {
		return folder, nil
	}
	if _, err := exec.LookPath("apt-get"); err != nil {
		program, err := findProgram("prometheus")
		if err != nil {
			return "", errors.New("--prometheus needs apt-get (Debian), or a prometheus that is installed")
		}
		return filepath.Dir(program), nil
	}
	err = step("unpack prometheus", nil, func() error { return unpackPrometheus(ctx, cache) })
	if err != nil {
		return "", fmt.Errorf("--prometheus: %w", err)
	}
	return unpackedPrometheus(cache), nil
}

func unpackedPrometheus(cache string) string {
	folders, _ := filepath.Glob(filepath.Join(cache, "prometheus-*", "usr", "bin"))
	i := slices.IndexFunc(folders, func(folder string) bool {
		return !slices.ContainsFunc(prometheusPrograms, func(name string) bool { return !executable(filepath.Join(folder, name)) })
	})
	if i < 0 {
		return ""
	}
	return folders[i]
}

func unpackPrometheus(ctx context.Context, cache string) error {
	fresh := filepath.Join(cache, ".prometheus.new")
	if err := os.RemoveAll(fresh); err != nil {
		return err
	}
	defer os.RemoveAll(fresh)
	if err := os.MkdirAll(fresh, 0o755); err != nil {
		return err
	}
	if err := aptDownload(ctx, "prometheus", fresh); err != nil {
		return err
	}
	files, _ := filepath.Glob(filepath.Join(fresh, "prometheus_*.deb"))
	if len(files) != 1 {
		return fmt.Errorf("apt-get download prometheus: one package was expected, not %d", len(files))
	}
	version, err := packageVersion(files[0])
	if err != nil {
		return err
	}
	if err := runQuietly(ctx, "dpkg", "-x", files[0], filepath.Join(fresh, "root")); err != nil {
		return err
	}
	home := filepath.Join(cache, "prometheus-"+version)
	if err := os.RemoveAll(home); err != nil {
		return err
	}
	// The last step, so that half a package is never taken for a whole one.
	if err := os.Rename(filepath.Join(fresh, "root"), home); err != nil {
		return err
	}
	if unpackedPrometheus(cache) == "" {
		return fmt.Errorf("prometheus %s: unpacked, but without %s", version, strings.Join(prometheusPrograms, " and "))
	}
	return nil
}

// packageVersion reads NAME_VERSION_ARCHITECTURE.deb.
func packageVersion(path string) (string, error) {
	words := strings.Split(filepath.Base(path), "_")
	if len(words) != 3 {
		return "", fmt.Errorf("%s is no name of a Debian package", filepath.Base(path))
	}
	return words[1], nil
}

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
	if err := replaceFile(b.path("prometheus.yaml"), []byte(prometheusConfig(pods)), 0o644); err != nil {
		return err
	}
	return b.startPart(ctx, part{
		name: "prometheus",
		command: b.inside(filepath.Join(folder, "prometheus"), "--config.file="+b.path("prometheus.yaml"),
			"--storage.tsdb.path="+b.path("prometheus"), "--storage.tsdb.retention.time=1h",
			"--web.listen-address="+b.address("prometheus"), "--web.enable-lifecycle", "--log.level=warn",
			// It hears of new pods every 5 s, whatever is said here; without this another 5 s would come on top.
			"--scrape.discovery-reload-interval=100ms"),
		port: b.state.Ports["prometheus"], healthy: b.answers200("http://" + b.address("prometheus") + "/-/ready"), within: healthyWithin,
	})
}

// prometheusConfig looks at whatever pods targets names; without it at nothing.
func prometheusConfig(targets string) string {
	text := "global: {scrape_interval: 1s, scrape_timeout: 1s, evaluation_interval: 1s}\n"
	if targets != "" {
		text += fmt.Sprintf("scrape_configs:\n- {job_name: pods, http_sd_configs: [{url: %q, refresh_interval: 1s}]}\n", targets)
	}
	return text
}

// prometheusEnvironment is how tests find it: the same address inside and outside of the bed's network.
func (b *bed) prometheusEnvironment() [][2]string {
	if !b.state.Prometheus {
		return nil
	}
	return [][2]string{{"BASCULE_PROMETHEUS", "http://" + b.address("prometheus")}}
}
