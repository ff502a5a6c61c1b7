package main

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strings"

	"bascule.dev/bed/internal/oci"
)

func runPush(ctx context.Context, args []string) error {
	flags := newFlags()
	plain := flags.Bool("plain-http", false, "")
	words, err := parse(flags, args)
	if err != nil {
		return err
	}
	if len(words) != 2 {
		return errors.New("push ARCHIVE REGISTRY/NAME:TAG; hack/image help")
	}
	to, repository, tag, err := parseReference(words[1])
	if err != nil {
		return err
	}
	to.PlainHTTP = *plain || isLoopback(to.Host)
	if to.User, to.Password, err = password(to.Host); err != nil {
		return err
	}
	archive, err := os.Open(words[0])
	if err != nil {
		return err
	}
	defer archive.Close()
	images, err := oci.ReadArchive(archive)
	if err != nil {
		return fmt.Errorf("%s: %w", words[0], err)
	}
	return pushImages(ctx, to, repository, tag, images)
}

func pushImages(ctx context.Context, to oci.Registry, repository, tag string, images []oci.Named) error {
	say := reporter{os.Stdout}
	for _, each := range images {
		var manifest oci.Manifest
		if err := json.Unmarshal(each.Manifest, &manifest); err != nil {
			return err
		}
		if manifest.Subject == nil {
			if err := to.Push(ctx, repository, tag, each.Image); err != nil {
				return err
			}
			say.line("pushed", "%s/%s:%s", to.Host, repository, tag)
			say.line("digest", "%s", each.Descriptor.Digest)
		} else {
			if err := to.PushReferrer(ctx, repository, manifest.Subject.Digest, each.Image); err != nil {
				return err
			}
			say.line("SBOM", "%s", each.Descriptor.Digest)
		}
	}
	return nil
}

// isLoopback says whether a registry is on this machine: such a one speaks no TLS, as every other tool takes it.
func isLoopback(host string) bool {
	name, _, err := net.SplitHostPort(host)
	if err != nil {
		name = host
	}
	address := net.ParseIP(name)
	return name == "localhost" || address != nil && address.IsLoopback()
}

// parseReference takes a whole name apart. Nothing is guessed: a registry and a tag must be there.
func parseReference(text string) (to oci.Registry, repository, tag string, err error) {
	host, rest, _ := strings.Cut(text, "/")
	colon := strings.LastIndex(rest, ":")
	if colon < 1 || colon == len(rest)-1 || !strings.ContainsAny(host, ".:") && host != "localhost" {
		return to, "", "", fmt.Errorf("%s: REGISTRY/NAME:TAG is wanted, such as registry.example.org/bascule/controller:0.1.0", text)
	}
	return oci.Registry{Host: host}, rest[:colon], rest[colon+1:], nil
}

// password finds what `docker login` has left for a registry. A helper program that keeps it elsewhere is not asked.
func password(host string) (name, secret string, err error) {
	folder := os.Getenv("DOCKER_CONFIG")
	if folder == "" {
		home, err := os.UserHomeDir()
		if err != nil {
			return "", "", nil
		}
		folder = filepath.Join(home, ".docker")
	}
	file := filepath.Join(folder, "config.json")
	text, err := os.ReadFile(file)
	if errors.Is(err, fs.ErrNotExist) {
		return "", "", nil
	}
	if err != nil {
		return "", "", err
	}
	var config struct {
		Auths map[string]struct{ Auth string }
	}
	if err := json.Unmarshal(text, &config); err != nil {
		return "", "", fmt.Errorf("%s: %w", file, err)
	}
	pair, err := base64.StdEncoding.DecodeString(config.Auths[host].Auth)
	if err != nil {
		return "", "", fmt.Errorf("%s: the entry of %s: %w", file, host, err)
	}
	name, secret, _ = strings.Cut(string(pair), ":")
	return name, secret, nil
}
