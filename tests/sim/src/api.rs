//! The simulated API server: a synchronous model of what Bascule uses of a real one, compared with a real one by `tests/conformance`.
//!
//! In: requests, one after the other, each with the time at which it is carried out. Out: replies, and a log of every commit, from which
//! watches are served and which the oracles judge. Never here: latency, faults, chance.

mod admit;
mod apply;
mod delete;
mod error;
mod fields;
mod kind;
mod patch;
mod path;
mod scale;
mod schema;
mod select;
mod shape;
mod store;
mod typed;
mod valid;
mod write;

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde_json::{Value, json};

pub use admit::Admission;
pub use error::plain;
pub use kind::Kind;
pub use path::Target;
pub use schema::BUILTIN;
pub use select::Selection;
pub use store::{Change, Object, Store};

/// A request as the server sees it once it has been authenticated.
#[derive(Clone, Debug, Default)]
pub struct Request {
    pub user: String,
    pub method: String,
    pub path: String,
    pub query: BTreeMap<String, String>,
    pub content_type: String,
    pub body: Option<Value>,
    /// Whoever sent it has given up waiting by now. For the judges; the server does not know.
    pub abandoned: bool,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Reply {
    pub code: u16,
    pub body: Value,
}

impl Reply {
    fn ok(body: Value) -> Self {
        Self { code: 200, body }
    }

    pub fn is_ok(&self) -> bool {
        self.code < 300
    }
}

/// What a handler does not want: a `Status` object, already complete.
type Refused = Box<Reply>;

#[derive(Debug)]
pub struct Api {
    pub store: Store,
    /// What admission adds and refuses.
    pub admission: Admission,
}

impl Default for Api {
    fn default() -> Self {
        Self::new()
    }
}

/// Everything about one request that the handlers need.
struct Call<'a> {
    user: &'a str,
    query: &'a BTreeMap<String, String>,
    content_type: &'a str,
    now: Timestamp,
    target: Target,
    /// A PUT.
    is_replace: bool,
}

impl Call<'_> {
    fn dry_run(&self) -> bool {
        self.query.contains_key("dryRun")
    }
}

impl Api {
    /// A server with the kinds that Bascule and its cluster need, its definitions, and the namespace `default`.
    pub fn new() -> Self {
        let mut api = Self { store: Store::default(), admission: Admission::default() };
        let namespace = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "default"}});
        api.call(
            Timestamp::UNIX_EPOCH,
            &Request {
                user: "system".into(),
                method: "POST".into(),
                path: "/api/v1/namespaces".into(),
                body: Some(namespace),
                ..Request::default()
            },
        );
        api
    }

    /// Carries out everything but watches.
    pub fn call(&mut self, now: Timestamp, request: &Request) -> Reply {
        self.answer(now, request).unwrap_or_else(|refused| *refused)
    }

    /// Commits to one resource (`apps/deployments`, `services`) after that version, in order.
    pub fn changes<'a>(&'a self, resource: &'a str, after: u64) -> impl Iterator<Item = &'a Change> {
        self.store.log().iter().filter(move |change| change.version > after && change.kind.full == resource)
    }

    fn answer(&mut self, now: Timestamp, request: &Request) -> Result<Reply, Refused> {
        let target = Target::parse(&request.path).ok_or_else(|| error::not_found_path(&request.path))?;
        let call = Call {
            user: &request.user,
            query: &request.query,
            content_type: &request.content_type,
            now,
            target,
            is_replace: request.method == "PUT",
        };
        match (request.method.as_str(), call.target.name.is_some()) {
            ("GET", true) => self.get(&call),
            ("GET", false) => self.list(&call),
            ("POST", false) => self.create(&call, request.body.clone()),
            ("PUT", true) => self.replace(&call, request.body.clone()),
            ("PATCH", true) => self.patch(&call, request.body.clone()),
            ("DELETE", true) => self.delete(&call, request.body.as_ref()),
            _ => Err(error::method_not_allowed(&request.method)),
        }
    }

    fn get(&self, call: &Call) -> Result<Reply, Refused> {
        let target = &call.target;
        let object = self.store.get(&target.key()).ok_or_else(|| error::not_found(target))?;
        if target.subresource.as_deref() == Some("log") {
            return Err(error::bad_request("the pods of this model print nothing"));
        }
        if target.subresource.as_deref() == Some("scale") {
            return Self::get_scale(target, object);
        }
        Ok(Reply::ok((**object).clone()))
    }

    fn list(&self, call: &Call) -> Result<Reply, Refused> {
        let target = &call.target;
        let selection = Selection::parse(call.query)?;
        let limit = call.query.get("limit").and_then(|limit| limit.parse::<usize>().ok()).filter(|limit| *limit > 0);
        // The token names the version of the first page and the last object of the one before.
        let token = call.query.get("continue").filter(|token| !token.is_empty());
        let (version, after) = match token {
            Some(token) => {
                let (version, after) = token.split_once('|').ok_or_else(|| error::bad_request("continue key is not valid"))?;
                let version = version.parse().map_err(|_| error::bad_request("continue key is not valid"))?;
                if version < self.store.compacted() {
                    return Err(error::expired());
                }
                (version, Some(after.to_owned()))
            }
            None => (self.store.version(), None),
        };
        let all = self.store.at(target.kind, target.namespace.as_deref(), version);
        let place = |object: &Object| {
            let meta = &object["metadata"];
            format!("{}/{}", meta["namespace"].as_str().unwrap_or_default(), meta["name"].as_str().unwrap_or_default())
        };
        let mut found = all.into_iter().filter(|object| selection.takes(object));
        let mut items = Vec::new();
        let mut remaining = false;
        for object in found.by_ref() {
            if after.as_ref().is_some_and(|after| place(&object) <= *after) {
                continue;
            }
            if limit.is_some_and(|limit| items.len() == limit) {
                remaining = true;
                break;
            }
            items.push(object);
        }
        let next = items.last().filter(|_| remaining).map(|last| format!("{version}|{}", place(last)));
        let mut meta = json!({"resourceVersion": version.to_string()});
        if let Some(next) = next {
            meta["continue"] = json!(next);
        }
        let items: Vec<Value> = items.iter().map(|object| (**object).clone()).collect();
        Ok(Reply::ok(json!({
            "apiVersion": target.api_version(),
            "kind": format!("{}List", target.kind.kind),
            "metadata": meta,
            "items": items,
        })))
    }
}
