//! `ConfigMap`s, Leases, Events and pods.
//!
//! In: chance. Out: their bodies and pieces. Never here: what Bascule moves; see `workload.rs` and `release.rs`.

use serde_json::json;

use super::Kind;

pub(super) static CONFIG_MAP: Kind = Kind {
    kind: "ConfigMap",
    api_version: "v1",
    path: "/api/v1/namespaces/$ns/configmaps",
    base: |_| json!({"data": {"a": "1"}}),
    pieces: &[
        |chance| json!({"data": {"a": chance.pick(&["1", "2"])}}),
        |chance| json!({"data": {"b": chance.pick(&["1", "2"])}}),
        |_| json!({"data": {"c": ""}}),
        |_| json!({"metadata": {"finalizers": ["bascule.dev/hold"]}}),
    ],
    nulls: &["/data", "/data/a", "/metadata/finalizers", "/metadata/labels"],
    faults: &[|_| json!({"data": {"a": 1}}), |_| json!({"metadata": {"labels": {"tier": "not a label!"}}})],
    status: &[],
    scale: false,
};

pub(super) static LEASE: Kind = Kind {
    kind: "Lease",
    api_version: "coordination.k8s.io/v1",
    path: "/apis/coordination.k8s.io/v1/namespaces/$ns/leases",
    base: |_| json!({"spec": {"holderIdentity": "one", "leaseDurationSeconds": 4}}),
    pieces: &[
        |chance| json!({"spec": {"holderIdentity": chance.pick(&["one", "two"])}}),
        |chance| json!({"spec": {"renewTime": chance.pick(&["2026-01-02T03:04:05.000001Z", "2026-01-02T03:04:06.500000Z"])}}),
        |chance| json!({"spec": {"leaseTransitions": chance.below(3), "acquireTime": "2026-01-02T03:04:05.000001Z"}}),
    ],
    nulls: &["/spec/holderIdentity", "/spec/renewTime"],
    faults: &[|_| json!({"spec": {"leaseDurationSeconds": 0}})],
    status: &[],
    scale: false,
};

pub(super) static EVENT: Kind = Kind {
    kind: "Event",
    api_version: "events.k8s.io/v1",
    path: "/apis/events.k8s.io/v1/namespaces/$ns/events",
    base: |name| {
        json!({
            "eventTime": "2026-01-02T03:04:05.000006Z",
            "reportingController": "bascule-controller",
            "reportingInstance": "bascule-controller",
            "action": "Switched",
            "reason": "Switched",
            "type": "Normal",
            "regarding": {"apiVersion": "bascule.dev/v1alpha1", "kind": "Release", "name": name, "namespace": "$ns", "uid": "1-2-3"},
            "note": "traffic moved",
        })
    },
    pieces: &[],
    nulls: &[],
    faults: &[],
    status: &[],
    scale: false,
};

pub(super) static POD: Kind = Kind {
    kind: "Pod",
    api_version: "v1",
    path: "/api/v1/namespaces/$ns/pods",
    // No scheduler has that name: the pod stays an object. Nothing is added for a service account.
    base: |_| {
        json!({"spec": {
            "schedulerName": "nobody",
            "automountServiceAccountToken": false,
            // No scheduler of the cluster touches it: with a node, a delete would wait for a kubelet.
            "schedulerName": "nobody",
            "containers": [{"name": "main", "image": "example/app:v1"}],
        }})
    },
    pieces: &[|_| json!({"metadata": {"finalizers": ["bascule.dev/hold"]}})],
    nulls: &["/metadata/finalizers"],
    faults: &[],
    status: &[],
    scale: false,
};
