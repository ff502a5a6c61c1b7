package main

import (
	"encoding/json"
	"net"
	"reflect"
	"strings"
	"testing"
)

func TestABedsNameFitsEverywhere(t *testing.T) {
	t.Setenv("BASCULE_REPO", t.TempDir())
	for _, good := range []string{"default", "e2e-fake", "a", strings.Repeat("x", 32)} {
		if _, err := openBed(good); err != nil {
			t.Error(err)
		}
	}
	for _, bad := range []string{"", "A", "-a", "a-", "a/b", "..", strings.Repeat("x", 33)} {
		if _, err := openBed(bad); err == nil {
			t.Errorf("%q is accepted", bad)
		}
	}
}

func TestBedsOfTwoCheckoutsHaveTheirOwnNames(t *testing.T) {
	one, two := bed{name: "x", folder: "/a/target/testbed/x"}, bed{name: "x", folder: "/b/target/testbed/x"}
	if one.ownName() == two.ownName() {
		t.Error("both are " + one.ownName())
	}
}

func TestCommandsAreShownAsTheyWouldBeTyped(t *testing.T) {
	b := bed{name: "x"}
	for words, want := range map[string]string{
		"up":                 "hack/testbed up --name x",
		"controller restart": "hack/testbed controller restart --name x",
		"exec -- kubectl":    "hack/testbed exec --name x -- kubectl",
	} {
		if got := b.command(words); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
	if got := (&bed{name: defaultName}).command("up"); got != "hack/testbed up" {
		t.Errorf("got %q", got)
	}
}

func TestFlagsStandBeforeTheCommandThatIsRun(t *testing.T) {
	o, err := parse("exec", []string{"--name", "x", "--", "kubectl", "get", "--name", "y"})
	if err != nil || o.name != "x" || !reflect.DeepEqual(o.rest, []string{"kubectl", "get", "--name", "y"}) {
		t.Errorf("%+v %v", o, err)
	}
}

func TestFlagsMayFollowTheNameOfALog(t *testing.T) {
	o, err := parse("logs", []string{"kubelet", "--name", "x", "-f"})
	if err != nil || o.name != "x" || !o.follow || len(o.rest) != 1 {
		t.Errorf("%+v %v", o, err)
	}
}

func TestWrongWordsAreRefused(t *testing.T) {
	for _, wrong := range [][]string{{"up", "now"}, {"up", "--node", "cloud"}, {"down", "--audit"}, {"status", "x"}} {
		if _, err := parse(wrong[0], wrong[1:]); err == nil {
			t.Errorf("%v is accepted", wrong)
		}
	}
}

func TestPortsAreFreeAndNotPromised(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	promised := map[int]bool{firstPort: true, firstPort + 1: true}
	ports, err := freePorts([]string{"a", "b"}, 0, func(port int) bool { return promised[port] })
	if err != nil {
		t.Fatal(err)
	}
	if ports["a"] == ports["b"] || promised[ports["a"]] || promised[ports["b"]] {
		t.Errorf("got %v", ports)
	}
}

func TestMountsAreFoundTheDeepestFirst(t *testing.T) {
	table := strings.Join([]string{
		"22 1 0:20 / /proc rw - proc proc rw",
		"90 1 0:50 / /bed/a/node rw - tmpfs tmpfs rw",
		`91 90 0:51 / /bed/a/node/with\040blank rw - tmpfs tmpfs rw`,
		"92 1 0:52 / /bed/ab rw - tmpfs tmpfs rw",
	}, "\n")
	want := []string{"/bed/a/node/with blank", "/bed/a/node"}
	if got := mountsBelow(table, "/bed/a"); !reflect.DeepEqual(got, want) {
		t.Errorf("got %q", got)
	}
}

func TestAMarkIsAWholeVariable(t *testing.T) {
	environ := []byte("HOME=/root\x00" + partMark + "=/bed/a/etcd\x00NOTE=" + partMark + "=/bed/b/x\x00")
	for folder, want := range map[string]bool{"/bed/a": true, "/bed/b": false, "/bed": false} {
		if got := carries(environ, []byte(partMark+"="+folder+"/etcd")); got != want {
			t.Errorf("%s: %t", folder, got)
		}
	}
}

func TestAControllersKubeconfigHoldsItsTokenAndNobodyElses(t *testing.T) {
	admin := `{"current-context":"c","clusters":[{"name":"k"}],"users":[{"name":"root","user":{"token":"secret"}}],
		"contexts":[{"name":"c","context":{"cluster":"k","user":"root","namespace":"mine"}}]}`
	text, err := withToken([]byte(admin), "controller", "t0k3n")
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(string(text), "secret") || strings.Contains(string(text), "mine") || !strings.Contains(string(text), "t0k3n") {
		t.Errorf("got %s", text)
	}
	var parsed struct {
		Contexts []struct{ Context struct{ User string } }
	}
	if err := json.Unmarshal(text, &parsed); err != nil || parsed.Contexts[0].Context.User != "controller" {
		t.Errorf("%+v %v", parsed, err)
	}
}

func TestTheProgramIsFoundInCargosMessages(t *testing.T) {
	messages := `{"reason":"compiler-artifact","target":{"name":"bascule-core"},"executable":null}
{"reason":"compiler-artifact","target":{"name":"bascule-controller"},"executable":"/t/debug/bascule-controller"}
{"reason":"build-finished","success":true}
`
	if got := builtExecutable([]byte(messages)); got != "/t/debug/bascule-controller" {
		t.Errorf("got %q", got)
	}
}
