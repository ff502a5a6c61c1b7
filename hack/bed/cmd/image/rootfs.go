package main

import (
	"bytes"
	"context"
	"fmt"
	"path"
	"slices"
	"sort"
	"strings"

	"bascule.dev/bed/internal/oci"
)

const programName = "bascule-controller"

// user is who the controller is in the image; the same number as in the chart.
const user = "65532:65532"

// always are packages of which something is needed whatever the binary is.
const (
	certificates = "ca-certificates" // roots for AWS, registries and gates
	timeZones    = "tzdata"          // windows name a zone
	distribution = "base-files"      // os-release: without it a scanner does not know whose packages these are
)

const osRelease = "usr/lib/os-release"

// own are files that no package brings.
var own = []oci.Entry{
	{Name: "etc/passwd", Mode: 0o644, Content: []byte("root:x:0:0:root:/nonexistent:/nonexistent\n" +
		"nonroot:x:65532:65532:nonroot:/nonexistent:/nonexistent\n")},
	{Name: "etc/group", Mode: 0o644, Content: []byte("root:x:0:\nnonroot:x:65532:\n")},
	// What glibc would do anyway, said once where a reader looks for it.
	{Name: "etc/nsswitch.conf", Mode: 0o644, Content: []byte("hosts: files dns\n")},
}

// rootfs picks the files of the image: what the binary asks for, and nothing else of the packages.
func rootfs(ctx context.Context, binary program, arch string, license []byte, from shelf) ([]oci.Entry, []*pkg, error) {
	made := rootfsMaker{arch: arch, from: from, packages: map[string]*pkg{}, files: map[string]oci.Entry{}}
	for _, each := range own {
		made.files[each.Name] = each
	}
	made.add(programName, 0o755, binary.content)
	made.add("usr/share/doc/"+programName+"/copyright", 0o644, license)
	for _, step := range []func(context.Context) error{
		func(ctx context.Context) error { return made.libraries(ctx, binary) },
		made.osRelease, made.certificates, made.zones, made.papers,
	} {
		if err := step(ctx); err != nil {
			return nil, nil, err
		}
	}
	return made.entries(), made.sorted(), nil
}

type rootfsMaker struct {
	arch     string
	from     shelf
	packages map[string]*pkg
	files    map[string]oci.Entry
}

func (m *rootfsMaker) add(name string, mode int64, content []byte) {
	m.files[name] = oci.Entry{Name: name, Mode: mode, Content: content}
}

func (m *rootfsMaker) get(ctx context.Context, name string) (*pkg, error) {
	if found, there := m.packages[name]; there {
		return found, nil
	}
	found, err := m.from.get(ctx, name)
	if err != nil {
		return nil, err
	}
	m.packages[name] = found
	return found, nil
}

// libraries adds what the loader will look for, and what that needs in turn. A static binary asks for nothing.
func (m *rootfsMaker) libraries(ctx context.Context, binary program) error {
	folder := machines[m.arch].folder
	missing := slices.Clone(binary.libraries)
	if binary.loader != "" {
		name := path.Base(binary.loader)
		missing = append(missing, name)
		if link := strings.TrimPrefix(binary.loader, "/"); link != "lib/"+folder+"/"+name {
			m.files[link] = oci.Entry{Name: link, Link: "/lib/" + folder + "/" + name}
		}
	}
	for len(missing) > 0 {
		name := missing[0]
		missing = missing[1:]
		place := "lib/" + folder + "/" + name
		if _, there := m.files[place]; there {
			continue
		}
		holder, err := libraryPackage(name)
		if err != nil {
			return err
		}
		from, err := m.get(ctx, holder)
		if err != nil {
			return err
		}
		content, found := from.follow(place)
		if !found {
			content, found = from.follow("usr/" + place) // from Debian 13 on
		}
		if !found {
			return fmt.Errorf("%s %s holds no %s", from.name, from.version, name)
		}
		library, err := readProgram(content, m.arch)
		if err != nil {
			return fmt.Errorf("%s of %s: %w", name, from.name, err)
		}
		m.add(place, 0o755, content)
		missing = append(missing, library.libraries...)
	}
	return nil
}

func (m *rootfsMaker) osRelease(ctx context.Context) error {
	from, err := m.get(ctx, distribution)
	if err != nil {
		return err
	}
	content, found := from.follow(osRelease)
	if !found {
		return fmt.Errorf("%s holds no os-release", from.name)
	}
	m.add(osRelease, 0o644, content)
	m.files["etc/os-release"] = oci.Entry{Name: "etc/os-release", Link: "../" + osRelease}
	return nil
}

// certificates makes the bundle that the package's own script would make: no script runs here.
func (m *rootfsMaker) certificates(ctx context.Context) error {
	from, err := m.get(ctx, certificates)
	if err != nil {
		return err
	}
	var bundle bytes.Buffer
	for _, name := range sortedNames(from.files) {
		if strings.HasPrefix(name, "usr/share/ca-certificates/") && strings.HasSuffix(name, ".crt") {
			bundle.Write(bytes.TrimRight(from.files[name].content, "\n"))
			bundle.WriteByte('\n')
		}
	}
	if bundle.Len() == 0 {
		return fmt.Errorf("%s %s holds no certificates", from.name, from.version)
	}
	m.add("etc/ssl/certs/ca-certificates.crt", 0o644, bundle.Bytes())
	return nil
}

// zones adds the time zones by their names. The package has each of them up to twice more, with and without leap seconds.
func (m *rootfsMaker) zones(ctx context.Context) error {
	from, err := m.get(ctx, timeZones)
	if err != nil {
		return err
	}
	const folder = "usr/share/zoneinfo/"
	count := 0
	for name, file := range from.files {
		zone, inside := strings.CutPrefix(name, folder)
		if !inside || strings.HasPrefix(zone, "posix/") || strings.HasPrefix(zone, "right/") {
			continue
		}
		content, found := from.follow(name)
		if !found || !bytes.HasPrefix(content, []byte("TZif")) {
			continue // tables for people, and the link to the zone of a machine
		}
		count++
		if file.link != "" {
			m.files[name] = oci.Entry{Name: name, Link: file.link}
		} else {
			m.add(name, 0o644, content)
		}
	}
	if count == 0 {
		return fmt.Errorf("%s %s holds no time zones", from.name, from.version)
	}
	return nil
}

// papers adds what comes with every package: its copyright, which its licence demands, and its entry for scanners, in the form
// that images without a package manager have for them.
func (m *rootfsMaker) papers(ctx context.Context) error {
	for {
		before := len(m.packages)
		for _, each := range m.sorted() {
			doc := "usr/share/doc/" + each.name
			// libgcc-s1 has a link instead: its copyright is in another package.
			if link := each.files[doc].link; link != "" {
				if _, err := m.get(ctx, path.Base(link)); err != nil {
					return err
				}
				m.files[doc] = oci.Entry{Name: doc, Link: link}
			} else if content, found := each.follow(doc + "/copyright"); found {
				m.add(doc+"/copyright", 0o644, content)
			} else {
				return fmt.Errorf("%s %s has no copyright", each.name, each.version)
			}
			m.add("var/lib/dpkg/status.d/"+each.name, 0o644, []byte(each.control))
		}
		if len(m.packages) == before {
			return nil
		}
	}
}

func (m *rootfsMaker) entries() []oci.Entry {
	var all []oci.Entry
	for _, name := range sortedNames(m.files) {
		all = append(all, m.files[name])
	}
	return all
}

func (m *rootfsMaker) sorted() []*pkg {
	var all []*pkg
	for _, name := range sortedNames(m.packages) {
		all = append(all, m.packages[name])
	}
	return all
}

func sortedNames[T any](of map[string]T) []string {
	names := make([]string, 0, len(of))
	for name := range of {
		names = append(names, name)
	}
	sort.Strings(names)
	return names
}
