// Command health says what GitOps tools say of objects.
//
// Comes in: objects as JSON on standard input (one behind the other, an array, or a List), and the health script of Argo CD. Goes out:
// one line of JSON for each object. It never talks to a cluster; the tests read the objects themselves, at the moment that they want.
//
//	kubectl get releases -o json | go run . -lua ../../../../docs/gitops/argo-cd-health.lua
//
//	kstatus      what Flux, Helm 4 and others see: InProgress, Current, Failed, Terminating, Unknown
//	argo         what Argo CD says with the script
//	argoWithout  what it says without: null means that it shows no health at all
package main

import (
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"log"
	"os"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

// verdict is one word and why.
type verdict struct {
	Status  string `json:"status"`
	Message string `json:"message"`
}

// line is what is said of one object.
type line struct {
	Kind        string   `json:"kind"`
	Namespace   string   `json:"namespace,omitempty"`
	Name        string   `json:"name"`
	Kstatus     verdict  `json:"kstatus"`
	Argo        *verdict `json:"argo"`
	ArgoWithout *verdict `json:"argoWithout"`
}

func main() {
	log.SetFlags(0)
	script := flag.String("lua", "", "file with the health script for kind Release of bascule.dev")
	flag.Parse()
	if *script == "" {
		log.Fatal("health: -lua FILE is missing")
	}
	text, err := os.ReadFile(*script)
	if err == nil {
		err = say(os.Stdin, os.Stdout, string(text))
	}
	if err != nil {
		log.Fatalf("health: %v", err)
	}
}

// say reads objects until there are no more.
func say(from io.Reader, to io.Writer, script string) error {
	decoder, encoder := json.NewDecoder(from), json.NewEncoder(to)
	for {
		var raw json.RawMessage
		if err := decoder.Decode(&raw); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return fmt.Errorf("this is no JSON: %w", err)
		}
		objects, err := objectsIn(raw)
		if err != nil {
			return err
		}
		for _, object := range objects {
			said, err := judge(object, script)
			if err != nil {
				return fmt.Errorf("%s %s: %w", object.GetKind(), object.GetName(), err)
			}
			if err := encoder.Encode(said); err != nil {
				return err
			}
		}
	}
}

func objectsIn(raw json.RawMessage) ([]*unstructured.Unstructured, error) {
	var several []json.RawMessage
	if json.Unmarshal(raw, &several) != nil {
		var list struct{ Items []json.RawMessage }
		if json.Unmarshal(raw, &list) == nil && list.Items != nil {
			several = list.Items
		} else {
			several = []json.RawMessage{raw}
		}
	}
	var objects []*unstructured.Unstructured
	for _, each := range several {
		// Not json.Unmarshal: this one keeps whole numbers whole, as the tools do.
		object := &unstructured.Unstructured{}
		if err := object.UnmarshalJSON(each); err != nil {
			return nil, err
		}
		objects = append(objects, object)
	}
	return objects, nil
}

func judge(object *unstructured.Unstructured, script string) (line, error) {
	said := line{Kind: object.GetKind(), Namespace: object.GetNamespace(), Name: object.GetName()}
	var err error
	if said.Kstatus, err = kstatus(object); err != nil {
		return said, err
	}
	said.Argo, said.ArgoWithout = argo(object, script), argo(object, "")
	return said, nil
}
