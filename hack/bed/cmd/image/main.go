// Command image packs the controller into an OCI image, and pushes it. No Docker, no base image, no image tool.
//
// The rooms, in the order in which a build walks through them:
//
//	cli.go       what a person types            tree.go      version, commit and time of this tree
//	cargo.go     the binary, and its crates     program.go   what the binary needs of a system
//	packages.go  Debian packages, not installed rootfs.go    the files of the image
//	build.go     the order of things            sbom.go      what is inside, for machines
//	start_*.go   does it start, and how fast    push.go      to a registry
//
// It installs nothing and changes nothing outside target/ and the files that it is told to write.
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"syscall"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	err := run(ctx, os.Args[1:])
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "image:", err)
		os.Exit(1)
	}
}
