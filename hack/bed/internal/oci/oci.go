// Package oci makes OCI images, packs them into archives and pushes them to registries, by own code.
//
// Comes in: files and settings. Goes out: blobs with their digests, the same bytes each time. Nothing of the machine
// gets in: no time, owner or name but those that the caller gives. No image tool, nothing downloaded.
package oci

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
)

// The media types of the specification that are used here.
const (
	MediaIndex    = "application/vnd.oci.image.index.v1+json"
	MediaManifest = "application/vnd.oci.image.manifest.v1+json"
	MediaConfig   = "application/vnd.oci.image.config.v1+json"
	MediaLayer    = "application/vnd.oci.image.layer.v1.tar+gzip"
	mediaEmpty    = "application/vnd.oci.empty.v1+json"
)

// Annotations by which an entry of an index says its name.
const (
	AnnotationTag  = "org.opencontainers.image.ref.name" // skopeo and the specification: a tag
	AnnotationName = "io.containerd.image.name"          // containerd: a whole name
)

// Descriptor says what a blob is and where it is found.
type Descriptor struct {
	MediaType    string            `json:"mediaType"`
	ArtifactType string            `json:"artifactType,omitempty"`
	Digest       string            `json:"digest"`
	Size         int               `json:"size"`
	Annotations  map[string]string `json:"annotations,omitempty"`
	Platform     *Platform         `json:"platform,omitempty"`
}

// Platform is what an image runs on.
type Platform struct {
	Architecture string `json:"architecture"`
	OS           string `json:"os"`
}

// Index is the table of an archive, or the list of what refers to an image.
type Index struct {
	SchemaVersion int          `json:"schemaVersion"`
	MediaType     string       `json:"mediaType"`
	Manifests     []Descriptor `json:"manifests"`
}

// NewIndex lists manifests.
func NewIndex(manifests []Descriptor) Index {
	return Index{SchemaVersion: 2, MediaType: MediaIndex, Manifests: manifests}
}

// Manifest names the blobs of an image or of another artifact.
type Manifest struct {
	SchemaVersion int               `json:"schemaVersion"`
	MediaType     string            `json:"mediaType"`
	ArtifactType  string            `json:"artifactType,omitempty"`
	Config        Descriptor        `json:"config"`
	Layers        []Descriptor      `json:"layers"`
	Subject       *Descriptor       `json:"subject,omitempty"`
	Annotations   map[string]string `json:"annotations,omitempty"`
}

// RunConfig is how a container of the image starts.
type RunConfig struct {
	Env          []string            `json:"Env,omitempty"`
	Entrypoint   []string            `json:"Entrypoint"`
	ExposedPorts map[string]struct{} `json:"ExposedPorts,omitempty"`
	Labels       map[string]string   `json:"Labels,omitempty"`
	User         string              `json:"User"`
	WorkingDir   string              `json:"WorkingDir,omitempty"`
}

// Image is a manifest and the blobs that it names: an image of one platform, or an artifact that refers to one.
type Image struct {
	Manifest   []byte
	Config     []byte
	Layer      []byte
	Descriptor Descriptor // of the manifest
}

// NewImage makes an image of one layer. created may be empty.
func NewImage(layer Layer, arch string, run RunConfig, created string) (*Image, error) {
	settings := map[string]any{
		"architecture": arch, "os": "linux", "config": run,
		"rootfs": map[string]any{"type": "layers", "diff_ids": []string{layer.DiffID}},
	}
	if created != "" {
		settings["created"] = created
	}
	config, err := json.Marshal(settings)
	if err != nil {
		return nil, err
	}
	manifest := Manifest{Config: Describe(MediaConfig, config), Layers: []Descriptor{Describe(MediaLayer, layer.Packed)}}
	return pack(manifest, config, layer.Packed)
}

// NewReferrer attaches a document to an image: a blob under a manifest whose subject is the image. name is that of the file into
// which a client writes it.
func NewReferrer(subject Descriptor, media, name string, document []byte, annotations map[string]string) (*Image, error) {
	config, layer := []byte("{}"), Describe(media, document)
	layer.Annotations = map[string]string{"org.opencontainers.image.title": name}
	subject = Descriptor{MediaType: subject.MediaType, Digest: subject.Digest, Size: subject.Size}
	image, err := pack(Manifest{
		ArtifactType: media,
		Config:       Describe(mediaEmpty, config),
		Layers:       []Descriptor{layer},
		Subject:      &subject,
		Annotations:  annotations,
	}, config, document)
	if err != nil {
		return nil, err
	}
	image.Descriptor.ArtifactType = media
	return image, nil
}

func pack(manifest Manifest, config, layer []byte) (*Image, error) {
	manifest.SchemaVersion, manifest.MediaType = 2, MediaManifest
	text, err := json.Marshal(manifest)
	if err != nil {
		return nil, err
	}
	return &Image{Manifest: text, Config: config, Layer: layer, Descriptor: Describe(MediaManifest, text)}, nil
}

// Describe is the descriptor of a blob.
func Describe(media string, content []byte) Descriptor {
	return Descriptor{MediaType: media, Digest: Digest(content), Size: len(content)}
}

// Digest is the name of a blob.
func Digest(content []byte) string {
	sum := sha256.Sum256(content)
	return "sha256:" + hex.EncodeToString(sum[:])
}
