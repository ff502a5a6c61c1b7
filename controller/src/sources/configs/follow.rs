//! The task of one place: it watches which versions there are, and reads what somebody asks about.

use std::{collections::BTreeMap, sync::Arc};

use futures::StreamExt as _;
use kube::{
    Api,
    runtime::watcher::{self, Event, watcher},
};
use tokio::{sync::Notify, time::Instant};

use super::{
    Place, Shared, content,
    mark::Mark,
    watched::{Failure, Next},
};
use crate::{
    queue::backoff::{Random, pause},
    watch::works,
};

/// Marks in one page of a list. They are small, but for those whose annotations and managed fields somebody has filled up to what an object
/// may have, 1.5 MiB; and a page is in memory as a whole.
const PAGE: u32 = 10;

pub(super) async fn follow(shared: Arc<Shared>, place: Place, unread: Arc<Notify>) {
    tokio::join!(watch(&shared, &place), read(&shared, &place, &unread));
}

async fn watch(shared: &Shared, place: &Place) {
    let api: Api<Mark> = Api::namespaced_with(shared.client.clone(), &place.1, &place.0);
    let mut events = watcher(api, watcher::Config::default().page_size(PAGE)).boxed();
    let mut random = Random::new(shared.seed);
    let mut failures = 0;
    let mut listed = BTreeMap::new();
    let mut room = None;
    while let Some(event) = events.next().await {
        room = match &event {
            // The first page is asked for after this.
            Ok(Event::Init) => shared.room().await,
            Ok(Event::InitApply(_)) => room,
            Ok(Event::InitDone | Event::Apply(_) | Event::Delete(_)) | Err(_) => None,
        };
        match event {
            Ok(event) => {
                if works(&event) {
                    failures = 0;
                }
                take(shared, place, &mut listed, event);
            }
            Err(error) => {
                failures += 1;
                shared.change(place, None, |watched| watched.fail(why(&error)));
                tokio::time::sleep(pause(failures, &mut random)).await;
            }
        }
    }
}

fn take(shared: &Shared, place: &Place, listed: &mut BTreeMap<String, String>, event: Event<Mark>) {
    match event {
        // A list that is not over shows nothing.
        Event::Init => listed.clear(),
        Event::InitApply(mark) => {
            listed.insert(mark.name(), mark.version());
        }
        Event::InitDone => {
            let listed = std::mem::take(listed);
            shared.change(place, None, |watched| watched.show_all(listed));
        }
        Event::Apply(mark) => {
            let name = mark.name();
            shared.change(place, Some(&name), |watched| watched.show(&name, mark.version()));
        }
        Event::Delete(mark) => {
            let name = mark.name();
            shared.change(place, Some(&name), |watched| watched.gone(&name));
        }
    }
}

fn why(error: &watcher::Error) -> Failure {
    match error {
        watcher::Error::InitialListFailed(kube::Error::Api(status)) if status.code == 403 => {
            Failure("Denied", "the controller may not list and watch them")
        }
        _ => Failure("Unreachable", "the API server does not answer"),
    }
}

/// One after the other: a place takes no more room than others.
async fn read(shared: &Shared, place: &Place, unread: &Notify) {
    let mut random = Random::new(shared.seed);
    loop {
        let next = shared.book().places.get(place).map_or(Next::Nothing, |watched| watched.next(Instant::now()));
        match next {
            Next::Read { name, version } => {
                let outcome = {
                    let _room = shared.room().await;
                    content::fetch(&shared.client, place, &name).await
                };
                shared.change(place, Some(&name), |watched| {
                    watched.read(&name, &version, outcome, |times| pause(times, &mut random));
                });
            }
            Next::At(at) => {
                tokio::select! {
                    biased;
                    () = unread.notified() => {}
                    () = tokio::time::sleep_until(at) => {}
                }
            }
            Next::Nothing => unread.notified().await,
        }
    }
}
