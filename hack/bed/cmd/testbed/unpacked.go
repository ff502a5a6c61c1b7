// Programs of Debian's packages that are unpacked and never installed, so that no service of theirs starts.
//
// Comes in: the name of a package. Goes out: a folder of the cache with its programs. A version that is in the cache stays: one
// that changes over night breaks tests.
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

// unpacked is one such package.
type unpacked struct {
	name     string   // Debian's
	folder   string   // in the cache, with the version behind it
	programs []string // the first is the one that people who have it installed would have in their PATH
}

// unpackedPackages are all that a bed uses.
var unpackedPackages = []unpacked{prometheusPackage, alertmanagerPackage}

// tools is the folder of its programs.
func (u unpacked) tools(ctx context.Context) (string, error) {
	cache, err := cacheFolder()
	if err != nil {
		return "", err
	}
	release, err := lockFile(ctx, filepath.Join(cache, "."+u.folder+".lock"))
	if err != nil {
		return "", err
	}
	defer release()
	if folder := u.find(cache); folder != "" {
		return folder, nil
	}
	if _, err := exec.LookPath("apt-get"); err != nil {
		program, err := findProgram(u.programs[0])
		if err != nil {
			return "", fmt.Errorf("%s is needed: apt-get (Debian) would bring it, or install it", u.programs[0])
		}
		return filepath.Dir(program), nil
	}
	if err := step("unpack "+u.name, nil, func() error { return u.unpack(ctx, cache) }); err != nil {
		return "", err
	}
	return u.find(cache), nil
}

func (u unpacked) find(cache string) string {
	folders, _ := filepath.Glob(filepath.Join(cache, u.folder+"-*", "usr", "bin"))
	i := slices.IndexFunc(folders, func(folder string) bool {
		return !slices.ContainsFunc(u.programs, func(name string) bool { return !executable(filepath.Join(folder, name)) })
	})
	if i < 0 {
		return ""
	}
	return folders[i]
}

func (u unpacked) unpack(ctx context.Context, cache string) error {
	fresh := filepath.Join(cache, "."+u.folder+".new")
	if err := os.RemoveAll(fresh); err != nil {
		return err
	}
	defer os.RemoveAll(fresh)
	if err := os.MkdirAll(fresh, 0o755); err != nil {
		return err
	}
	if err := aptDownload(ctx, u.name, fresh); err != nil {
		return err
	}
	files, _ := filepath.Glob(filepath.Join(fresh, u.name+"_*.deb"))
	if len(files) != 1 {
		return fmt.Errorf("apt-get download %s: one package was expected, not %d", u.name, len(files))
	}
	version, err := packageVersion(files[0])
	if err != nil {
		return err
	}
	if err := runQuietly(ctx, "dpkg", "-x", files[0], filepath.Join(fresh, "root")); err != nil {
		return err
	}
	home := filepath.Join(cache, u.folder+"-"+version)
	if err := os.RemoveAll(home); err != nil {
		return err
	}
	// The last step, so that half a package is never taken for a whole one.
	if err := os.Rename(filepath.Join(fresh, "root"), home); err != nil {
		return err
	}
	if u.find(cache) == "" {
		return fmt.Errorf("%s %s: unpacked, but without %s", u.name, version, strings.Join(u.programs, " and "))
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

// printTool says where a program of these packages is, for scripts that need no bed.
func printTool(ctx context.Context, rest []string) error {
	var known []string
	for _, each := range unpackedPackages {
		known = append(known, each.programs...)
		if len(rest) != 1 || !slices.Contains(each.programs, rest[0]) {
			continue
		}
		folder, err := each.tools(ctx)
		if err != nil {
			return err
		}
		fmt.Println(filepath.Join(folder, rest[0]))
		return nil
	}
	return errors.New("tool NAME: one of " + strings.Join(known, ", "))
}
