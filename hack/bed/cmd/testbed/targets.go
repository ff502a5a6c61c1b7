// The pods that Prometheus looks at: those of a real bed that ask for it.
//
// Comes in: the API server. Goes out: an address that answers with a list, in the form of Prometheus' own HTTP discovery.
// Debian's Prometheus is built without the one for Kubernetes. Nothing is kept: each question is one list of pods.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"net"
	"net/http"
	"os"
)

// A pod asks by these annotations, which are a custom of old.
const (
	scrapeAnnotation = "prometheus.io/scrape"
	portAnnotation   = "prometheus.io/port"
)

// seriesLabels are labels of a pod, with bascule.dev/ before them, that its series carry.
var seriesLabels = []string{"release", "track", "revision", "workload"}

type podList struct {
	Items []podItem `json:"items"`
}

type podItem struct {
	Metadata struct {
		Name        string            `json:"name"`
		Namespace   string            `json:"namespace"`
		Labels      map[string]string `json:"labels"`
		Annotations map[string]string `json:"annotations"`
	} `json:"metadata"`
	Status struct {
		PodIP string `json:"podIP"`
	} `json:"status"`
}

type target struct {
	Targets []string          `json:"targets"`
	Labels  map[string]string `json:"labels"`
}

// startTargets runs this very program inside the bed's network.
func (b *bed) startTargets(ctx context.Context) error {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	return b.startPart(ctx, part{
		name: "prometheus-targets", command: b.inside(self, "targets", "--name", b.name), env: []string{"BASCULE_REPO=" + b.repo},
		port:    b.state.Ports["prometheus-targets"],
		healthy: b.answers200("http://" + b.address("prometheus-targets")), within: healthyWithin,
	})
}

// serveTargets is the part of that name.
func (b *bed) serveTargets(ctx context.Context) error {
	api, err := b.api()
	if err != nil {
		return err
	}
	server := &http.Server{Addr: b.address("prometheus-targets"), ReadHeaderTimeout: requestTimeout,
		Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			var pods podList
			// From the API server's memory: a list a second costs nobody anything.
			err := api.do(r.Context(), http.MethodGet, "/api/v1/pods?resourceVersion=0&fieldSelector=status.phase%3DRunning", nil, &pods)
			if err != nil {
				http.Error(w, err.Error(), http.StatusBadGateway) // Prometheus goes on with what it had
				return
			}
			w.Header().Set("Content-Type", "application/json")
			_ = json.NewEncoder(w).Encode(targets(pods))
		})}
	end := context.AfterFunc(ctx, func() { server.Close() })
	defer end()
	if err := server.ListenAndServe(); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}

func targets(pods podList) []target {
	found := []target{} // an empty list is an answer, null would be none
	for _, pod := range pods.Items {
		port := pod.Metadata.Annotations[portAnnotation]
		if pod.Metadata.Annotations[scrapeAnnotation] != "true" || port == "" || pod.Status.PodIP == "" {
			continue
		}
		labels := map[string]string{"namespace": pod.Metadata.Namespace, "pod": pod.Metadata.Name}
		for _, name := range seriesLabels {
			if value, has := pod.Metadata.Labels["bascule.dev/"+name]; has {
				labels[name] = value
			}
		}
		found = append(found, target{Targets: []string{net.JoinHostPort(pod.Status.PodIP, port)}, Labels: labels})
	}
	return found
}
