//! Services and Deployments.
//!
//! In: chance. Out: their bodies and pieces, in the shapes in which Bascule, teams and autoscalers write them. Never here: pods that run;
//! nothing is started.

use serde_json::json;

use super::Kind;

pub(super) static SERVICE: Kind = Kind {
    kind: "Service",
    api_version: "v1",
    path: "/api/v1/namespaces/$ns/services",
    base: |_| json!({"spec": {"selector": {"app": "$run"}, "ports": [{"port": 80, "protocol": "TCP", "targetPort": 8080}]}}),
    pieces: &[
        |chance| json!({"spec": {"selector": {"app": "$run", "bascule.dev/track": chance.pick(&["blue", "green"])}}}),
        |chance| json!({"spec": {"selector": {"app": "$run", "bascule.dev/track": chance.pick(&["blue", "green"])}}}),
        |chance| json!({"spec": {"selector": {"app": chance.pick(&["other", "$run"])}}}),
        |chance| {
            let track = *chance.pick(&["blue", "green"]);
            json!({"metadata": {"annotations": {"bascule.dev/track": track}},
                "spec": {"selector": {"app": "$run", "bascule.dev/track": track}}})
        },
        |chance| json!({"spec": {"ports": [{"name": "http", "port": 80, "protocol": "TCP", "targetPort": chance.pick(&[8080, 9090])}]}}),
        |_| json!({"spec": {"publishNotReadyAddresses": true}}),
        |_| json!({"metadata": {"labels": {"bascule.dev/preview-of": "web"}}}),
    ],
    nulls: &["/spec/selector/bascule.dev~1track", "/spec/publishNotReadyAddresses", "/metadata/labels/extra"],
    faults: &[],
    status: &[],
    scale: false,
};

pub(super) static DEPLOYMENT: Kind = Kind {
    kind: "Deployment",
    api_version: "apps/v1",
    path: "/apis/apps/v1/namespaces/$ns/deployments",
    base: |_| {
        json!({"spec": {
            "selector": {"matchLabels": {"app": "$run"}},
            "template": {
                "metadata": {"labels": {"app": "$run"}},
                "spec": {"containers": [{"name": "main", "image": "example/app:v1"}]},
            },
        }})
    },
    pieces: &[
        |chance| json!({"spec": {"replicas": chance.below(4)}}),
        |chance| json!({"spec": {"replicas": chance.below(4)}}),
        |chance| json!({"spec": {"paused": chance.percent(50)}}),
        |chance| json!({"spec": {"minReadySeconds": chance.below(3)}}),
        |_| json!({"spec": {"progressDeadlineSeconds": 300, "revisionHistoryLimit": 2}}),
        |chance| json!({"spec": {"template": {"metadata": {"annotations": {"stamp": chance.pick(&["1", "2"])}}}}}),
        |chance| json!({"spec": {"template": {"metadata": {"labels": {"bascule.dev/track": chance.pick(&["blue", "green"])}}}}}),
        |chance| {
            let image = chance.pick(&["example/app:v1", "example/app:v2"]);
            json!({"spec": {"template": {"spec": {"containers": [{"name": "main", "image": image}]}}}})
        },
        |chance| {
            let env = json!([{"name": chance.pick(&["A", "B"]), "value": chance.pick(&["1", "2"])}]);
            json!({"spec": {"template": {"spec": {"containers": [{"name": "main", "image": "example/app:v1", "env": env}]}}}})
        },
        |_| {
            let env = json!([{"name": "B", "value": "1"}, {"name": "A", "value": "$(B)"}]);
            json!({"spec": {"template": {"spec": {"containers": [{"name": "main", "image": "example/app:v1", "env": env}]}}}})
        },
        |_| json!({"spec": {"template": {"spec": {"containers": [{"name": "side", "image": "example/side:v1"}]}}}}),
        |_| {
            let ports = json!([{"name": "http", "containerPort": 8080, "protocol": "TCP"}]);
            json!({"spec": {"template": {"spec": {"containers": [{"name": "main", "image": "example/app:v1", "ports": ports}]}}}})
        },
        |_| {
            let probe = json!({"httpGet": {"path": "/healthz", "port": 8080}, "periodSeconds": 1});
            json!({"spec": {"template": {"spec": {"containers": [{"name": "main", "image": "example/app:v1", "readinessProbe": probe}]}}}})
        },
        |_| {
            let resources = json!({"requests": {"cpu": "100m", "memory": "64Mi"}});
            json!({"spec": {"template": {"spec": {"containers": [{"name": "main", "image": "example/app:v1", "resources": resources}]}}}})
        },
        |_| json!({"metadata": {"finalizers": ["bascule.dev/hold"]}}),
    ],
    nulls: &["/spec/replicas", "/spec/paused", "/spec/template/metadata/annotations", "/metadata/finalizers"],
    faults: &[
        |_| json!({"spec": {"replicas": -1}}),
        |_| json!({"spec": {"replicas": "many"}}),
        |_| json!({"spec": {"selector": {"matchLabels": {"app": "another"}}}}),
        |_| json!({"spec": {"colour": "blue"}}),
    ],
    status: &[
        |chance| json!({"replicas": 3, "updatedReplicas": 1 + chance.below(3), "observedGeneration": 1}),
        |chance| json!({"replicas": 3, "readyReplicas": 2, "availableReplicas": 1 + chance.below(2)}),
        |chance| {
            json!({"conditions": [{"type": "Available", "status": chance.pick(&["True", "False"]), "reason": "MinimumReplicasAvailable",
                "message": "said", "lastUpdateTime": "2026-01-02T03:04:05Z", "lastTransitionTime": "2026-01-02T03:04:05Z"}]})
        },
        |chance| {
            json!({"conditions": [{"type": "Progressing", "status": "True", "reason": chance.pick(&["NewReplicaSetAvailable", "Updated"]),
                "message": "said", "lastUpdateTime": "2026-01-02T03:04:05Z", "lastTransitionTime": "2026-01-02T03:04:05Z"}]})
        },
    ],
    scale: true,
};
