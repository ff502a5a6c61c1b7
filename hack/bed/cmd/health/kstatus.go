// What kstatus says.
//
// Comes in: an object. Goes out: the word that Flux, Helm 4 and others go by. Flux and Helm 4 use Flux' own copy of the library; if the two
// ever say different things, that is an error here, so that nobody reads one and believes the other.
package main

import (
	"fmt"

	flux "github.com/fluxcd/cli-utils/pkg/kstatus/status"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	original "sigs.k8s.io/cli-utils/pkg/kstatus/status"
)

func kstatus(object *unstructured.Unstructured) (verdict, error) {
	first, err := original.Compute(object.DeepCopy())
	if err != nil {
		return verdict{}, err
	}
	second, err := flux.Compute(object.DeepCopy())
	if err != nil {
		return verdict{}, err
	}
	said := verdict{string(first.Status), first.Message}
	if here := (verdict{string(second.Status), second.Message}); here != said {
		return verdict{}, fmt.Errorf("kstatus says %v, and Flux' copy of it %v", said, here)
	}
	return said, nil
}
