package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

const manifest = `[workspace]
version = "9.9.9"

[workspace.package]
version = "1.2.3"
edition = "2024"
license = "Apache-2.0"
repository = "https://example.org"

[workspace.dependencies]
version = "8.8.8"
`

// newTree is a checkout with one commit of a known time.
func newTree(t *testing.T) string {
	t.Helper()
	t.Setenv("BASCULE_BUILD_REVISION", "")
	t.Setenv("SOURCE_DATE_EPOCH", "")
	repo := t.TempDir()
	put(t, filepath.Join(repo, "Cargo.toml"), manifest)
	git := func(words ...string) {
		command := exec.Command("git", append([]string{"-C", repo, "-c", "user.name=x", "-c", "user.email=x@example.org"}, words...)...)
		command.Env = append(os.Environ(), "GIT_COMMITTER_DATE=2026-11-22T12:00:00Z")
		if said, err := command.CombinedOutput(); err != nil {
			t.Fatalf("git %v: %v %s", words, err, said)
		}
	}
	git("init", "--quiet")
	git("add", "--all")
	git("commit", "--quiet", "--message", "one")
	return repo
}

func put(t *testing.T, path, content string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(content), 0o755); err != nil {
		t.Fatal(err)
	}
}

func read(t *testing.T, repo string) tree {
	t.Helper()
	found, err := readTree(repo)
	if err != nil {
		t.Fatal(err)
	}
	return found
}

func TestACleanTreeSaysItsCommitAndItsTime(t *testing.T) {
	found := read(t, newTree(t))
	if found.version != "1.2.3" || found.license != "Apache-2.0" || found.source != "https://example.org" {
		t.Errorf("got %+v", found)
	}
	if len(found.revision) != 40 || found.createdText() != "2026-11-22T12:00:00Z" {
		t.Errorf("revision %q of %s", found.revision, found.createdText())
	}
}

func TestADirtyTreeHasNoTime(t *testing.T) {
	repo := newTree(t)
	put(t, filepath.Join(repo, "new.rs"), "not known to git, and compiled all the same")
	found := read(t, repo)
	if !strings.HasSuffix(found.revision, "-dirty") || found.createdText() != "1970-01-01T00:00:00Z" {
		t.Errorf("revision %q of %s", found.revision, found.createdText())
	}
}

func TestATreeWithoutGitIsUnknownUnlessTheEnvironmentSaysIt(t *testing.T) {
	repo := newTree(t)
	if err := os.RemoveAll(filepath.Join(repo, ".git")); err != nil {
		t.Fatal(err)
	}
	if found := read(t, repo); found.revision != unknownRevision || !found.created.Equal(time.Unix(0, 0)) {
		t.Errorf("got %+v", found)
	}
	t.Setenv("BASCULE_BUILD_REVISION", "abc")
	t.Setenv("SOURCE_DATE_EPOCH", "86400")
	if found := read(t, repo); found.revision != "abc" || found.createdText() != "1970-01-02T00:00:00Z" {
		t.Errorf("got %+v", found)
	}
	t.Setenv("SOURCE_DATE_EPOCH", "yesterday")
	if _, err := readTree(repo); err == nil {
		t.Error("yesterday was taken for a time")
	}
}

func TestABinaryFromElsewhereIsOfThisCommitOnlyWhenItSaysSo(t *testing.T) {
	repo := newTree(t)
	clean := read(t, repo)
	binary := filepath.Join(t.TempDir(), "binary")
	put(t, binary, "…"+clean.revision+"…")
	if found, err := clean.asFarAsKnown(binary); err != nil || found != clean {
		t.Errorf("got %+v, %v", found, err)
	}
	put(t, binary, "built from something")
	if found, err := clean.asFarAsKnown(binary); err != nil || found.revision != unknownRevision || found.created.Unix() != 0 {
		t.Errorf("got %+v, %v", found, err)
	}
}
