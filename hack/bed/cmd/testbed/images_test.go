package main

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"encoding/json"
	"errors"
	"io"
	"path/filepath"
	"strings"
	"testing"

	"bascule.dev/bed/internal/oci"
)

func makeImage(t *testing.T, env ...string) *oci.Image {
	t.Helper()
	path := filepath.Join(t.TempDir(), "app")
	write(t, path, "a static binary")
	made, err := newImage(path, "app", env, map[string]string{"org.opencontainers.image.version": "v1"})
	if err != nil {
		t.Fatal(err)
	}
	return made
}

func files(t *testing.T, from io.Reader) map[string][]byte {
	t.Helper()
	found := map[string][]byte{}
	archive := tar.NewReader(from)
	for {
		header, err := archive.Next()
		if errors.Is(err, io.EOF) {
			return found
		}
		if err != nil {
			t.Fatal(err)
		}
		if _, twice := found[header.Name]; twice {
			t.Errorf("%s is there twice", header.Name)
		}
		if found[header.Name], err = io.ReadAll(archive); err != nil {
			t.Fatal(err)
		}
	}
}

func decode(t *testing.T, text []byte, into any) {
	t.Helper()
	if err := json.Unmarshal(text, into); err != nil {
		t.Fatal(err)
	}
}

func TestTheSameBinaryMakesTheSameImage(t *testing.T) {
	if one, two := makeImage(t, "VERSION=v1"), makeImage(t, "VERSION=v1"); one.Descriptor.Digest != two.Descriptor.Digest {
		t.Error("two digests of one image")
	}
	if one, two := makeImage(t, "VERSION=v1"), makeImage(t, "VERSION=v2"); one.Descriptor.Digest == two.Descriptor.Digest {
		t.Error("one digest of two images")
	}
}

func TestEveryDigestInAnArchiveLeadsToItsBlob(t *testing.T) {
	var packed bytes.Buffer
	images := []named{{"r/app:v1", makeImage(t, "VERSION=v1")}, {"r/app:v2", makeImage(t, "VERSION=v2")}}
	if err := writeArchive(&packed, images); err != nil {
		t.Fatal(err)
	}
	found := files(t, &packed)
	blob := func(d oci.Descriptor) []byte {
		content := found["blobs/sha256/"+strings.TrimPrefix(d.Digest, "sha256:")]
		if oci.Digest(content) != d.Digest || len(content) != d.Size {
			t.Errorf("%s leads to %d bytes of %s", d.Digest, len(content), oci.Digest(content))
		}
		return content
	}
	var index struct{ Manifests []oci.Descriptor }
	decode(t, found["index.json"], &index)
	if len(index.Manifests) != 2 || index.Manifests[1].Annotations["io.containerd.image.name"] != "r/app:v2" {
		t.Fatalf("got %+v", index)
	}
	for _, entry := range index.Manifests {
		var manifest struct {
			Config oci.Descriptor
			Layers []oci.Descriptor
		}
		decode(t, blob(entry), &manifest)
		var config struct {
			Rootfs struct {
				DiffIDs []string `json:"diff_ids"`
			}
		}
		decode(t, blob(manifest.Config), &config)
		plain, err := gzip.NewReader(bytes.NewReader(blob(manifest.Layers[0])))
		if err != nil {
			t.Fatal(err)
		}
		content, err := io.ReadAll(plain)
		if err != nil {
			t.Fatal(err)
		}
		if oci.Digest(content) != config.Rootfs.DiffIDs[0] {
			t.Error("the layer is not what the config says")
		}
		if got := files(t, bytes.NewReader(content)); string(got["app"]) != "a static binary" {
			t.Errorf("the layer holds %v", got)
		}
	}
}
