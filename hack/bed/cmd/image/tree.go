package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// tree is what this checkout says of itself.
type tree struct {
	version, license, source string
	revision                 string    // the commit; `-dirty` when there is more than that; `unknown` without git
	created                  time.Time // of the commit. 1970 when no commit says it: nobody takes that for a release
}

const unknownRevision = "unknown"

func readTree(repo string) (tree, error) {
	manifest, err := os.ReadFile(filepath.Join(repo, "Cargo.toml"))
	if err != nil {
		return tree{}, err
	}
	said := section(string(manifest), "[workspace.package]")
	t := tree{
		version: said["version"], license: said["license"], source: said["repository"],
		revision: unknownRevision, created: time.Unix(0, 0),
	}
	if t.version == "" {
		return tree{}, fmt.Errorf("%s names no version", filepath.Join(repo, "Cargo.toml"))
	}
	t.readGit(repo)
	if revision := os.Getenv("BASCULE_BUILD_REVISION"); revision != "" {
		t.revision = revision
	}
	if text := os.Getenv("SOURCE_DATE_EPOCH"); text != "" {
		seconds, err := strconv.ParseInt(text, 10, 64)
		if err != nil || seconds < 0 {
			return tree{}, fmt.Errorf("SOURCE_DATE_EPOCH=%s is no number of seconds", text)
		}
		t.created = time.Unix(seconds, 0)
	}
	return t, nil
}

func (t *tree) readGit(repo string) {
	git := func(words ...string) (string, bool) {
		text, err := exec.Command("git", append([]string{"-C", repo}, words...)...).Output()
		return strings.TrimSpace(string(text)), err == nil
	}
	commit, found := git("log", "-1", "--format=%H %ct")
	hash, seconds, _ := strings.Cut(commit, " ")
	when, err := strconv.ParseInt(seconds, 10, 64)
	if !found || err != nil {
		return
	}
	// Files that git does not know count: cargo compiles them all the same.
	if changes, read := git("status", "--porcelain"); !read || changes != "" {
		t.revision = hash + "-dirty"
		return
	}
	t.revision, t.created = hash, time.Unix(when, 0)
}

func (t tree) createdText() string { return t.created.UTC().Format(time.RFC3339) }

// section reads `key = "value"` lines of one table of a TOML file. That much TOML is all that is needed here.
func section(text, heading string) map[string]string {
	found := map[string]string{}
	inside := false
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		if strings.HasPrefix(line, "[") {
			inside = line == heading
			continue
		}
		key, value, assigns := strings.Cut(line, " = ")
		if inside && assigns && len(value) > 1 && strings.HasPrefix(value, `"`) && strings.HasSuffix(value, `"`) {
			found[key] = value[1 : len(value)-1]
		}
	}
	return found
}
