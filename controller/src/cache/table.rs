//! Objects of one kind as the API server showed them last, by watch or by the reply to a write of ours.
//!
//! An entry only ever moves to a higher resourceVersion of the same object: a late event never undoes what a reply has shown, and so
//! the cache reads our own writes. Synchronous, no I/O.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use bascule_core::mutant::{self, Mutant};
use tokio::time::Instant;

/// Replies that are waited for with a watch in hand; while one is broken there may be many.
const AWAITED: usize = 1_000;

/// Namespace and name.
pub(crate) type Name = (String, String);

/// Who an object is and how new this sight of it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Seen {
    pub(crate) name: Name,
    pub(crate) uid: String,
    /// Comparable since Kubernetes 1.35; one that is no number counts as newest.
    pub(crate) version: u64,
}

impl Seen {
    pub(crate) fn of(meta: &k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta) -> Self {
        let version = meta.resource_version.as_deref().and_then(|text| text.parse().ok()).unwrap_or(u64::MAX);
        Self {
            name: (meta.namespace.clone().unwrap_or_default(), meta.name.clone().unwrap_or_default()),
            uid: meta.uid.clone().unwrap_or_default(),
            version,
        }
    }
}

#[derive(Clone, Debug)]
struct Entry<T> {
    uid: String,
    version: u64,
    release: String,
    value: T,
}

/// What a change means for others: the releases it is about, and the value before and after.
#[derive(Debug)]
pub(crate) struct Change<T> {
    pub(crate) name: Name,
    pub(crate) release: String,
    /// The release that it was of before, when that was another one.
    pub(crate) left: Option<String>,
    pub(crate) before: Option<T>,
    pub(crate) after: Option<T>,
}

#[derive(Debug)]
pub(crate) struct Table<T> {
    entries: BTreeMap<Name, Entry<T>>,
    /// (namespace, release) to names.
    by_release: BTreeMap<Name, BTreeSet<String>>,
    /// A list that is being received, and what replies have shown since it began.
    relist: Option<Relist<T>>,
    synced: bool,
    /// Versions that replies have shown before the watch did, and since when.
    awaited: BTreeMap<u64, Instant>,
    /// How far the watch has come. What it has passed and does not show does not exist: a late reply must not bring it back.
    passed: u64,
}

#[derive(Debug)]
struct Relist<T> {
    entries: BTreeMap<Name, Entry<T>>,
    shown_since: BTreeSet<Name>,
}

impl<T> Default for Table<T> {
    fn default() -> Self {
        Self {
            entries: BTreeMap::new(),
            by_release: BTreeMap::new(),
            relist: None,
            synced: false,
            awaited: BTreeMap::new(),
            passed: 0,
        }
    }
}

impl<T: Clone> Table<T> {
    pub(crate) fn synced(&self) -> bool {
        self.synced
    }

    pub(crate) fn get(&self, namespace: &str, name: &str) -> Option<&T> {
        self.entries.get(&(namespace.to_owned(), name.to_owned())).map(|entry| &entry.value)
    }

    pub(crate) fn uid(&self, namespace: &str, name: &str) -> Option<&str> {
        self.entries.get(&(namespace.to_owned(), name.to_owned())).map(|entry| entry.uid.as_str())
    }

    /// Everything with that release's label, by name.
    pub(crate) fn of_release<'a>(&'a self, namespace: &'a str, release: &str) -> impl Iterator<Item = (&'a str, &'a T)> {
        let names = self.by_release.get(&(namespace.to_owned(), release.to_owned()));
        names.into_iter().flatten().filter_map(move |name| Some((name.as_str(), self.get(namespace, name)?)))
    }

    pub(crate) fn names(&self) -> impl Iterator<Item = &Name> {
        self.entries.keys()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (&Name, &T)> {
        self.entries.iter().map(|(name, entry)| (name, &entry.value))
    }

    pub(crate) fn in_namespace<'a>(&'a self, namespace: &'a str) -> impl Iterator<Item = (&'a str, &'a T)> {
        let from = (namespace.to_owned(), String::new());
        let of = self.entries.range(from..).take_while(move |((other, _), _)| other == namespace);
        of.map(|((_, name), entry)| (name.as_str(), &entry.value))
    }

    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }

    /// An event of the watch.
    pub(crate) fn event(&mut self, seen: Seen, release: String, value: T) -> Option<Change<T>> {
        self.pass(seen.version);
        self.put(seen.name, Entry { uid: seen.uid, version: seen.version, release, value })
    }

    fn pass(&mut self, version: u64) {
        if version != u64::MAX {
            self.passed = self.passed.max(version);
        }
    }

    /// The reply to a request of ours.
    pub(crate) fn show(&mut self, seen: Seen, release: String, value: T) -> Option<Change<T>> {
        if seen.version <= self.passed && !self.entries.contains_key(&seen.name) {
            return None;
        }
        if seen.version > self.passed && seen.version != u64::MAX && self.awaited.len() < AWAITED {
            self.awaited.entry(seen.version).or_insert_with(Instant::now);
        }
        let entry = Entry { uid: seen.uid, version: seen.version, release, value };
        if let Some(relist) = &mut self.relist {
            relist.shown_since.insert(seen.name.clone());
        }
        self.put(seen.name, entry)
    }

    /// How long the watch was behind the replies that it has come up with since this was asked last.
    pub(crate) fn take_lags(&mut self, now: Instant) -> Vec<Duration> {
        let later = self.awaited.split_off(&self.passed.saturating_add(1));
        std::mem::replace(&mut self.awaited, later).into_values().map(|since| now - since).collect()
    }

    fn put(&mut self, name: Name, entry: Entry<T>) -> Option<Change<T>> {
        if let Some(known) = self.entries.get(&name) {
            let newer = entry.version > known.version || (entry.version == u64::MAX && known.version == u64::MAX);
            if !newer && !mutant::is(Mutant::TrustStaleCache) {
                return None;
            }
        }
        let (release, after) = (entry.release.clone(), entry.value.clone());
        let before = self.remove(&name);
        let left = before.as_ref().map(|entry| entry.release.clone()).filter(|left| *left != release);
        self.by_release.entry((name.0.clone(), release.clone())).or_default().insert(name.1.clone());
        self.entries.insert(name.clone(), entry);
        Some(Change { name, release, left, before: before.map(|entry| entry.value), after: Some(after) })
    }

    /// A delete event. One that is older than what is known is about the past.
    pub(crate) fn gone(&mut self, seen: &Seen) -> Option<Change<T>> {
        if mutant::is(Mutant::IgnoreDeletes) {
            return None;
        }
        self.pass(seen.version);
        if self.entries.get(&seen.name).is_some_and(|known| known.version > seen.version && seen.version != u64::MAX) {
            return None;
        }
        self.drop(&seen.name)
    }

    /// It does not exist: a read or the reply to a delete says so.
    pub(crate) fn drop(&mut self, name: &Name) -> Option<Change<T>> {
        let entry = self.remove(name)?;
        Some(Change { name: name.clone(), release: entry.release, left: None, before: Some(entry.value), after: None })
    }

    /// Whether what is known of it is newer than this version of a list: then the list says nothing about it.
    pub(crate) fn is_newer_than(&self, name: &Name, version: u64) -> bool {
        self.entries.get(name).is_some_and(|known| known.version > version)
    }

    fn remove(&mut self, name: &Name) -> Option<Entry<T>> {
        let entry = self.entries.remove(name)?;
        let key = (name.0.clone(), entry.release.clone());
        if let Some(names) = self.by_release.get_mut(&key) {
            names.remove(&name.1);
            if names.is_empty() {
                self.by_release.remove(&key);
            }
        }
        Some(entry)
    }

    /// A list begins.
    pub(crate) fn begin(&mut self) {
        self.relist = Some(Relist { entries: BTreeMap::new(), shown_since: BTreeSet::new() });
    }

    /// One object of the list.
    pub(crate) fn listed(&mut self, seen: Seen, release: String, value: T) {
        if let Some(relist) = &mut self.relist {
            relist.entries.insert(seen.name, Entry { uid: seen.uid, version: seen.version, release, value });
        }
    }

    /// The list is complete: what it does not have is gone, unless a reply has shown it since and it is newer than the list.
    pub(crate) fn end(&mut self) -> Vec<Change<T>> {
        self.synced = true;
        let Some(relist) = self.relist.take() else { return Vec::new() };
        relist.entries.values().for_each(|entry| self.pass(entry.version));
        let missing = |(name, entry): &(&Name, &Entry<T>)| {
            let shown_later = relist.shown_since.contains(*name) && entry.version > self.passed;
            !shown_later && !relist.entries.contains_key(*name)
        };
        let missing: Vec<Name> = self.entries.iter().filter(missing).map(|(name, _)| name.clone()).collect();
        let mut changes: Vec<_> = missing.iter().filter_map(|name| self.drop(name)).collect();
        changes.extend(relist.entries.into_iter().filter_map(|(name, entry)| self.put(name, entry)));
        changes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(name: &str, version: u64) -> Seen {
        Seen { name: ("shop".into(), name.into()), uid: "u".into(), version }
    }

    fn table(items: &[(&str, u64, i32)]) -> Table<i32> {
        let mut table = Table::default();
        table.begin();
        for (name, version, value) in items {
            table.listed(seen(name, *version), "web".into(), *value);
        }
        table.end();
        table
    }

    #[test]
    fn a_late_event_does_not_undo_a_reply() {
        let mut table = table(&[("a", 5, 1)]);
        assert!(table.show(seen("a", 9), "web".into(), 2).is_some());
        assert!(table.show(seen("a", 7), "web".into(), 1).is_none(), "the echo of something older");
        assert!(table.show(seen("a", 9), "web".into(), 2).is_none(), "the echo of our own write");
        assert_eq!(table.get("shop", "a"), Some(&2));
    }

    #[test]
    fn an_older_delete_is_about_the_past() {
        let mut table = table(&[("a", 5, 1)]);
        table.show(seen("a", 9), "web".into(), 2);
        assert!(table.gone(&seen("a", 8)).is_none());
        assert!(table.gone(&seen("a", 10)).is_some());
    }

    #[test]
    fn a_relist_drops_what_is_gone_and_keeps_what_a_reply_has_shown_since() {
        let mut table = table(&[("a", 5, 1), ("b", 5, 1)]);
        table.begin();
        table.listed(seen("c", 8), "web".into(), 3);
        table.show(seen("new", 9), "web".into(), 4);
        table.show(seen("c", 10), "web".into(), 5);
        let changes = table.end();
        assert_eq!(changes.len(), 2, "a and b are gone; c is known newer");
        assert_eq!(
            table.of_release("shop", "web").map(|(name, value)| (name, *value)).collect::<Vec<_>>(),
            [("c", 5), ("new", 4)]
        );
    }

    #[test]
    fn a_reply_that_comes_after_the_delete_brings_nothing_back() {
        let mut table = table(&[("a", 5, 1)]);
        assert!(table.gone(&seen("a", 9)).is_some());
        assert!(table.show(seen("a", 8), "web".into(), 2).is_none(), "our write, answered late");
        assert!(table.get("shop", "a").is_none());
        assert!(table.show(seen("a", 12), "web".into(), 3).is_some(), "another one, newer than all that the watch has shown");
    }

    #[test]
    fn who_loses_an_object_to_another_release_is_told() {
        let mut table = table(&[("a", 5, 1)]);
        let change = table.event(seen("a", 6), "other".into(), 1).unwrap();
        assert_eq!((change.release.as_str(), change.left.as_deref()), ("other", Some("web")));
    }

    #[tokio::test(start_paused = true)]
    async fn how_far_a_watch_is_behind_our_own_writes_is_measured() {
        let mut table = table(&[("a", 5, 1)]);
        table.show(seen("a", 9), "web".into(), 2);
        tokio::time::advance(Duration::from_millis(30)).await;
        table.event(seen("b", 7), "web".into(), 1);
        assert!(table.take_lags(Instant::now()).is_empty(), "it has not come so far");
        table.event(seen("a", 9), "web".into(), 2);
        assert_eq!(table.take_lags(Instant::now()), [Duration::from_millis(30)]);
        assert!(table.take_lags(Instant::now()).is_empty());
    }

    #[test]
    fn nothing_is_synced_before_the_first_list() {
        let mut table = Table::<i32>::default();
        table.show(seen("a", 1), "web".into(), 1);
        assert!(!table.synced());
    }
}
