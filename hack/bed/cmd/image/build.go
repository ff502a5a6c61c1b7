package main

import (
	"bytes"
	"compress/gzip"
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"bascule.dev/bed/internal/oci"
)

const (
	title       = "Bascule controller"
	description = "Starts a new version beside the running one, proves that it is healthy, moves the traffic in one step, " +
		"and back when it goes bad"
)

// result is an image and what is known of it.
type result struct {
	image, sbom *oci.Image
	document    []byte
	layer       oci.Layer
	files       int
	contents    contents
}

func build(ctx context.Context, asked options, out io.Writer) error {
	began := time.Now()
	tree, err := readTree(asked.repo)
	if err != nil {
		return err
	}
	var tool *cargo
	if asked.binary == "" || asked.rootfs == "" { // only files of a given binary: cargo is not asked
		if tool, err = newCargo(ctx, asked.repo, asked.arch); err != nil {
			return err
		}
	}
	compiling := time.Duration(0)
	if asked.binary == "" {
		compiled := time.Now()
		if asked.binary, err = tool.build(ctx, asked.profile, tree.revision); err != nil {
			return err
		}
		compiling = time.Since(compiled)
	} else if tree, err = tree.asFarAsKnown(asked.binary); err != nil {
		return err
	}
	made, err := assemble(ctx, asked, tree, tool)
	if err != nil {
		return err
	}
	say := reporter{out}
	say.head("%s %s   linux/%s   revision %s", programName, tree.version, asked.arch, tree.revision)
	if asked.rootfs != "" {
		return writeRootfs(ctx, asked, made, say)
	}
	if err := writeImage(asked.output, made, tree.created); err != nil {
		return err
	}
	started, err := tryImage(ctx, asked, made)
	if err != nil {
		return err
	}
	say.image(asked.output, made)
	say.line("built in", "%.1f s, of which cargo %.1f s", time.Since(began).Seconds(), compiling.Seconds())
	say.line("starts in", "%s", started)
	return nil
}

// asFarAsKnown is for a binary that was built elsewhere: the image says which commit it is made from only when the binary does.
func (t tree) asFarAsKnown(binary string) (tree, error) {
	content, err := os.ReadFile(binary)
	if err != nil {
		return t, err
	}
	if t.revision == unknownRevision || !bytes.Contains(content, []byte(t.revision)) {
		t.revision = unknownRevision
		if os.Getenv("SOURCE_DATE_EPOCH") == "" {
			t.created = time.Unix(0, 0)
		}
	}
	return t, nil
}

// assemble makes the image in memory. tool is not there when nobody asks for a list of crates.
func assemble(ctx context.Context, asked options, tree tree, tool *cargo) (*result, error) {
	content, err := os.ReadFile(asked.binary)
	if err != nil {
		return nil, err
	}
	binary, err := readProgram(content, asked.arch)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", asked.binary, err)
	}
	license, err := os.ReadFile(filepath.Join(asked.repo, "LICENSE"))
	if err != nil {
		return nil, err
	}
	var from shelf = folderShelf{folder: asked.packages, arch: asked.arch}
	if asked.packages == "" {
		if from, err = newAptShelf(filepath.Join(asked.repo, "target", "image", "packages", asked.arch), asked.arch); err != nil {
			return nil, err
		}
	}
	in := contents{tree: tree, arch: asked.arch, binary: binary}
	entries, packages, err := rootfs(ctx, binary, asked.arch, license, from)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", asked.binary, err)
	}
	in.packages = packages
	if tool != nil {
		if in.crates, err = tool.crates(ctx); err != nil {
			return nil, err
		}
	}
	return pack(entries, in)
}

func pack(entries []oci.Entry, in contents) (*result, error) {
	made := &result{files: len(entries)}
	var err error
	if made.layer, err = oci.NewLayer(entries, in.tree.created, gzip.BestCompression); err != nil {
		return nil, err
	}
	made.image, err = oci.NewImage(made.layer, in.arch, oci.RunConfig{
		Entrypoint: []string{"/" + programName}, User: user, WorkingDir: "/",
		ExposedPorts: map[string]struct{}{"8080/tcp": {}}, Labels: labels(in.tree),
	}, in.tree.createdText())
	if err != nil {
		return nil, err
	}
	in.image = made.image.Descriptor
	made.contents = in
	if made.document, err = sbom(in); err != nil {
		return nil, err
	}
	made.sbom, err = oci.NewReferrer(made.image.Descriptor, mediaSPDX, programName+".spdx.json", made.document, map[string]string{
		"org.opencontainers.image.created": in.tree.createdText(),
	})
	return made, err
}

func labels(t tree) map[string]string {
	const prefix = "org.opencontainers.image."
	return map[string]string{
		prefix + "title": title, prefix + "description": description, prefix + "version": t.version, prefix + "revision": t.revision,
		prefix + "source": t.source, prefix + "licenses": t.license, prefix + "created": t.createdText(),
	}
}

// writeImage writes the archive and, beside it, the list of what is inside.
func writeImage(output string, made *result, when time.Time) error {
	var archive bytes.Buffer
	version := made.contents.tree.version
	images := []oci.Named{
		{
			Image: made.image, Platform: &oci.Platform{Architecture: made.contents.arch, OS: "linux"},
			Annotations: map[string]string{oci.AnnotationTag: version, oci.AnnotationName: "localhost/" + programName + ":" + version},
		},
		{Image: made.sbom},
	}
	if err := oci.WriteArchive(&archive, images, when); err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(output), 0o755); err != nil {
		return err
	}
	if err := replaceFile(sbomPath(output), made.document); err != nil {
		return err
	}
	return replaceFile(output, archive.Bytes())
}

func sbomPath(output string) string { return strings.TrimSuffix(output, ".tar") + ".spdx.json" }

// replaceFile never lets anybody see half a file.
func replaceFile(name string, content []byte) error {
	fresh := name + ".new"
	if err := os.WriteFile(fresh, content, 0o644); err != nil {
		return err
	}
	return os.Rename(fresh, name)
}

func writeRootfs(ctx context.Context, asked options, made *result, say reporter) error {
	if err := os.MkdirAll(asked.rootfs, 0o755); err != nil {
		return err
	}
	if there, err := os.ReadDir(asked.rootfs); err != nil || len(there) > 0 {
		return fmt.Errorf("--rootfs-only %s: the folder must be empty (%v)", asked.rootfs, err)
	}
	if err := oci.Unpack(made.image.Layer, asked.rootfs); err != nil {
		return err
	}
	started, err := tryStart(ctx, asked.rootfs, asked.arch)
	if err != nil {
		return err
	}
	say.line("files", "%d in %s", made.files, asked.rootfs)
	say.packages(made.contents.packages)
	say.line("starts in", "%s", started)
	return nil
}

// tryImage starts what the archive holds, unpacked.
func tryImage(ctx context.Context, asked options, made *result) (string, error) {
	folder, err := os.MkdirTemp(filepath.Dir(asked.output), "try-")
	if err != nil {
		return "", err
	}
	defer os.RemoveAll(folder)
	if err := os.Chmod(folder, 0o755); err != nil { // it becomes the root of somebody who is not root
		return "", err
	}
	if err := oci.Unpack(made.image.Layer, folder); err != nil {
		return "", err
	}
	return tryStart(ctx, folder, asked.arch)
}

// reporter says what came out, in two columns.
type reporter struct{ out io.Writer }

func (r reporter) head(format string, args ...any) { fmt.Fprintf(r.out, format+"\n", args...) }

func (r reporter) line(name, format string, args ...any) {
	fmt.Fprintf(r.out, "  %-12s %s\n", name, fmt.Sprintf(format, args...))
}

func (r reporter) image(output string, made *result) {
	r.line("archive", "%s", shown(output))
	r.line("digest", "%s", made.image.Descriptor.Digest)
	r.line("size", "%s compressed, %s unpacked; of that the program %s", megabytes(len(made.layer.Packed)), megabytes(made.layer.Size),
		megabytes(len(made.contents.binary.content)))
	r.line("files", "%d", made.files)
	r.packages(made.contents.packages)
	r.line("crates", "%d", len(made.contents.crates))
	r.line("SBOM", "%s, and in the archive as %s", shown(sbomPath(output)), made.sbom.Descriptor.Digest)
}

func (r reporter) packages(all []*pkg) {
	name := "packages"
	for _, each := range all {
		r.line(name, "%s %s", each.name, each.version)
		name = ""
	}
}

// shown is a path as a person who stands in the current folder would write it.
func shown(path string) string {
	here, err := os.Getwd()
	if err != nil {
		return path
	}
	if short, err := filepath.Rel(here, path); err == nil && filepath.IsLocal(short) {
		return short
	}
	return path
}

func megabytes(bytes int) string { return fmt.Sprintf("%.1f MB", float64(bytes)/1e6) }
