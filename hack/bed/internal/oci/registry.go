package oci

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
)

// Registry is where images are pushed to, by the OCI distribution API. Blobs that are there are not sent again.
type Registry struct {
	Host           string
	PlainHTTP      bool
	User, Password string // none when empty
}

// maxIndex bounds what is read of a registry's answer: a list of referrers is a few kilobytes.
const maxIndex = 4 << 20

// Push brings an image into a repository under a tag. Without a tag it is found by its digest.
func (r Registry) Push(ctx context.Context, repository, tag string, image *Image) error {
	_, err := r.push(ctx, repository, tag, image)
	return err
}

// PushReferrer pushes what refers to a subject, and sees to it that clients find it from there.
func (r Registry) PushReferrer(ctx context.Context, repository, subject string, image *Image) error {
	answer, err := r.push(ctx, repository, "", image)
	if err != nil {
		return err
	}
	if answer.Header.Get("OCI-Subject") != "" {
		return nil // the registry keeps the list itself
	}
	return r.listReferrer(ctx, repository, subject, image.Descriptor)
}

func (r Registry) push(ctx context.Context, repository, tag string, image *Image) (*http.Response, error) {
	for _, blob := range [][]byte{image.Layer, image.Config} {
		if err := r.upload(ctx, repository, blob); err != nil {
			return nil, err
		}
	}
	if tag == "" {
		tag = image.Descriptor.Digest
	}
	answer, _, err := r.send(ctx, http.MethodPut, "/v2/"+repository+"/manifests/"+tag, MediaManifest, image.Manifest)
	return answer, expect(answer, err, http.StatusCreated)
}

// listReferrer adds to the list that the specification wants where a registry keeps none: an index under a tag made of the digest.
func (r Registry) listReferrer(ctx context.Context, repository, subject string, referrer Descriptor) error {
	path := "/v2/" + repository + "/manifests/" + strings.Replace(subject, ":", "-", 1)
	answer, text, err := r.send(ctx, http.MethodGet, path, "", nil)
	index := NewIndex(nil)
	if err == nil && answer.StatusCode == http.StatusOK {
		if err := json.Unmarshal(text, &index); err != nil {
			return fmt.Errorf("the referrers of %s: %w", subject, err)
		}
	} else if err := expect(answer, err, http.StatusNotFound); err != nil {
		return err
	}
	if slices.ContainsFunc(index.Manifests, func(d Descriptor) bool { return d.Digest == referrer.Digest }) {
		return nil
	}
	index.Manifests = append(index.Manifests, referrer)
	body, err := json.Marshal(index)
	if err != nil {
		return err
	}
	answer, _, err = r.send(ctx, http.MethodPut, path, MediaIndex, body)
	return expect(answer, err, http.StatusCreated)
}

func (r Registry) upload(ctx context.Context, repository string, blob []byte) error {
	answer, _, err := r.send(ctx, http.MethodHead, "/v2/"+repository+"/blobs/"+Digest(blob), "", nil)
	if err == nil && answer.StatusCode == http.StatusOK {
		return nil
	}
	answer, _, err = r.send(ctx, http.MethodPost, "/v2/"+repository+"/blobs/uploads/", "", nil)
	if err := expect(answer, err, http.StatusAccepted); err != nil {
		return err
	}
	place, err := answer.Location()
	if err != nil {
		return err
	}
	query := place.Query()
	query.Set("digest", Digest(blob))
	place.RawQuery = query.Encode()
	answer, _, err = r.send(ctx, http.MethodPut, place.RequestURI(), "application/octet-stream", blob)
	return expect(answer, err, http.StatusCreated)
}

func (r Registry) send(ctx context.Context, method, path, media string, body []byte) (*http.Response, []byte, error) {
	scheme := "https://"
	if r.PlainHTTP {
		scheme = "http://"
	}
	target, err := url.Parse(scheme + r.Host + path)
	if err != nil {
		return nil, nil, err
	}
	request, err := http.NewRequestWithContext(ctx, method, target.String(), bytes.NewReader(body))
	if err != nil {
		return nil, nil, err
	}
	if media != "" {
		request.Header.Set("Content-Type", media)
	}
	request.Header.Set("Accept", MediaIndex)
	if r.User != "" {
		request.SetBasicAuth(r.User, r.Password)
	}
	answer, err := http.DefaultClient.Do(request)
	if err != nil {
		return nil, nil, err
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(io.LimitReader(answer.Body, maxIndex))
	return answer, text, err
}

func expect(answer *http.Response, err error, code int) error {
	if err != nil {
		return err
	}
	if answer.StatusCode == code {
		return nil
	}
	failed := fmt.Errorf("%s %s answers %s", answer.Request.Method, answer.Request.URL.Redacted(), answer.Status)
	if answer.StatusCode == http.StatusUnauthorized {
		return errors.Join(failed, errors.New("it wants: "+answer.Header.Get("WWW-Authenticate")))
	}
	return failed
}
