//! Sequences of requests from a seed.
//!
//! In: a seed. Out: 3 to 25 steps about few objects, so that what one request does matters to the next. Never here: a look at any server;
//! what an earlier reply said is a symbol.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::{
    chance::Chance,
    content::{KINDS, Kind, join},
    sequence::{Ask, Pages, Sequence, Settle, Step, Watch, What},
};

const APPLY: &str = "application/apply-patch+yaml";
const MERGE: &str = "application/merge-patch+json";
const PATCH: &str = "application/json-patch+json";
const JSON: &str = "application/json";
const MANAGERS: [&str; 3] = ["bascule", "team", "hpa"];
const SELECTORS: [&str; 7] = [
    "run=$run",
    "run=$run,tier=a",
    "run=$run,tier!=a",
    "run=$run,tier in (a,b)",
    "run=$run,tier notin (a,b)",
    "run=$run,tier",
    "run=$run,!tier",
];

/// Services, Releases, Operations and `ConfigMap`s; of these a Release is never owned.
const COLLECTED: [usize; 4] = [0, 2, 3, 4];

/// What a sequence is mostly about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Theme {
    /// One or two objects, every verb.
    Hands,
    /// Several managers apply to one object.
    Owners,
    /// Many objects, lists and watches.
    Lists,
    /// Owners, finalizers and what the garbage collector makes of them.
    Garbage,
}

#[derive(Debug)]
struct Story {
    chance: Chance,
    steps: Vec<Step>,
    kinds: Vec<&'static Kind>,
    names: Vec<&'static str>,
    theme: Theme,
    /// Kind, name and step of replies that should show an object.
    seen: Vec<(&'static str, &'static str, u32)>,
    /// Kinds of which a name was generated: one is enough, their order in lists is chance.
    generated: Vec<&'static str>,
    listed: Vec<(&'static str, u32)>,
}

pub(crate) fn sequence(seed: u64) -> Sequence {
    let mut chance = Chance::new(seed);
    let theme = *chance.weighted(&[(40, Theme::Hands), (30, Theme::Owners), (18, Theme::Lists), (12, Theme::Garbage)]);
    let weights = [22, 26, 22, 8, 9, 5, 3, 5];
    let choices: Vec<_> = weights.into_iter().zip(KINDS).collect();
    let mut kinds = vec![*chance.weighted(&choices)];
    if theme == Theme::Garbage {
        // Where the models of the other controllers would not write.
        kinds = COLLECTED.iter().map(|collected| KINDS[*collected]).filter(|_| chance.percent(60)).collect();
        kinds.push(KINDS[COLLECTED[chance.below(COLLECTED.len())]]);
    }
    let names: &[&str] = match theme {
        Theme::Owners => &["one"],
        Theme::Hands => &["one", "two"],
        Theme::Garbage | Theme::Lists => &["one", "two", "three", "four"],
    };
    // The garbage collector is waited for after each step.
    let length = 3 + chance.below(if theme == Theme::Garbage { 7 } else { 23 });
    let mut story = Story {
        chance,
        steps: Vec::new(),
        kinds,
        names: names.to_vec(),
        theme,
        seen: Vec::new(),
        generated: Vec::new(),
        listed: Vec::new(),
    };
    while story.steps.len() < length {
        story.go_on();
    }
    story.end();
    Sequence { name: format!("seed {seed}"), about: String::new(), steps: story.steps }
}

impl Story {
    fn go_on(&mut self) {
        let kind = *self.chance.pick(&self.kinds);
        let name = *self.chance.pick(&self.names);
        // Before there is anything, most requests would only be told so.
        if self.seen.is_empty() && self.chance.percent(90) {
            return if self.chance.percent(50) { self.create(kind, name) } else { self.apply(kind, name, None) };
        }
        type Verb = fn(&mut Story, &'static Kind, &'static str);
        let verbs: &[(usize, Verb)] = match self.theme {
            Theme::Hands => &[
                (12, Self::create),
                (5, Self::get),
                (14, Self::replace),
                (16, Self::merge),
                (5, Self::json_patch),
                (14, Self::apply_main),
                (8, Self::delete),
                (12, Self::status),
                (12, Self::scale),
                (4, Self::list),
            ],
            Theme::Owners => &[
                (3, Self::create),
                (52, Self::apply_main),
                (12, Self::merge),
                (7, Self::replace),
                (14, Self::status),
                (14, Self::scale),
                (2, Self::delete),
            ],
            Theme::Lists => &[
                (30, Self::create),
                (12, Self::apply_main),
                (18, Self::merge),
                (8, Self::delete),
                (18, Self::list),
                (14, Self::watch),
            ],
            Theme::Garbage => {
                &[(26, Self::create), (24, Self::owned), (22, Self::delete), (8, Self::merge), (6, Self::apply_main)]
            }
        };
        let verb = *self.chance.weighted(verbs);
        verb(self, kind, name);
        // Else it is a race between the next request and the garbage collector.
        if self.theme == Theme::Garbage {
            self.settle();
        }
    }

    fn end(&mut self) {
        for kind in self.kinds.clone() {
            match self.theme {
                Theme::Garbage => return,
                Theme::Lists => self.watch(kind, self.names[0]),
                Theme::Hands | Theme::Owners => {
                    for name in self.names.clone() {
                        self.get(kind, name);
                    }
                }
            }
        }
    }

    fn push(&mut self, what: What) -> u32 {
        let id = u32::try_from(self.steps.len()).unwrap_or_default() + 1;
        self.steps.push(Step { id, what });
        id
    }

    fn ask(&mut self, method: &str, path: String, content_type: &str, query: &[(&str, String)], body: Option<Value>) -> u32 {
        let mut query: BTreeMap<_, _> = query.iter().map(|(key, value)| ((*key).to_owned(), value.clone())).collect();
        if matches!(method, "POST" | "PUT" | "PATCH") {
            query.entry("fieldManager".to_owned()).or_insert_with(|| (*self.chance.pick(&MANAGERS)).to_owned());
            if self.chance.percent(5) {
                query.insert("dryRun".into(), "All".into());
            }
            if self.chance.percent(6) {
                query.insert("fieldValidation".into(), (*self.chance.pick(&["Strict", "Warn", "Ignore"])).to_owned());
            }
        }
        let content_type = content_type.to_owned();
        self.push(What::Ask(Ask { method: method.to_owned(), path, query, content_type, body }))
    }

    /// An earlier reply about that object: mostly the last, sometimes any.
    fn earlier(&mut self, kind: &Kind, name: &str) -> Option<u32> {
        let steps: Vec<u32> = self.seen.iter().filter(|seen| seen.0 == kind.kind && seen.1 == name).map(|seen| seen.2).collect();
        if self.chance.percent(65) { steps.last().copied() } else { steps.get(self.chance.below(steps.len())).copied() }
    }

    /// Puts demands of optimistic concurrency into a body.
    fn demand(&mut self, kind: &Kind, name: &str, share: usize, body: &mut Value) {
        if self.chance.percent(share)
            && let Some(step) = self.earlier(kind, name)
        {
            body["metadata"]["resourceVersion"] = json!(format!("$rv({step})"));
        }
        if self.chance.percent(6)
            && let Some(step) = self.earlier(kind, name)
        {
            body["metadata"]["uid"] = json!(format!("$uid({step})"));
        }
    }

    fn create(&mut self, kind: &'static Kind, name: &'static str) {
        let mut body = kind.whole(&format!("$run-{name}"), &mut self.chance);
        if self.chance.percent(6) && !self.generated.contains(&kind.kind) {
            body["metadata"]["name"] = Value::Null;
            body["metadata"]["generateName"] = json!("$run-made-");
            self.generated.push(kind.kind);
        }
        let id = self.ask("POST", kind.path.into(), JSON, &[], Some(body));
        self.seen.push((kind.kind, name, id));
    }

    fn get(&mut self, kind: &'static Kind, name: &'static str) {
        let status = !kind.status.is_empty() && self.chance.percent(15);
        let id = self.ask("GET", place(kind, name, status.then_some("status")), "", &[], None);
        self.seen.push((kind.kind, name, id));
    }

    fn replace(&mut self, kind: &'static Kind, name: &'static str) {
        // The spec of a pod cannot be changed, and admission has added to it what this body would not have.
        if kind.kind == "Pod" {
            return self.merge(kind, name);
        }
        let mut body = kind.whole(&format!("$run-{name}"), &mut self.chance);
        self.demand(kind, name, 60, &mut body);
        let id = self.ask("PUT", place(kind, name, None), JSON, &[], Some(body));
        self.seen.push((kind.kind, name, id));
    }

    fn merge(&mut self, kind: &'static Kind, name: &'static str) {
        let mut body = kind.merged(&mut self.chance);
        self.demand(kind, name, 25, &mut body);
        let id = self.ask("PATCH", place(kind, name, None), MERGE, &[], Some(body));
        self.seen.push((kind.kind, name, id));
    }

    fn json_patch(&mut self, kind: &'static Kind, name: &'static str) {
        let one = match self.chance.below(5) {
            0 => json!([{"op": "add", "path": "/metadata/labels/tier", "value": "c"}]),
            1 => json!([{"op": "remove", "path": "/metadata/labels/tier"}]),
            2 => json!([{"op": "replace", "path": "/metadata/labels/run", "value": "$run"}]),
            3 => {
                json!([{"op": "test", "path": "/metadata/labels/tier", "value": "a"}, {"op": "add", "path": "/metadata/labels/tested", "value": "yes"}])
            }
            _ => json!([{"op": "add", "path": "/metadata/finalizers", "value": ["bascule.dev/hold"]}]),
        };
        let id = self.ask("PATCH", place(kind, name, None), PATCH, &[], Some(one));
        self.seen.push((kind.kind, name, id));
    }

    fn apply_main(&mut self, kind: &'static Kind, name: &'static str) {
        self.apply(kind, name, None);
    }

    fn apply(&mut self, kind: &'static Kind, name: &'static str, subresource: Option<&str>) {
        let full = format!("$run-{name}");
        let mut body = match subresource {
            Some("status") => kind.status_of(&full, &mut self.chance),
            _ => kind.applied(&full, &mut self.chance),
        };
        if kind.kind == "Pod"
            && let Some(fields) = body.as_object_mut()
        {
            fields.remove("spec");
        }
        self.demand(kind, name, 8, &mut body);
        let mut query = Vec::new();
        if self.chance.percent(45) {
            query.push(("force", "true".to_owned()));
        }
        let id = self.ask("PATCH", place(kind, name, subresource), APPLY, &query, Some(body));
        self.seen.push((kind.kind, name, id));
    }

    fn status(&mut self, kind: &'static Kind, name: &'static str) {
        if kind.status.is_empty() {
            return self.apply(kind, name, None);
        }
        match self.chance.below(10) {
            0..6 => self.apply(kind, name, Some("status")),
            6..8 => {
                let mut body = kind.status_of(&format!("$run-{name}"), &mut self.chance);
                if self.chance.percent(20) {
                    // A status patch cannot touch these.
                    join(&mut body, json!({"metadata": {"labels": {"tier": "c"}}, "spec": {"suspend": true}}));
                }
                self.demand(kind, name, 25, &mut body);
                let id = self.ask("PATCH", place(kind, name, Some("status")), MERGE, &[], Some(body));
                self.seen.push((kind.kind, name, id));
            }
            _ => {
                let mut body = kind.whole(&format!("$run-{name}"), &mut self.chance);
                join(&mut body, kind.status_of(&format!("$run-{name}"), &mut self.chance));
                self.demand(kind, name, 50, &mut body);
                let id = self.ask("PUT", place(kind, name, Some("status")), JSON, &[], Some(body));
                self.seen.push((kind.kind, name, id));
            }
        }
    }

    fn scale(&mut self, kind: &'static Kind, name: &'static str) {
        if !kind.scale {
            return self.merge(kind, name);
        }
        let path = place(kind, name, Some("scale"));
        let replicas = self.chance.below(4);
        let mut scale = json!({"apiVersion": "autoscaling/v1", "kind": "Scale", "metadata": {"name": format!("$run-{name}"), "namespace": "$ns"},
            "spec": {"replicas": replicas}});
        match self.chance.below(10) {
            0..2 => {
                self.ask("GET", path, "", &[], None);
            }
            2..5 => {
                self.demand(kind, name, 40, &mut scale);
                self.ask("PUT", path, JSON, &[], Some(scale));
            }
            5..7 => {
                self.ask("PATCH", path, MERGE, &[], Some(json!({"spec": {"replicas": replicas}})));
            }
            _ => {
                scale["metadata"] = json!({"name": format!("$run-{name}")});
                let query = if self.chance.percent(50) { vec![("force", "true".to_owned())] } else { Vec::new() };
                self.ask("PATCH", path, APPLY, &query, Some(scale));
            }
        }
    }

    fn delete(&mut self, kind: &'static Kind, name: &'static str) {
        let mut body = json!({"apiVersion": "v1", "kind": "DeleteOptions"});
        if self.chance.percent(25)
            && let Some(step) = self.earlier(kind, name)
        {
            body["preconditions"]["uid"] = json!(format!("$uid({step})"));
        }
        if self.chance.percent(25)
            && let Some(step) = self.earlier(kind, name)
        {
            body["preconditions"]["resourceVersion"] = json!(format!("$rv({step})"));
        }
        if self.theme == Theme::Garbage && self.chance.percent(60) {
            body["propagationPolicy"] = json!(self.chance.pick(&["Background", "Background", "Orphan"]));
        }
        if self.chance.percent(8) {
            body["dryRun"] = json!(["All"]);
        }
        let (content_type, body) = if self.chance.percent(25) { ("", None) } else { (JSON, Some(body)) };
        self.ask("DELETE", place(kind, name, None), content_type, &[], body);
    }

    fn list(&mut self, kind: &'static Kind, name: &'static str) {
        let selector = ("labelSelector", (*self.chance.pick(&SELECTORS)).to_owned());
        match self.chance.below(3) {
            0 => {
                let operator = *self.chance.pick(&["=", "!="]);
                let fields = ("fieldSelector", format!("metadata.name{operator}$run-{name}"));
                self.ask("GET", kind.path.into(), "", &[selector, fields], None);
            }
            1 => {
                let limit = ("limit".to_owned(), (1 + self.chance.below(2)).to_string());
                let query = [("labelSelector".to_owned(), selector.1), limit];
                let list = Ask { method: "GET".into(), path: kind.path.into(), query: query.into(), ..Ask::default() };
                let between = self.chance.percent(40).then(|| Ask {
                    method: "POST".into(),
                    path: kind.path.into(),
                    query: [("fieldManager".to_owned(), "team".to_owned())].into(),
                    content_type: JSON.into(),
                    body: Some(kind.whole("$run-zz", &mut self.chance)),
                });
                self.push(What::Pages(Pages { list, between }));
            }
            _ => {
                let id = self.ask("GET", kind.path.into(), "", &[selector], None);
                self.listed.push((kind.kind, id));
            }
        }
    }

    /// From a list, from a version of an object, or from before everything.
    fn watch(&mut self, kind: &'static Kind, name: &'static str) {
        // Pods die gracefully, in two commits where the model has one.
        if kind.kind == "Pod" {
            return self.get(kind, name);
        }
        let lists: Vec<u32> = self.listed.iter().filter(|listed| listed.0 == kind.kind).map(|listed| listed.1).collect();
        let seen: Vec<u32> = self.seen.iter().filter(|seen| seen.0 == kind.kind).map(|seen| seen.2).collect();
        let from: &[u32] = if lists.is_empty() || self.chance.percent(40) { &seen } else { &lists };
        if from.is_empty() {
            return;
        }
        let custom = kind.api_version.starts_with("bascule.dev/");
        let since = if custom && self.chance.percent(8) { "$old".to_owned() } else { format!("$rv({})", self.chance.pick(from)) };
        let selector = *self.chance.pick(&SELECTORS);
        let mut mark = (kind.base)("mark");
        let id = self.steps.len() + 1;
        join(
            &mut mark,
            json!({"apiVersion": kind.api_version, "kind": kind.kind, "metadata": {"name": format!("$run-mark-{id}"), "labels": {"run": "$run"}}}),
        );
        // It has to be among what the watch selects.
        let tier = match selector {
            "run=$run,tier=a" | "run=$run,tier in (a,b)" | "run=$run,tier" => Some("a"),
            "run=$run,!tier" => None,
            _ => Some("z"),
        };
        if let Some(tier) = tier {
            mark["metadata"]["labels"]["tier"] = json!(tier);
        }
        let query = [("labelSelector".to_owned(), selector.to_owned()), ("resourceVersion".to_owned(), since)];
        self.push(What::Watch(Watch { path: kind.path.into(), query: query.into(), mark }));
    }

    /// An object that belongs to an earlier one, or to one that is gone, or never was.
    fn owned(&mut self, kind: &'static Kind, name: &'static str) {
        if kind.kind == "Release" {
            return self.create(kind, name);
        }
        let mut body = kind.whole(&format!("$run-{name}"), &mut self.chance);
        let seen: Vec<_> = self.seen.iter().filter(|seen| (seen.0, seen.1) != (kind.kind, name)).copied().collect();
        if !seen.is_empty() {
            let (of, _, step) = *self.chance.pick(&seen);
            let api_version = KINDS.into_iter().find(|kind| kind.kind == of).map_or("v1", |kind| kind.api_version);
            let mut reference =
                json!({"apiVersion": api_version, "kind": of, "name": format!("$name({step})"), "uid": format!("$uid({step})")});
            if self.chance.percent(40) {
                reference["blockOwnerDeletion"] = json!(true);
            }
            if self.chance.percent(40) {
                reference["controller"] = json!(true);
            }
            body["metadata"]["ownerReferences"] = json!([reference]);
        }
        let id = if self.chance.percent(70) {
            self.ask("POST", kind.path.into(), JSON, &[], Some(body))
        } else {
            self.ask("PATCH", place(kind, name, None), APPLY, &[("force", "true".to_owned())], Some(body))
        };
        self.seen.push((kind.kind, name, id));
    }

    fn settle(&mut self) {
        let mut paths: Vec<String> = self.kinds.iter().map(|kind| kind.path.to_owned()).collect();
        paths.sort();
        paths.dedup();
        self.push(What::Settle(Settle { paths }));
    }
}

fn place(kind: &Kind, name: &str, subresource: Option<&str>) -> String {
    let path = format!("{}/$run-{name}", kind.path);
    subresource.map_or(path.clone(), |subresource| format!("{path}/{subresource}"))
}

#[test]
fn a_seed_gives_the_same_sequence_again() {
    assert_eq!(sequence(7).line(), sequence(7).line());
    assert_ne!(sequence(7).line(), sequence(8).line());
}
