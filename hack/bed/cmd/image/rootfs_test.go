package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"

	"bascule.dev/bed/internal/oci"
)

// memoryShelf holds made-up packages.
type memoryShelf map[string]*pkg

func (s memoryShelf) get(_ context.Context, name string) (*pkg, error) {
	if found := s[name]; found != nil {
		return found, nil
	}
	return nil, fmt.Errorf("no package %s", name)
}

func (s memoryShelf) put(name string, files map[string]entry) {
	files["usr/share/doc/"+name+"/copyright"] = entry{content: []byte("copyright of " + name)}
	files["usr/share/man/man1/x.gz"] = entry{content: []byte("manual")}
	files["bin/sh"] = entry{content: []byte("shell")}
	s[name] = &pkg{
		name: name, version: "1-" + name, arch: runtime.GOARCH, control: "Package: " + name + "\n", sha256: "sum of " + name, files: files,
	}
}

// newShelf has what every image needs.
func newShelf() memoryShelf {
	s := memoryShelf{}
	s.put(distribution, map[string]entry{osRelease: {content: []byte("NAME=\"Debian GNU/Linux\"\nID=debian\nVERSION_ID=\"12\"\n")}})
	s.put(certificates, map[string]entry{
		"usr/share/ca-certificates/mozilla/B.crt": {content: []byte("second\n\n")},
		"usr/share/ca-certificates/mozilla/A.crt": {content: []byte("first")},
		"usr/sbin/update-ca-certificates":         {content: []byte("script")},
	})
	zone := entry{content: []byte("TZif2…")}
	s.put(timeZones, map[string]entry{
		"usr/share/zoneinfo/Europe/Berlin":       zone,
		"usr/share/zoneinfo/Europe/Busingen":     {link: "Zurich"},
		"usr/share/zoneinfo/Europe/Zurich":       zone,
		"usr/share/zoneinfo/right/Europe/Berlin": zone,
		"usr/share/zoneinfo/posix/Europe/Berlin": zone,
		"usr/share/zoneinfo/localtime":           {link: "/etc/localtime"},
		"usr/share/zoneinfo/zone.tab":            {content: []byte("a table")},
	})
	return s
}

// put a library of this machine into a package, in the folder that is wanted.
func (s memoryShelf) library(t *testing.T, folder, name string) (string, entry) {
	t.Helper()
	found, err := exec.Command("cc", "-print-file-name="+name).Output()
	if err != nil {
		t.Fatal(err)
	}
	content, err := os.ReadFile(strings.TrimSpace(string(found)))
	if err != nil {
		t.Fatal(err)
	}
	return folder + machines[runtime.GOARCH].folder + "/" + name, entry{content: content}
}

func loaderName() string {
	return map[string]string{"amd64": "ld-linux-x86-64.so.2", "arm64": "ld-linux-aarch64.so.1"}[runtime.GOARCH]
}

// compile makes a program that needs the same libraries as the controller, and answers like it.
func compile(t *testing.T) string {
	t.Helper()
	return compileC(t, "#include <stdio.h>\nint main(void) { puts(\"bascule-controller 0.0.0\"); return 0; }",
		"-Wl,--no-as-needed", "-lm", "-lgcc_s")
}

func compileC(t *testing.T, text string, flags ...string) string {
	t.Helper()
	if runtime.GOOS != "linux" {
		t.Skip("a compiler for Linux programs is needed")
	}
	folder := t.TempDir()
	source, program := filepath.Join(folder, "x.c"), filepath.Join(folder, "x")
	put(t, source, text+"\n")
	if said, err := exec.Command("cc", append([]string{"-o", program, source}, flags...)...).CombinedOutput(); err != nil {
		t.Fatalf("%v %s", err, said)
	}
	return program
}

func compiled(t *testing.T) program {
	t.Helper()
	content, err := os.ReadFile(compile(t))
	if err != nil {
		t.Fatal(err)
	}
	found, err := readProgram(content, runtime.GOARCH)
	if err != nil {
		t.Fatal(err)
	}
	return found
}

func static() program { return program{content: []byte("static")} }

// pick returns the names of the files of an image, and the files.
func pick(t *testing.T, binary program, from shelf) ([]string, map[string]oci.Entry, []*pkg) {
	t.Helper()
	entries, packages, err := rootfs(t.Context(), binary, runtime.GOARCH, []byte("licence"), from)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	files := map[string]oci.Entry{}
	for _, each := range entries {
		names = append(names, each.Name)
		files[each.Name] = each
	}
	return names, files, packages
}

func TestAStaticProgramBringsNoLibraries(t *testing.T) {
	names, _, packages := pick(t, static(), newShelf())
	for _, each := range names {
		if strings.HasPrefix(each, "lib") {
			t.Errorf("%s is there", each)
		}
	}
	if len(packages) != 3 {
		t.Errorf("%d packages", len(packages))
	}
}

func TestTheLibrariesAreThoseThatTheProgramAsksFor(t *testing.T) {
	binary := compiled(t)
	for _, folder := range []string{"lib/", "usr/lib/"} { // Debian 12, Debian 13
		from := newShelf()
		libc := map[string]entry{}
		for _, each := range []string{"libc.so.6", "libm.so.6", loaderName(), "libresolv.so.2"} {
			name, content := from.library(t, folder, each)
			libc[name] = content
		}
		from.put("libc6", libc)
		name, content := from.library(t, folder, "libgcc_s.so.1")
		from.put("libgcc-s1", map[string]entry{name: content})

		names, files, _ := pick(t, binary, from)
		place := "lib/" + machines[runtime.GOARCH].folder + "/"
		for _, each := range []string{"libc.so.6", "libm.so.6", "libgcc_s.so.1", loaderName()} {
			if !slices.Contains(names, place+each) {
				t.Errorf("%s: %s is missing", folder, each)
			}
		}
		if slices.Contains(names, place+"libresolv.so.2") {
			t.Error("a library that nobody asks for is there")
		}
		if loader := strings.TrimPrefix(binary.loader, "/"); files[loader].Link != "/"+place+loaderName() {
			t.Errorf("the loader %s is %+v", loader, files[loader].Link)
		}
	}
}

func TestALibraryThatNobodyHasThoughtOfIsAnError(t *testing.T) {
	binary := program{content: []byte("x"), libraries: []string{"libssl.so.3"}}
	if _, _, err := rootfs(t.Context(), binary, runtime.GOARCH, nil, newShelf()); err == nil || !strings.Contains(err.Error(), "libssl.so.3") {
		t.Errorf("got %v", err)
	}
}

func TestAProgramForAnotherMachineIsRefused(t *testing.T) {
	other := map[string]string{"amd64": "arm64", "arm64": "amd64"}[runtime.GOARCH]
	if _, err := readProgram(compiled(t).content, other); err == nil || !strings.Contains(err.Error(), "not for "+other) {
		t.Errorf("got %v", err)
	}
	if _, err := readProgram([]byte("#!/bin/sh"), runtime.GOARCH); err == nil {
		t.Error("a script was taken for a program")
	}
}

func TestTheBundleHoldsEveryCertificate(t *testing.T) {
	_, files, _ := pick(t, static(), newShelf())
	if got := string(files["etc/ssl/certs/ca-certificates.crt"].Content); got != "first\nsecond\n" {
		t.Errorf("got %q", got)
	}
}

func TestTheTimeZonesAreThereOnce(t *testing.T) {
	names, files, _ := pick(t, static(), newShelf())
	var zones []string
	for _, each := range names {
		if zone, inside := strings.CutPrefix(each, "usr/share/zoneinfo/"); inside {
			zones = append(zones, zone)
		}
	}
	if want := []string{"Europe/Berlin", "Europe/Busingen", "Europe/Zurich"}; !slices.Equal(zones, want) {
		t.Errorf("got %v, want %v", zones, want)
	}
	if files["usr/share/zoneinfo/Europe/Busingen"].Link != "Zurich" {
		t.Error("the link is a copy")
	}
}

func TestNothingElseOfThePackagesIsThere(t *testing.T) {
	names, _, _ := pick(t, static(), newShelf())
	for _, each := range names {
		if strings.Contains(each, "bin/") || strings.Contains(each, "/man/") {
			t.Errorf("%s is there", each)
		}
	}
}

func TestEveryPackageLeavesItsCopyrightAndItsEntryForScanners(t *testing.T) {
	from := newShelf()
	from.put("gcc-12-base", map[string]entry{})
	from.put("libgcc-s1", map[string]entry{})
	from["libgcc-s1"].files["usr/share/doc/libgcc-s1"] = entry{link: "gcc-12-base"}
	name, content := from.library(t, "lib/", "libgcc_s.so.1")
	from["libgcc-s1"].files[name] = content
	libc := map[string]entry{}
	for _, each := range []string{"libc.so.6", loaderName()} {
		name, content := from.library(t, "lib/", each)
		libc[name] = content
	}
	from.put("libc6", libc)

	binary := program{content: []byte("x"), libraries: []string{"libgcc_s.so.1"}}
	_, files, packages := pick(t, binary, from)
	if len(packages) != 6 {
		t.Errorf("%d packages; the copyright of libgcc-s1 is in a sixth", len(packages))
	}
	for _, each := range packages {
		if string(files["var/lib/dpkg/status.d/"+each.name].Content) != each.control {
			t.Errorf("%s has no entry for scanners", each.name)
		}
	}
	if files["usr/share/doc/libgcc-s1"].Link != "gcc-12-base" || len(files["usr/share/doc/gcc-12-base/copyright"].Content) == 0 {
		t.Error("the copyright of libgcc-s1 is missing")
	}
}
