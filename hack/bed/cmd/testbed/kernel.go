// The few kernel settings that a kubelet changes for the whole machine, kept and put back.
//
// Comes in: the first real bed of this machine, and the last. Goes out: the machine as it was before. A kubelet
// cannot be told to leave them alone, only to refuse to start.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
)

const (
	procSys       = "/proc/sys"
	runtimeFolder = "/run/bascule" // of all real beds, whatever their checkout
	kernelFile    = "kernel.json"
	kernelLock    = ".lock"
)

var kernelSettings = []string{"vm/overcommit_memory", "vm/panic_on_oom", "kernel/panic", "kernel/panic_on_oops",
	"kernel/keys/root_maxkeys", "kernel/keys/root_maxbytes"}

// keepSettings writes the settings down, unless a bed before us has: then what is there now is a kubelet's already.
func keepSettings(ctx context.Context, folder, system string) error {
	release, err := lockFile(ctx, filepath.Join(folder, kernelLock))
	if err != nil {
		return err
	}
	defer release()
	path := filepath.Join(folder, kernelFile)
	if _, err := os.Stat(path); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	values := map[string]string{}
	for _, name := range kernelSettings {
		if value, err := os.ReadFile(filepath.Join(system, name)); err == nil {
			values[name] = string(value)
		}
	}
	text, err := json.Marshal(values)
	if err != nil {
		return err
	}
	return replaceFile(path, text, 0o644)
}

// restoreSettings puts them back when no bed is left, and removes the folder of the beds.
func restoreSettings(ctx context.Context, folder, system string) error {
	if _, err := os.Stat(folder); err != nil {
		return nil
	}
	release, err := lockFile(ctx, filepath.Join(folder, kernelLock))
	if err != nil {
		return err
	}
	defer release()
	beds, err := filepath.Glob(filepath.Join(folder, "bascule-*"))
	if err != nil || len(beds) > 0 {
		return err
	}
	path := filepath.Join(folder, kernelFile)
	text, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	var values map[string]string
	if err := json.Unmarshal(text, &values); err != nil {
		return err
	}
	for name, value := range values {
		setting := filepath.Join(system, name)
		if now, err := os.ReadFile(setting); err == nil && string(now) != value {
			if err := os.WriteFile(setting, []byte(value), 0o644); err != nil {
				return err
			}
		}
	}
	return os.Remove(path)
}
