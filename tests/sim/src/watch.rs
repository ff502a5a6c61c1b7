//! Watches: each has its own lag, and sees every commit in order or is told to list again.

use std::{sync::Arc, time::Duration};

use futures::stream::{self, BoxStream, StreamExt as _};
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::{
    api::{Change, Reply, Request, Selection, Target, plain},
    chance::Chance,
    process::Life,
    server::Server,
};

/// Once in a while the server says how far it is, also when nothing happens.
const BOOKMARK_EVERY: Duration = Duration::from_secs(60);

struct Watcher {
    server: Arc<Server>,
    life: Arc<Life>,
    target: Target,
    selection: Selection,
    cursor: u64,
    chance: Chance,
    ends: Instant,
    /// Cuts of all watches before this one are not about it.
    cuts: u64,
    over: bool,
}

/// The lines of one watch.
pub fn events(server: Arc<Server>, life: Arc<Life>, request: &Request) -> BoxStream<'static, Vec<u8>> {
    let Some(target) = Target::parse(&request.path) else { return stream::empty().boxed() };
    let number = |name: &str| request.query.get(name).and_then(|value| value.parse::<u64>().ok());
    let seconds = number("timeoutSeconds").unwrap_or(290);
    let cursor = number("resourceVersion").unwrap_or_else(|| server.inside().api.store.version());
    let seed = server.inside().latency.draw();
    let watcher = Watcher {
        selection: Selection::of(&request.query),
        target,
        cursor,
        chance: Chance::new(seed),
        ends: Instant::now() + Duration::from_secs(seconds),
        cuts: life.cuts(),
        life,
        server,
        over: false,
    };
    stream::unfold(watcher, |mut watcher| async move {
        let line = watcher.next().await?;
        Some((line, watcher))
    })
    .boxed()
}

enum Found {
    Line(String, bool),
    Nothing,
}

impl Watcher {
    async fn next(&mut self) -> Option<Vec<u8>> {
        let (server, life) = (self.server.clone(), self.life.clone());
        loop {
            if self.over {
                return None;
            }
            let version = server.version();
            match self.find() {
                Found::Line(line, last) => {
                    self.over = last;
                    self.lag().await;
                    if self.life.is_dead() {
                        return std::future::pending().await;
                    }
                    if self.cut() {
                        return None;
                    }
                    return Some(line.into_bytes());
                }
                Found::Nothing => {}
            }
            tokio::select! {
                biased;
                () = life.until_cut(self.cuts) => return None,
                () = server.until_newer(version) => {}
                () = tokio::time::sleep_until(self.ends) => return None,
                () = tokio::time::sleep(BOOKMARK_EVERY) => {
                    let version = self.server.inside().api.store.version();
                    self.cursor = version;
                    let object = json!({
                        "apiVersion": self.target.kind.api_version(), "kind": self.target.kind.kind,
                        "metadata": {"resourceVersion": version.to_string(), "creationTimestamp": null},
                    });
                    return Some(line("BOOKMARK", &object).into_bytes());
                }
            }
        }
    }

    fn cut(&self) -> bool {
        self.life.cuts() != self.cuts || self.life.is_parted(&self.server)
    }

    /// Events come one after the other, each a little late, and now and then very.
    async fn lag(&mut self) {
        let now = u64::try_from(self.server.elapsed().as_millis()).unwrap_or(0);
        let late = self.server.inside().faults.late(self.target.kind.kind, now);
        let usual = if self.chance.once_in(30) { self.chance.between(5, 120) } else { self.chance.between(0, 6) };
        tokio::time::sleep(Duration::from_millis(late + usual)).await;
        self.life.thaw().await;
    }

    fn find(&mut self) -> Found {
        let inside = self.server.inside();
        if self.cursor < inside.api.store.compacted() {
            let status = plain(410, "Expired", "too old resource version", None);
            return Found::Line(line("ERROR", &status), true);
        }
        let here = |change: &&Change| self.target.namespace.as_ref().is_none_or(|namespace| *namespace == change.namespace);
        let log = inside.api.store.log();
        let from = log.partition_point(|change| change.version <= self.cursor);
        for change in log[from..].iter().filter(|change| change.kind.full == self.target.kind.full).filter(here) {
            self.cursor = change.version;
            if let Some((kind, object)) = shown(change, &self.selection) {
                return Found::Line(line(kind, &object), false);
            }
        }
        if let Some(last) = log.last() {
            self.cursor = self.cursor.max(last.version);
        }
        Found::Nothing
    }
}

/// What a watch with this selection shows of a commit.
pub fn shown(change: &Change, selection: &Selection) -> Option<(&'static str, Value)> {
    let before = change.before.as_ref().is_some_and(|before| selection.takes(before));
    let after = change.after().is_some_and(|after| selection.takes(after));
    let kind = match (before, after) {
        (false, true) => "ADDED",
        (true, true) => "MODIFIED",
        (true, false) => "DELETED",
        (false, false) => return None,
    };
    let mut object = if kind == "DELETED" && !change.deleted {
        // It left the selection: its last state inside, at the version of the commit.
        let mut last = change.before.as_ref().map(|before| (**before).clone()).unwrap_or_default();
        last["metadata"]["resourceVersion"] = json!(change.version.to_string());
        last
    } else {
        (*change.object).clone()
    };
    if let Some(meta) = object["metadata"].as_object_mut() {
        meta.remove("managedFields");
    }
    Some((kind, object))
}

fn line(kind: &str, object: &Value) -> String {
    format!("{}\n", json!({"type": kind, "object": object}))
}

/// A list as it was so long ago: a server that has not caught up.
pub fn older_list(server: &Server, request: &Request, age: u64) -> Reply {
    let at = server.now() - jiff::SignedDuration::from_millis(i64::try_from(age).unwrap_or(0));
    let mut request = request.clone();
    {
        let inside = server.inside();
        let version =
            inside.api.store.log().iter().take_while(|change| change.at <= at).last().map_or(0, |change| change.version);
        let version = version.max(inside.api.store.compacted());
        request.query.insert("continue".into(), format!("{version}|"));
    }
    server.carry_out(&request)
}
