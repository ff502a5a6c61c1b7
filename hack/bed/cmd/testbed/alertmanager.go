// Alertmanager, beside Prometheus: whoever tests alerts asks it what it was told.
//
// Comes in: Debian's package. Goes out: a part that answers the Alertmanager API and sends nothing to anybody, and the variable by
// which it is found.
package main

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
)

var alertmanagerPackage = unpacked{name: "prometheus-alertmanager", folder: "alertmanager", programs: []string{"prometheus-alertmanager", "amtool"}}

// Tests ask its API, so nobody needs to be told. Without the waits an alert is in a group as soon as it is there.
const alertmanagerConfig = `route: {receiver: nobody, group_by: [alertname, environment, namespace], group_wait: 0s, group_interval: 1s, repeat_interval: 30m}
receivers: [{name: nobody}]
`

// hasAlertmanager: beds that were made before there was one go on without it.
func (b *bed) hasAlertmanager() bool { return b.state.Prometheus && b.state.Ports["alertmanager"] != 0 }

func (b *bed) startAlertmanager(ctx context.Context) error {
	folder, err := alertmanagerPackage.tools(ctx)
	if err != nil {
		return err
	}
	link := b.path("bin", "amtool")
	os.Remove(link)
	if err := os.Symlink(filepath.Join(folder, "amtool"), link); err != nil {
		return err
	}
	if err := replaceFile(b.path("alertmanager.yaml"), []byte(alertmanagerConfig), 0o644); err != nil {
		return err
	}
	return b.startPart(ctx, part{
		name: "alertmanager",
		command: b.inside(withOwnShare(folder, os.Geteuid(), filepath.Join(folder, "prometheus-alertmanager"),
			"--config.file="+b.path("alertmanager.yaml"), "--storage.path="+b.path("alertmanager"), "--data.retention=1h",
			"--web.listen-address="+b.address("alertmanager"),
			// Empty: without others. Else it would take a port of its own.
			"--cluster.listen-address=", "--log.level=warn")...),
		port: b.state.Ports["alertmanager"], healthy: b.answers200("http://" + b.address("alertmanager") + "/-/ready"), within: healthyWithin,
	})
}

// withOwnShare makes a command see the package's /usr/share in the place of the machine's. Debian's Alertmanager reads its
// templates from there, and only from there. It happens in a mount namespace of the command's own: nobody else sees it.
func withOwnShare(programs string, user int, command ...string) []string {
	share := filepath.Join(programs, "..", "share")
	if _, err := os.Stat(filepath.Join(share, "prometheus", "alertmanager")); errors.Is(err, fs.ErrNotExist) || filepath.Clean(share) == "/usr/share" {
		return command // it was installed, not unpacked
	}
	words := []string{"unshare", "--mount"}
	if user != 0 {
		words = append(words, "--user", "--map-root-user")
	}
	// exec all the way, so that the process that was started is the one that runs.
	words = append(words, "--", "sh", "-c", `mount --bind "$0" /usr/share && exec "$@"`, share)
	return append(words, command...)
}
