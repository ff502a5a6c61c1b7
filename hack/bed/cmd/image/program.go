package main

import (
	"bytes"
	"debug/elf"
	"fmt"
	"io"
	"strings"
)

// machine is what differs between the platforms.
type machine struct {
	elf    elf.Machine
	rust   string // target of cargo
	folder string // of libraries, below lib/
	linker string // when the machine that builds is another
	cross  string // the Debian package with that linker
}

var machines = map[string]machine{
	"amd64": {elf.EM_X86_64, "x86_64-unknown-linux-gnu", "x86_64-linux-gnu", "x86_64-linux-gnu-gcc", "gcc-x86-64-linux-gnu"},
	"arm64": {elf.EM_AARCH64, "aarch64-unknown-linux-gnu", "aarch64-linux-gnu", "aarch64-linux-gnu-gcc", "gcc-aarch64-linux-gnu"},
}

// program is an executable or a library, and what it says that it needs.
type program struct {
	content   []byte
	libraries []string // by the names that the loader looks for
	loader    string   // path; none when it is static, or a library
	rustc     string   // version, when a Rust compiler has signed it
}

func readProgram(content []byte, arch string) (program, error) {
	file, err := elf.NewFile(bytes.NewReader(content))
	if err != nil {
		return program{}, fmt.Errorf("no Linux program: %w", err)
	}
	if want := machines[arch].elf; file.Machine != want {
		return program{}, fmt.Errorf("made for %v, not for %s", file.Machine, arch)
	}
	found := program{content: content}
	if found.libraries, err = file.ImportedLibraries(); err != nil {
		return program{}, err
	}
	for _, part := range file.Progs {
		if part.Type == elf.PT_INTERP {
			text, err := io.ReadAll(part.Open())
			if err != nil {
				return program{}, err
			}
			found.loader = strings.TrimRight(string(text), "\x00")
		}
	}
	if comment := file.Section(".comment"); comment != nil {
		text, err := comment.Data()
		if err != nil {
			return program{}, err
		}
		for each := range bytes.SplitSeq(text, []byte{0}) {
			if words := strings.Fields(string(each)); len(words) > 2 && words[0] == "rustc" && words[1] == "version" {
				found.rustc = words[2]
			}
		}
	}
	return found, nil
}

// libraryPackage says which Debian package holds a library. A library that is not here is a dependency that nobody has thought about.
func libraryPackage(library string) (string, error) {
	switch {
	case library == "libgcc_s.so.1":
		return "libgcc-s1", nil
	case strings.HasPrefix(library, "ld-linux-"):
		return "libc6", nil
	}
	switch library {
	case "libc.so.6", "libm.so.6", "libpthread.so.0", "libdl.so.2", "librt.so.1", "libresolv.so.2":
		return "libc6", nil
	}
	return "", fmt.Errorf("it needs %s, and no package of this image holds that (program.go)", library)
}
