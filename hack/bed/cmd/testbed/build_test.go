package main

import (
	"os"
	"path/filepath"
	"testing"
)

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := replaceFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

func hashOf(t *testing.T, folder, salt string) string {
	t.Helper()
	hash, err := contentHash(folder, []string{"go.mod", "cmd"}, salt)
	if err != nil {
		t.Fatal(err)
	}
	return hash
}

func sources(t *testing.T) string {
	folder := t.TempDir()
	write(t, filepath.Join(folder, "go.mod"), "module x")
	write(t, filepath.Join(folder, "cmd", "a", "main.go"), "package main")
	return folder
}

func TestTheSameSourcesElsewhereHaveTheSameHash(t *testing.T) {
	if hashOf(t, sources(t), "") != hashOf(t, sources(t), "") {
		t.Error("the place of a checkout is in the hash")
	}
}

func TestWhateverDecidesTheBinaryChangesTheHash(t *testing.T) {
	before := hashOf(t, sources(t), "")
	changes := map[string]func(folder string){
		"content":  func(folder string) { write(t, filepath.Join(folder, "go.mod"), "module y") },
		"new file": func(folder string) { write(t, filepath.Join(folder, "cmd", "b.go"), "") },
		"renamed": func(folder string) {
			if err := os.Rename(filepath.Join(folder, "cmd", "a"), filepath.Join(folder, "cmd", "b")); err != nil {
				t.Fatal(err)
			}
		},
	}
	for name, change := range changes {
		folder := sources(t)
		change(folder)
		if hashOf(t, folder, "") == before {
			t.Errorf("%s: the hash is the same", name)
		}
	}
	if hashOf(t, sources(t), "-X version=2") == before {
		t.Error("flags: the hash is the same")
	}
}

func TestTestsDoNotChangeTheHash(t *testing.T) {
	folder := sources(t)
	before := hashOf(t, folder, "")
	write(t, filepath.Join(folder, "cmd", "a", "main_test.go"), "package main")
	if hashOf(t, folder, "") != before {
		t.Error("a new test rebuilds the binary")
	}
}

func TestOutputKeepsItsEnd(t *testing.T) {
	var output lastLines
	for range 3 * keepOutput {
		if _, err := output.Write([]byte("x\n")); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := output.Write([]byte("the error\n")); err != nil {
		t.Fatal(err)
	}
	if got := output.tail(2); got != "x\nthe error" {
		t.Errorf("got %q", got)
	}
	if output.text.Len() > keepOutput {
		t.Errorf("%d bytes are kept", output.text.Len())
	}
}
