// A real node: containerd, kubelet and kube-proxy in the bed's network namespace.
//
// Comes in: a control plane, images. Goes out: a node that runs pods and Services whose packets go through nftables.
// It shares the machine's kernel and disk, and nothing else: own sockets, own cgroup root, own CNI state.
package main

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
)

// criNamespace is where the kubelet's containers live inside containerd.
const criNamespace = "k8s.io"

func (b *bed) nodeName() string { return "real-0" }

// runtimeFolder holds sockets: their paths may have 107 characters at most, and a checkout's may be longer.
func (b *bed) runtimeFolder() string { return filepath.Join(runtimeFolder, b.ownName()) }

func (b *bed) containerdSocket() string { return filepath.Join(b.runtimeFolder(), "containerd.sock") }

func (b *bed) startRealNode(ctx context.Context, t tools) error {
	if err := keepSettings(ctx, runtimeFolder, procSys); err != nil {
		return err
	}
	if err := b.makeCgroups(); err != nil {
		return err
	}
	if err := b.startContainerd(ctx); err != nil {
		return err
	}
	pause, err := newImage(t["pause"], "pause", nil, nil)
	if err != nil {
		return err
	}
	if err := b.importArchive(ctx, []named{{pauseImage, pause}}); err != nil {
		return err
	}
	return together(ctx,
		func(ctx context.Context) error { return b.startKubelet(ctx, t) },
		func(ctx context.Context) error { return b.startKubeProxy(ctx, t) })
}

func (b *bed) startContainerd(ctx context.Context) error {
	plugins, err := cniFolder()
	if err != nil {
		return err
	}
	binary, err := findProgram("containerd")
	if err != nil {
		return err
	}
	config := fmt.Sprintf(`version = 2
root = %q
state = %q
# Lowering it is a right that containers of their own often lack.
oom_score = 0
[grpc]
address = %q
[plugins."io.containerd.grpc.v1.cri"]
sandbox_image = %q
restrict_oom_score_adj = true
# Below our own folder, where a killed run's are found again.
netns_mounts_under_state_dir = true
[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
runtime_type = "io.containerd.runc.v2"
[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
SystemdCgroup = false
[plugins."io.containerd.grpc.v1.cri".cni]
bin_dir = %q
conf_dir = %q
[plugins."io.containerd.grpc.v1.cri".registry]
config_path = %q
`, b.path("node", "containerd"), filepath.Join(b.runtimeFolder(), "containerd"), b.containerdSocket(), pauseImage,
		plugins, b.path("node", "cni"), b.path("node", "registries"))
	// Pods are routed (ptp), not bridged: replies between two pods then pass the node's connection tracking, which
	// Services need, without the kernel's bridge filter.
	network := fmt.Sprintf(`{"cniVersion": "0.4.0", "name": %q, "plugins": [
  {"type": "ptp", "ipMasq": false, "ipam": {"type": "host-local", "dataDir": %q,
    "ranges": [[{"subnet": %q}]], "routes": [{"dst": "0.0.0.0/0"}]}}]}
`, b.ownName(), b.path("node", "addresses"), podRange)
	files := map[string]string{b.path("containerd.toml"): config, b.path("node", "cni", "10-bed.conflist"): network}
	for _, registry := range registries {
		host := b.address(registry.name)
		files[b.path("node", "registries", host, "hosts.toml")] = fmt.Sprintf(
			"server = \"http://%[1]s\"\n[host.\"http://%[1]s\"]\ncapabilities = [\"pull\", \"resolve\"]\n", host)
	}
	for path, text := range files {
		if err := replaceFile(path, []byte(text), 0o644); err != nil {
			return err
		}
	}
	if err := os.MkdirAll(b.runtimeFolder(), 0o711); err != nil {
		return err
	}
	return b.startPart(ctx, part{
		name: "containerd", command: b.inside(binary, "--config", b.path("containerd.toml"), "--log-level", "warn"),
		healthy: func(ctx context.Context) error { return b.ctr(ctx, nil, "version") }, within: healthyWithin,
	})
}

func (b *bed) startKubelet(ctx context.Context, t tools) error {
	config := fmt.Sprintf(`apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
authentication: {anonymous: {enabled: false}, webhook: {enabled: true}, x509: {clientCAFile: %q}}
authorization: {mode: Webhook}
containerRuntimeEndpoint: "unix://%s"
# Machines with either version of cgroups, and inside containers.
failCgroupV1: false
cgroupDriver: cgroupfs
cgroupRoot: %q
enforceNodeAllocatable: []
localStorageCapacityIsolation: false
oomScoreAdj: 0
failSwapOn: false
makeIPTablesUtilChains: false
# The machine is somebody's own: full disks and memory are theirs to judge.
evictionHard: {memory.available: 100Mi, nodefs.available: "1%%", imagefs.available: "1%%", nodefs.inodesFree: "1%%"}
imageGCHighThresholdPercent: 100
serializeImagePulls: false
clusterDNS: [10.96.0.10]
clusterDomain: cluster.local
resolvConf: %q
podLogsDir: %q
maxPods: 500
nodeStatusUpdateFrequency: 5s
shutdownGracePeriod: 0s
kubeAPIQPS: 500
kubeAPIBurst: 1000
`, b.path("pki", "ca.crt"), b.containerdSocket(), "/"+b.ownName(), b.path("node", "resolv.conf"), b.podLogs())
	if err := replaceFile(b.path("kubelet.yaml"), []byte(config), 0o644); err != nil {
		return err
	}
	// No name server: nothing in a bed leaves it.
	if err := replaceFile(b.path("node", "resolv.conf"), nil, 0o644); err != nil {
		return err
	}
	return b.startPart(ctx, part{
		name: "kubelet",
		command: b.inside(t["kubelet"], "--config="+b.path("kubelet.yaml"), "--kubeconfig="+b.path("kubelet.kubeconfig"),
			"--hostname-override="+b.nodeName(), "--node-ip="+nodeAddress, "--root-dir="+b.path("node", "kubelet"),
			"--cert-dir="+b.path("node", "kubelet-pki"),
			"--node-labels=bed.bascule.dev/node=real,topology.kubernetes.io/zone=zone-a"),
		port: 10250, healthy: b.answers200("http://127.0.0.1:10248/healthz"), within: healthyWithin,
	})
}

func (b *bed) startKubeProxy(ctx context.Context, t tools) error {
	config := fmt.Sprintf(`apiVersion: kubeproxy.config.k8s.io/v1alpha1
kind: KubeProxyConfiguration
clientConnection: {kubeconfig: %q, qps: 500, burst: 1000}
mode: nftables
clusterCIDR: %s
hostnameOverride: %s
# Zero leaves the machine's own settings alone.
conntrack: {maxPerCore: 0, tcpCloseWaitTimeout: 0s, tcpEstablishedTimeout: 0s}
# A switch of traffic is passed on at once, not with the next batch.
nftables: {minSyncPeriod: 0s}
oomScoreAdj: 0
`, b.path("kube-proxy.kubeconfig"), podRange, b.nodeName())
	if err := replaceFile(b.path("kube-proxy.yaml"), []byte(config), 0o644); err != nil {
		return err
	}
	return b.startPart(ctx, part{
		name: "kube-proxy", command: b.inside(t["kube-proxy"], "--config="+b.path("kube-proxy.yaml")),
		port: 10256, healthy: b.answers200("http://127.0.0.1:10249/healthz"), within: healthyWithin,
	})
}

// importImages gives containerd the example images under the names that they have in the anonymous registry.
func (b *bed) importImages(ctx context.Context, t tools) error {
	images, err := exampleImages(t)
	if err != nil {
		return err
	}
	var all []named
	for _, each := range appTags {
		all = append(all, named{b.address("registry") + "/" + appName + ":" + each.tag, images[each.tag]})
	}
	return b.importArchive(ctx, all)
}

func (b *bed) importArchive(ctx context.Context, images []named) error {
	var archive bytes.Buffer
	if err := writeArchive(&archive, images); err != nil {
		return err
	}
	return b.ctr(ctx, &archive, "images", "import", "-")
}

// ctr talks to this bed's containerd.
func (b *bed) ctr(ctx context.Context, input *bytes.Buffer, words ...string) error {
	command, err := b.ctrCommand(ctx, words...)
	if err != nil {
		return err
	}
	if input != nil {
		command.Stdin = input
	}
	if output, err := command.CombinedOutput(); err != nil {
		return fmt.Errorf("ctr %s: %w: %s", strings.Join(words, " "), err, strings.TrimSpace(string(output)))
	}
	return nil
}

func (b *bed) ctrCommand(ctx context.Context, words ...string) (*exec.Cmd, error) {
	path, err := findProgram("ctr")
	if err != nil {
		return nil, err
	}
	return exec.CommandContext(ctx, path, append([]string{"--address", b.containerdSocket(), "--namespace", criNamespace}, words...)...), nil
}

// endContainers ends every container, so that containerd and its shims let go of them. What is missed here is found
// by its cgroup or its mark.
func (b *bed) endContainers(ctx context.Context) {
	if r, found := b.record("containerd"); !found || !r.alive() {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, commandTimeout)
	defer cancel()
	list, err := b.ctrCommand(ctx, "tasks", "list", "--quiet")
	if err != nil {
		return
	}
	tasks, err := list.Output()
	if err != nil {
		return
	}
	for _, point := range hierarchies() {
		for _, folder := range cgroupFolders(filepath.Join(point, b.ownName())) {
			for _, pid := range processesIn(folder) {
				syscall.Kill(pid, syscall.SIGKILL)
			}
		}
	}
	if ids := strings.Fields(string(tasks)); len(ids) > 0 {
		// Best effort, see above.
		_ = b.ctr(ctx, nil, append([]string{"tasks", "delete", "--force"}, ids...)...)
	}
}

// podLogs may only hold plain characters, says the kubelet, and a checkout's path may not.
func (b *bed) podLogs() string { return filepath.Join(b.runtimeFolder(), "pods") }

// forgetContainers removes what the kubelet and CNI write to fixed places of the machine.
func (b *bed) forgetContainers() {
	links, _ := filepath.Glob("/var/log/containers/*")
	for _, link := range links {
		if target, err := os.Readlink(link); err == nil && strings.HasPrefix(target, b.podLogs()+"/") {
			os.Remove(link)
		}
	}
	// Its place is fixed, whatever the kubelet's root. If it answers it is another kubelet's.
	socket := "/var/lib/kubelet/device-plugins/kubelet.sock"
	if connection, err := net.Dial("unix", socket); err == nil {
		connection.Close()
	} else {
		os.Remove(socket)
		os.Remove(filepath.Dir(socket)) // these two only if they are empty
		os.Remove("/var/lib/kubelet")
	}
	results, _ := filepath.Glob("/var/lib/cni/results/" + b.ownName() + "-*")
	for _, result := range results {
		os.Remove(result)
	}
}
