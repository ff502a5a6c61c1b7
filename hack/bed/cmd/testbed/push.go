// The example images in the bed's registries.
//
// Comes in: the images, the registries. Goes out: their tags in each registry. Blobs that are there are not sent again.
package main

import (
	"context"

	"bascule.dev/bed/internal/oci"
)

func (b *bed) pushExamples(ctx context.Context, t tools) error {
	images, err := exampleImages(t)
	if err != nil {
		return err
	}
	for _, registry := range registries {
		to := oci.Registry{Host: b.address(registry.name), PlainHTTP: true}
		if registry.password {
			to.User, to.Password = registryUser, registryPassword
		}
		for _, each := range appTags {
			if err := to.Push(ctx, appName, each.tag, images[each.tag]); err != nil {
				return err
			}
		}
	}
	return nil
}
