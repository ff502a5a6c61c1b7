//! Releases and Operations: kinds with a schema of our own.
//!
//! In: chance. Out: their bodies and pieces, valid ones and such as the schema refuses, defaults, or prunes. Never here: what they mean.

use serde_json::json;

use super::Kind;

const MOMENT: &str = "2026-01-02T03:04:05Z";

pub(super) static RELEASE: Kind = Kind {
    kind: "Release",
    api_version: "bascule.dev/v1alpha1",
    path: "/apis/bascule.dev/v1alpha1/namespaces/$ns/releases",
    base: |_| json!({"spec": {"workloads": [{"name": "web", "template": {"spec": {"containers": [{"name": "main", "image": "a:v1"}]}}}]}}),
    pieces: &[
        |chance| json!({"spec": {"replicas": chance.below(4)}}),
        |chance| json!({"spec": {"suspend": chance.percent(50)}}),
        |chance| json!({"spec": {"preview": chance.percent(50)}}),
        |chance| json!({"spec": {"strategy": {"bake": chance.pick(&["5s", "1m"])}}}),
        |chance| json!({"spec": {"strategy": {"onSupersede": chance.pick(&["Wait", "Replace"])}}}),
        |_| json!({"spec": {"strategy": {}}}),
        |chance| json!({"spec": {"rollback": {"automatic": chance.percent(50)}}}),
        |_| json!({"spec": {"rollback": {}}}),
        |chance| json!({"spec": {"services": [{"name": chance.pick(&["web", "api"])}]}}),
        |chance| json!({"spec": {"artifacts": [{"name": "app", "image": {"ref": chance.pick(&["shop/app:v1", "shop/app:v2"])}}]}}),
        |_| json!({"spec": {"artifacts": [{"name": "side", "image": {"ref": "shop/side:v1", "resolve": "Never"}}]}}),
        |chance| json!({"spec": {"workloads": [{"name": "worker", "replicas": chance.below(3), "template": {"spec": {"any": {"thing": [1, "a"]}}}}]}}),
        |chance| {
            let image = chance.pick(&["a:v1", "a:v2"]);
            json!({"spec": {"workloads": [{"name": "web", "template": {"spec": {"containers": [{"name": "main", "image": image}]}}}]}})
        },
        |_| json!({"spec": {"unknown": {"deep": true}}}),
        |_| json!({"spec": {"strategy": {"unknown": 1}}, "unknown": 1}),
        |_| json!({"metadata": {"finalizers": ["bascule.dev/hold"]}}),
        |_| json!({"status": {"selector": "not written this way"}}),
    ],
    nulls: &[
        "/spec/replicas",
        "/spec/strategy",
        "/spec/strategy/bake",
        "/spec/services",
        "/spec/suspend",
        "/metadata/finalizers",
    ],
    faults: &[
        |_| json!({"spec": {"replicas": -1}}),
        |_| json!({"spec": {"replicas": 10001}}),
        |_| json!({"spec": {"replicas": "two"}}),
        |_| json!({"spec": {"replicas": 1.5}}),
        |_| json!({"spec": {"suspend": "yes"}}),
        |_| json!({"spec": {"strategy": {"bake": "soon"}}}),
        |_| json!({"spec": {"strategy": {"onSupersede": "Ignore"}}}),
        |_| json!({"spec": {"services": [{"name": "Web"}]}}),
        |_| json!({"spec": {"services": [{"port": 1}]}}),
        |_| json!({"spec": {"services": {"name": "web"}}}),
        |_| json!({"spec": {"artifacts": [{"name": "app"}]}}),
        |_| json!({"spec": {"artifacts": [{"name": "app", "image": {"ref": ""}}]}}),
        |_| json!({"spec": {"workloads": [{"name": "web"}]}}),
        |_| json!({"spec": {"workloads": [{"name": "web", "replicas": 1, "template": {}}], "replicas": 2}}),
        |_| json!({"spec": null}),
        |_| json!({"spec": {"workloads": null}}),
    ],
    status: &[
        |chance| json!({"observedGeneration": chance.below(3), "replicas": chance.below(3), "selector": "app=web"}),
        |chance| {
            json!({"conditions": [{"type": "Ready", "status": chance.pick(&["True", "False"]), "reason": "Settled", "message": "said",
                "lastTransitionTime": MOMENT, "observedGeneration": 1}]})
        },
        |chance| {
            json!({"conditions": [{"type": "Stalled", "status": "False", "reason": "Fine", "message": chance.pick(&["", "said"]),
                "lastTransitionTime": MOMENT}]})
        },
        |chance| {
            json!({"active": {"revision": chance.pick(&["1", "2"]), "since": MOMENT, "track": chance.pick(&["blue", "green"]), "version": "v1",
                "workloads": [{"name": "web", "generation": 2}]}})
        },
        |chance| {
            json!({"candidate": {"revision": "2", "startedAt": MOMENT, "step": chance.pick(&["Starting", "Baking"]), "summary": "v2 Starting",
                "track": "green", "version": "v2"}})
        },
        |chance| {
            json!({"rejected": [{"revision": chance.pick(&["7", "8"]), "at": MOMENT, "message": "late", "reason": "DeadlineExceeded",
                "version": "v7"}]})
        },
        |_| json!({"candidate": null}),
        |_| json!({"conditions": [{"type": "Odd", "status": "True", "reason": "A", "message": "", "lastTransitionTime": MOMENT}]}),
        |_| json!({"active": {"track": "red"}}),
        |_| json!({"unknown": 1}),
    ],
    scale: true,
};

pub(super) static OPERATION: Kind = Kind {
    kind: "Operation",
    api_version: "bascule.dev/v1alpha1",
    path: "/apis/bascule.dev/v1alpha1/namespaces/$ns/operations",
    // Named: where the chart's policy fills in who asks, there is nothing to fill in.
    base: |_| json!({"spec": {"release": "shop", "type": "Abort", "by": "$user"}}),
    pieces: &[|chance| json!({"spec": {"note": chance.pick(&["because", "why not"])}}), |_| json!({"spec": {"unknown": true}})],
    nulls: &["/spec/note", "/metadata/finalizers"],
    faults: &[
        |_| json!({"spec": {"type": "Explode"}}),
        |_| json!({"spec": {"release": ""}}),
        |_| json!({"spec": {"note": 7}}),
        |_| json!({"spec": {"revision": null}}),
    ],
    status: &[
        |chance| json!({"at": MOMENT, "message": chance.pick(&["done", "refused"]), "outcome": "Done"}),
        |_| json!({"at": MOMENT, "message": "no", "outcome": "Refused"}),
        |_| json!({"outcome": "Done"}),
        |_| json!({"at": "yesterday", "message": "", "outcome": "Done"}),
        |_| json!({"unknown": "x"}),
    ],
    scale: false,
};
