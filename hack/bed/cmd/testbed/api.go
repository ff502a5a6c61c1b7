// The few requests that the driver itself sends to the API server.
//
// Comes in: a method, a path, a body. Goes out: the answer, or an error with the server's own words.
// Everything larger is left to kubectl and helm.
package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strconv"
	"time"
)

// requestTimeout bounds one request to a server on this machine; only a hanging one takes longer.
const requestTimeout = 10 * time.Second

type apiClient struct {
	base string
	http *http.Client
}

func (b *bed) api() (*apiClient, error) {
	pair, err := tls.LoadX509KeyPair(b.path("pki", "bed.crt"), b.path("pki", "bed.key"))
	if err != nil {
		return nil, err
	}
	ca, err := os.ReadFile(b.path("pki", "ca.crt"))
	if err != nil {
		return nil, err
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(ca) {
		return nil, errors.New("pki/ca.crt holds no certificate")
	}
	return &apiClient{
		base: "https://" + b.address("kube-apiserver"),
		http: &http.Client{Timeout: requestTimeout, Transport: &http.Transport{
			TLSClientConfig: &tls.Config{RootCAs: roots, Certificates: []tls.Certificate{pair}, MinVersion: tls.VersionTLS12},
		}},
	}, nil
}

// do sends one request. A body is JSON; into, when not nil, receives the answer.
func (c *apiClient) do(ctx context.Context, method, path string, body, into any) error {
	var text []byte
	if body != nil {
		var err error
		if text, err = json.Marshal(body); err != nil {
			return err
		}
	}
	request, err := http.NewRequestWithContext(ctx, method, c.base+path, bytes.NewReader(text))
	if err != nil {
		return err
	}
	request.Header.Set("Content-Type", "application/json")
	answer, err := c.http.Do(request)
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	reply, err := io.ReadAll(answer.Body)
	if err != nil {
		return err
	}
	if answer.StatusCode >= 300 {
		return &apiError{code: answer.StatusCode, text: fmt.Sprintf("%s %s: %s: %s", method, path, answer.Status, message(reply))}
	}
	if into == nil {
		return nil
	}
	return json.Unmarshal(reply, into)
}

type apiError struct {
	code int
	text string
}

func (e *apiError) Error() string { return e.text }

// alreadyThere says whether a create failed only because the object exists.
func alreadyThere(err error) bool {
	var api *apiError
	return errors.As(err, &api) && api.code == http.StatusConflict
}

func message(reply []byte) string {
	var status struct{ Message string }
	if json.Unmarshal(reply, &status) == nil && status.Message != "" {
		return status.Message
	}
	return string(reply[:min(len(reply), 300)])
}

// answers200 asks a health endpoint, in the bed's network, whose certificate, if any, is the server's own.
func (b *bed) answers200(url string) func(context.Context) error {
	client := &http.Client{Timeout: requestTimeout, Transport: &http.Transport{
		DisableKeepAlives: true,
		DialContext:       b.dial,
		TLSClientConfig:   &tls.Config{InsecureSkipVerify: true}, //nolint:gosec // self-signed, and only its status is read
	}}
	return func(ctx context.Context) error {
		request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
		if err != nil {
			return err
		}
		answer, err := client.Do(request)
		if err != nil {
			return err
		}
		defer answer.Body.Close()
		if answer.StatusCode != http.StatusOK {
			return fmt.Errorf("%s answers %s", url, answer.Status)
		}
		return nil
	}
}

// Ports are taken from below the range that the kernel gives to outgoing connections (32768 and up), so that a
// part that is restarted finds its port free.
const firstPort, lastPort = 20000, 31999

// freePorts finds a port for each name, from start on, that nobody listens on and nobody was promised.
func freePorts(names []string, start int, promised func(int) bool) (map[string]int, error) {
	ports := map[string]int{}
	count := lastPort - firstPort + 1
	for i := 0; i < count && len(ports) < len(names); i++ {
		port := firstPort + (start+i)%count
		if promised(port) {
			continue
		}
		listener, err := net.Listen("tcp", "127.0.0.1:"+strconv.Itoa(port))
		if err != nil {
			continue
		}
		defer listener.Close()
		ports[names[len(ports)]] = port
	}
	if len(ports) < len(names) {
		return nil, fmt.Errorf("no %d free ports between %d and %d on 127.0.0.1", len(names), firstPort, lastPort)
	}
	return ports, nil
}
