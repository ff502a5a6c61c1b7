package oci

import (
	"archive/tar"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"
)

// Named is an image and what its entry in the table of an archive says about it.
type Named struct {
	*Image
	Annotations map[string]string
	Platform    *Platform
}

// WriteArchive writes an OCI layout as a tar file: what `ctr images import` and `skopeo copy oci-archive:…` read.
func WriteArchive(to io.Writer, images []Named, when time.Time) error {
	archive := tar.NewWriter(to)
	files := map[string]bool{}
	add := func(name string, content []byte) error {
		if files[name] {
			return nil // images share blobs
		}
		files[name] = true
		return addEntry(archive, Entry{Name: name, Mode: 0o644, Content: content}, when)
	}
	var manifests []Descriptor
	for _, each := range images {
		for _, blob := range [][]byte{each.Layer, each.Config, each.Manifest} {
			if err := add(blobPath(Digest(blob)), blob); err != nil {
				return err
			}
		}
		entry := each.Descriptor
		entry.Annotations, entry.Platform = each.Annotations, each.Platform
		manifests = append(manifests, entry)
	}
	index, err := json.Marshal(NewIndex(manifests))
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

func blobPath(digest string) string {
	return "blobs/sha256/" + strings.TrimPrefix(digest, "sha256:")
}

// ReadArchive finds the images of an archive, in the order of its table. Every blob is checked against its digest.
func ReadArchive(from io.Reader) ([]Named, error) {
	files := map[string][]byte{}
	archive := tar.NewReader(from)
	for {
		header, err := archive.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, err
		}
		if files[header.Name], err = io.ReadAll(archive); err != nil {
			return nil, err
		}
	}
	blob := func(d Descriptor) ([]byte, error) {
		content, found := files[blobPath(d.Digest)]
		if !found || Digest(content) != d.Digest {
			return nil, fmt.Errorf("the archive does not hold what its table says: %s", d.Digest)
		}
		return content, nil
	}
	var index Index
	if err := json.Unmarshal(files["index.json"], &index); err != nil {
		return nil, fmt.Errorf("index.json: %w", err)
	}
	var images []Named
	for _, entry := range index.Manifests {
		image, err := readImage(entry, blob)
		if err != nil {
			return nil, err
		}
		images = append(images, Named{Image: image, Annotations: entry.Annotations, Platform: entry.Platform})
	}
	return images, nil
}

func readImage(entry Descriptor, blob func(Descriptor) ([]byte, error)) (*Image, error) {
	text, err := blob(entry)
	if err != nil {
		return nil, err
	}
	var manifest Manifest
	if err := json.Unmarshal(text, &manifest); err != nil {
		return nil, fmt.Errorf("manifest %s: %w", entry.Digest, err)
	}
	if len(manifest.Layers) != 1 {
		return nil, fmt.Errorf("manifest %s has %d layers; this reads what it has written, with one", entry.Digest, len(manifest.Layers))
	}
	config, err := blob(manifest.Config)
	if err != nil {
		return nil, err
	}
	layer, err := blob(manifest.Layers[0])
	if err != nil {
		return nil, err
	}
	described := Describe(entry.MediaType, text)
	described.ArtifactType = manifest.ArtifactType
	return &Image{Manifest: text, Config: config, Layer: layer, Descriptor: described}, nil
}
