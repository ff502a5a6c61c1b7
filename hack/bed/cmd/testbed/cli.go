// What a person types.
//
// Comes in: arguments. Goes out: one call of a command, or one sentence about what was wrong with them. Results go to
// standard output, everything else to standard error.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"text/tabwriter"
	"time"
)

const defaultName = "default"

const help = `A real Kubernetes on this machine, for tests and for trying things out.

  hack/testbed up          bring a bed up; quick when it is up already
      --node fake|real     fake: kwok plays the nodes (default); real: containers, needs root on Linux
      --audit              keep an audit log, the meter of requests
      --aws                AWS too: Parameter Store and more, played by moto; needs Python
      --prometheus         Prometheus too, which looks at pods that ask for it, and an Alertmanager; needs Debian's apt-get
      --context NAME       no bed of our own, but this cluster of your kubeconfig
  hack/testbed exec -- CMD run a command against it (inside its network, if it is real)
  hack/testbed env         the same as shell exports
  hack/testbed controller  start|stop|restart|logs: the controller of this tree, with the chart's rights
      stop --kill          by SIGKILL
      start -- ARGS        arguments for the controller
  hack/testbed audit       requests by user, verb and resource
      --user TEXT          only users whose name holds this
      --namespace NS       only requests in this namespace
      --since TIME         since a time (RFC 3339) or a duration ago (5m)
      --json               as JSON
  hack/testbed status      the parts of a bed
  hack/testbed logs PART   the log of a part; -f follows it
  hack/testbed down        take it down; nothing is left
  hack/testbed build       build everything, start nothing (about 8 minutes the first time)
  hack/testbed tool NAME   where promtool or amtool is, unpacked when it is not there; needs no bed

Every command takes --name NAME (default: default); beds of different names run side by side.
KUBEBUILDER_ASSETS, if set, names a folder with etcd, kube-apiserver and kubectl to use instead of ours.
`

// options are the flags of all commands; each command says which it takes.
type options struct {
	name, node, context, user, namespace, since string
	audit, aws, prometheus, json, kill, follow  bool
	rest                                        []string
}

func run(ctx context.Context, args []string) error {
	if len(args) == 0 || slices.Contains([]string{"help", "-h", "--help"}, args[0]) {
		fmt.Print(help)
		return nil
	}
	command, args := args[0], args[1:]
	switch command {
	case "forward":
		if len(args) < 2 {
			return errors.New("forward NETNS PORT…")
		}
		return forward(ctx, args[0], args[1:])
	case "tool":
		return printTool(ctx, args)
	case "controller":
		if len(args) == 0 {
			return errors.New("controller start|stop|restart|logs")
		}
		command, args = "controller "+args[0], args[1:]
	}
	o, err := parse(command, args)
	if errors.Is(err, flag.ErrHelp) {
		fmt.Print(help)
		return nil
	}
	if err != nil {
		return err
	}
	b, err := openBed(o.name)
	if err != nil {
		return err
	}
	return b.run(ctx, command, o)
}

func (b *bed) run(ctx context.Context, command string, o options) error {
	switch command {
	case "up":
		return b.up(ctx, wish{node: o.node, audit: o.audit, aws: o.aws, prometheus: o.prometheus, context: o.context})
	case "build":
		_, err := buildAll(ctx, b.repo)
		return err
	case "down":
		return b.down(ctx)
	case "exec":
		return b.exec(o.rest)
	case "env":
		return b.printEnv(os.Stdout)
	case "targets":
		return b.serveTargets(ctx)
	case "status":
		return b.printStatus(ctx, os.Stdout)
	case "logs":
		return b.printLog(o.rest, o.follow)
	case "audit":
		since, err := parseSince(o.since, time.Now())
		if err != nil {
			return err
		}
		if err := b.mustRun(); err != nil {
			return err
		}
		return b.printAudit(meterQuery{o.user, o.namespace, since}, o.json, os.Stdout)
	case "controller start":
		return b.startController(ctx, o.rest)
	case "controller stop":
		return b.stopController(ctx, first(o.kill))
	case "controller restart":
		if err := b.stopController(ctx, first(o.kill)); err != nil {
			return err
		}
		return b.startController(ctx, o.rest)
	case "controller logs":
		return b.printLog([]string{"controller"}, o.follow)
	}
	return fmt.Errorf("no command %q; hack/testbed help lists them", command)
}

func first(kill bool) syscall.Signal {
	if kill {
		return syscall.SIGKILL
	}
	return syscall.SIGTERM
}

func parse(command string, args []string) (options, error) {
	var o options
	flags := flag.NewFlagSet(command, flag.ContinueOnError)
	flags.SetOutput(io.Discard)
	flags.StringVar(&o.name, "name", defaultName, "")
	switch command {
	case "up":
		flags.StringVar(&o.node, "node", "", "")
		flags.BoolVar(&o.audit, "audit", false, "")
		flags.BoolVar(&o.aws, "aws", false, "")
		flags.BoolVar(&o.prometheus, "prometheus", false, "")
		flags.StringVar(&o.context, "context", "", "")
	case "audit":
		flags.StringVar(&o.user, "user", "", "")
		flags.StringVar(&o.namespace, "namespace", "", "")
		flags.StringVar(&o.since, "since", "", "")
		flags.BoolVar(&o.json, "json", false, "")
	case "logs", "controller logs":
		flags.BoolVar(&o.follow, "f", false, "")
	case "controller stop", "controller restart":
		flags.BoolVar(&o.kill, "kill", false, "")
	}
	if err := flags.Parse(args); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			return o, err
		}
		return o, fmt.Errorf("%s: %w; hack/testbed help", command, err)
	}
	o.rest = flags.Args()
	// Flags may stand behind a name too: `logs kubelet -f`.
	if command == "logs" && len(o.rest) > 1 {
		part := o.rest[0]
		if err := flags.Parse(o.rest[1:]); err != nil {
			return o, fmt.Errorf("%s: %w; hack/testbed help", command, err)
		}
		o.rest = append([]string{part}, flags.Args()...)
	}
	takesMore := slices.Contains([]string{"exec", "logs", "controller start", "controller restart"}, command)
	if len(o.rest) > 0 && !takesMore {
		return o, fmt.Errorf("%s: what is %q? hack/testbed help", command, strings.Join(o.rest, " "))
	}
	if o.node != "" && o.node != fake && o.node != real {
		return o, fmt.Errorf("--node %q: fake or real", o.node)
	}
	return o, nil
}

// exec replaces this process, so that signals, the terminal and the exit code are the command's own.
func (b *bed) exec(command []string) error {
	if err := b.mustRun(); err != nil {
		return err
	}
	if len(command) == 0 {
		return errors.New("exec -- CMD…: what is to be run?")
	}
	for _, pair := range b.environment() {
		if err := os.Setenv(pair[0], pair[1]); err != nil {
			return err
		}
	}
	// Only the beds whose network is the machine's own leave the program to be found here; nsenter finds it itself.
	command = b.inside(command...)
	path, err := exec.LookPath(command[0])
	if err != nil {
		return err
	}
	return fmt.Errorf("%s: %w", path, syscall.Exec(path, command, os.Environ()))
}

func (b *bed) printEnv(to io.Writer) error {
	if err := b.mustRun(); err != nil {
		return err
	}
	for _, pair := range b.environment() {
		value := quote(pair[1])
		if pair[0] == "PATH" {
			value = quote(b.path("bin")) + `:"$PATH"` // evaluated twice it must not lose the shell's own
		}
		fmt.Fprintf(to, "export %s=%s\n", pair[0], value)
	}
	return nil
}

func quote(text string) string {
	return "'" + strings.ReplaceAll(text, "'", `'\''`) + "'"
}

func (b *bed) printStatus(ctx context.Context, to io.Writer) error {
	if !b.leftovers() {
		fmt.Fprintf(to, "bed %q is not up; start it with: %s\n", b.name, b.command("up"))
		return nil
	}
	condition := "is up"
	if !b.state.Ready {
		condition = "is not complete: an `up` runs, or was ended; " + b.command("up") + " makes it anew"
	} else if ill := b.ill(ctx); ill != nil {
		condition = fmt.Sprintf("is not healthy (%v); %s makes it anew", ill, b.command("up"))
	}
	fmt.Fprintf(to, "bed %q %s   %s nodes   audit log: %s   %s\n", b.name, condition, b.state.Node,
		map[bool]string{true: "kept", false: "no"}[b.state.Audit], b.folder)
	table := tabwriter.NewWriter(to, 0, 0, 3, ' ', 0)
	fmt.Fprintln(table, "PART\tPID\tSTATE\tPORT\tUP")
	for _, r := range b.records() {
		state, up, port := "gone", "-", "-"
		if r.alive() {
			state, up = "runs", time.Since(r.Started).Round(time.Second).String()
		}
		if r.Port > 0 {
			port = strconv.Itoa(r.Port)
		}
		fmt.Fprintf(table, "%s\t%d\t%s\t%s\t%s\n", r.Name, r.Pid, state, port, up)
	}
	return table.Flush()
}

// followLines is how much of the past is shown before following a log.
const followLines = "100"

func (b *bed) printLog(rest []string, follow bool) error {
	paths, _ := filepath.Glob(b.logPath("*"))
	var names []string
	for _, path := range paths {
		names = append(names, strings.TrimSuffix(filepath.Base(path), ".log"))
	}
	if len(rest) != 1 || !slices.Contains(names, rest[0]) {
		return fmt.Errorf("logs PART: bed %q has logs of: %s", b.name, strings.Join(names, " "))
	}
	if follow {
		tail, err := exec.LookPath("tail")
		if err != nil {
			return err
		}
		return syscall.Exec(tail, []string{"tail", "-n", followLines, "-F", b.logPath(rest[0])}, os.Environ())
	}
	log, err := os.Open(b.logPath(rest[0]))
	if err != nil {
		return err
	}
	defer log.Close()
	_, err = io.Copy(os.Stdout, log)
	return err
}
