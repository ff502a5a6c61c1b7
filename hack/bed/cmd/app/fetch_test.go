package main

import (
	"archive/zip"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"os"
	"path/filepath"
	"testing"
)

func archive(t *testing.T, name string) (content []byte, sum string) {
	t.Helper()
	var buffer bytes.Buffer
	writer := zip.NewWriter(&buffer)
	file, err := writer.Create(name)
	if err == nil {
		_, err = file.Write([]byte("v7\n"))
	}
	if err == nil {
		err = writer.Close()
	}
	if err != nil {
		t.Fatal(err)
	}
	hash := sha256.Sum256(buffer.Bytes())
	return buffer.Bytes(), hex.EncodeToString(hash[:])
}

func TestAnArchiveIsUnpackedWhenItIsTheRightOne(t *testing.T) {
	content, sum := archive(t, "site/version")
	folder := t.TempDir()
	if err := unpack(content, sum, folder); err != nil {
		t.Fatal(err)
	}
	if text, err := os.ReadFile(filepath.Join(folder, "site", "version")); err != nil || string(text) != "v7\n" {
		t.Fatalf("%q %v", text, err)
	}
	other := t.TempDir()
	if err := unpack(append(content, 0), sum, other); err == nil {
		t.Fatal("another archive than was released is unpacked")
	}
	if left, _ := os.ReadDir(other); len(left) > 0 {
		t.Fatalf("something of it was left: %v", left)
	}
}

func TestAnArchiveDoesNotLeaveItsFolder(t *testing.T) {
	content, sum := archive(t, "../evil")
	if err := unpack(content, sum, t.TempDir()); err == nil {
		t.Fatal("it was unpacked")
	}
}
