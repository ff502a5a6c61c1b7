//! ConfigMaps and Secrets whose content matters to a Release: a watch for each kind and namespace that somebody asks about, and no other.
//!
//! In: names. Out: hashes, and a key in the queue when one has changed. A watch shows which versions there are and nothing of what is in
//! them; what somebody names is read when its version is a new one. Few answers are in memory at the same time, for a namespace may be
//! full of large objects. What is in them is hashed as it comes and kept nowhere. Who may not read them is told so.

mod content;
mod follow;
mod mark;
#[cfg(test)]
mod tests;
mod watched;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use bascule_core::{Answer, config::ConfigName};
use bascule_crds::ConfigKind;
use kube::Client;
use tokio::sync::{Notify, Semaphore, SemaphorePermit};

use self::watched::{Failure, Watched};
use crate::queue::Key;

/// Answers of any length that are in memory at the same time, in all namespaces together: an object, or a page of a list.
const AT_ONCE: usize = 3;

/// A kind in a namespace.
type Place = (ConfigKind, String);

pub(crate) struct Configs {
    shared: Arc<Shared>,
}

/// What the tasks of all places share.
struct Shared {
    client: Client,
    changed: Arc<dyn Fn(Key) + Send + Sync>,
    seed: u64,
    /// Room for answers.
    room: Semaphore,
    book: Mutex<Book>,
}

#[derive(Default)]
struct Book {
    wanted: BTreeMap<Key, BTreeSet<ConfigName>>,
    places: BTreeMap<Place, Watched>,
}

impl Configs {
    pub(crate) fn new(client: Client, changed: Arc<dyn Fn(Key) + Send + Sync>, seed: u64) -> Self {
        Self { shared: Arc::new(Shared { client, changed, seed, room: Semaphore::new(AT_ONCE), book: Mutex::default() }) }
    }

    /// What is known of these. From now on they are all that `key` wants to know.
    pub(crate) fn ask(&self, key: &Key, names: &[ConfigName]) -> BTreeMap<ConfigName, Answer<Option<String>>> {
        let mut book = self.shared.book();
        self.want(&mut book, key, names.iter().cloned().collect());
        book.answers(key, names)
    }

    /// What is known, and asks nothing.
    pub(crate) fn known(&self, key: &Key, names: &[ConfigName]) -> BTreeMap<ConfigName, Answer<Option<String>>> {
        self.shared.book().answers(key, names)
    }

    /// Asks once which keys one of them has. None: it does not exist.
    pub(crate) async fn keys(&self, namespace: &str, name: &ConfigName) -> Result<Option<BTreeSet<String>>, Failure> {
        let _room = self.shared.room().await;
        content::keys(&self.shared.client, &(name.kind, namespace.to_owned()), &name.name).await
    }

    pub(crate) fn forget(&self, key: &Key) {
        self.want(&mut self.shared.book(), key, BTreeSet::new());
    }

    /// A watch for each place that somebody asks about.
    fn want(&self, book: &mut Book, key: &Key, wanted: BTreeSet<ConfigName>) {
        // Asked at each decision, and changed seldom.
        if book.wanted.get(key).map_or(wanted.is_empty(), |known| *known == wanted) {
            return;
        }
        let before = book.wanted.remove(key).unwrap_or_default();
        // Before those that are left: who only asks about another name keeps the watch.
        for name in wanted.difference(&before) {
            let place = (name.kind, key.namespace.clone());
            let watched = book.places.entry(place).or_insert_with_key(|place| self.watch(place));
            watched.join(&name.name, key);
        }
        for name in before.difference(&wanted) {
            let place = (name.kind, key.namespace.clone());
            if book.places.get_mut(&place).is_some_and(|watched| watched.leave(&name.name, key)) {
                book.places.remove(&place);
            }
        }
        if !wanted.is_empty() {
            book.wanted.insert(key.clone(), wanted);
        }
    }

    fn watch(&self, place: &Place) -> Watched {
        let unread = Arc::new(Notify::new());
        let task = tokio::spawn(follow::follow(self.shared.clone(), place.clone(), unread.clone()));
        Watched::new(task.abort_handle(), unread)
    }
}

impl Drop for Configs {
    /// The tasks keep what they share.
    fn drop(&mut self) {
        self.shared.book().places.clear();
    }
}

impl Shared {
    /// Never held over an await.
    fn book(&self) -> MutexGuard<'_, Book> {
        self.book.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// None: never, and going on without room is better than not going on.
    async fn room(&self) -> Option<SemaphorePermit<'_>> {
        self.room.acquire().await.ok()
    }

    /// Changes what is known of a place, or of one name there, and tells those for whom that is news.
    fn change(&self, place: &Place, name: Option<&str>, change: impl FnOnce(&mut Watched)) {
        let keys = self.book().places.get_mut(place).map(|watched| watched.news(name, change)).unwrap_or_default();
        for key in keys {
            (self.changed)(key);
        }
    }
}

impl Book {
    fn answers(&self, key: &Key, names: &[ConfigName]) -> BTreeMap<ConfigName, Answer<Option<String>>> {
        let answer =
            |name: &ConfigName| match self.places.get(&(name.kind, key.namespace.clone())).map(|it| it.answer(&name.name)) {
                Some(Answer::Failed { reason, message }) => {
                    Answer::Failed { reason, message: format!("{name} cannot be read: {message}") }
                }
                Some(answer) => answer,
                None => Answer::Pending,
            };
        names.iter().map(|name| (name.clone(), answer(name))).collect()
    }
}
