package main

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"
	"time"
)

// packed is an image of made-up packages and crates.
func packed(t *testing.T, version string) *result {
	t.Helper()
	entries, packages, err := rootfs(t.Context(), static(), "amd64", []byte("licence"), newShelf())
	if err != nil {
		t.Fatal(err)
	}
	made, err := pack(entries, contents{
		tree: tree{version: version, license: "Apache-2.0", source: "https://example.org", revision: "abc", created: time.Unix(0, 0)},
		arch: "amd64", binary: program{content: []byte("static"), rustc: "1.90.0"}, packages: packages,
		crates: []crate{{name: "a_b", version: "1.0.0+x", license: "MIT/Apache-2.0", sha256: "abc"}, {name: "bascule-core", version: version}},
	})
	if err != nil {
		t.Fatal(err)
	}
	return made
}

func document(t *testing.T, text []byte) spdxDocument {
	t.Helper()
	var found spdxDocument
	if err := json.Unmarshal(text, &found); err != nil {
		t.Fatal(err)
	}
	return found
}

func TestTheDocumentNamesAllThatIsInside(t *testing.T) {
	made := packed(t, "1.0.0")
	found := document(t, made.document)
	names := map[string]spdxPackage{}
	for _, each := range found.Packages {
		names[each.Name] = each
	}
	for _, each := range made.contents.packages {
		if got := names[each.name]; got.VersionInfo != each.version || got.Checksums[0].Value != each.sha256 ||
			!strings.HasSuffix(got.ExternalRefs[0].Locator, "distro=debian-12") {
			t.Errorf("%s is %+v", each.name, got)
		}
	}
	for _, each := range []string{"a_b", "bascule-core", "rust-std", "/" + programName, programName} {
		if names[each].Name == "" {
			t.Errorf("%s is missing", each)
		}
	}
	if names["a_b"].LicenseDeclared != "MIT OR Apache-2.0" || names["bascule-core"].LicenseDeclared != noAssertion {
		t.Errorf("licences %q and %q", names["a_b"].LicenseDeclared, names["bascule-core"].LicenseDeclared)
	}
	if len(names["bascule-core"].ExternalRefs) != 0 {
		t.Error("a crate of this tree is said to be on a registry")
	}
	if image := names[programName]; "sha256:"+image.Checksums[0].Value != made.image.Descriptor.Digest {
		t.Errorf("the document is about another image: %+v", image)
	}
}

func TestEveryPackageHasAPlace(t *testing.T) {
	found := document(t, packed(t, "1.0.0").document)
	var ids, placed []string
	for _, each := range found.Packages {
		ids = append(ids, each.SPDXID)
		if strings.Trim(each.SPDXID, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-") != "" {
			t.Errorf("%s is no identifier", each.SPDXID)
		}
	}
	for _, each := range found.Relationships {
		placed = append(placed, each.To)
	}
	slices.Sort(ids)
	slices.Sort(placed)
	if !slices.Equal(ids, placed) || len(slices.Compact(ids)) != len(found.Packages) {
		t.Errorf("packages %v, in relations %v", ids, placed)
	}
}

func TestTheSameContentsMakeTheSameImageAndAnotherVersionAnother(t *testing.T) {
	one, two, other := packed(t, "1.0.0"), packed(t, "1.0.0"), packed(t, "1.0.1")
	if one.image.Descriptor.Digest != two.image.Descriptor.Digest || one.sbom.Descriptor.Digest != two.sbom.Descriptor.Digest {
		t.Error("two digests of one image")
	}
	if one.image.Descriptor.Digest == other.image.Descriptor.Digest {
		t.Error("one digest of two versions")
	}
}
