// Pushing images to the bed's registries, by the OCI distribution API.
//
// Comes in: an image, a registry. Goes out: a tag in that registry. Blobs that are there are not sent again.
package main

import (
	"bytes"
	"context"
	"fmt"
	"net/http"
	"net/url"
)

type registryClient struct {
	host     string
	password bool
}

func (b *bed) pushExamples(ctx context.Context, t tools) error {
	images, err := exampleImages(t)
	if err != nil {
		return err
	}
	for _, registry := range registries {
		to := registryClient{host: b.address(registry.name), password: registry.password}
		for _, each := range appTags {
			if err := to.push(ctx, appName, each.tag, images[each.tag]); err != nil {
				return err
			}
		}
	}
	return nil
}

func (c registryClient) push(ctx context.Context, repository, tag string, what *image) error {
	for _, blob := range [][]byte{what.layer, what.config} {
		if err := c.upload(ctx, repository, blob); err != nil {
			return err
		}
	}
	answer, err := c.send(ctx, http.MethodPut, "/v2/"+repository+"/manifests/"+tag, mediaManifest, what.manifest)
	return expect(answer, err, http.StatusCreated)
}

func (c registryClient) upload(ctx context.Context, repository string, blob []byte) error {
	answer, err := c.send(ctx, http.MethodHead, "/v2/"+repository+"/blobs/"+digest(blob), "", nil)
	if err == nil && answer.StatusCode == http.StatusOK {
		return nil
	}
	answer, err = c.send(ctx, http.MethodPost, "/v2/"+repository+"/blobs/uploads/", "", nil)
	if err := expect(answer, err, http.StatusAccepted); err != nil {
		return err
	}
	place, err := answer.Location()
	if err != nil {
		return err
	}
	query := place.Query()
	query.Set("digest", digest(blob))
	place.RawQuery = query.Encode()
	answer, err = c.send(ctx, http.MethodPut, place.RequestURI(), "application/octet-stream", blob)
	return expect(answer, err, http.StatusCreated)
}

func (c registryClient) send(ctx context.Context, method, path, media string, body []byte) (*http.Response, error) {
	target, err := url.Parse("http://" + c.host + path)
	if err != nil {
		return nil, err
	}
	request, err := http.NewRequestWithContext(ctx, method, target.String(), bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	if media != "" {
		request.Header.Set("Content-Type", media)
	}
	if c.password {
		request.SetBasicAuth(registryUser, registryPassword)
	}
	answer, err := http.DefaultClient.Do(request)
	if err != nil {
		return nil, err
	}
	answer.Body.Close()
	return answer, nil
}

func expect(answer *http.Response, err error, code int) error {
	if err != nil {
		return err
	}
	if answer.StatusCode != code {
		return fmt.Errorf("%s %s answers %s", answer.Request.Method, answer.Request.URL.Redacted(), answer.Status)
	}
	return nil
}
