// Two image registries on loopback: one for anybody, one that wants a password.
//
// Comes in: ports. Goes out: parts that answer the OCI distribution API, with their storage in the bed's folder.
package main

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"net/http"
	"strconv"
)

// The password is no secret: it only makes a registry say no to those who do not send it.
const (
	registryUser     = "bed"
	registryPassword = "bed"
	// bcrypt of the password, as an htpasswd file holds it.
	registryHtpasswd = "bed:$2a$04$yqSj/TJECXSngDomhWedk.2emfU0bEmxxVUf/ax1RvzdTbXvTe2FS\n"
)

var registries = []struct {
	name     string
	password bool
}{{"registry", false}, {"registry-auth", true}}

func (b *bed) startRegistry(ctx context.Context, t tools, name string, password bool) error {
	secret := make([]byte, 16)
	if _, err := rand.Read(secret); err != nil {
		return err
	}
	listens := b.address(name)
	if b.state.Netns != "" {
		listens = ":" + strconv.Itoa(b.state.Ports[name]) // of the bed's own network, where pods must reach it
	}
	config := fmt.Sprintf(`version: 0.1
log: {level: warn, accesslog: {disabled: true}}
storage:
  filesystem: {rootdirectory: %q}
  delete: {enabled: true}
http: {addr: %q, secret: %s}
`, b.path(name), listens, hex.EncodeToString(secret))
	if password {
		if err := replaceFile(b.path("htpasswd"), []byte(registryHtpasswd), 0o600); err != nil {
			return err
		}
		config += fmt.Sprintf("auth: {htpasswd: {realm: bed, path: %q}}\n", b.path("htpasswd"))
	}
	if err := replaceFile(b.path(name+".yaml"), []byte(config), 0o644); err != nil {
		return err
	}
	return b.startPart(ctx, part{
		name:    name,
		command: b.inside(t["registry"], "serve", b.path(name+".yaml")),
		// Its tracing would otherwise look for a collector on this machine, for ever.
		env:  []string{"OTEL_TRACES_EXPORTER=none"},
		port: b.state.Ports[name], healthy: b.registryAnswers(name, password), within: healthyWithin,
	})
}

func (b *bed) registryAnswers(name string, password bool) func(context.Context) error {
	return func(ctx context.Context) error {
		request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+b.address(name)+"/v2/", nil)
		if err != nil {
			return err
		}
		if password {
			request.SetBasicAuth(registryUser, registryPassword)
		}
		answer, err := http.DefaultClient.Do(request)
		if err != nil {
			return err
		}
		answer.Body.Close()
		if answer.StatusCode != http.StatusOK {
			return fmt.Errorf("/v2/ answers %s", answer.Status)
		}
		return nil
	}
}
