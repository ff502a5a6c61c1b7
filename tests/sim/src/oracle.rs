//! Judges: they see every request and every commit at the server, never what the controller thinks.
//!
//! In: the server's own history, and what faults make the judges allow for: a decision may be as old as its news were late. Out: violations,
//! each with the invariant that it breaks. A room for each concern: `proof` (what was once fully ready), `traffic` (S1, S2, S5),
//! `workloads` (S3, S4), `requests` (S5, S8), `memory` (S6), `proved` (S1, S7), `held` (a person's word), `status` (what it claims, at each write), `rest` (the end: liveness, truth of the status).

mod held;
mod memory;
mod proof;
mod proved;
mod requests;
pub mod rest;
mod status;
mod traffic;
mod workloads;

use std::collections::BTreeMap;

use jiff::SignedDuration;
use serde_json::Value;

use crate::api::{Api, Change, Reply, Request};
use proof::Proofs;

/// News are so late without any fault.
const USUAL: SignedDuration = SignedDuration::from_millis(1_500);
/// A bad version is left within this time, once nothing hinders the controller.
const AT_ONCE: SignedDuration = SignedDuration::from_secs(30);

#[derive(Debug)]
pub struct Oracle {
    pub violations: Vec<String>,
    proofs: Proofs,
    memory: memory::Memory,
    places: status::Places,
    /// The request whose commits are judged now.
    request: Option<Request>,
    /// Two processes write at once, and no election keeps them apart.
    pub two_lead: bool,
    /// How old the knowledge of a decision may be.
    slack: SignedDuration,
    /// Until then something hinders the controller, whatever it does.
    hindered_until: SignedDuration,
    /// Users of this Release are on a bad version, with a good one to return to, since then.
    bad_since: BTreeMap<(String, String), SignedDuration>,
    /// Deployments whose template a late create has overwritten: what it was, and since when it is owed.
    owed: BTreeMap<(String, String), (Value, SignedDuration)>,
    /// Jobs that must not run again.
    hooks: proved::Hooks,
    held: held::Held,
    /// When the spec of a Release asked for no pods of some workload last.
    none_wanted: BTreeMap<(String, String), SignedDuration>,
    /// Commits of a controller, Events and leases not counted.
    pub writes: u64,
    /// Writes of a controller that changed nothing.
    pub idle_writes: u64,
}

impl Default for Oracle {
    fn default() -> Self {
        Self {
            violations: Vec::new(),
            proofs: Proofs::default(),
            memory: memory::Memory::default(),
            places: status::Places::default(),
            request: None,
            two_lead: false,
            slack: USUAL,
            hindered_until: SignedDuration::ZERO,
            bad_since: BTreeMap::new(),
            owed: BTreeMap::new(),
            hooks: proved::Hooks::default(),
            held: held::Held::default(),
            none_wanted: BTreeMap::new(),
            writes: 0,
            idle_writes: 0,
        }
    }
}

/// More of the same tells nothing new.
const MOST: usize = 20;

impl Oracle {
    fn violated(&mut self, invariant: &str, at: SignedDuration, what: &str) {
        if self.violations.len() < MOST {
            self.violations.push(format!("{invariant} at {} ms: {what}", at.as_millis()));
        }
    }

    /// A fault makes news late by this much.
    pub fn allow(&mut self, late: SignedDuration) {
        self.slack += late;
    }

    /// Something hinders the controller until then.
    pub fn hinder_until(&mut self, until: SignedDuration) {
        self.hindered_until = self.hindered_until.max(until);
    }

    /// Something is due in the controller, and nobody there will look.
    pub fn overlooked(&mut self, due: &str, at: SignedDuration) {
        self.violated("lost wake-up", at, due);
    }

    pub fn asked(&mut self, request: &Request, reply: &Reply, api: &Api, at: SignedDuration) {
        self.request = None;
        if ours(&request.user) && request.method != "GET" {
            requests::judge(self, request, reply, api, at);
            self.request = Some(request.clone());
        }
    }

    pub fn committed(&mut self, change: &Change, api: &Api, at: SignedDuration) {
        let by_us = ours(&change.user);
        if by_us && !["events", "coordination.k8s.io/leases"].contains(&change.kind.full) {
            self.writes += 1;
        }
        self.proofs.look(change, api, at);
        if change.kind.full == "bascule.dev/releases" && change.deleted {
            self.proofs.forget(&change.namespace, &change.name, at);
        }
        if change.kind.full == "services" {
            self.places.look(change, at);
        }
        if change.kind.full == "bascule.dev/releases" && by_us {
            status::judge(self, change, api, at);
        }
        if change.kind.full == "bascule.dev/releases" {
            let states = change.before.iter().chain(change.after());
            if states.into_iter().any(|release| workloads::wants_none(release)) {
                self.none_wanted.insert((change.namespace.clone(), change.name.clone()), at);
            }
        }
        match change.kind.full {
            "services" if by_us => traffic::judge(self, change, at),
            "apps/deployments" if by_us => workloads::judge(self, change, api, at),
            "bascule.dev/releases" => memory::judge(self, change, api, at, by_us),
            "bascule.dev/operations" => self.memory.hear(change),
            _ => {}
        }
        proved::judge(self, change, api, at, by_us);
        held::judge(self, change, at, by_us);
        self.watch_debts(change, at);
        self.watch_users(change, api, at);
    }

    /// The run is over: what still holds is judged by its length so far.
    pub fn end(&mut self, at: SignedDuration) {
        for since in self.bad_since.values().copied().collect::<Vec<_>>() {
            self.judge_delay(since, at);
        }
        for ((_, name), (_, since)) in std::mem::take(&mut self.owed) {
            self.judge_debt(&name, since, at);
        }
    }

    /// What a late create has overwritten is put right, or makes way for another revision.
    fn watch_debts(&mut self, change: &Change, at: SignedDuration) {
        if change.kind.full != "apps/deployments" {
            return;
        }
        let key = (change.namespace.clone(), change.name.clone());
        let late = self.made_late();
        let Some((template, since)) = self.owed.get(&key).filter(|_| !late).cloned() else { return };
        let revision = |template: &Value| label(template, "bascule.dev/revision").to_owned();
        let is_paid = change.after().is_none_or(|after| {
            let now = &after["spec"]["template"];
            *now == template || (ours(&change.user) && revision(now) != revision(&template))
        });
        if is_paid {
            self.owed.remove(&key);
            self.judge_debt(&key.1, since, at);
        }
    }

    fn judge_debt(&mut self, name: &str, since: SignedDuration, at: SignedDuration) {
        let from = since.max(self.hindered_until);
        if at > from + USUAL + self.slack {
            let late = (at - from).as_secs();
            self.violated(
                "S3",
                at,
                &format!("Deployment {name} was overwritten by a late create, and not put right for {late} s"),
            );
        }
    }

    /// Made by a request that was to create, which whoever sent it had long given up: server-side apply knows no "only create". It is put
    /// right at once, and the rest of the judges do not let it off.
    fn made_late(&self) -> bool {
        let creates = |request: &Request| request.body.as_ref().is_some_and(|body| text(body, "/metadata/uid").is_empty());
        self.is_late() && self.request.as_ref().is_some_and(creates)
    }

    /// Whoever sent the request had long given it up. What was right then is stopped by nothing now.
    fn is_late(&self) -> bool {
        self.request.as_ref().is_some_and(|request| request.abandoned)
    }

    /// A person asked for no pods, now or a moment ago: then nobody expects an answer.
    fn none_wanted(&self, namespace: &str, release: &str, at: SignedDuration) -> bool {
        let asked = self.none_wanted.get(&(namespace.to_owned(), release.to_owned()));
        asked.is_some_and(|asked| *asked + self.slack + SignedDuration::from_secs(5) >= at)
    }

    /// S2: users do not stay on a bad version while a good one is warm.
    fn watch_users(&mut self, change: &Change, api: &Api, at: SignedDuration) {
        if !["pods", "apps/replicasets", "services", "bascule.dev/releases"].contains(&change.kind.full) {
            return;
        }
        let releases: Vec<_> = api.store.all("bascule.dev/releases").cloned().collect();
        for release in releases {
            let key = (text(&release, "/metadata/namespace").to_owned(), text(&release, "/metadata/name").to_owned());
            if traffic::users_are_on_a_bad_version(self, &release, api) {
                let since = *self.bad_since.entry(key).or_insert(at);
                self.judge_delay(since, at);
            } else if let Some(since) = self.bad_since.remove(&key) {
                self.judge_delay(since, at);
            }
        }
    }

    fn judge_delay(&mut self, since: SignedDuration, at: SignedDuration) {
        let from = since.max(self.hindered_until);
        if at > from + AT_ONCE + self.slack {
            let late = (at - from).as_secs();
            self.violated("S2", at, &format!("users were on a bad version for {late} s while a good one was warm"));
        }
    }
}

/// Another candidate than before, or another attempt.
fn begins(before: &Value, after: &Value) -> bool {
    let (was, is) = (&before["status"]["candidate"], &after["status"]["candidate"]);
    !is.is_null() && (was["revision"] != is["revision"] || was["startedAt"] != is["startedAt"])
}

pub(crate) fn ours(user: &str) -> bool {
    user.starts_with("bascule")
}

fn text<'a>(object: &'a Value, pointer: &str) -> &'a str {
    object.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
}

/// Track and revision that our annotations name.
fn record(service: &Value) -> (&str, &str) {
    (text(service, "/metadata/annotations/bascule.dev~1track"), text(service, "/metadata/annotations/bascule.dev~1revision"))
}

fn label<'a>(object: &'a Value, name: &str) -> &'a str {
    object["metadata"]["labels"].get(name).and_then(Value::as_str).unwrap_or_default()
}
