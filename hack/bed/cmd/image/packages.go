package main

import (
	"archive/tar"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"strings"
)

// pkg is a Debian package, opened and not installed.
type pkg struct {
	name, version, arch, source string
	control                     string
	sha256                      string           // of its file
	files                       map[string]entry // by path without a leading slash
}

// entry is a file of a package, or a link.
type entry struct {
	content []byte
	link    string
}

// follow returns the content of a file, over links within the package.
func (p *pkg) follow(name string) ([]byte, bool) {
	for range 8 { // links to links; a ring ends here
		found, there := p.files[name]
		if !there || found.link == "" {
			return found.content, there
		}
		if path.IsAbs(found.link) {
			name = strings.TrimPrefix(found.link, "/")
		} else {
			name = path.Join(path.Dir(name), found.link)
		}
	}
	return nil, false
}

// shelf is where packages come from.
type shelf interface {
	get(ctx context.Context, name string) (*pkg, error)
}

// folderShelf takes packages from a folder of .deb files.
type folderShelf struct{ folder, arch string }

func (s folderShelf) get(ctx context.Context, name string) (*pkg, error) {
	// Debian names the files NAME_VERSION_ARCH.deb.
	files, err := filepath.Glob(filepath.Join(s.folder, name+"_*.deb"))
	if err != nil {
		return nil, err
	}
	var found []*pkg
	for _, file := range files {
		opened, err := openPackage(ctx, file)
		if err != nil {
			return nil, err
		}
		if opened.name == name && (opened.arch == s.arch || opened.arch == "all") {
			found = append(found, opened)
		}
	}
	if len(found) != 1 {
		return nil, fmt.Errorf("%s holds %d packages %s for %s; one is needed", s.folder, len(found), name, s.arch)
	}
	return found[0], nil
}

// aptShelf takes the newest packages that the machine's sources of packages have. Its lists are its own, so that it needs no root,
// installs nothing, and brings packages of another architecture too. apt checks the signatures.
type aptShelf struct {
	folder, arch string
	fresh        bool // lists were brought up to date
}

func newAptShelf(folder, arch string) (*aptShelf, error) {
	if _, err := exec.LookPath("apt-get"); err != nil {
		return nil, errors.New("the libraries, certificates and time zones come from Debian packages, and there is no apt-get here; " +
			"give a folder of .deb files with --packages, or use the Dockerfile")
	}
	for _, each := range []string{"lists/partial", "cache/archives/partial", "state", "files"} {
		if err := os.MkdirAll(filepath.Join(folder, each), 0o755); err != nil {
			return nil, err
		}
	}
	return &aptShelf{folder: folder, arch: arch}, os.WriteFile(filepath.Join(folder, "state", "status"), nil, 0o644)
}

func (s *aptShelf) get(ctx context.Context, name string) (*pkg, error) {
	if !s.fresh {
		if _, err := s.apt(ctx, "state", "update", "--error-on=any"); err != nil {
			return nil, err
		}
		s.fresh = true
	}
	files := filepath.Join(s.folder, "files")
	// Asked from elsewhere: where the file lies already, apt says nothing.
	said, err := s.apt(ctx, "state", "download", "--print-uris", name)
	if err != nil {
		return nil, err
	}
	// 'http://…' libc6_2.36-9+deb12u14_amd64.deb 2759320 SHA256:…
	words := strings.Fields(strings.TrimSpace(said))
	if len(words) != 4 || !strings.HasPrefix(words[3], "SHA256:") {
		return nil, fmt.Errorf("apt-get download --print-uris %s: not understood: %s", name, said)
	}
	file, sum := filepath.Join(files, words[1]), strings.TrimPrefix(words[3], "SHA256:")
	if opened, err := openPackage(ctx, file); err == nil && opened.sha256 == sum {
		return opened, nil
	}
	// An older version must not stay: the folder is what --packages takes the next time.
	old, err := filepath.Glob(filepath.Join(files, name+"_*.deb"))
	if err != nil {
		return nil, err
	}
	for _, each := range old {
		if err := os.Remove(each); err != nil {
			return nil, err
		}
	}
	if _, err := s.apt(ctx, "files", "download", name); err != nil {
		return nil, err
	}
	opened, err := openPackage(ctx, file)
	if err != nil {
		return nil, err
	}
	if opened.sha256 != sum {
		return nil, fmt.Errorf("%s is not what apt has promised", file)
	}
	return opened, nil
}

// apt runs apt-get in one of the shelf's folders.
func (s *aptShelf) apt(ctx context.Context, folder string, words ...string) (string, error) {
	home, err := filepath.Abs(s.folder)
	if err != nil {
		return "", err
	}
	settings := []string{
		"APT::Architecture=" + s.arch, "APT::Architectures=" + s.arch,
		"Dir::State=" + home + "/state", "Dir::State::status=" + home + "/state/status", "Dir::State::lists=" + home + "/lists",
		"Dir::Cache=" + home + "/cache", "APT::Sandbox::User=", "Acquire::Languages=none", "Acquire::Retries=3",
	}
	args := []string{"--quiet", "--quiet"}
	for _, each := range settings {
		args = append(args, "-o", each)
	}
	command := exec.CommandContext(ctx, "apt-get", append(args, words...)...)
	command.Dir = filepath.Join(home, folder)
	command.Env = append(os.Environ(), "LC_ALL=C")
	var failed bytes.Buffer
	command.Stderr = &failed
	said, err := command.Output()
	if err != nil {
		return "", fmt.Errorf("apt-get %s (%s): %w\n%s", strings.Join(words, " "), s.arch, err, strings.TrimSpace(failed.String()))
	}
	return string(said), nil
}

// openPackage reads a .deb file. The formats inside are dpkg's affair.
func openPackage(ctx context.Context, file string) (*pkg, error) {
	raw, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	sum := sha256.Sum256(raw)
	control, err := dpkg(ctx, "--field", file)
	if err != nil {
		return nil, err
	}
	fields := controlFields(string(control))
	opened := &pkg{
		name: fields["Package"], version: fields["Version"], arch: fields["Architecture"], source: fields["Source"],
		control: string(control), sha256: hex.EncodeToString(sum[:]), files: map[string]entry{},
	}
	packed, err := dpkg(ctx, "--fsys-tarfile", file)
	if err != nil {
		return nil, err
	}
	archive := tar.NewReader(bytes.NewReader(packed))
	for {
		header, err := archive.Next()
		if errors.Is(err, io.EOF) {
			return opened, nil
		}
		if err != nil {
			return nil, fmt.Errorf("%s: %w", file, err)
		}
		name := path.Clean(header.Name)
		switch header.Typeflag {
		case tar.TypeReg:
			content, err := io.ReadAll(archive)
			if err != nil {
				return nil, fmt.Errorf("%s: %w", file, err)
			}
			opened.files[name] = entry{content: content}
		case tar.TypeSymlink:
			opened.files[name] = entry{link: header.Linkname}
		case tar.TypeLink:
			opened.files[name] = opened.files[path.Clean(header.Linkname)]
		}
	}
}

func dpkg(ctx context.Context, words ...string) ([]byte, error) {
	command := exec.CommandContext(ctx, "dpkg-deb", words...)
	var failed bytes.Buffer
	command.Stderr = &failed
	said, err := command.Output()
	if err != nil {
		return nil, fmt.Errorf("dpkg-deb %s: %w %s", strings.Join(words, " "), err, strings.TrimSpace(failed.String()))
	}
	return said, nil
}

// controlFields reads the one-line fields of a package's description.
func controlFields(control string) map[string]string {
	fields := map[string]string{}
	for line := range strings.Lines(control) {
		if name, value, found := strings.Cut(line, ":"); found && !strings.HasPrefix(line, " ") {
			fields[name] = strings.TrimSpace(value)
		}
	}
	return fields
}
