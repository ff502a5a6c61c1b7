//! The simulated API server.
//!
//! In: requests without symbols. Out: what the model answers, raw. Each sequence has a server of its own, so that nothing is left over.
//! Never here: behaviour; what is missing here is missing in the model.

use std::time::Duration;

use bascule_sim::{
    api::{Api, Reply, Request, Selection, Target},
    cluster,
    fault::Faults,
    server::Server,
    watch::shown,
};
use jiff::{Timestamp, ToSpan as _};
use serde_json::{Value, json};

use crate::{
    sequence::{Ask, Watch, Words},
    side::{Answer, Side, look},
};

const NAMESPACE: &str = "conformance-model-00000";
const USER: &str = "admin";
/// Of virtual time; the models wait milliseconds.
const ENOUGH: Duration = Duration::from_secs(60);

#[derive(Debug)]
pub(crate) struct Model {
    api: Api,
    now: Timestamp,
    runs: u64,
}

impl Model {
    pub(crate) fn new() -> Self {
        Self { api: Api::new(), now: Timestamp::UNIX_EPOCH, runs: 0 }
    }
}

impl Side for Model {
    fn words(&mut self) -> Words {
        self.api = Api::new();
        let namespace = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}});
        let made = self.send("POST", "/api/v1/namespaces", Some(namespace));
        assert_eq!(made.code, 201, "{}", made.body);
        // One more, so that there is something older than what can still be watched.
        let other = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "other"}});
        self.send("POST", "/api/v1/namespaces", Some(other));
        self.api.store.compact(self.api.store.version());
        self.runs += 1;
        Words::new(format!("r{:05}x", self.runs), NAMESPACE.to_owned(), USER.to_owned())
    }

    async fn call(&mut self, ask: &Ask) -> Answer {
        // A second each, so that times differ where they are told apart.
        self.now = self.now.checked_add(1.second()).unwrap();
        let reply = self.api.call(
            self.now,
            &Request {
                user: USER.to_owned(),
                method: ask.method.clone(),
                path: ask.path.clone(),
                query: ask.query.clone(),
                content_type: ask.content_type.clone(),
                body: ask.body.clone(),
                ..Request::default()
            },
        );
        Answer { code: reply.code, body: reply.body }
    }

    async fn watch(&mut self, watch: &Watch) -> Answer {
        let since: u64 = watch.query["resourceVersion"].parse().unwrap_or_default();
        let target = Target::parse(&watch.path).unwrap();
        let selection = Selection::of(&watch.query);
        let mut events = Vec::new();
        if since < self.api.store.compacted() {
            events.push(
                json!({"type": "ERROR", "object": {"kind": "Status", "status": "Failure", "reason": "Expired", "code": 410}}),
            );
            return Answer { code: 200, body: json!({"kind": "Watched", "events": events}) };
        }
        for change in self.api.changes(target.kind.full, since) {
            if change.name == watch.mark["metadata"]["name"].as_str().unwrap_or_default() {
                break;
            }
            events.extend(shown(change, &selection).map(|(what, object)| json!({"type": what, "object": object})));
        }
        Answer { code: 200, body: json!({"kind": "Watched", "events": events}) }
    }

    async fn settle(&mut self, asks: &[Ask], _: &Words, _: &mut dyn FnMut(&Words, &Value) -> bool) -> Answer {
        let api = std::mem::take(&mut self.api);
        self.api = std::thread::spawn(move || collected(api)).join().unwrap();
        let state = look(self, asks).await;
        Answer { code: 200, body: state }
    }
}

/// Lets the models of the cluster work, under virtual time, until they have had all they need.
fn collected(api: Api) -> Api {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
    runtime.block_on(async {
        let server = Server::new(0, Faults::default());
        server.inside().api = api;
        let _ = tokio::time::timeout(ENOUGH, cluster::run(server.clone(), 0)).await;
        let api = std::mem::take(&mut server.inside().api);
        api
    })
}

impl Model {
    fn send(&mut self, method: &str, path: &str, body: Option<Value>) -> Reply {
        let request = Request {
            user: USER.to_owned(),
            method: method.to_owned(),
            path: path.to_owned(),
            content_type: "application/json".to_owned(),
            body,
            ..Request::default()
        };
        self.api.call(self.now, &request)
    }
}
