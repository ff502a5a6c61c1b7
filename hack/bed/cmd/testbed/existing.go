// Somebody else's cluster as a bed: `up --context NAME`.
//
// Comes in: a context of the user's kubeconfig. Goes out: a kubeconfig of that cluster alone, the chart in it, the
// controller's rights. Nothing is started, and `down` leaves the cluster as it is.
package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// existingTools needs no Kubernetes of its own: helm always, kubectl if the user has none.
func existingTools(ctx context.Context, repo string) (tools, error) {
	names := []string{"helm"}
	own, err := exec.LookPath("kubectl")
	if err != nil {
		names = append(names, "kube")
	}
	t, err := buildSome(ctx, repo, names)
	if err == nil && own != "" {
		t["kubectl"] = own
	}
	return t, err
}

// adopt writes the kubeconfig of the context, with everything inside.
func (b *bed) adopt(ctx context.Context, t tools) error {
	var errors lastLines
	view := exec.CommandContext(ctx, t["kubectl"], "config", "view", "--raw", "--minify", "--flatten", "--context", b.state.Context)
	view.Env = os.Environ() // the user's KUBECONFIG is the point
	view.Stderr = &errors
	text, err := view.Output()
	if err != nil {
		return fmt.Errorf("context %q: %w\n%s", b.state.Context, err, indent(errors.tail(5)))
	}
	if err := replaceFile(b.path("admin.kubeconfig"), text, 0o600); err != nil {
		return err
	}
	return step("cluster answers", nil, func() error {
		var answer strings.Builder
		err := b.tool(ctx, &answer, t["kubectl"], "get", "--raw", "/readyz")
		if err != nil {
			return fmt.Errorf("%s: %w", filepath.Base(b.state.Context), err)
		}
		return nil
	})
}
