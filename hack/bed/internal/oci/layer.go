package oci

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"path/filepath"
	"sort"
	"strings"
	"time"
)

// Entry is a file of a layer, or a symbolic link when Link is set. All belong to root.
type Entry struct {
	Name    string // without a leading slash
	Mode    int64
	Content []byte
	Link    string
}

// Layer is a packed file system.
type Layer struct {
	Packed []byte
	DiffID string // the digest before packing
	Size   int    // before packing, as a tar file
}

// NewLayer packs entries, sorted, with the folders that they lie in; every time in it is `when`.
func NewLayer(entries []Entry, when time.Time, level int) (Layer, error) {
	var plain bytes.Buffer
	archive := tar.NewWriter(&plain)
	for _, each := range withFolders(entries) {
		if err := addEntry(archive, each, when); err != nil {
			return Layer{}, fmt.Errorf("%s: %w", each.Name, err)
		}
	}
	if err := archive.Close(); err != nil {
		return Layer{}, err
	}
	var packed bytes.Buffer
	press, err := gzip.NewWriterLevel(&packed, level)
	if err != nil {
		return Layer{}, err
	}
	if _, err := press.Write(plain.Bytes()); err != nil {
		return Layer{}, err
	}
	if err := press.Close(); err != nil {
		return Layer{}, err
	}
	return Layer{Packed: packed.Bytes(), DiffID: Digest(plain.Bytes()), Size: plain.Len()}, nil
}

// withFolders sorts entries by name and puts each folder before what is in it. A folder's name ends in a slash.
func withFolders(entries []Entry) []Entry {
	all := append([]Entry(nil), entries...)
	known := map[string]bool{}
	for _, each := range entries {
		for folder := path.Dir(each.Name); folder != "." && !known[folder]; folder = path.Dir(folder) {
			known[folder] = true
			all = append(all, Entry{Name: folder + "/", Mode: 0o755})
		}
	}
	sort.SliceStable(all, func(a, b int) bool { return all[a].Name < all[b].Name })
	return all
}

func addEntry(archive *tar.Writer, each Entry, when time.Time) error {
	header := &tar.Header{
		Typeflag: tar.TypeReg, Name: each.Name, Mode: each.Mode, Size: int64(len(each.Content)), ModTime: when, Format: tar.FormatUSTAR,
	}
	switch {
	case each.Link != "":
		header.Typeflag, header.Linkname, header.Mode = tar.TypeSymlink, each.Link, 0o777
	case strings.HasSuffix(each.Name, "/"):
		header.Typeflag = tar.TypeDir
	}
	if err := archive.WriteHeader(header); err != nil {
		return err
	}
	_, err := archive.Write(each.Content)
	return err
}

// Unpack writes the file system of a packed layer into a folder.
func Unpack(packed []byte, folder string) error {
	plain, err := gzip.NewReader(bytes.NewReader(packed))
	if err != nil {
		return err
	}
	archive := tar.NewReader(plain)
	for {
		header, err := archive.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		if !filepath.IsLocal(header.Name) {
			return fmt.Errorf("%s leads out of the layer", header.Name)
		}
		if err := unpackEntry(archive, header, filepath.Join(folder, header.Name)); err != nil {
			return err
		}
	}
}

func unpackEntry(archive *tar.Reader, header *tar.Header, place string) error {
	mode := header.FileInfo().Mode().Perm()
	switch header.Typeflag {
	case tar.TypeDir:
		if err := os.MkdirAll(place, mode); err != nil {
			return err
		}
		return os.Chmod(place, mode) // the umask had a say
	case tar.TypeSymlink:
		return os.Symlink(header.Linkname, place)
	case tar.TypeReg:
		content, err := io.ReadAll(archive)
		if err != nil {
			return err
		}
		if err := os.WriteFile(place, content, mode); err != nil {
			return err
		}
		if err := os.Chmod(place, mode); err != nil {
			return err
		}
		return os.Chtimes(place, header.ModTime, header.ModTime)
	}
	return fmt.Errorf("%s is of a kind that no layer of this package has", header.Name)
}
