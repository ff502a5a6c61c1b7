package main

import (
	"encoding/json"
	"net/url"
	"strings"

	"bascule.dev/bed/internal/oci"
)

// mediaSPDX is the type of the document, and of the artifact that carries it in a registry.
const mediaSPDX = "application/spdx+json"

// The parts of SPDX 2.3 that are used here.
type spdxDocument struct {
	SPDXVersion       string         `json:"spdxVersion"`
	DataLicense       string         `json:"dataLicense"`
	SPDXID            string         `json:"SPDXID"`
	Name              string         `json:"name"`
	DocumentNamespace string         `json:"documentNamespace"`
	CreationInfo      spdxCreation   `json:"creationInfo"`
	Packages          []spdxPackage  `json:"packages"`
	Relationships     []spdxRelation `json:"relationships"`
}

type spdxCreation struct {
	Created  string   `json:"created"`
	Creators []string `json:"creators"`
	Comment  string   `json:"comment,omitempty"`
}

type spdxPackage struct {
	SPDXID           string         `json:"SPDXID"`
	Name             string         `json:"name"`
	VersionInfo      string         `json:"versionInfo"`
	Supplier         string         `json:"supplier"`
	DownloadLocation string         `json:"downloadLocation"`
	FilesAnalyzed    bool           `json:"filesAnalyzed"`
	Purpose          string         `json:"primaryPackagePurpose,omitempty"`
	SourceInfo       string         `json:"sourceInfo,omitempty"`
	LicenseConcluded string         `json:"licenseConcluded"`
	LicenseDeclared  string         `json:"licenseDeclared"`
	CopyrightText    string         `json:"copyrightText"`
	Checksums        []spdxChecksum `json:"checksums,omitempty"`
	ExternalRefs     []spdxRef      `json:"externalRefs,omitempty"`
}

type spdxChecksum struct {
	Algorithm string `json:"algorithm"`
	Value     string `json:"checksumValue"`
}

type spdxRef struct {
	Category string `json:"referenceCategory"`
	Type     string `json:"referenceType"`
	Locator  string `json:"referenceLocator"`
}

type spdxRelation struct {
	From string `json:"spdxElementId"`
	Type string `json:"relationshipType"`
	To   string `json:"relatedSpdxElement"`
}

const noAssertion = "NOASSERTION"

// contents is what a document is made of.
type contents struct {
	tree     tree
	arch     string
	image    oci.Descriptor
	binary   program
	packages []*pkg
	crates   []crate
}

func sbom(in contents) ([]byte, error) {
	image := newPackage("image", programName, in.tree.version, "pkg:oci/"+programName+"@"+url.QueryEscape(in.image.Digest)+"?arch="+in.arch)
	image.Purpose, image.LicenseDeclared = "CONTAINER", orNoAssertion(in.tree.license)
	image.Checksums = sha256Of(in.image.Digest)
	image.SourceInfo = "revision " + in.tree.revision
	binary := newPackage("binary", "/"+programName, in.tree.version, "")
	binary.Purpose, binary.LicenseDeclared = "APPLICATION", orNoAssertion(in.tree.license)
	binary.Checksums = sha256Of(oci.Digest(in.binary.content))

	document := spdxDocument{
		SPDXVersion: "SPDX-2.3", DataLicense: "CC0-1.0", SPDXID: "SPDXRef-DOCUMENT",
		Name: programName + " " + in.tree.version + " linux/" + in.arch,
		// Of each image there is one document only, so its digest makes the name unique.
		DocumentNamespace: in.tree.source + "/spdx/" + programName + "/" + strings.TrimPrefix(in.image.Digest, "sha256:"),
		CreationInfo: spdxCreation{
			Created: in.tree.createdText(), Creators: []string{"Tool: hack/image"},
			Comment: "The crates are those that Cargo.lock of this tree links into the program, without macros and build scripts.",
		},
		Packages: []spdxPackage{image, binary},
		Relationships: []spdxRelation{
			{"SPDXRef-DOCUMENT", "DESCRIBES", image.SPDXID},
			{image.SPDXID, "CONTAINS", binary.SPDXID},
		},
	}
	add := func(from spdxPackage, relation string, each spdxPackage) {
		document.Packages = append(document.Packages, each)
		document.Relationships = append(document.Relationships, spdxRelation{from.SPDXID, relation, each.SPDXID})
	}
	system := systemOf(in.packages)
	for _, each := range in.packages {
		add(image, "CONTAINS", debianPackage(each, system))
	}
	if in.binary.rustc != "" {
		rust := newPackage("rust-std", "rust-std", in.binary.rustc, "pkg:generic/rust-std@"+in.binary.rustc)
		rust.LicenseDeclared = "MIT OR Apache-2.0"
		add(binary, "STATIC_LINK", rust)
	}
	for _, each := range in.crates {
		add(binary, "STATIC_LINK", cratePackage(each))
	}
	text, err := json.MarshalIndent(document, "", " ")
	return append(text, '\n'), err
}

func newPackage(kind, name, version, locator string) spdxPackage {
	made := spdxPackage{
		SPDXID: spdxID(kind, strings.TrimPrefix(name, "/"), version), Name: name, VersionInfo: version, Supplier: noAssertion,
		DownloadLocation: noAssertion, LicenseConcluded: noAssertion, LicenseDeclared: noAssertion, CopyrightText: noAssertion,
	}
	if locator != "" {
		made.ExternalRefs = []spdxRef{{"PACKAGE-MANAGER", "purl", locator}}
	}
	return made
}

// systemOf is whose packages these are, in the words of os-release.
func systemOf(packages []*pkg) map[string]string {
	said := map[string]string{}
	for _, each := range packages {
		content, _ := each.follow(osRelease)
		for line := range strings.Lines(string(content)) {
			if key, value, found := strings.Cut(strings.TrimSpace(line), "="); found {
				said[key] = strings.Trim(value, `"`)
			}
		}
	}
	return said
}

// debianPackage names the source package too: that is how the distributions' lists of vulnerabilities call it.
func debianPackage(each *pkg, system map[string]string) spdxPackage {
	query := url.Values{"arch": {each.arch}, "distro": {system["ID"] + "-" + system["VERSION_ID"]}}
	source, _, _ := strings.Cut(each.source, " ")
	if source != "" {
		query.Set("upstream", source)
	}
	made := newPackage("deb", each.name, each.version,
		"pkg:deb/"+system["ID"]+"/"+each.name+"@"+url.QueryEscape(each.version)+"?"+query.Encode())
	made.Supplier = "Organization: " + system["NAME"]
	made.Checksums = []spdxChecksum{{"SHA256", each.sha256}}
	if source != "" {
		made.SourceInfo = "source package " + source
	}
	return made
}

// cratePackage: those of this tree are on no registry, and must not be taken for crates of the same name there.
func cratePackage(each crate) spdxPackage {
	locator := ""
	if each.sha256 != "" {
		locator = "pkg:cargo/" + each.name + "@" + url.QueryEscape(each.version)
	}
	made := newPackage("crate", each.name, each.version, locator)
	made.LicenseDeclared = orNoAssertion(licenseExpression(each.license))
	if each.sha256 != "" {
		made.Checksums = []spdxChecksum{{"SHA256", each.sha256}}
		made.DownloadLocation = "https://static.crates.io/crates/" + each.name + "/" + each.name + "-" + each.version + ".crate"
	}
	return made
}

// licenseExpression cures what crates wrote before there was a grammar for it: a slash for OR.
func licenseExpression(text string) string {
	var all []string
	for each := range strings.SplitSeq(text, "/") {
		all = append(all, strings.TrimSpace(each))
	}
	return strings.Join(all, " OR ")
}

// spdxID makes an identifier; letters, digits, dots and dashes are all that may be in one.
func spdxID(words ...string) string {
	text := strings.Map(func(r rune) rune {
		if r == '.' || r == '-' || (r >= '0' && r <= '9') || (r >= 'a' && r <= 'z') || (r >= 'A' && r <= 'Z') {
			return r
		}
		return '-'
	}, strings.Join(words, "-"))
	return "SPDXRef-" + text
}

func sha256Of(digest string) []spdxChecksum {
	return []spdxChecksum{{"SHA256", strings.TrimPrefix(digest, "sha256:")}}
}

func orNoAssertion(text string) string {
	if text == "" {
		return noAssertion
	}
	return text
}
