//! What pods name in their namespace: whether it is there. Of ConfigMaps and Secrets only that they exist is read, and where a pod names a
//! key that they have it; never what is in them.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Debug,
};

use bascule_core::{config::ConfigName, input::Needs};
use bascule_crds::ConfigKind;
use k8s_openapi::{
    NamespaceResourceScope,
    api::core::v1::{ConfigMap, PersistentVolumeClaim, Secret},
};
use kube::{Api, Client, Resource};
use serde::de::DeserializeOwned;

use super::{Fault, Found};
use crate::{client::is_name, sources::configs::Configs};

pub(super) struct Namespace<'a> {
    pub(super) client: &'a Client,
    pub(super) configs: &'a Configs,
    pub(super) name: &'a str,
}

impl Namespace<'_> {
    pub(super) async fn look(&self, needs: &Needs, found: &mut Found) {
        self.configs::<ConfigMap>(ConfigKind::ConfigMaps, &needs.config_maps, found).await;
        self.configs::<Secret>(ConfigKind::Secrets, &needs.secrets, found).await;
        for name in needs.pull_secrets.iter().filter(|name| !needs.secrets.contains_key(*name)) {
            self.object::<Secret>(&format!("Secret {name}"), name, found).await;
        }
        for name in &needs.volumes {
            self.object::<PersistentVolumeClaim>(&format!("PersistentVolumeClaim {name}"), name, found).await;
        }
    }

    async fn configs<K>(&self, kind: ConfigKind, needed: &BTreeMap<String, BTreeSet<String>>, found: &mut Found)
    where
        K: Resource<Scope = NamespaceResourceScope> + Clone + Debug + DeserializeOwned,
        K::DynamicType: Default,
    {
        for (name, keys) in needed {
            let config = ConfigName { kind, name: name.clone() };
            if keys.is_empty() {
                self.object::<K>(&config.to_string(), name, found).await;
            } else {
                self.keys(&config, keys, found).await;
            }
        }
    }

    async fn keys(&self, config: &ConfigName, keys: &BTreeSet<String>, found: &mut Found) {
        if !is_name(&config.name) {
            return found.missing.push(format!("{config} is gone"));
        }
        let seen = self.configs.keys(self.name, config).await;
        match seen {
            Ok(Some(seen)) => found.missing.extend(keys.difference(&seen).map(|key| format!("{config} has no key {key}"))),
            Ok(None) => found.missing.push(format!("{config} is gone")),
            Err(why) => found.unseen.push(format!("{config}: {}", why.1)),
        }
    }

    async fn object<K>(&self, what: &str, name: &str, found: &mut Found)
    where
        K: Resource<Scope = NamespaceResourceScope> + Clone + Debug + DeserializeOwned,
        K::DynamicType: Default,
    {
        if !is_name(name) {
            return found.missing.push(format!("{what} is gone"));
        }
        let api: Api<K> = Api::namespaced(self.client.clone(), self.name);
        let seen = api.get_metadata_opt(name).await.map_err(Fault::of);
        match seen {
            Ok(Some(_)) => {}
            Ok(None) => found.missing.push(format!("{what} is gone")),
            Err(Fault::Refused { code: 403, .. }) => found.unseen.push(format!("{what}: the controller may not read it")),
            Err(fault) => found.unseen.push(format!("{what}: {fault}")),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{
        convert::Infallible,
        sync::{Arc, Mutex},
    };

    use http::{Request, Response};
    use kube::client::Body;
    use serde_json::{Value, json};
    use tower::service_fn;

    use super::*;

    /// An API server with these objects by path; a number is a refusal with that code.
    fn server<const N: usize>(objects: [(&str, Value); N]) -> (Client, Arc<Mutex<Vec<String>>>) {
        let objects: BTreeMap<String, Value> = objects.into_iter().map(|(path, object)| (path.to_owned(), object)).collect();
        let log = Arc::new(Mutex::new(Vec::new()));
        let heard = log.clone();
        let service = service_fn(move |request: Request<Body>| {
            let path = request.uri().path().trim_start_matches("/api/v1/namespaces/shop/").to_owned();
            let accept = request.headers().get("accept").map(|it| it.to_str().unwrap().to_owned()).unwrap_or_default();
            let metadata = if accept.contains("as=PartialObjectMetadata") { "metadata of " } else { "" };
            heard.lock().unwrap().push(format!("{metadata}{path}"));
            let object = objects.get(&path).cloned().unwrap_or(json!(404));
            let code = object.as_u64().and_then(|code| u16::try_from(code).ok()).unwrap_or(200);
            let status = || {
                json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure", "message": "no",
                "reason": if code == 404 { "NotFound" } else { "X" }, "code": code})
            };
            let body = if code == 200 { object } else { status() };
            let response = Response::builder().status(code).body(Body::from(body.to_string().into_bytes())).unwrap();
            async move { Ok::<_, Infallible>(response) }
        });
        (Client::new(service, "default"), log)
    }

    async fn look(client: &Client, pod: &Value) -> Found {
        let configs = Configs::new(client.clone(), Arc::new(|_| {}), 7);
        let namespace = Namespace { client, configs: &configs, name: "shop" };
        let mut found = Found::default();
        namespace.look(&Needs::of([&json!({"spec": pod})]), &mut found).await;
        found
    }

    fn pod() -> Value {
        json!({
            "imagePullSecrets": [{"name": "registry"}],
            "containers": [{
                "env": [
                    {"valueFrom": {"configMapKeyRef": {"name": "flags", "key": "mode"}}},
                    {"valueFrom": {"configMapKeyRef": {"name": "flags", "key": "color", "optional": true}}},
                    {"valueFrom": {"secretKeyRef": {"name": "token", "key": "t"}}},
                ],
                "envFrom": [{"configMapRef": {"name": "all"}}],
            }],
            "volumes": [
                {"persistentVolumeClaim": {"claimName": "data"}},
                {"configMap": {"name": "flags", "items": [{"key": "file", "path": "a"}]}},
                {"secret": {"secretName": "maybe", "optional": true}},
            ],
        })
    }

    #[tokio::test]
    async fn with_all_that_pods_name_nothing_is_missing_and_no_more_is_read_than_needed() {
        let there = json!({"metadata": {}});
        let (client, log) = server([
            ("configmaps/flags", json!({"metadata": {}, "data": {"mode": "x"}, "binaryData": {"file": "AA=="}})),
            ("secrets/token", json!({"metadata": {}, "data": {"t": "AA=="}})),
            ("configmaps/all", there.clone()),
            ("secrets/registry", there.clone()),
            ("persistentvolumeclaims/data", there),
        ]);
        let found = look(&client, &pod()).await;
        assert_eq!((found.missing, found.unseen), (vec![], vec![]));
        let asked = [
            "metadata of configmaps/all",
            "configmaps/flags",
            "secrets/token",
            "metadata of secrets/registry",
            "metadata of persistentvolumeclaims/data",
        ];
        assert_eq!(*log.lock().unwrap(), asked);
    }

    #[tokio::test]
    async fn each_thing_that_is_gone_is_said() {
        let (client, _) = server([("configmaps/flags", json!({"metadata": {}, "data": {"other": "x"}}))]);
        let found = look(&client, &pod()).await;
        let missing = [
            "ConfigMap all is gone",
            "ConfigMap flags has no key file",
            "ConfigMap flags has no key mode",
            "Secret token is gone",
            "Secret registry is gone",
            "PersistentVolumeClaim data is gone",
        ];
        assert_eq!((found.missing, found.unseen), (missing.map(str::to_owned).to_vec(), vec![]));
    }

    #[tokio::test]
    async fn what_cannot_be_read_is_not_gone() {
        let (client, _) = server([
            ("configmaps/all", json!(500)),
            ("configmaps/flags", json!(500)),
            ("secrets/token", json!(403)),
            ("secrets/registry", json!(403)),
            ("persistentvolumeclaims/data", json!(429)),
        ]);
        let found = look(&client, &pod()).await;
        let unseen = [
            "ConfigMap all: the API server answered 500: no",
            "ConfigMap flags: the API server does not answer",
            "Secret token: the controller may not read it",
            "Secret registry: the controller may not read it",
            "PersistentVolumeClaim data: the API server asks for silence",
        ];
        assert_eq!((found.missing, found.unseen), (vec![], unseen.map(str::to_owned).to_vec()));
    }

    #[tokio::test]
    async fn a_name_that_no_object_can_have_is_asked_for_nowhere() {
        let (client, log) = server([]);
        for name in ["../../other/secrets/key", "a?watch=true", "A", "", ".."] {
            let env = json!([{"valueFrom": {"secretKeyRef": {"name": name, "key": "k"}}}]);
            let volume = json!([{"persistentVolumeClaim": {"claimName": name}}]);
            look(&client, &json!({"containers": [{"env": env}], "volumes": volume})).await;
        }
        assert_eq!(*log.lock().unwrap(), Vec::<String>::new());
    }
}
