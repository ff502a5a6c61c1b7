package main

import (
	"bytes"
	"encoding/json"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"bascule.dev/bed/internal/oci"
)

// These tests use real packages, by apt.

func realRepo(t *testing.T) string {
	t.Helper()
	if _, err := exec.LookPath("apt-get"); err != nil {
		t.Skip("Debian packages come by apt-get, and there is none here")
	}
	repo, err := filepath.Abs("../../../..")
	if err != nil {
		t.Fatal(err)
	}
	return repo
}

func buildReal(t *testing.T, repo, binary string, args ...string) (output, said string) {
	t.Helper()
	output = filepath.Join(t.TempDir(), "image.tar")
	asked, err := parseBuild(repo, append([]string{"--binary", binary, "--output", output}, args...))
	if err != nil {
		t.Fatal(err)
	}
	var out strings.Builder
	if err := build(t.Context(), asked, &out); err != nil {
		t.Fatal(err)
	}
	return output, out.String()
}

func contentOf(t *testing.T, path string) []byte {
	t.Helper()
	content, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return content
}

func TestTheRealImage(t *testing.T) {
	repo, binary := realRepo(t), compile(t)
	first, said := buildReal(t, repo, binary)
	if !strings.Contains(said, "median of") && !strings.Contains(said, "not measured") {
		t.Errorf("nothing is said of the start:\n%s", said)
	}

	t.Run("is the same bytes the second time, from the packages that the first has left", func(t *testing.T) {
		second, _ := buildReal(t, repo, binary, "--packages", filepath.Join(repo, "target/image/packages", runtime.GOARCH, "files"))
		if !bytes.Equal(contentOf(t, first), contentOf(t, second)) {
			t.Error("two archives differ")
		}
		if !bytes.Equal(contentOf(t, sbomPath(first)), contentOf(t, sbomPath(second))) {
			t.Error("two SBOMs differ")
		}
	})

	images, err := oci.ReadArchive(bytes.NewReader(contentOf(t, first)))
	if err != nil {
		t.Fatal(err)
	}
	if len(images) != 2 {
		t.Fatalf("%d entries; the image and its SBOM were to be there", len(images))
	}
	root := t.TempDir()
	if err := oci.Unpack(images[0].Layer, root); err != nil {
		t.Fatal(err)
	}

	t.Run("runs as nobody special, and says what it is", func(t *testing.T) {
		var config struct {
			Created string
			Config  oci.RunConfig
		}
		if err := json.Unmarshal(images[0].Config, &config); err != nil {
			t.Fatal(err)
		}
		if config.Config.User != "65532:65532" || config.Config.Entrypoint[0] != "/bascule-controller" {
			t.Errorf("got %+v", config.Config)
		}
		for _, each := range []string{"title", "description", "version", "revision", "source", "licenses", "created"} {
			if config.Config.Labels["org.opencontainers.image."+each] == "" {
				t.Errorf("no label %s", each)
			}
		}
		if config.Created != config.Config.Labels["org.opencontainers.image.created"] {
			t.Errorf("created %s", config.Created)
		}
	})

	t.Run("holds certificates and time zones", func(t *testing.T) {
		bundle := contentOf(t, filepath.Join(root, "etc/ssl/certs/ca-certificates.crt"))
		if n := bytes.Count(bundle, []byte("-----BEGIN CERTIFICATE-----")); n < 100 {
			t.Errorf("%d certificates", n)
		}
		for _, each := range []string{"UTC", "Europe/Berlin", "Asia/Calcutta", "US/Eastern"} {
			if zone := contentOf(t, filepath.Join(root, "usr/share/zoneinfo", each)); !bytes.HasPrefix(zone, []byte("TZif")) {
				t.Errorf("%s is no time zone", each)
			}
		}
	})

	t.Run("holds no shell, no other program, and no link to nowhere", func(t *testing.T) {
		err := filepath.WalkDir(root, func(path string, each os.DirEntry, err error) error {
			if err != nil {
				return err
			}
			name, info := strings.TrimPrefix(path, root), mustInfo(t, each)
			if info.Mode().IsRegular() && info.Mode()&0o111 != 0 && name != "/bascule-controller" && !strings.HasPrefix(name, "/lib/") {
				t.Errorf("%s can be run", name)
			}
			if info.Mode()&os.ModeSymlink != 0 {
				if _, err := os.Stat(target(t, root, path)); err != nil {
					t.Errorf("%s: %v", name, err)
				}
			}
			if info.Mode()&(os.ModeSetuid|os.ModeSetgid) != 0 || info.Mode()&os.ModeSymlink == 0 && info.Mode().Perm()&0o022 != 0 {
				t.Errorf("%s has mode %v", name, info.Mode())
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		for _, each := range []string{"bin", "sbin", "usr/bin", "usr/sbin", "usr/share/man", "usr/share/locale", "var/lib/dpkg/status"} {
			if _, err := os.Lstat(filepath.Join(root, each)); err == nil {
				t.Errorf("/%s is there", each)
			}
		}
	})

	t.Run("has an SBOM that names every package and is attached to it", func(t *testing.T) {
		var manifest oci.Manifest
		if err := json.Unmarshal(images[1].Manifest, &manifest); err != nil {
			t.Fatal(err)
		}
		if manifest.Subject == nil || manifest.Subject.Digest != images[0].Descriptor.Digest || manifest.ArtifactType != "application/spdx+json" {
			t.Errorf("got %+v", manifest)
		}
		if !bytes.Equal(images[1].Layer, contentOf(t, sbomPath(first))) {
			t.Error("the attached SBOM is another one than that beside the archive")
		}
		named := map[string]bool{}
		for _, each := range document(t, images[1].Layer).Packages {
			named[each.Name] = true
		}
		entries, err := os.ReadDir(filepath.Join(root, "var/lib/dpkg/status.d"))
		if err != nil || len(entries) < 5 {
			t.Fatalf("%d entries for scanners, %v", len(entries), err)
		}
		for _, each := range entries {
			if !named[each.Name()] {
				t.Errorf("the SBOM does not name %s", each.Name())
			}
		}
		for _, each := range []string{"kube", "rustls", "aws-sdk-ssm", "bascule-core"} {
			if !named[each] {
				t.Errorf("the SBOM does not name the crate %s", each)
			}
		}
		for _, each := range []string{"serde_derive", "syn", "cc", "proptest"} {
			if named[each] {
				t.Errorf("the SBOM names %s: a macro, a build script or a test has it, the program has not", each)
			}
		}
	})
}

// try starts a program that is alone in its image.
func try(t *testing.T, binary string) (string, error) {
	t.Helper()
	root := t.TempDir()
	if err := os.Chmod(root, 0o755); err != nil {
		t.Fatal(err)
	}
	put(t, filepath.Join(root, programName), string(contentOf(t, binary)))
	said, err := tryStart(t.Context(), root, runtime.GOARCH)
	if strings.HasPrefix(said, errNotHere.Error()) && os.Geteuid() != 0 {
		t.Skip(said)
	}
	return said, err
}

func TestAProgramIsStartedInItsImageAsTheUserOfTheImage(t *testing.T) {
	said, err := try(t, compileC(t, "#include <unistd.h>\nint main(void) { return getuid() != 65532 || getgid() != 65532; }", "-static"))
	if err != nil || !strings.Contains(said, "median of") {
		t.Errorf("got %q, %v", said, err)
	}
}

func TestAnImageInWhichTheProgramDoesNotStartIsAnError(t *testing.T) {
	for name, binary := range map[string]string{
		"libraries missing": compile(t),
		"exit code 3":       compileC(t, "int main(void) { return 3; }", "-static"),
	} {
		if said, err := try(t, binary); err == nil || !strings.Contains(err.Error(), "does not start in its own image") {
			t.Errorf("%s: got %q, %v", name, said, err)
		}
	}
}

func TestAFolderWithFilesInItIsNotOverwritten(t *testing.T) {
	folder := t.TempDir()
	put(t, filepath.Join(folder, "mine"), "x")
	err := writeRootfs(t.Context(), options{rootfs: folder}, packed(t, "1.0.0"), reporter{io.Discard})
	if err == nil || !strings.Contains(err.Error(), "must be empty") {
		t.Errorf("got %v", err)
	}
}

func mustInfo(t *testing.T, each os.DirEntry) os.FileInfo {
	t.Helper()
	info, err := each.Info()
	if err != nil {
		t.Fatal(err)
	}
	return info
}

// target is where a link leads in the image.
func target(t *testing.T, root, path string) string {
	t.Helper()
	link, err := os.Readlink(path)
	if err != nil {
		t.Fatal(err)
	}
	if filepath.IsAbs(link) {
		return filepath.Join(root, link)
	}
	return filepath.Join(filepath.Dir(path), link)
}
