package oci

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

var noon = time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)

func makeLayer(t *testing.T, entries ...Entry) Layer {
	t.Helper()
	layer, err := NewLayer(entries, noon, gzip.BestCompression)
	if err != nil {
		t.Fatal(err)
	}
	return layer
}

func makeImage(t *testing.T, content string) *Image {
	t.Helper()
	layer := makeLayer(t, Entry{Name: "app", Mode: 0o755, Content: []byte(content)})
	image, err := NewImage(layer, "amd64", RunConfig{Entrypoint: []string{"/app"}, User: "65532:65532"}, "2026-11-22T12:00:00Z")
	if err != nil {
		t.Fatal(err)
	}
	return image
}

func makeReferrer(t *testing.T, subject *Image) *Image {
	t.Helper()
	referrer, err := NewReferrer(subject.Descriptor, "application/spdx+json", "a.json", []byte(`{"a":1}`), nil)
	if err != nil {
		t.Fatal(err)
	}
	return referrer
}

func headers(t *testing.T, packed []byte) []tar.Header {
	t.Helper()
	plain, err := gzip.NewReader(bytes.NewReader(packed))
	if err != nil {
		t.Fatal(err)
	}
	var all []tar.Header
	archive := tar.NewReader(plain)
	for {
		header, err := archive.Next()
		if errors.Is(err, io.EOF) {
			return all
		}
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, *header)
	}
}

func TestTheOrderInWhichFilesAreGivenDoesNotMatter(t *testing.T) {
	a, b, link := Entry{Name: "etc/b", Mode: 0o644}, Entry{Name: "a/deep/file", Mode: 0o644}, Entry{Name: "etc/a", Link: "b"}
	if makeLayer(t, a, b, link).DiffID != makeLayer(t, link, b, a).DiffID {
		t.Error("two layers of the same files")
	}
}

func TestALayerHoldsNothingOfTheMachine(t *testing.T) {
	layer := makeLayer(t, Entry{Name: "a/deep/file", Mode: 0o644, Content: []byte("x")}, Entry{Name: "a/link", Link: "deep"})
	var names []string
	for _, each := range headers(t, layer.Packed) {
		names = append(names, each.Name)
		if each.Uid != 0 || each.Gid != 0 || each.Uname != "" || each.Gname != "" || !each.ModTime.Equal(noon) {
			t.Errorf("%s: owner %d:%d %q %q, time %v", each.Name, each.Uid, each.Gid, each.Uname, each.Gname, each.ModTime)
		}
	}
	if want := []string{"a/", "a/deep/", "a/deep/file", "a/link"}; !slices.Equal(names, want) {
		t.Errorf("got %v, want %v: a folder comes before what is in it", names, want)
	}
}

func TestALayerComesOutAsItWentIn(t *testing.T) {
	folder := t.TempDir()
	layer := makeLayer(t, Entry{Name: "bin/app", Mode: 0o755, Content: []byte("program")}, Entry{Name: "lib/app", Link: "../bin/app"})
	if err := Unpack(layer.Packed, folder); err != nil {
		t.Fatal(err)
	}
	content, err := os.ReadFile(filepath.Join(folder, "lib/app"))
	if err != nil || string(content) != "program" {
		t.Errorf("got %q, %v", content, err)
	}
	info, err := os.Stat(filepath.Join(folder, "bin/app"))
	if err != nil || info.Mode().Perm() != 0o755 || !info.ModTime().Equal(noon) {
		t.Errorf("got %v, %v", info, err)
	}
}

func TestALayerNeverLeadsOutOfItsFolder(t *testing.T) {
	layer := makeLayer(t, Entry{Name: "../escaped", Mode: 0o644})
	if err := Unpack(layer.Packed, filepath.Join(t.TempDir(), "in")); err == nil || !strings.Contains(err.Error(), "leads out") {
		t.Errorf("got %v", err)
	}
}

func TestAnArchiveIsReadAsItWasWritten(t *testing.T) {
	image := makeImage(t, "one")
	written := []Named{
		{Image: image, Annotations: map[string]string{AnnotationTag: "v1"}, Platform: &Platform{Architecture: "amd64", OS: "linux"}},
		{Image: makeReferrer(t, image)},
	}
	var archive bytes.Buffer
	if err := WriteArchive(&archive, written, noon); err != nil {
		t.Fatal(err)
	}
	read, err := ReadArchive(&archive)
	if err != nil {
		t.Fatal(err)
	}
	if len(read) != 2 || read[0].Annotations[AnnotationTag] != "v1" || read[0].Platform == nil ||
		read[1].Descriptor.ArtifactType != "application/spdx+json" {
		t.Fatalf("got %+v", read)
	}
	for i := range written {
		if !bytes.Equal(read[i].Manifest, written[i].Manifest) || !bytes.Equal(read[i].Layer, written[i].Layer) ||
			!bytes.Equal(read[i].Config, written[i].Config) {
			t.Errorf("image %d is another one", i)
		}
	}
}

func TestAnArchiveWithAnotherBlobThanItsTableSaysIsRefused(t *testing.T) {
	image := makeImage(t, "one")
	var archive bytes.Buffer
	if err := WriteArchive(&archive, []Named{{Image: image}}, noon); err != nil {
		t.Fatal(err)
	}
	changed := bytes.Replace(archive.Bytes(), []byte("65532:65532"), []byte("00000:00000"), 1)
	if _, err := ReadArchive(bytes.NewReader(changed)); err == nil || !strings.Contains(err.Error(), Digest(image.Config)) {
		t.Errorf("a changed blob: got %v", err)
	}

	image.Descriptor.Digest = Digest([]byte("another"))
	archive.Reset()
	if err := WriteArchive(&archive, []Named{{Image: image}}, noon); err != nil {
		t.Fatal(err)
	}
	if _, err := ReadArchive(&archive); err == nil || !strings.Contains(err.Error(), image.Descriptor.Digest) {
		t.Errorf("a missing blob: got %v", err)
	}
}

func TestAReferrerNamesItsSubject(t *testing.T) {
	image := makeImage(t, "one")
	var manifest Manifest
	if err := json.Unmarshal(makeReferrer(t, image).Manifest, &manifest); err != nil {
		t.Fatal(err)
	}
	if manifest.Subject == nil || manifest.Subject.Digest != image.Descriptor.Digest || manifest.Subject.Size != len(image.Manifest) {
		t.Errorf("got %+v", manifest.Subject)
	}
	if title := manifest.Layers[0].Annotations["org.opencontainers.image.title"]; title != "a.json" {
		t.Errorf("the document is called %q", title)
	}
	if manifest.ArtifactType != "application/spdx+json" || manifest.Config.MediaType != mediaEmpty {
		t.Errorf("got %+v", manifest)
	}
}

// fakeRegistry keeps what is put. knows: it keeps lists of referrers itself, and says so.
type fakeRegistry struct {
	knows     bool
	blobs     map[string]bool
	manifests map[string][]byte
	uploads   int
}

func (f *fakeRegistry) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	rest := strings.TrimPrefix(r.URL.Path, "/v2/team/app/")
	kind, name, _ := strings.Cut(rest, "/")
	switch {
	case r.Method == http.MethodPut && kind == "manifests":
		f.manifests[name] = body
		if f.knows && bytes.Contains(body, []byte(`"subject"`)) {
			w.Header().Set("OCI-Subject", "yes")
		}
		w.WriteHeader(http.StatusCreated)
	case r.Method == http.MethodGet && kind == "manifests" && f.manifests[name] != nil:
		w.Write(f.manifests[name])
	case r.Method == http.MethodHead && f.blobs[name]:
	case r.Method == http.MethodPost:
		w.Header().Set("Location", "/v2/team/app/blobs/uploads/1?state=x")
		w.WriteHeader(http.StatusAccepted)
	case r.Method == http.MethodPut && r.URL.Query().Get("digest") == Digest(body) && r.URL.Query().Get("state") == "x":
		f.uploads++
		f.blobs[Digest(body)] = true
		w.WriteHeader(http.StatusCreated)
	default:
		w.WriteHeader(http.StatusNotFound)
	}
}

func newRegistry(t *testing.T, knows bool) (*fakeRegistry, Registry) {
	t.Helper()
	fake := &fakeRegistry{knows: knows, blobs: map[string]bool{}, manifests: map[string][]byte{}}
	server := httptest.NewServer(fake)
	t.Cleanup(server.Close)
	return fake, Registry{Host: strings.TrimPrefix(server.URL, "http://"), PlainHTTP: true}
}

func TestBlobsThatAreThereAreNotSentAgain(t *testing.T) {
	fake, registry := newRegistry(t, false)
	image := makeImage(t, "one")
	for range 2 {
		if err := registry.Push(t.Context(), "team/app", "v1", image); err != nil {
			t.Fatal(err)
		}
	}
	if fake.uploads != 2 || !bytes.Equal(fake.manifests["v1"], image.Manifest) {
		t.Errorf("%d uploads; two blobs were to be sent, once", fake.uploads)
	}
}

func TestARegistryWithoutAListOfReferrersGetsOneUnderATag(t *testing.T) {
	fake, registry := newRegistry(t, false)
	image := makeImage(t, "one")
	other, err := NewReferrer(image.Descriptor, "application/other", "b.json", []byte("{}"), nil)
	if err != nil {
		t.Fatal(err)
	}
	referrer := makeReferrer(t, image)
	for _, each := range []*Image{other, referrer, referrer} {
		if err := registry.PushReferrer(t.Context(), "team/app", image.Descriptor.Digest, each); err != nil {
			t.Fatal(err)
		}
	}
	var index Index
	if err := json.Unmarshal(fake.manifests[strings.Replace(image.Descriptor.Digest, ":", "-", 1)], &index); err != nil {
		t.Fatal(err)
	}
	if len(index.Manifests) != 2 || index.Manifests[1].Digest != referrer.Descriptor.Digest ||
		index.Manifests[1].ArtifactType != "application/spdx+json" {
		t.Errorf("got %+v", index.Manifests)
	}
}

func TestARegistryThatKeepsTheListIsLeftAlone(t *testing.T) {
	fake, registry := newRegistry(t, true)
	image := makeImage(t, "one")
	if err := registry.PushReferrer(t.Context(), "team/app", image.Descriptor.Digest, makeReferrer(t, image)); err != nil {
		t.Fatal(err)
	}
	if len(fake.manifests) != 1 {
		t.Errorf("%d manifests; only the referrer was to be put", len(fake.manifests))
	}
}
