//! ConfigMaps and Secrets whose content matters to a Release: a watch for each kind and namespace that somebody asks about, and no other.
//!
//! In: names. Out: hashes, and a key in the queue when one has changed. What is in them is hashed as it comes and kept nowhere. Who may
//! not read them is told so.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use bascule_core::{Answer, config::ConfigName};
use bascule_crds::ConfigKind;
use futures::StreamExt as _;
use k8s_openapi::{
    NamespaceResourceScope,
    api::core::v1::{ConfigMap, Secret},
};
use kube::{
    Api, Client, Resource, ResourceExt as _,
    runtime::watcher::{self, Event, watcher},
};
use serde::{Serialize, de::DeserializeOwned};
use sha2::{Digest as _, Sha256};
use tokio::task::AbortHandle;

use crate::queue::{
    Key,
    backoff::{Random, pause},
};

const PAGE: u32 = 200;

/// A kind in a namespace.
type Place = (ConfigKind, String);

pub(crate) struct Configs {
    client: Client,
    changed: Arc<dyn Fn(Key) + Send + Sync>,
    seed: u64,
    book: Arc<Mutex<Book>>,
}

#[derive(Default)]
struct Book {
    wanted: BTreeMap<Key, BTreeSet<ConfigName>>,
    watches: BTreeMap<Place, Watch>,
}

struct Watch {
    task: AbortHandle,
    askers: BTreeSet<Key>,
    /// Everything has been shown once.
    seen: bool,
    failure: Option<(&'static str, String)>,
    hashes: BTreeMap<String, String>,
}

impl Watch {
    const fn new(task: AbortHandle) -> Self {
        Self { task, askers: BTreeSet::new(), seen: false, failure: None, hashes: BTreeMap::new() }
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Configs {
    pub(crate) fn new(client: Client, changed: Arc<dyn Fn(Key) + Send + Sync>, seed: u64) -> Self {
        Self { client, changed, seed, book: Arc::default() }
    }

    /// What is known of these. From now on they are all that `key` wants to know.
    pub(crate) fn ask(&self, key: &Key, names: &[ConfigName]) -> BTreeMap<ConfigName, Answer<Option<String>>> {
        let mut book = lock(&self.book);
        self.want(&mut book, key, names.iter().cloned().collect());
        answers(&book, key, names)
    }

    /// What is known, and asks nothing.
    pub(crate) fn known(&self, key: &Key, names: &[ConfigName]) -> BTreeMap<ConfigName, Answer<Option<String>>> {
        answers(&lock(&self.book), key, names)
    }

    pub(crate) fn forget(&self, key: &Key) {
        self.want(&mut lock(&self.book), key, BTreeSet::new());
    }

    /// A watch for each place that somebody asks about: those that this key no longer asks about are left, and the new ones joined.
    fn want(&self, book: &mut Book, key: &Key, wanted: BTreeSet<ConfigName>) {
        // Asked at each decision, and changed seldom.
        if book.wanted.get(key).map_or(wanted.is_empty(), |known| *known == wanted) {
            return;
        }
        let places = |names: &BTreeSet<ConfigName>| -> BTreeSet<Place> {
            names.iter().map(|name| (name.kind, key.namespace.clone())).collect()
        };
        let after = places(&wanted);
        let before = if wanted.is_empty() { book.wanted.remove(key) } else { book.wanted.insert(key.clone(), wanted) };
        let before = before.as_ref().map(places).unwrap_or_default();
        for place in before.difference(&after) {
            let left = book.watches.get_mut(place).is_some_and(|watch| {
                watch.askers.remove(key);
                watch.askers.is_empty()
            });
            if left {
                book.watches.remove(place);
            }
        }
        for place in after.difference(&before) {
            let watch = book.watches.entry(place.clone()).or_insert_with(|| Watch::new(self.watch(place)));
            watch.askers.insert(key.clone());
        }
    }

    fn watch(&self, place: &Place) -> AbortHandle {
        match place.0 {
            ConfigKind::ConfigMaps => self.spawn::<ConfigMap>(place, config_map),
            ConfigKind::Secrets => self.spawn::<Secret>(place, secret),
        }
    }

    fn spawn<K>(&self, place: &Place, hash: fn(&K) -> String) -> AbortHandle
    where
        K: Resource<Scope = NamespaceResourceScope> + Clone + fmt::Debug + DeserializeOwned + Send + 'static,
        K::DynamicType: Default + Clone,
    {
        let api: Api<K> = Api::namespaced(self.client.clone(), &place.1);
        let (book, changed, place, seed) = (self.book.clone(), self.changed.clone(), place.clone(), self.seed);
        tokio::spawn(follow(api, place, hash, book, changed, seed)).abort_handle()
    }
}

fn answers(book: &Book, key: &Key, names: &[ConfigName]) -> BTreeMap<ConfigName, Answer<Option<String>>> {
    let answer = |name: &ConfigName| match book.watches.get(&(name.kind, key.namespace.clone())) {
        Some(watch) if watch.seen => Answer::Known(watch.hashes.get(&name.name).cloned()),
        Some(Watch { failure: Some((reason, why)), .. }) => {
            Answer::Failed { reason, message: format!("{name} cannot be read: {why}") }
        }
        Some(_) | None => Answer::Pending,
    };
    names.iter().map(|name| (name.clone(), answer(name))).collect()
}

async fn follow<K>(
    api: Api<K>,
    place: Place,
    hash: fn(&K) -> String,
    book: Arc<Mutex<Book>>,
    changed: Arc<dyn Fn(Key) + Send + Sync>,
    seed: u64,
) where
    K: Resource<Scope = NamespaceResourceScope> + Clone + fmt::Debug + DeserializeOwned + Send + 'static,
    K::DynamicType: Default,
{
    let mut events = watcher(api, watcher::Config::default().page_size(PAGE)).boxed();
    let mut random = Random::new(seed);
    let mut failures = 0;
    let mut listed = BTreeMap::new();
    while let Some(event) = events.next().await {
        match event {
            Ok(event) => {
                failures = 0;
                for key in take(&place, hash, &book, &mut listed, event) {
                    changed(key);
                }
            }
            Err(error) => {
                failures += 1;
                for key in fail(&place, &book, &error) {
                    changed(key);
                }
                tokio::time::sleep(pause(failures, &mut random)).await;
            }
        }
    }
}

/// Whom the event concerns.
fn take<K: Resource>(
    place: &Place,
    hash: fn(&K) -> String,
    book: &Mutex<Book>,
    listed: &mut BTreeMap<String, String>,
    event: Event<K>,
) -> Vec<Key> {
    let mut book = lock(book);
    let Some(watch) = book.watches.get_mut(place) else { return Vec::new() };
    let one = |book: &Book, changed: bool, it: &str| if changed { concerned(book, place, |name| name == it) } else { Vec::new() };
    match event {
        // A list that is not over shows nothing.
        Event::Init => {
            listed.clear();
            Vec::new()
        }
        Event::InitApply(object) => {
            listed.insert(object.name_any(), hash(&object));
            Vec::new()
        }
        Event::InitDone => {
            let before = std::mem::replace(&mut watch.hashes, std::mem::take(listed));
            let first = !std::mem::replace(&mut watch.seen, true);
            watch.failure = None;
            let now = &book.watches[place].hashes;
            concerned(&book, place, |name| first || before.get(name) != now.get(name))
        }
        Event::Apply(object) => {
            let (name, hash) = (object.name_any(), hash(&object));
            let changed = watch.hashes.get(&name) != Some(&hash);
            watch.hashes.insert(name.clone(), hash);
            one(&book, changed, &name)
        }
        Event::Delete(object) => {
            let name = object.name_any();
            let changed = watch.hashes.remove(&name).is_some();
            one(&book, changed, &name)
        }
    }
}

/// What was seen once stays as it was; a new word is told.
fn fail(place: &Place, book: &Mutex<Book>, error: &watcher::Error) -> Vec<Key> {
    let mut book = lock(book);
    let Some(watch) = book.watches.get_mut(place).filter(|watch| !watch.seen) else { return Vec::new() };
    let denied = matches!(error, watcher::Error::InitialListFailed(kube::Error::Api(status)) if status.code == 403);
    let failure = if denied {
        ("Denied", "the controller may not list and watch them")
    } else {
        ("Unreachable", "the API server does not answer")
    };
    let failure = Some((failure.0, failure.1.to_owned()));
    if watch.failure == failure {
        return Vec::new();
    }
    watch.failure = failure;
    concerned(&book, place, |_| true)
}

/// Those who ask about something here of which there is news.
fn concerned(book: &Book, place: &Place, is_news: impl Fn(&str) -> bool) -> Vec<Key> {
    let askers = book.watches.get(place).into_iter().flat_map(|watch| &watch.askers);
    let is_meant = |name: &ConfigName| name.kind == place.0 && is_news(&name.name);
    askers.filter(|key| book.wanted.get(*key).is_some_and(|names| names.iter().any(is_meant))).cloned().collect()
}

fn config_map(object: &ConfigMap) -> String {
    digest("", &(&object.data, &object.binary_data))
}

/// With the uid, which only those know who may read the Secret: nobody can try short values against a hash in a status.
fn secret(object: &Secret) -> String {
    digest(object.metadata.uid.as_deref().unwrap_or_default(), &object.data)
}

fn digest(salt: &str, content: &impl Serialize) -> String {
    let text = serde_json::to_string(content).unwrap_or_default();
    let hash = Sha256::new().chain_update(salt).chain_update([0]).chain_update(text).finalize();
    hash.iter().take(8).fold(String::new(), |mut hex, byte| {
        hex.push(char::from_digit(u32::from(byte >> 4), 16).unwrap_or('0'));
        hex.push(char::from_digit(u32::from(byte & 15), 16).unwrap_or('0'));
        hex
    })
}

fn lock(book: &Mutex<Book>) -> MutexGuard<'_, Book> {
    book.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn of(name: &str) -> ConfigName {
        ConfigName { kind: ConfigKind::ConfigMaps, name: name.into() }
    }

    fn map(name: &str, content: &str) -> ConfigMap {
        serde_json::from_value(json!({"metadata": {"name": name}, "data": {"a": content}})).unwrap()
    }

    fn book(names: &[&str]) -> (Arc<Mutex<Book>>, Key, Place) {
        let key = Key { namespace: "shop".into(), name: "web".into() };
        let place = (ConfigKind::ConfigMaps, "shop".to_owned());
        let mut book = Book::default();
        book.wanted.insert(key.clone(), names.iter().map(|name| of(name)).collect());
        let task = tokio::spawn(futures::future::pending::<()>()).abort_handle();
        let mut watch = Watch::new(task);
        watch.askers.insert(key.clone());
        book.watches.insert(place.clone(), watch);
        (Arc::new(Mutex::new(book)), key, place)
    }

    #[tokio::test]
    async fn only_another_content_of_what_somebody_names_is_news() {
        let (book, key, place) = book(&["flags"]);
        let mut listed = BTreeMap::new();
        let mut event = |event| take(&place, config_map, &book, &mut listed, event);
        assert_eq!(event(Event::Init), vec![]);
        event(Event::InitApply(map("flags", "1")));
        assert_eq!(
            answers(&lock(&book), &key, &[of("flags")])[&of("flags")],
            Answer::Pending,
            "a list that is not over shows nothing"
        );
        assert_eq!(event(Event::InitDone), vec![key.clone()]);
        let hash = |book: &Mutex<Book>| answers(&lock(book), &key, &[of("flags")])[&of("flags")].clone();
        let first = hash(&book);
        assert_eq!(event(Event::Apply(map("flags", "1"))), vec![]);
        assert_eq!(event(Event::Apply(map("other", "1"))), vec![]);
        assert_eq!(event(Event::Apply(map("flags", "2"))), vec![key.clone()]);
        assert_ne!(hash(&book), first);
        assert_eq!(event(Event::Delete(map("flags", "2"))), vec![key.clone()]);
        assert_eq!(hash(&book), Answer::Known(None));
    }

    #[tokio::test]
    async fn who_may_not_read_is_told_once() {
        let (book, key, place) = book(&["flags"]);
        let status = kube::core::Status { code: 403, ..kube::core::Status::default() };
        let error = watcher::Error::InitialListFailed(kube::Error::Api(Box::new(status)));
        assert_eq!(fail(&place, &book, &error), vec![key.clone()]);
        assert_eq!(fail(&place, &book, &error), vec![]);
        let answer = answers(&lock(&book), &key, &[of("flags")])[&of("flags")].clone();
        let message = "ConfigMap flags cannot be read: the controller may not list and watch them".to_owned();
        assert_eq!(answer, Answer::Failed { reason: "Denied", message });
    }

    #[test]
    fn the_same_content_of_another_secret_has_another_hash() {
        let secret_of = |uid: &str| -> Secret {
            serde_json::from_value(json!({"metadata": {"name": "s", "uid": uid}, "data": {"password": "MTIzNA=="}})).unwrap()
        };
        assert_ne!(secret(&secret_of("a")), secret(&secret_of("b")));
        assert_eq!(secret(&secret_of("a")), secret(&secret_of("a")));
    }
}
