// The chart of this tree, installed by helm, and the kubeconfig with the controller's own rights.
//
// Comes in: charts/bascule. Goes out: CRDs, policies and RBAC in the cluster, and a token of the very service
// account that the chart makes, so that least privilege holds in every test. The controller itself is not
// deployed: it runs as a local process (controller.go).
package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

const (
	chartNamespace    = "bascule-system"
	controllerAccount = "bascule-controller"
)

// The controller's token outlives any working day, and is renewed by an `up` long before its end.
const tokenLife, tokenRenewal = 24 * time.Hour, 12 * time.Hour

// helmTimeout bounds an installation without any pod to wait for.
const helmTimeout = "2m"

func (b *bed) chartFolder() string { return filepath.Join(b.repo, "charts", "bascule") }

func (b *bed) hasChart() bool {
	_, err := os.Stat(filepath.Join(b.chartFolder(), "Chart.yaml"))
	return err == nil
}

// applyChart installs the chart when it is not, or no longer, the one of this tree.
func (b *bed) applyChart(ctx context.Context, t tools) error {
	if !b.hasChart() {
		return nil
	}
	hash, err := contentHash(b.chartFolder(), []string{"."}, chartNamespace)
	if err != nil {
		return err
	}
	if hash != b.state.Chart {
		err := step("chart", nil, func() error {
			return b.tool(ctx, nil, t["helm"], "upgrade", "--install", "bascule", b.chartFolder(), "--namespace", chartNamespace,
				"--create-namespace", "--set", "controller.enabled=false,gates.readSecrets=true,configs.watchSecrets=true", "--wait", "--timeout", helmTimeout)
		})
		if err != nil {
			return fmt.Errorf("the chart cannot be installed: %w", err)
		}
		b.state.Chart = hash
	}
	info, err := os.Stat(b.path("controller.kubeconfig"))
	if err == nil && time.Since(info.ModTime()) < tokenRenewal {
		return nil
	}
	return b.writeControllerKubeconfig(ctx, t)
}

// writeControllerKubeconfig is the admin's kubeconfig with the service account's token in the place of the user.
func (b *bed) writeControllerKubeconfig(ctx context.Context, t tools) error {
	var token, view strings.Builder
	if err := b.tool(ctx, &token, t["kubectl"], "create", "token", controllerAccount, "--namespace", chartNamespace,
		"--duration", tokenLife.String()); err != nil {
		return err
	}
	if err := b.tool(ctx, &view, t["kubectl"], "config", "view", "--raw", "--minify", "--flatten", "--output", "json"); err != nil {
		return err
	}
	text, err := withToken([]byte(view.String()), controllerAccount, strings.TrimSpace(token.String()))
	if err != nil {
		return err
	}
	return replaceFile(b.path("controller.kubeconfig"), text, 0o600)
}

// withToken puts one user with a token into a kubeconfig of one context.
func withToken(config []byte, user, token string) ([]byte, error) {
	var parsed map[string]any
	if err := json.Unmarshal(config, &parsed); err != nil {
		return nil, err
	}
	contexts, _ := parsed["contexts"].([]any)
	if len(contexts) != 1 {
		return nil, fmt.Errorf("a kubeconfig of one context was expected, not of %d", len(contexts))
	}
	entry, _ := contexts[0].(map[string]any)
	inner, _ := entry["context"].(map[string]any)
	if inner == nil {
		return nil, errors.New("the kubeconfig's context is empty")
	}
	inner["user"] = user
	delete(inner, "namespace")
	parsed["users"] = []any{object{"name": user, "user": object{"token": token}}}
	return json.MarshalIndent(parsed, "", "  ")
}

// tool runs kubectl or helm as the bed itself, with caches in the bed's folder instead of the user's home.
func (b *bed) tool(ctx context.Context, output *strings.Builder, name string, args ...string) error {
	command := exec.CommandContext(ctx, name, args...)
	command.Dir = b.folder
	command.Env = append(os.Environ(), "KUBECONFIG="+b.ownKubeconfig(), "KUBECACHEDIR="+b.path("cache", "kubectl"),
		"HELM_CACHE_HOME="+b.path("cache", "helm"), "HELM_CONFIG_HOME="+b.path("cache", "helm-config"),
		"HELM_DATA_HOME="+b.path("cache", "helm-data"))
	var errors lastLines
	command.Stderr = &errors
	command.Stdout = &errors
	if output != nil {
		command.Stdout = output
	}
	if err := command.Run(); err != nil {
		return fmt.Errorf("%s %s: %w\n%s", filepath.Base(name), args[0], err, indent(errors.tail(15)))
	}
	return nil
}

// ownKubeconfig has a user of its own where the bed made the cluster, so that the meter tells the bed from its users.
func (b *bed) ownKubeconfig() string {
	if b.state.Node == existing {
		return b.path("admin.kubeconfig")
	}
	return b.path("bed.kubeconfig")
}
