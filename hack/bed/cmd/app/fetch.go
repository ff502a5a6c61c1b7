package main

import (
	"archive/zip"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"time"
)

// largest is what an archive of a test has at most.
const largest = 64 << 20

// fetch is the init container of a Release with an archive: one version of an object, checked, and unpacked into an empty folder.
//
//	ENDPOINT BUCKET KEY VERSION   where it lies; VERSION is the id of one version
//	SHA256                        what it must be
//	INTO                          where it is unpacked
func fetch(env func(string) string) error {
	address := fmt.Sprintf("%s/%s/%s?versionId=%s", env("ENDPOINT"), env("BUCKET"),
		(&url.URL{Path: env("KEY")}).EscapedPath(), url.QueryEscape(env("VERSION")))
	request, err := http.NewRequest(http.MethodGet, address, nil)
	if err != nil {
		return err
	}
	// The emulator wants to see that somebody asks, and not who.
	request.Header.Set("Authorization", "AWS4-HMAC-SHA256 Credential=test/20260101/us-east-1/s3/aws4_request, SignedHeaders=host, Signature=0")
	client := http.Client{Timeout: 30 * time.Second}
	answer, err := client.Do(request)
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		return fmt.Errorf("%s: %s", address, answer.Status)
	}
	content, err := io.ReadAll(io.LimitReader(answer.Body, largest))
	if err != nil {
		return err
	}
	return unpack(content, env("SHA256"), env("INTO"))
}

func unpack(content []byte, wanted, into string) error {
	sum := sha256.Sum256(content)
	if found := hex.EncodeToString(sum[:]); found != wanted {
		return fmt.Errorf("the archive is %s, and should be %s", found, wanted)
	}
	archive, err := zip.NewReader(bytes.NewReader(content), int64(len(content)))
	if err != nil {
		return err
	}
	for _, file := range archive.File {
		if !filepath.IsLocal(file.Name) {
			return fmt.Errorf("%q would leave its folder", file.Name)
		}
		if file.FileInfo().IsDir() {
			continue
		}
		if err := write(file, filepath.Join(into, file.Name)); err != nil {
			return err
		}
	}
	log.Printf("unpacked %d files into %s", len(archive.File), into)
	return nil
}

func write(file *zip.File, path string) (err error) {
	source, err := file.Open()
	if err != nil {
		return err
	}
	defer source.Close()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	target, err := os.Create(path)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, target.Close()) }()
	_, err = io.Copy(target, io.LimitReader(source, largest))
	return err
}
