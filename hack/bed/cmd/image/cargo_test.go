package main

import (
	"slices"
	"strings"
	"testing"
)

const lock = `version = 4

[[package]]
name = "bascule-core"
version = "0.1.0"
dependencies = [
 "jiff",
]

[[package]]
name = "jiff"
version = "0.2.43"
source = "registry+https://github.com/rust-lang/crates.io-index"
checksum = "abc"
`

func TestEachCrateIsListedOnceWithItsChecksum(t *testing.T) {
	listed := "jiff v0.2.43\nbascule-core v0.1.0 (/somewhere/core)\n\njiff v0.2.43 (*)\n"
	crates, err := readCrates(listed, lock, map[string]string{"jiff 0.2.43": "MIT"})
	want := []crate{{name: "bascule-core", version: "0.1.0"}, {name: "jiff", version: "0.2.43", license: "MIT", sha256: "abc"}}
	if err != nil || !slices.Equal(crates, want) {
		t.Errorf("got %+v, %v", crates, err)
	}
}

func TestACrateThatIsNotLockedIsAnError(t *testing.T) {
	if _, err := readCrates("jiff v0.3.0\n", lock, nil); err == nil || !strings.Contains(err.Error(), "jiff 0.3.0") {
		t.Errorf("got %v", err)
	}
}

func TestFoldersOfTheMachineAreRenamedForRustAndForC(t *testing.T) {
	env := buildEnvironment([][2]string{{"/home/me/my x", "/bascule"}, {"/home/me/y", "/cargo"}}, "x86_64-unknown-linux-gnu", "abc")
	for _, want := range []string{
		"BASCULE_BUILD_REVISION=abc",
		"CARGO_ENCODED_RUSTFLAGS=--remap-path-prefix=/home/me/my x=/bascule\x1f--remap-path-prefix=/home/me/y=/cargo",
		"CC_SHELL_ESCAPED_FLAGS=1",
		"CFLAGS_x86_64_unknown_linux_gnu='-ffile-prefix-map=/home/me/my x=/bascule' '-ffile-prefix-map=/home/me/y=/cargo'",
	} {
		if !slices.Contains(env, want) {
			t.Errorf("%q is not in %q", want, env)
		}
	}
}
