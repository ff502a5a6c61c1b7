package main

import (
	"strings"
	"testing"
)

// What the Dockerfile says a second time must be the same.
func TestTheDockerfileSaysWhatTheImageSays(t *testing.T) {
	const root = "../../../../"
	found, err := readTree(root)
	if err != nil {
		t.Fatal(err)
	}
	found.version, found.revision = "$VERSION", "$REVISION"
	text := string(contentOf(t, root+"Dockerfile"))
	for label, value := range labels(found) {
		if strings.HasSuffix(label, ".created") {
			value = "$CREATED"
		}
		if want := label + `="` + value + `"`; !strings.Contains(text, want) {
			t.Errorf("the Dockerfile does not say %s", want)
		}
	}
	for _, want := range []string{
		"FROM scratch\n", "USER " + user + "\n", "WORKDIR /\n", "EXPOSE 8080\n", `ENTRYPOINT ["/` + programName + `"]`,
	} {
		if !strings.Contains(text, want) {
			t.Errorf("the Dockerfile does not say %s", want)
		}
	}
}
