package main

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"sync"
)

// requests counts the answers of one process, by status code. Probes and scrapes are not among them.
type requests struct {
	mutex  sync.Mutex
	total  int
	byCode map[int]int
}

// newRequests starts at zero for codes that may come: a counter that appears with its first request has no increase yet.
func newRequests(codes ...int) *requests {
	r := &requests{byCode: map[int]int{}}
	for _, code := range codes {
		r.byCode[code] = 0
	}
	return r
}

// next counts one request, whose status code depends on how many there were.
func (r *requests) next(answer func(number int) int) (code int) {
	r.mutex.Lock()
	defer r.mutex.Unlock()
	r.total++
	code = answer(r.total)
	r.byCode[code]++
	return code
}

var labelValue = strings.NewReplacer(`\`, `\\`, `"`, `\"`, "\n", `\n`)

// write is the text format of Prometheus.
func (r *requests) write(to io.Writer, version string) {
	r.mutex.Lock()
	defer r.mutex.Unlock()
	version = labelValue.Replace(version)
	fmt.Fprintln(to, "# HELP http_requests_total Answers, without those to /healthz and /metrics.")
	fmt.Fprintln(to, "# TYPE http_requests_total counter")
	for _, code := range slices.Sorted(maps.Keys(r.byCode)) {
		fmt.Fprintf(to, "http_requests_total{code=\"%d\",version=\"%s\"} %d\n", code, version, r.byCode[code])
	}
	fmt.Fprintln(to, "# HELP app_info What runs here.")
	fmt.Fprintln(to, "# TYPE app_info gauge")
	fmt.Fprintf(to, "app_info{version=\"%s\"} 1\n", version)
}
