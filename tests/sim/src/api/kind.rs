//! The kinds that the model knows, and how they differ.

/// One kind of object.
#[derive(Debug, PartialEq, Eq)]
pub struct Kind {
    /// `apps/deployments`, `services`.
    pub full: &'static str,
    pub group: &'static str,
    pub version: &'static str,
    pub plural: &'static str,
    pub kind: &'static str,
    pub namespaced: bool,
    /// Has a status of its own, which a write to the object does not touch.
    pub status: bool,
    pub scale: bool,
    /// Counts the changes of its spec.
    pub generation: bool,
    /// Defined by a `CustomResourceDefinition`.
    pub custom: bool,
}

const PLAIN: Kind = Kind {
    full: "",
    group: "",
    version: "v1",
    plural: "",
    kind: "",
    namespaced: true,
    status: false,
    scale: false,
    generation: false,
    custom: false,
};

const CUSTOM: Kind = Kind { group: "bascule.dev", version: "v1alpha1", status: true, generation: true, custom: true, ..PLAIN };

pub(crate) static KINDS: [Kind; 18] = [
    Kind { full: "namespaces", plural: "namespaces", kind: "Namespace", namespaced: false, status: true, ..PLAIN },
    Kind { full: "services", plural: "services", kind: "Service", status: true, ..PLAIN },
    Kind { full: "pods", plural: "pods", kind: "Pod", status: true, generation: true, ..PLAIN },
    Kind { full: "configmaps", plural: "configmaps", kind: "ConfigMap", ..PLAIN },
    Kind { full: "secrets", plural: "secrets", kind: "Secret", ..PLAIN },
    Kind { full: "serviceaccounts", plural: "serviceaccounts", kind: "ServiceAccount", ..PLAIN },
    Kind { full: "events", plural: "events", kind: "Event", ..PLAIN },
    Kind {
        full: "apps/deployments",
        group: "apps",
        plural: "deployments",
        kind: "Deployment",
        status: true,
        scale: true,
        generation: true,
        ..PLAIN
    },
    Kind {
        full: "apps/replicasets",
        group: "apps",
        plural: "replicasets",
        kind: "ReplicaSet",
        status: true,
        scale: true,
        generation: true,
        ..PLAIN
    },
    Kind { full: "apps/controllerrevisions", group: "apps", plural: "controllerrevisions", kind: "ControllerRevision", ..PLAIN },
    Kind { full: "batch/jobs", group: "batch", plural: "jobs", kind: "Job", status: true, generation: true, ..PLAIN },
    Kind {
        full: "autoscaling/horizontalpodautoscalers",
        group: "autoscaling",
        version: "v2",
        plural: "horizontalpodautoscalers",
        kind: "HorizontalPodAutoscaler",
        status: true,
        ..PLAIN
    },
    Kind {
        full: "discovery.k8s.io/endpointslices",
        group: "discovery.k8s.io",
        plural: "endpointslices",
        kind: "EndpointSlice",
        generation: true,
        ..PLAIN
    },
    Kind { full: "coordination.k8s.io/leases", group: "coordination.k8s.io", plural: "leases", kind: "Lease", ..PLAIN },
    Kind { full: "nodes", plural: "nodes", kind: "Node", namespaced: false, ..PLAIN },
    Kind { full: "bascule.dev/releases", plural: "releases", kind: "Release", scale: true, ..CUSTOM },
    Kind {
        full: "bascule.dev/environments",
        plural: "environments",
        kind: "Environment",
        namespaced: false,
        status: false,
        ..CUSTOM
    },
    Kind { full: "bascule.dev/operations", plural: "operations", kind: "Operation", ..CUSTOM },
];

impl Kind {
    pub fn find(group: &str, version: &str, plural: &str) -> Option<&'static Self> {
        // Events have two names for the same objects.
        let group = if plural == "events" { "" } else { group };
        KINDS.iter().find(|kind| kind.group == group && kind.plural == plural && kind.version == version)
    }

    pub fn named(full: &str) -> Option<&'static Self> {
        KINDS.iter().find(|kind| kind.full == full)
    }

    pub fn of_kind(name: &str) -> Option<&'static Self> {
        KINDS.iter().find(|kind| kind.kind == name)
    }

    pub fn api_version(&self) -> String {
        if self.group.is_empty() { self.version.to_owned() } else { format!("{}/{}", self.group, self.version) }
    }

    /// Where objects of this kind are found.
    pub fn path(&self, namespace: Option<&str>, name: Option<&str>) -> String {
        let mut path =
            if self.group.is_empty() { "/api/v1".to_owned() } else { format!("/apis/{}/{}", self.group, self.version) };
        if let Some(namespace) = namespace.filter(|_| self.namespaced) {
            path.push_str("/namespaces/");
            path.push_str(namespace);
        }
        path.push('/');
        path.push_str(self.plural);
        if let Some(name) = name {
            path.push('/');
            path.push_str(name);
        }
        path
    }
}
