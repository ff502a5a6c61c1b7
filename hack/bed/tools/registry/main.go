// Command registry is the OCI registry of the bed: distribution with just what the bed needs.
//
// Comes in: `serve CONFIG`. Goes out: the OCI distribution API, stored in a folder. The upstream
// main would link every cloud's storage driver; here there is the file system, and passwords from an
// htpasswd file.
package main

import (
	"os"

	"github.com/distribution/distribution/v3/registry"
	_ "github.com/distribution/distribution/v3/registry/auth/htpasswd"
	_ "github.com/distribution/distribution/v3/registry/storage/driver/filesystem"
)

func main() {
	if err := registry.RootCmd.Execute(); err != nil {
		os.Exit(1)
	}
}
