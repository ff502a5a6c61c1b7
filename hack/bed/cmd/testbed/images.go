// The bed's images: OCI images of one static binary each, made by own code.
//
// Comes in: binaries. Goes out: blobs with their digests, the same bytes each time, and an archive that
// containerd imports. No base image, no image tool, nothing downloaded.
package main

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"io"
	"os"
	"runtime"
)

const (
	mediaIndex    = "application/vnd.oci.image.index.v1+json"
	mediaManifest = "application/vnd.oci.image.manifest.v1+json"
	mediaConfig   = "application/vnd.oci.image.config.v1+json"
	mediaLayer    = "application/vnd.oci.image.layer.v1.tar+gzip"
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

type descriptor struct {
	MediaType   string            `json:"mediaType"`
	Digest      string            `json:"digest"`
	Size        int               `json:"size"`
	Annotations map[string]string `json:"annotations,omitempty"`
}

// image is one image of one platform: its manifest and the blobs that it names.
type image struct {
	manifest         []byte
	config, layer    []byte
	manifestDescribe descriptor
}

// newImage packs a binary as /NAME and makes it the entry point.
func newImage(path, name string, env []string, labels map[string]string) (*image, error) {
	layer, diffID, err := binaryLayer(path, name)
	if err != nil {
		return nil, err
	}
	type runConfig struct {
		Env          []string            `json:"Env,omitempty"`
		Entrypoint   []string            `json:"Entrypoint"`
		ExposedPorts map[string]struct{} `json:"ExposedPorts,omitempty"`
		Labels       map[string]string   `json:"Labels,omitempty"`
		User         string              `json:"User"`
	}
	config, err := json.Marshal(map[string]any{
		"architecture": runtime.GOARCH, "os": "linux",
		"config": runConfig{Env: env, Entrypoint: []string{"/" + name}, Labels: labels, User: "65532:65532"},
		"rootfs": map[string]any{"type": "layers", "diff_ids": []string{diffID}},
	})
	if err != nil {
		return nil, err
	}
	manifest, err := json.Marshal(map[string]any{
		"schemaVersion": 2, "mediaType": mediaManifest,
		"config": describe(mediaConfig, config),
		"layers": []descriptor{describe(mediaLayer, layer)},
	})
	if err != nil {
		return nil, err
	}
	return &image{manifest: manifest, config: config, layer: layer, manifestDescribe: describe(mediaManifest, manifest)}, nil
}

func describe(media string, content []byte) descriptor {
	return descriptor{MediaType: media, Digest: digest(content), Size: len(content)}
}

func digest(content []byte) string {
	sum := sha256.Sum256(content)
	return "sha256:" + hex.EncodeToString(sum[:])
}

// binaryLayer is a layer of one file. No time, owner or name of this machine gets in, so the bytes are the same
// wherever the binary is the same.
func binaryLayer(path, name string) (layer []byte, diffID string, err error) {
	content, err := os.ReadFile(path)
	if err != nil {
		return nil, "", err
	}
	var plain bytes.Buffer
	archive := tar.NewWriter(&plain)
	if err := addFile(archive, name, content, 0o755); err != nil {
		return nil, "", err
	}
	if err := archive.Close(); err != nil {
		return nil, "", err
	}
	var packed bytes.Buffer
	press, err := gzip.NewWriterLevel(&packed, gzip.BestSpeed)
	if err != nil {
		return nil, "", err
	}
	if _, err := press.Write(plain.Bytes()); err != nil {
		return nil, "", err
	}
	if err := press.Close(); err != nil {
		return nil, "", err
	}
	return packed.Bytes(), digest(plain.Bytes()), nil
}

func addFile(archive *tar.Writer, name string, content []byte, mode int64) error {
	header := &tar.Header{Typeflag: tar.TypeReg, Name: name, Mode: mode, Size: int64(len(content)), Format: tar.FormatUSTAR}
	if err := archive.WriteHeader(header); err != nil {
		return err
	}
	_, err := archive.Write(content)
	return err
}

// named is an image under a full name such as 127.0.0.1:20000/example/app:v1.
type named struct {
	name string
	*image
}

// writeArchive writes an OCI layout as a tar file, in the form that `ctr images import` reads.
func writeArchive(to io.Writer, images []named) error {
	archive := tar.NewWriter(to)
	files := map[string]bool{}
	add := func(name string, content []byte) error {
		if files[name] {
			return nil // images share layers
		}
		files[name] = true
		return addFile(archive, name, content, 0o644)
	}
	var manifests []descriptor
	for _, each := range images {
		for _, blob := range [][]byte{each.layer, each.config, each.manifest} {
			if err := add("blobs/sha256/"+digest(blob)[len("sha256:"):], blob); err != nil {
				return err
			}
		}
		entry := each.manifestDescribe
		entry.Annotations = map[string]string{"io.containerd.image.name": each.name}
		manifests = append(manifests, entry)
	}
	index, err := json.Marshal(map[string]any{"schemaVersion": 2, "mediaType": mediaIndex, "manifests": manifests})
	if err != nil {
		return err
	}
	if err := add("oci-layout", []byte(`{"imageLayoutVersion":"1.0.0"}`)); err != nil {
		return err
	}
	if err := add("index.json", index); err != nil {
		return err
	}
	return archive.Close()
}

// exampleImages are the tags of example/app, without a registry in their names.
func exampleImages(t tools) (map[string]*image, error) {
	images := map[string]*image{}
	for _, each := range appTags {
		made, err := newImage(t["app"], "app", each.env, map[string]string{"org.opencontainers.image.version": each.tag})
		if err != nil {
			return nil, err
		}
		images[each.tag] = made
	}
	return images, nil
}
