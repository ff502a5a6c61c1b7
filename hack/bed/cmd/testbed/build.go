// The binaries of the bed: built once, kept by the hash of what they are made of.
//
// Comes in: the Go sources of hack/bed and its tool modules. Goes out: paths of binaries in
// <cache>/<part>-<hash>/. They never lie below target/, so that `cargo clean` costs nothing here.
package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"sort"
	"strings"
	"sync/atomic"
	"time"
)

// kubernetesVersion is what the binary calls itself; without it clients meet a server of version 0.
const kubernetesVersion = "1.36.3"

// cacheAge is how long a binary that no longer matches the sources is kept for other branches.
const cacheAge = 14 * 24 * time.Hour

// binary is one thing to build.
type binary struct {
	name    string   // of the file
	folder  string   // below hack/bed: where go runs
	target  string   // the package
	sources []string // files and folders below folder whose content decides the hash
	ldflags string
	links   []string // names under which the same file is found too
	note    string   // said while it builds
}

var binaries = []binary{
	{
		name: "kube", folder: ".", target: "./cmd/kube", sources: []string{"go.mod", "go.sum", "cmd/kube"},
		ldflags: versionFlags(kubernetesVersion),
		links:   []string{"etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler", "kubelet", "kube-proxy", "kubectl"},
		note:    "Kubernetes itself; about 6 minutes the first time",
	},
	{name: "kwok", folder: ".", target: "sigs.k8s.io/kwok/cmd/kwok", sources: []string{"go.mod", "go.sum"}, note: "fake nodes"},
	{name: "registry", folder: "tools/registry", target: ".", sources: []string{"."}, note: "image registry"},
	{name: "helm", folder: "tools/helm", target: "helm.sh/helm/v3/cmd/helm", sources: []string{"."}, note: "about 1 minute the first time"},
	{name: "app", folder: ".", target: "./cmd/app", sources: []string{"cmd/app"}, note: "example image"},
	{name: "pause", folder: ".", target: "./cmd/pause", sources: []string{"cmd/pause"}, note: "pause image"},
}

func versionFlags(version string) string {
	const at = "-X k8s.io/component-base/version."
	number := strings.SplitN(version, ".", 3)
	return fmt.Sprintf("%sgitVersion=v%s %sgitMajor=%s %sgitMinor=%s %sgitTreeState=clean",
		at, version, at, number[0], at, number[1], at)
}

func cacheFolder() (string, error) {
	if base := os.Getenv("XDG_CACHE_HOME"); base != "" {
		return filepath.Join(base, "bascule"), nil
	}
	home, err := os.UserHomeDir()
	if err != nil {
		return "", err
	}
	return filepath.Join(home, ".cache", "bascule"), nil
}

// tools finds the binaries after a build.
type tools map[string]string

// buildAll builds what is missing and says where everything is.
func buildAll(ctx context.Context, repo string) (tools, error) {
	var names []string
	for _, each := range binaries {
		names = append(names, each.name)
	}
	return buildSome(ctx, repo, names)
}

func buildSome(ctx context.Context, repo string, names []string) (tools, error) {
	cache, err := cacheFolder()
	if err != nil {
		return nil, err
	}
	found := tools{}
	for _, each := range binaries {
		if !slices.Contains(names, each.name) {
			continue
		}
		path, err := each.build(ctx, filepath.Join(repo, "hack", "bed"), cache)
		if err != nil {
			return nil, err
		}
		found[each.name] = path
		for _, link := range each.links {
			found[link] = filepath.Join(filepath.Dir(path), link)
		}
	}
	// The standard way to name one's own API server; what it does not hold is ours.
	if assets := os.Getenv("KUBEBUILDER_ASSETS"); assets != "" {
		for _, name := range []string{"etcd", "kube-apiserver", "kubectl"} {
			if path := filepath.Join(assets, name); executable(path) {
				found[name] = path
			}
		}
	}
	return found, nil
}

func (p binary) build(ctx context.Context, bedFolder, cache string) (string, error) {
	folder := filepath.Join(bedFolder, p.folder)
	hash, err := contentHash(folder, p.sources, p.target+"\n"+p.ldflags)
	if err != nil {
		return "", err
	}
	home := filepath.Join(cache, p.name+"-"+hash)
	path := filepath.Join(home, p.name)
	if executable(path) {
		now := time.Now()
		os.Chtimes(home, now, now) // so that the pruning below sees that it is in use
		return path, nil
	}
	release, err := lockFile(ctx, filepath.Join(cache, "."+p.name+".lock"))
	if err != nil {
		return "", err
	}
	defer release()
	if executable(path) {
		return path, nil // somebody else built it while we waited
	}
	if _, err := exec.LookPath("go"); err != nil {
		return "", errors.New("Go is missing; it builds the bed (https://go.dev/dl)")
	}
	// Only the finished file gets the name that others look for, and the links are there before it.
	if err := os.MkdirAll(home, 0o755); err != nil {
		return "", err
	}
	fresh := path + ".new"
	var output lastLines
	err = step("build "+p.name, func() string { return progressNote(p.note, &output) }, func() error {
		build := exec.CommandContext(ctx, "go", "build", "-v", "-trimpath",
			"-ldflags", strings.TrimSpace("-s -w "+p.ldflags), "-o", fresh, p.target)
		build.Dir = folder
		build.Env = append(os.Environ(), "CGO_ENABLED=0")
		build.Stderr = &output
		build.Cancel = func() error { return build.Process.Signal(os.Interrupt) } // lets go remove its work folder
		return build.Run()
	})
	if err != nil {
		if ctx.Err() != nil {
			return "", ctx.Err()
		}
		return "", fmt.Errorf("building %s failed: %w\n%s", p.name, err, output.tail(20))
	}
	for _, link := range p.links {
		os.Remove(filepath.Join(home, link))
		if err := os.Symlink(p.name, filepath.Join(home, link)); err != nil {
			return "", err
		}
	}
	if err := os.Rename(fresh, path); err != nil {
		return "", err
	}
	prune(cache, p.name, home)
	return path, nil
}

func progressNote(note string, output *lastLines) string {
	if n := output.count.Load(); n > 0 {
		return fmt.Sprintf("%s; %d packages so far", note, n)
	}
	return note
}

// prune removes binaries of the same part that no branch has used for long.
func prune(cache, name, keep string) {
	homes, _ := filepath.Glob(filepath.Join(cache, name+"-*"))
	for _, home := range homes {
		info, err := os.Stat(home)
		if err == nil && home != keep && time.Since(info.ModTime()) > cacheAge {
			os.RemoveAll(home)
		}
	}
}

// contentHash names content: the paths below folder, what the files hold, and a salt.
func contentHash(folder string, sources []string, salt string) (string, error) {
	var files []string
	for _, source := range sources {
		err := filepath.WalkDir(filepath.Join(folder, source), func(path string, entry fs.DirEntry, err error) error {
			if err == nil && entry.Type().IsRegular() && !strings.HasSuffix(path, "_test.go") {
				files = append(files, path)
			}
			return err
		})
		if err != nil {
			return "", err
		}
	}
	sort.Strings(files)
	sum := sha256.New()
	fmt.Fprintf(sum, "%s\n", salt)
	for _, path := range files {
		text, err := os.ReadFile(path)
		if err != nil {
			return "", err
		}
		name, err := filepath.Rel(folder, path)
		if err != nil {
			return "", err
		}
		fmt.Fprintf(sum, "%s %d\n", name, len(text))
		sum.Write(text)
	}
	return hex.EncodeToString(sum.Sum(nil))[:16], nil
}

func executable(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.Mode().IsRegular() && info.Mode()&0o111 != 0
}

// lastLines keeps the end of a program's output and counts its lines.
type lastLines struct {
	text  bytes.Buffer
	count atomic.Int64
}

// keepOutput bounds what is kept of a program's output: enough for any error message.
const keepOutput = 64 << 10

func (l *lastLines) Write(p []byte) (int, error) {
	l.count.Add(int64(bytes.Count(p, []byte("\n"))))
	l.text.Write(p)
	if extra := l.text.Len() - keepOutput; extra > 0 {
		l.text.Next(extra)
	}
	return len(p), nil
}

func (l *lastLines) tail(n int) string {
	lines := strings.Split(strings.TrimRight(l.text.String(), "\n"), "\n")
	return strings.Join(lines[max(0, len(lines)-n):], "\n")
}
