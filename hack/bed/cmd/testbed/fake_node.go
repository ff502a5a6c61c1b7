// Fake nodes: kwok tells the API server what a kubelet would, without running anything.
//
// Comes in: a control plane. Goes out: two nodes that are Ready, whose pods do what their annotations ask for
// (files/stages.yaml). No image is pulled and no container started.
package main

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"strconv"
)

//go:embed files/stages.yaml
var stages []byte

// A zone each, so that spreading and affinity have something to work with.
var fakeNodes = []struct{ name, zone string }{{"fake-0", "zone-a"}, {"fake-1", "zone-b"}}

// kwok writes for many pods at once; with its default of 4 a burst of hundreds would queue in the bed.
const kwokOptions = `apiVersion: config.kwok.x-k8s.io/v1alpha1
kind: KwokConfiguration
options:
  podPlayStageParallelism: 32
  nodePlayStageParallelism: 4
  nodeLeaseParallelism: 4
  podsOnNodeSyncParallelism: 4
  enableDebuggingHandlers: false
---
`

func (b *bed) startKwok(ctx context.Context, t tools) error {
	if err := replaceFile(b.path("kwok.yaml"), append([]byte(kwokOptions), stages...), 0o644); err != nil {
		return err
	}
	port := b.state.Ports["kwok"]
	return b.startPart(ctx, part{
		name: "kwok",
		command: b.inside(t["kwok"], "--kubeconfig="+b.path("kwok.kubeconfig"), "--config="+b.path("kwok.yaml"),
			"--manage-nodes-with-label-selector=bed.bascule.dev/node=fake", "--node-lease-duration-seconds=40",
			"--node-ip="+nodeAddress, "--cidr="+podRange, "--server-address=127.0.0.1:"+strconv.Itoa(port), "--v=WARN"),
		port: port, healthy: b.answers200(fmt.Sprintf("http://127.0.0.1:%d/healthz", port)), within: healthyWithin,
	})
}

type object = map[string]any

func (b *bed) addFakeNodes(ctx context.Context) error {
	api, err := b.api()
	if err != nil {
		return err
	}
	for _, node := range fakeNodes {
		err := api.do(ctx, "POST", "/api/v1/nodes", object{"metadata": object{
			"name": node.name,
			"labels": object{
				"kubernetes.io/hostname": node.name, "kubernetes.io/os": "linux", "kubernetes.io/arch": "amd64",
				"topology.kubernetes.io/zone": node.zone, "bed.bascule.dev/node": fake,
			},
		}}, nil)
		if err != nil && !alreadyThere(err) {
			return err
		}
	}
	return nil
}

// nodesReady agrees when every node takes pods: it is Ready and the not-ready taint is gone.
func (b *bed) nodesReady(ctx context.Context) error {
	api, err := b.api()
	if err != nil {
		return err
	}
	var nodes struct {
		Items []struct {
			Metadata struct{ Name string }
			Spec     struct{ Taints []struct{ Key string } }
			Status   struct {
				Conditions []struct{ Type, Status, Message string }
			}
		}
	}
	if err := api.do(ctx, "GET", "/api/v1/nodes", nil, &nodes); err != nil {
		return err
	}
	if len(nodes.Items) == 0 {
		return errors.New("no node has registered")
	}
	for _, node := range nodes.Items {
		why := "has not reported yet"
		for _, condition := range node.Status.Conditions {
			if condition.Type == "Ready" {
				why = condition.Message
				if condition.Status == "True" {
					why = ""
				}
			}
		}
		if why == "" && len(node.Spec.Taints) > 0 {
			why = "is still tainted " + node.Spec.Taints[0].Key
		}
		if why != "" {
			return fmt.Errorf("node %s: %s", node.Metadata.Name, why)
		}
	}
	return nil
}
