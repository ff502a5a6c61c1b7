// The control plane: etcd, API server, controller manager, scheduler.
//
// Comes in: certificates, ports. Goes out: parts that are healthy. All of it listens on loopback; in a real
// bed that is the loopback of its network namespace. It is tuned for tests: nothing waits for a disk, and no
// client of the bed's own is held back by its rate limit.
package main

import (
	"context"
	"fmt"
	"strconv"
	"time"
)

const (
	serviceRange        = "10.96.0.0/16"
	firstServiceAddress = "10.96.0.1"
)

// healthyWithin bounds the start of a part. On two busy cores the API server has needed 15 s.
const healthyWithin = 90 * time.Second

// Rate limits of the bed's own clients, high enough never to be what a test measures.
const clientQPS, clientBurst = 2000, 4000

func (b *bed) startEtcd(ctx context.Context, t tools) error {
	client, peer := "http://"+b.address("etcd"), "http://"+b.address("etcd-peer")
	return b.startPart(ctx, part{
		name: "etcd",
		command: b.inside(t["etcd"], "--name=bed", "--data-dir="+b.path("etcd"), "--unsafe-no-fsync", "--log-level=warn",
			"--listen-client-urls="+client, "--advertise-client-urls="+client,
			"--listen-peer-urls="+peer, "--initial-advertise-peer-urls="+peer, "--initial-cluster=bed="+peer),
		port: b.state.Ports["etcd"], healthy: b.answers200(client + "/health"), within: healthyWithin,
	})
}

func (b *bed) startAPIServer(ctx context.Context, t tools) error {
	pki := func(name string) string { return b.path("pki", name) }
	flags := []string{
		t["kube-apiserver"],
		"--etcd-servers=http://" + b.address("etcd"),
		"--secure-port=" + strconv.Itoa(b.state.Ports["kube-apiserver"]),
		"--service-cluster-ip-range=" + serviceRange,
		"--client-ca-file=" + pki("ca.crt"), "--tls-cert-file=" + pki("apiserver.crt"), "--tls-private-key-file=" + pki("apiserver.key"),
		"--kubelet-client-certificate=" + pki("to-kubelet.crt"), "--kubelet-client-key=" + pki("to-kubelet.key"),
		"--kubelet-preferred-address-types=InternalIP", // no name server knows the node's name
		"--service-account-issuer=https://kubernetes.default.svc",
		"--service-account-key-file=" + pki("tokens.pub"), "--service-account-signing-key-file=" + pki("tokens.key"),
		"--authorization-mode=Node,RBAC", "--enable-admission-plugins=NodeRestriction", "--allow-privileged",
		"--profiling=false",
	}
	if b.state.Node == real {
		// Pods reach it at the node's address. Nobody outside the namespace can.
		flags = append(flags, "--bind-address=0.0.0.0", "--advertise-address="+nodeAddress)
	} else {
		// No pod ever runs, so nothing needs the `kubernetes` Service to lead here, and loopback is no endpoint.
		flags = append(flags, "--bind-address=127.0.0.1", "--advertise-address="+nodeAddress, "--endpoint-reconciler-type=none")
	}
	if b.state.Audit {
		flags = append(flags, "--audit-policy-file="+b.path("audit-policy.yaml"), "--audit-log-path="+b.path(auditLog),
			"--audit-log-maxsize=4096") // MiB: one file, as long as any test
		if err := b.writeAuditPolicy(); err != nil {
			return err
		}
	}
	api, err := b.api()
	if err != nil {
		return err
	}
	return b.startPart(ctx, part{
		name: "kube-apiserver", command: b.inside(flags...), port: b.state.Ports["kube-apiserver"],
		healthy: func(ctx context.Context) error { return api.ready(ctx) }, within: healthyWithin,
	})
}

func (c *apiClient) ready(ctx context.Context) error {
	if err := c.do(ctx, "GET", "/readyz", nil, nil); err != nil {
		return err
	}
	// readyz comes before the bootstrap objects that every Service account and pod needs.
	return c.do(ctx, "GET", "/api/v1/namespaces/default", nil, nil)
}

func (b *bed) startControllerManager(ctx context.Context, t tools) error {
	port := b.state.Ports["kube-controller-manager"]
	flags := []string{
		t["kube-controller-manager"],
		"--kubeconfig=" + b.path("kube-controller-manager.kubeconfig"),
		"--service-account-private-key-file=" + b.path("pki", "tokens.key"), "--root-ca-file=" + b.path("pki", "ca.crt"),
		"--use-service-account-credentials", "--leader-elect=false", "--authentication-skip-lookup",
		"--bind-address=127.0.0.1", "--secure-port=" + strconv.Itoa(port),
		fmt.Sprintf("--kube-api-qps=%d", clientQPS), fmt.Sprintf("--kube-api-burst=%d", clientBurst),
		"--profiling=false",
	}
	for _, controller := range []string{"deployment", "replicaset", "endpoint", "service-endpoint", "job", "gc", "namespace"} {
		flags = append(flags, "--concurrent-"+controller+"-syncs=20")
	}
	return b.startPart(ctx, part{
		name: "kube-controller-manager", command: b.inside(flags...), port: port,
		healthy: b.answers200(fmt.Sprintf("https://127.0.0.1:%d/healthz", port)), within: healthyWithin,
	})
}

func (b *bed) startScheduler(ctx context.Context, t tools) error {
	config := fmt.Sprintf(`apiVersion: kubescheduler.config.k8s.io/v1
kind: KubeSchedulerConfiguration
clientConnection: {kubeconfig: %q, qps: %d, burst: %d}
leaderElection: {leaderElect: false}
enableProfiling: false
`, b.path("kube-scheduler.kubeconfig"), clientQPS, clientBurst)
	if err := replaceFile(b.path("kube-scheduler.yaml"), []byte(config), 0o644); err != nil {
		return err
	}
	port := b.state.Ports["kube-scheduler"]
	return b.startPart(ctx, part{
		name: "kube-scheduler",
		command: b.inside(t["kube-scheduler"], "--config="+b.path("kube-scheduler.yaml"), "--authentication-skip-lookup",
			"--bind-address=127.0.0.1", "--secure-port="+strconv.Itoa(port)),
		port: port, healthy: b.answers200(fmt.Sprintf("https://127.0.0.1:%d/healthz", port)), within: healthyWithin,
	})
}
