package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
)

// cargo builds the controller so that the same commit gives the same bytes in whatever folder it lies.
type cargo struct {
	repo, arch string
	targets    string            // folder
	homes      map[string]string // folder of crates -> what the binary calls it
	licenses   map[string]string // by "name version"
}

// crate is one of those that are linked into the binary.
type crate struct {
	name, version, license string
	sha256                 string // of its file on the registry; none for those of this tree
}

func newCargo(ctx context.Context, repo, arch string) (*cargo, error) {
	if _, err := exec.LookPath("cargo"); err != nil {
		return nil, errors.New("cargo is missing: it builds the controller and knows its crates (https://rustup.rs)")
	}
	c := &cargo{repo: repo, arch: arch, homes: map[string]string{}, licenses: map[string]string{}}
	text, err := c.ask(ctx, "metadata", "--locked", "--format-version", "1", "--filter-platform", machines[arch].rust)
	if err != nil {
		return nil, err
	}
	var metadata struct {
		Packages []struct {
			Name, Version, License, Source string
			ManifestPath                   string `json:"manifest_path"`
		}
		TargetDirectory string `json:"target_directory"`
	}
	if err := json.Unmarshal(text, &metadata); err != nil {
		return nil, fmt.Errorf("cargo metadata: %w", err)
	}
	c.targets = metadata.TargetDirectory
	for _, each := range metadata.Packages {
		c.licenses[each.Name+" "+each.Version] = each.License
		if each.Source != "" {
			// The folder's name tells which registry or mirror it was.
			c.homes[filepath.Dir(filepath.Dir(each.ManifestPath))] = "/cargo"
		}
	}
	return c, nil
}

func (c *cargo) ask(ctx context.Context, words ...string) ([]byte, error) {
	command := exec.CommandContext(ctx, "cargo", words...)
	command.Dir = c.repo
	var failed bytes.Buffer
	command.Stderr = &failed
	text, err := command.Output()
	if err != nil {
		return nil, fmt.Errorf("cargo %s: %w\n%s", words[0], err, strings.TrimSpace(failed.String()))
	}
	return text, nil
}

// build returns the path of the binary.
func (c *cargo) build(ctx context.Context, profile, revision string) (string, error) {
	m := machines[c.arch]
	renamed, err := c.renamed(ctx)
	if err != nil {
		return "", err
	}
	env, err := c.crossEnvironment(ctx)
	if err != nil {
		return "", err
	}
	command := exec.CommandContext(ctx, "cargo", "build", "--locked", "--profile", profile, "--package", programName, "--target", m.rust)
	command.Dir = c.repo
	command.Env = append(os.Environ(), env...)
	command.Env = append(command.Env, buildEnvironment(renamed, m.rust, revision)...)
	command.Stdout, command.Stderr = os.Stderr, os.Stderr
	if err := command.Run(); err != nil {
		return "", fmt.Errorf("cargo build: %w", err)
	}
	folder := profile
	if profile == "dev" {
		folder = "debug"
	}
	binary := filepath.Join(c.targets, m.rust, folder, programName)
	content, err := os.ReadFile(binary)
	if err != nil {
		return "", err
	}
	for _, each := range renamed {
		// `/src` and the like are everywhere; a folder two levels down is not.
		if path := each[0] + "/"; strings.Count(path, "/") > 2 && bytes.Contains(content, []byte(path)) {
			return "", fmt.Errorf("%s holds %s, a path of this machine", binary, path)
		}
	}
	return binary, nil
}

// renamed are folders of this machine and what the binary calls them; of two that fit a path the later one counts.
func (c *cargo) renamed(ctx context.Context) ([][2]string, error) {
	compiler := exec.CommandContext(ctx, "rustc", "--print", "sysroot")
	compiler.Dir = c.repo
	sysroot, err := compiler.Output()
	if err != nil {
		return nil, fmt.Errorf("rustc --print sysroot: %w", err)
	}
	all := [][2]string{{strings.TrimSpace(string(sysroot)), "/rust"}, {c.repo, "/bascule"}, {c.targets, "/target"}}
	for _, folder := range sortedNames(c.homes) {
		all = append(all, [2]string{folder, c.homes[folder]})
	}
	return all, nil
}

// buildEnvironment is all that decides the bytes beside the sources and the compilers.
func buildEnvironment(renamed [][2]string, target, revision string) []string {
	var rust, c []string
	for _, each := range renamed {
		rust = append(rust, "--remap-path-prefix="+each[0]+"="+each[1])
		c = append(c, "'"+strings.ReplaceAll("-ffile-prefix-map="+each[0]+"="+each[1], "'", `'\''`)+"'")
	}
	return []string{
		"BASCULE_BUILD_REVISION=" + revision,
		// Before all others that could give flags; its separator is no space.
		"CARGO_ENCODED_RUSTFLAGS=" + strings.Join(rust, "\x1f"),
		// As a shell would read them: a folder may have a space in its name.
		"CC_SHELL_ESCAPED_FLAGS=1",
		"CFLAGS_" + strings.ReplaceAll(target, "-", "_") + "=" + strings.Join(c, " "),
		"CARGO_INCREMENTAL=0",
		// A C file has __TIME__ in it. Always the same, and not the commit's: cargo would not compile that file again for another one.
		"SOURCE_DATE_EPOCH=0",
	}
}

// crossEnvironment says what is missing when another machine's code is to be made here.
func (c *cargo) crossEnvironment(ctx context.Context) ([]string, error) {
	m := machines[c.arch]
	if c.arch == runtime.GOARCH {
		return nil, nil
	}
	library := exec.CommandContext(ctx, "rustc", "--print", "target-libdir", "--target", m.rust)
	library.Dir = c.repo
	folder, err := library.Output()
	if err != nil {
		return nil, fmt.Errorf("rustc --print target-libdir: %w", err)
	}
	if _, err := os.Stat(strings.TrimSpace(string(folder))); err != nil {
		return nil, fmt.Errorf("Rust cannot build for %s yet; run: rustup target add %s", c.arch, m.rust)
	}
	if _, err := exec.LookPath(m.linker); err != nil {
		return nil, fmt.Errorf("%s is missing; as root: apt-get install --no-install-recommends %s libc6-dev-%s-cross", m.linker, m.cross, c.arch)
	}
	return []string{"CARGO_TARGET_" + strings.ToUpper(strings.ReplaceAll(m.rust, "-", "_")) + "_LINKER=" + m.linker}, nil
}

// crates are those that the binary is made of. What only runs while it is compiled (build scripts, macros) is not in it.
func (c *cargo) crates(ctx context.Context) ([]crate, error) {
	text, err := c.ask(ctx, "tree", "--locked", "--package", programName, "--edges", "normal,no-proc-macro",
		"--target", machines[c.arch].rust, "--prefix", "none", "--format", "{p}")
	if err != nil {
		return nil, err
	}
	lock, err := os.ReadFile(filepath.Join(c.repo, "Cargo.lock"))
	if err != nil {
		return nil, err
	}
	return readCrates(string(text), string(lock), c.licenses)
}

// readCrates reads cargo's list, and what Cargo.lock knows of each.
func readCrates(listed, lock string, licenses map[string]string) ([]crate, error) {
	sums := checksums(lock)
	var all []crate
	for line := range strings.Lines(listed) {
		words := strings.Fields(line) // name v1.2.3 [(folder)] [(*)]
		if len(words) < 2 {
			continue
		}
		each := crate{name: words[0], version: strings.TrimPrefix(words[1], "v")}
		key := each.name + " " + each.version
		sum, locked := sums[key]
		if !locked {
			return nil, fmt.Errorf("Cargo.lock does not know %s", key)
		}
		each.sha256, each.license = sum, licenses[key]
		all = append(all, each)
	}
	slices.SortFunc(all, func(a, b crate) int { return strings.Compare(a.name+" "+a.version, b.name+" "+b.version) })
	return slices.Compact(all), nil
}

// checksums are those of Cargo.lock by "name version"; empty for what is not from a registry.
func checksums(lock string) map[string]string {
	found := map[string]string{}
	for block := range strings.SplitSeq(lock, "[[package]]") {
		said := section("[package]\n"+block, "[package]")
		if said["name"] != "" {
			found[said["name"]+" "+said["version"]] = said["checksum"]
		}
	}
	return found
}
