//! What is known of one place, and who wants to know it. Synchronous, no I/O.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use bascule_core::Answer;
use tokio::{sync::Notify, task::AbortHandle, time::Instant};

use crate::queue::Key;

pub(super) struct Watched {
    task: AbortHandle,
    /// There may be something to read.
    unread: Arc<Notify>,
    /// By name.
    askers: BTreeMap<String, BTreeSet<Key>>,
    /// Everything has been shown once.
    seen: bool,
    /// Why it has not.
    failure: Option<Failure>,
    /// All that there are.
    objects: BTreeMap<String, Object>,
    /// Those of them that somebody asks about, and whose version has not been read.
    to_read: BTreeSet<String>,
}

#[derive(Default)]
struct Object {
    /// As the watch shows it.
    version: String,
    read: Option<Read>,
    failed: Option<Failed>,
}

struct Read {
    version: String,
    /// None: it was not there when it was asked for.
    hash: Option<String>,
}

/// Attempts in a row.
struct Failed {
    why: Failure,
    times: u32,
    again: Instant,
}

/// A reason for a condition, and the end of a sentence.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Failure(pub(crate) &'static str, pub(crate) &'static str);

/// What came of a request for an object. `content` is its version and its hash; None: there is none.
pub(super) type Outcome = Result<Option<Content>, Failure>;

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Content {
    pub(super) version: String,
    pub(super) hash: String,
}

/// What there is to do for somebody who reads.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Next {
    Read {
        name: String,
        version: String,
    },
    /// Not before that time.
    At(Instant),
    Nothing,
}

impl Watched {
    pub(super) fn new(task: AbortHandle, unread: Arc<Notify>) -> Self {
        Self {
            task,
            unread,
            askers: BTreeMap::new(),
            seen: false,
            failure: None,
            objects: BTreeMap::new(),
            to_read: BTreeSet::new(),
        }
    }

    pub(super) fn join(&mut self, name: &str, key: &Key) {
        self.askers.entry(name.to_owned()).or_default().insert(key.clone());
        self.must_read(name);
    }

    /// True: nobody asks about anything here any more.
    pub(super) fn leave(&mut self, name: &str, key: &Key) -> bool {
        if let Some(askers) = self.askers.get_mut(name) {
            askers.remove(key);
            if askers.is_empty() {
                self.askers.remove(name);
                self.to_read.remove(name);
            }
        }
        self.askers.is_empty()
    }

    /// Makes a change, to one name or to all, and says whom that tells something new.
    pub(super) fn news(&mut self, name: Option<&str>, change: impl FnOnce(&mut Self)) -> BTreeSet<Key> {
        let names: Vec<String> = match name {
            Some(name) => self.askers.contains_key(name).then(|| name.to_owned()).into_iter().collect(),
            None => self.askers.keys().cloned().collect(),
        };
        let before: Vec<_> = names.iter().map(|name| self.answer(name)).collect();
        change(self);
        // That it is being read is no news: what comes of it is.
        let is_news = |now: &Answer<_>, before: &Answer<_>| now != before && *now != Answer::Pending;
        let changed = names.iter().zip(before).filter(|(name, before)| is_news(&self.answer(name), before));
        changed.filter_map(|(name, _)| self.askers.get(name)).flatten().cloned().collect()
    }

    /// What was read last is the answer until the next version is read, or cannot be.
    pub(super) fn answer(&self, name: &str) -> Answer<Option<String>> {
        let failed = |why: &Failure| Answer::Failed { reason: why.0, message: why.1.to_owned() };
        if !self.seen {
            return self.failure.as_ref().map_or(Answer::Pending, failed);
        }
        match self.objects.get(name) {
            None => Answer::Known(None),
            Some(Object { failed: Some(Failed { why, .. }), .. }) => failed(why),
            Some(Object { read: Some(read), .. }) => Answer::Known(read.hash.clone()),
            Some(Object { read: None, .. }) => Answer::Pending,
        }
    }

    /// All that there are, with their versions.
    pub(super) fn show_all(&mut self, listed: BTreeMap<String, String>) {
        let mut before = std::mem::take(&mut self.objects);
        for (name, version) in listed {
            self.objects.insert(name.clone(), before.remove(&name).unwrap_or_default());
            self.show(&name, version);
        }
        self.to_read.retain(|name| self.objects.contains_key(name));
        self.seen = true;
        self.failure = None;
    }

    pub(super) fn show(&mut self, name: &str, version: String) {
        let object = self.objects.entry(name.to_owned()).or_default();
        object.version = version;
        if !self.askers.contains_key(name) {
            // Who asks later wants to know what it is then.
            (object.read, object.failed) = (None, None);
        }
        self.must_read(name);
    }

    pub(super) fn gone(&mut self, name: &str) {
        self.objects.remove(name);
        self.to_read.remove(name);
    }

    /// What was seen once stays as it was.
    pub(super) fn fail(&mut self, why: Failure) {
        if !self.seen {
            self.failure = Some(why);
        }
    }

    fn must_read(&mut self, name: &str) {
        let is_asked = self.askers.contains_key(name);
        let is_unread = |object: &Object| object.read.as_ref().is_none_or(|read| read.version != object.version);
        if is_asked && self.objects.get(name).is_some_and(is_unread) {
            self.to_read.insert(name.to_owned());
            self.unread.notify_one();
        } else {
            self.to_read.remove(name);
        }
    }

    /// Those that have failed wait, and hold up nobody.
    pub(super) fn next(&self, now: Instant) -> Next {
        let mut first = None;
        for name in &self.to_read {
            let Some(object) = self.objects.get(name) else { continue };
            match object.failed.as_ref().map(|failed| failed.again) {
                Some(again) if again > now => first = Some(first.map_or(again, |first: Instant| first.min(again))),
                Some(_) | None => return Next::Read { name: name.clone(), version: object.version.clone() },
            }
        }
        first.map_or(Next::Nothing, Next::At)
    }

    /// `version` was what the watch had shown when it was asked for. After a failure it is tried again: `pause` says when, after so many.
    pub(super) fn read(&mut self, name: &str, version: &str, outcome: Outcome, pause: impl FnOnce(u32) -> Duration) {
        let Some(object) = self.objects.get_mut(name) else { return };
        match outcome {
            Ok(content) => {
                let (read, hash) = content.map_or((version.to_owned(), None), |content| (content.version, Some(content.hash)));
                // It may be newer than what the watch has shown so far.
                if object.version == version {
                    object.version.clone_from(&read);
                }
                object.read = Some(Read { version: read, hash });
                object.failed = None;
            }
            Err(why) => {
                let times = object.failed.as_ref().map_or(0, |failed| failed.times).saturating_add(1);
                object.failed = Some(Failed { why, times, again: Instant::now() + pause(times) });
            }
        }
        self.must_read(name);
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        self.task.abort();
    }
}
