package main

import (
	"encoding/base64"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
)

func TestOptionsMayStandAnywhere(t *testing.T) {
	flags := newFlags()
	plain := flags.Bool("plain-http", false, "")
	words, err := parse(flags, []string{"a.tar", "--plain-http", "r.example.org/x:1"})
	if err != nil || !*plain || strings.Join(words, " ") != "a.tar r.example.org/x:1" {
		t.Errorf("got %v, %v, %v", words, *plain, err)
	}
}

func TestAnotherPlatformHasAnotherFile(t *testing.T) {
	other := map[string]string{"amd64": "arm64", "arm64": "amd64"}[runtime.GOARCH]
	mine, err := parseBuild("/repo", nil)
	if err != nil || mine.output != "/repo/target/image/bascule-controller.tar" {
		t.Errorf("got %+v, %v", mine, err)
	}
	theirs, err := parseBuild("/repo", []string{"--platform=linux/" + other})
	if err != nil || theirs.output != "/repo/target/image/bascule-controller-"+other+".tar" {
		t.Errorf("got %+v, %v", theirs, err)
	}
}

func TestWhatIsNotUnderstoodIsRefused(t *testing.T) {
	for _, args := range [][]string{
		{"--platform", "linux/riscv64"}, {"--platform", "amd64"}, {"--profile", "fast"}, {"--unknown"}, {"word"},
	} {
		if _, err := parseBuild("/repo", args); err == nil {
			t.Errorf("%v was understood", args)
		}
	}
}

func TestAReferenceNamesRegistryRepositoryAndTag(t *testing.T) {
	to, repository, tag, err := parseReference("127.0.0.1:5000/team/app:v1")
	if err != nil || to.Host != "127.0.0.1:5000" || repository != "team/app" || tag != "v1" {
		t.Errorf("got %+v %q %q %v", to, repository, tag, err)
	}
	for _, each := range []string{"team/app:v1", "r.example.org/app", "r.example.org/app:", "r.example.org:5000", "app"} {
		if _, _, _, err := parseReference(each); err == nil {
			t.Errorf("%s was understood", each)
		}
	}
}

func TestThePasswordIsThatOfDockerLogin(t *testing.T) {
	folder := t.TempDir()
	t.Setenv("DOCKER_CONFIG", folder)
	if name, secret, err := password("r.example.org"); name+secret != "" || err != nil {
		t.Errorf("no file: got %q %q %v", name, secret, err)
	}
	put(t, filepath.Join(folder, "config.json"),
		`{"auths": {"r.example.org": {"auth": "`+base64.StdEncoding.EncodeToString([]byte("me:a:b"))+`"}}}`)
	if name, secret, err := password("r.example.org"); name != "me" || secret != "a:b" || err != nil {
		t.Errorf("got %q %q %v", name, secret, err)
	}
	if name, secret, err := password("other.example.org"); name+secret != "" || err != nil {
		t.Errorf("another registry: got %q %q %v", name, secret, err)
	}
}
