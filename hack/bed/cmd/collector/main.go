// Command collector takes traces as a real collector does: OTLP over HTTP, read by the OpenTelemetry Collector's own code.
//
// Comes in: an address to listen on; POSTs to /v1/traces in JSON or protobuf. Goes out: one line of JSON for each span, on standard output.
// What it cannot read is answered with 400, as the real one does it.
package main

import (
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"sync"

	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/ptrace"
	"go.opentelemetry.io/collector/pdata/ptrace/ptraceotlp"
)

// largest is more than a batch of deploys takes.
const largest = 16 << 20

// span is what a test wants to know.
type span struct {
	Service    string         `json:"service"`
	Trace      string         `json:"trace"`
	ID         string         `json:"id"`
	Parent     string         `json:"parent"`
	Name       string         `json:"name"`
	From       int64          `json:"from"`
	To         int64          `json:"to"`
	Failed     string         `json:"failed"`
	Attributes map[string]any `json:"attributes"`
}

func main() {
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "collector ADDRESS")
		os.Exit(2)
	}
	listener, err := net.Listen("tcp", os.Args[1])
	if err != nil {
		fmt.Fprintln(os.Stderr, "collector:", err)
		os.Exit(1)
	}
	fmt.Fprintln(os.Stderr, "listens on", listener.Addr())
	var one sync.Mutex
	http.HandleFunc("POST /v1/traces", func(answer http.ResponseWriter, asked *http.Request) {
		request, err := read(asked)
		if err != nil {
			http.Error(answer, err.Error(), http.StatusBadRequest)
			return
		}
		one.Lock()
		defer one.Unlock()
		show(os.Stdout, request.Traces())
		answer.Header().Set("Content-Type", "application/json")
		fmt.Fprintln(answer, "{}")
	})
	fmt.Fprintln(os.Stderr, http.Serve(listener, nil))
	os.Exit(1)
}

func read(asked *http.Request) (ptraceotlp.ExportRequest, error) {
	request := ptraceotlp.NewExportRequest()
	body, err := io.ReadAll(io.LimitReader(asked.Body, largest))
	if err != nil {
		return request, err
	}
	switch kind := asked.Header.Get("Content-Type"); kind {
	case "application/json":
		return request, request.UnmarshalJSON(body)
	case "application/x-protobuf":
		return request, request.UnmarshalProto(body)
	default:
		return request, fmt.Errorf("content type %q", kind)
	}
}

func show(to io.Writer, traces ptrace.Traces) {
	lines := json.NewEncoder(to)
	for _, resource := range traces.ResourceSpans().All() {
		service := text(resource.Resource().Attributes(), "service.name")
		for _, scope := range resource.ScopeSpans().All() {
			for _, each := range scope.Spans().All() {
				shown := span{
					Service: service, Trace: each.TraceID().String(), ID: each.SpanID().String(), Parent: each.ParentSpanID().String(),
					Name: each.Name(), From: int64(each.StartTimestamp()), To: int64(each.EndTimestamp()), Attributes: each.Attributes().AsRaw(),
				}
				if each.Status().Code() == ptrace.StatusCodeError {
					shown.Failed = each.Status().Message()
				}
				lines.Encode(shown)
			}
		}
	}
}

func text(attributes pcommon.Map, name string) string {
	value, found := attributes.Get(name)
	if !found {
		return ""
	}
	return value.AsString()
}
