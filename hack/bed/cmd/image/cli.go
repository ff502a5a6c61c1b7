package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"strings"
)

const usage = `hack/image – the controller as an OCI image

  hack/image [OPTION…]                                   builds target/image/bascule-controller.tar and its SBOM
  hack/image push ARCHIVE REGISTRY/NAME:TAG [OPTION…]    pushes both

build:
  --platform linux/amd64|linux/arm64   default: that of this machine
  --profile release|dev                what cargo builds; default: release
  --binary FILE                        pack this program; cargo builds nothing
  --packages DIR                       take the Debian packages from here instead of by apt; an earlier build
                                       has left its own in target/image/packages/
  --output FILE                        default: target/image/bascule-controller[-ARCH].tar
  --rootfs-only DIR                    write the files of the image into this folder instead (a Dockerfile copies it)

  BASCULE_BUILD_REVISION and SOURCE_DATE_EPOCH say which commit this is, and of when; default: git says so.

push:
  --plain-http                         the registry speaks no TLS; one on this machine never does
  The password comes from docker's config.json (DOCKER_CONFIG, else ~/.docker). A registry that wants a token
  instead of a password: skopeo copy, oras cp or crane push read the archive too.
`

// options is what a build was asked for.
type options struct {
	repo, arch, profile, binary, packages, output, rootfs string
}

func run(ctx context.Context, args []string) error {
	repo := os.Getenv("BASCULE_REPO")
	if repo == "" {
		return errors.New("start this by hack/image: it says where the tree is (BASCULE_REPO)")
	}
	switch {
	case len(args) > 0 && (args[0] == "help" || args[0] == "--help" || args[0] == "-h"):
		fmt.Print(usage)
		return nil
	case len(args) > 0 && args[0] == "push":
		return runPush(ctx, args[1:])
	}
	asked, err := parseBuild(repo, args)
	if err != nil {
		return err
	}
	return build(ctx, asked, os.Stdout)
}

func parseBuild(repo string, args []string) (options, error) {
	asked := options{repo: repo}
	flags := newFlags()
	platform := flags.String("platform", "linux/"+runtime.GOARCH, "")
	flags.StringVar(&asked.profile, "profile", "release", "")
	flags.StringVar(&asked.binary, "binary", "", "")
	flags.StringVar(&asked.packages, "packages", "", "")
	flags.StringVar(&asked.output, "output", "", "")
	flags.StringVar(&asked.rootfs, "rootfs-only", "", "")
	rest, err := parse(flags, args)
	if err != nil {
		return asked, err
	}
	if len(rest) > 0 {
		return asked, fmt.Errorf("%s: not understood; hack/image help", rest[0])
	}
	asked.arch = strings.TrimPrefix(*platform, "linux/")
	if _, known := machines[asked.arch]; !known || asked.arch == *platform {
		return asked, fmt.Errorf("--platform %s: linux/amd64 and linux/arm64 are what this can build", *platform)
	}
	if asked.profile != "release" && asked.profile != "dev" {
		return asked, fmt.Errorf("--profile %s: release or dev", asked.profile)
	}
	if asked.output == "" {
		name := "bascule-controller"
		if asked.arch != runtime.GOARCH {
			name += "-" + asked.arch
		}
		asked.output = filepath.Join(repo, "target", "image", name+".tar")
	}
	return asked, nil
}

func newFlags() *flag.FlagSet {
	flags := flag.NewFlagSet("image", flag.ContinueOnError)
	flags.SetOutput(io.Discard) // the error says it, once
	flags.Usage = func() {}
	return flags
}

// parse takes flags before, between and after the other words.
func parse(flags *flag.FlagSet, args []string) (words []string, err error) {
	for {
		if err := flags.Parse(args); err != nil {
			return nil, fmt.Errorf("%w; hack/image help", err)
		}
		if flags.NArg() == 0 {
			return words, nil
		}
		words, args = append(words, flags.Arg(0)), flags.Args()[1:]
	}
}
