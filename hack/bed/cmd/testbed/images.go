// The bed's images: OCI images of one static binary each, made by own code (package oci).
//
// Comes in: binaries. Goes out: images with their digests, the same bytes each time, and an archive that
// containerd imports. No base image, no image tool, nothing downloaded.
package main

import (
	"compress/gzip"
	"io"
	"os"
	"runtime"
	"time"

	"bascule.dev/bed/internal/oci"
)

// appTags are the tags of example/app and what their environment holds. `broken` starts and never answers its
// readiness probe, `sick` does so for some seconds; everything else can be had from the others by environment variables of the pod.
var appTags = []struct {
	tag string
	env []string
}{
	{"v1", []string{"VERSION=v1"}},
	{"v2", []string{"VERSION=v2"}},
	{"v3", []string{"VERSION=v3"}},
	{"broken", []string{"VERSION=broken", "READY_AFTER=never"}},
	{"sick", []string{"VERSION=sick", "UNREADY_AFTER=8s"}},
}

const appName = "example/app"

// pauseImage is the name under which containerd knows the image of a pod's sandbox. It is never pulled.
const pauseImage = "localhost/pause:bed"

// noTime is that of every file: an image is the same whenever it is made.
var noTime = time.Unix(0, 0)

// newImage packs a binary as /NAME and makes it the entry point.
func newImage(path, name string, env []string, labels map[string]string) (*oci.Image, error) {
	content, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	layer, err := oci.NewLayer([]oci.Entry{{Name: name, Mode: 0o755, Content: content}}, noTime, gzip.BestSpeed)
	if err != nil {
		return nil, err
	}
	run := oci.RunConfig{Env: env, Entrypoint: []string{"/" + name}, Labels: labels, User: "65532:65532"}
	return oci.NewImage(layer, runtime.GOARCH, run, "")
}

// named is an image under a full name such as 127.0.0.1:20000/example/app:v1.
type named struct {
	name string
	*oci.Image
}

// writeArchive writes images in the form that `ctr images import` reads.
func writeArchive(to io.Writer, images []named) error {
	var all []oci.Named
	for _, each := range images {
		all = append(all, oci.Named{Image: each.Image, Annotations: map[string]string{oci.AnnotationName: each.name}})
	}
	return oci.WriteArchive(to, all, noTime)
}

// exampleImages are the tags of example/app, without a registry in their names.
func exampleImages(t tools) (map[string]*oci.Image, error) {
	images := map[string]*oci.Image{}
	for _, each := range appTags {
		made, err := newImage(t["app"], "app", each.env, map[string]string{"org.opencontainers.image.version": each.tag})
		if err != nil {
			return nil, err
		}
		images[each.tag] = made
	}
	return images, nil
}
