package main

import (
	"context"
	"os"
	"path/filepath"
	"testing"
)

func TestTheLastBedPutsTheKernelsSettingsBack(t *testing.T) {
	folder, system, ctx := t.TempDir(), t.TempDir(), context.Background()
	setting := filepath.Join(system, "kernel", "panic")
	write(t, setting, "0\n")
	first, second := filepath.Join(folder, "bascule-a"), filepath.Join(folder, "bascule-b")
	for _, bed := range []string{first, second} {
		if err := keepSettings(ctx, folder, system); err != nil {
			t.Fatal(err)
		}
		if err := os.Mkdir(bed, 0o755); err != nil {
			t.Fatal(err)
		}
		write(t, setting, "10\n") // what its kubelet does
	}
	leave := func(bed, want string) {
		if err := os.Remove(bed); err != nil {
			t.Fatal(err)
		}
		if err := restoreSettings(ctx, folder, system); err != nil {
			t.Fatal(err)
		}
		if got, err := os.ReadFile(setting); err != nil || string(got) != want {
			t.Errorf("after %s: %q %v, want %q", filepath.Base(bed), got, err, want)
		}
	}
	leave(first, "10\n")
	leave(second, "0\n")
}
