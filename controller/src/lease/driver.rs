//! Brings the election to the API server: one watch of one object, one request at a time, and the news to everybody else.
//!
//! In: the Lease as the watch shows it, replies. Out: requests on this one Lease, and turns of leadership. What to do is decided by
//! [`Election`]; here is only when it is asked and how it is said. Never here: a wish of its own.

use std::{future::Future, pin::pin, sync::Arc, time::Duration};

use futures::{
    FutureExt as _, Stream, StreamExt as _,
    future::BoxFuture,
    stream::{BoxStream, FuturesUnordered},
};
use k8s_openapi::{api::coordination::v1::Lease, jiff::Timestamp};
use kube::{
    Api, Client, Error,
    api::{Patch, PatchParams, PostParams},
    runtime::watcher::{self, Event, watcher},
};
use serde_json::{Value, json};
use tokio::{
    sync::oneshot,
    time::{Instant, sleep_until},
};

use super::{
    Leadership, Settings,
    election::{Election, Moment, Next, Record, Reply, Request, Sent, Version},
};
use crate::{
    clock::Clock,
    metrics::Metrics,
    queue::backoff::{Random, watch_pause},
    watch::works,
};

/// A lease may claim to last for longer than a clock can count.
const FAR: Duration = Duration::from_secs(u32::MAX as u64);

/// Seen from the rest of the process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum News {
    /// Called before anybody begins to work.
    Gained,
    /// Called when nothing is written any more.
    Lost,
}

pub(super) struct Driver<F> {
    pub(super) client: Client,
    pub(super) settings: Settings,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) metrics: Metrics,
    pub(super) leadership: Leadership,
    pub(super) seed: u64,
    pub(super) tell: F,
}

impl<F: Fn(News) + Send + Sync> Driver<F> {
    /// Until it is told to resign (true: and to hand over) and has done so. Contends only from the moment `warm` is ready: a replica
    /// that knows nothing yet would be a leader that does nothing.
    pub(super) async fn run(self, warm: impl Future<Output = ()> + Send, mut resign: oneshot::Receiver<bool>) {
        let origin = Instant::now();
        let at = |instant: Instant| Moment(instant.duration_since(origin));
        let api: Api<Lease> = Api::namespaced(self.client.clone(), &self.settings.namespace);
        let mut sights = sights(api.clone(), &self.settings.name, self.seed, self.metrics.clone());
        let mut election = Election::new(self.settings.identity.clone(), self.settings.times);
        let mut replies: FuturesUnordered<BoxFuture<'_, (Sent, Reply)>> = FuturesUnordered::new();
        let mut warm = pin!(warm);
        let (mut is_warm, mut resigned) = (false, false);
        loop {
            let now = at(Instant::now());
            // The end of leadership is told to everybody when it comes; one that is past has been told.
            let mut wake = election.leads_until().filter(|until| now < *until);
            if is_warm || resigned {
                match election.next(now) {
                    Next::Send(sent) => {
                        replies.push(self.ask(&api, sent).boxed());
                        continue;
                    }
                    Next::Wait(until) => wake = [wake, until].into_iter().flatten().min(),
                    Next::Done => break,
                }
            }
            tokio::select! {
                biased;
                how = &mut resign, if !resigned => {
                    resigned = true;
                    election.resign();
                    // In memory first: from here on nothing is written, whatever becomes of the Lease.
                    self.turn(&election, origin);
                    if how != Ok(true) {
                        break;
                    }
                }
                Some((sent, reply)) = replies.next(), if !replies.is_empty() => {
                    self.note(&election, &sent, &reply);
                    election.replied(&sent, reply, at(Instant::now()));
                }
                Some(sight) = sights.next() => match sight {
                    Seen::Lease(record) => election.shown(record, at(Instant::now())),
                    Seen::Nothing(version) => election.gone(version.as_ref(), at(Instant::now())),
                },
                () = &mut warm, if !is_warm => is_warm = true,
                () = sleep_until(origin + wake.map_or(Duration::ZERO, |wake| wake.0.min(FAR))), if wake.is_some() => {}
            }
            self.turn(&election, origin);
        }
    }

    /// Tells everybody what has changed, in the order in which it is safe.
    fn turn(&self, election: &Election, origin: Instant) {
        let turn = self.leadership.set(election.leads_until().map(|until| origin + until.0));
        if turn.lost {
            self.leadership.tell(None);
            self.metrics.leads(false);
            tracing::info!(holder = election.holder(), "no longer the leader: nothing is written until it is again");
            (self.tell)(News::Lost);
        }
        if turn.gained.is_some() {
            (self.tell)(News::Gained);
            self.metrics.leads(true);
            tracing::info!(identity = self.settings.identity, "leads");
            self.leadership.tell(turn.gained);
        }
    }

    async fn ask(&self, api: &Api<Lease>, sent: Sent) -> (Sent, Reply) {
        let name = &self.settings.name;
        let answer = match &sent.request {
            Request::Read => api.get(name).await,
            Request::Create => match serde_json::from_value(self.body(&sent.request)) {
                Ok(lease) => api.create(&PostParams::default(), &lease).await,
                Err(error) => Err(Error::SerdeError(error)),
            },
            // A merge leaves alone what others put beside it (a label of a GitOps tool), and with uid and resourceVersion in it the
            // server refuses it like a replace when the object is not that one any more.
            Request::Take { .. } | Request::Renew { .. } | Request::Release { .. } => {
                api.patch(name, &PatchParams::default(), &Patch::Merge(&self.body(&sent.request))).await
            }
        };
        (sent, reply(answer))
    }

    /// What is written: the times in it are for people and other tools, and never read back as times.
    fn body(&self, request: &Request) -> Value {
        let Settings { namespace, name, identity, times } = &self.settings;
        let now = format!("{:.6}", self.clock.now());
        let claim = |transitions: i32| {
            // In whole seconds, rounded up: the others may wait longer, never shorter.
            let secs = times.duration.as_secs() + u64::from(times.duration.subsec_nanos() > 0);
            json!({"holderIdentity": identity, "leaseDurationSeconds": secs, "leaseTransitions": transitions, "acquireTime": now, "renewTime": now})
        };
        let known = |uid: &str, version: &Version, spec: Value| json!({"metadata": {"uid": uid, "resourceVersion": version.0}, "spec": spec});
        match request {
            Request::Read => Value::Null,
            Request::Create => json!({"metadata": {"name": name, "namespace": namespace}, "spec": claim(0)}),
            Request::Take { uid, version, transitions } => known(uid, version, claim(transitions.saturating_add(1))),
            Request::Renew { uid, version } => known(uid, version, json!({"renewTime": now})),
            Request::Release { uid, version } => known(uid, version, json!({"holderIdentity": "", "renewTime": now})),
        }
    }

    fn note(&self, election: &Election, sent: &Sent, reply: &Reply) {
        if let (Reply::Shown(_), Request::Create | Request::Take { .. } | Request::Renew { .. }) = (reply, &sent.request) {
            self.metrics.renewed(self.clock.now());
        }
        match reply {
            Reply::Failed(_) => {
                tracing::warn!(lease = self.settings.name, namespace = self.settings.namespace, request = ?sent.request, "no success with the Lease; tried again");
            }
            Reply::Shown(record) if matches!(sent.request, Request::Release { .. }) && record.holder.is_empty() => {
                tracing::info!("the Lease is released");
            }
            _ => tracing::debug!(request = ?sent.request, ?reply, holder = election.holder(), "lease"),
        }
    }
}

/// For the log of the caller: one line for each reason.
fn reply(answer: Result<Lease, Error>) -> Reply {
    match answer {
        Ok(lease) => Reply::Shown(record(lease)),
        Err(Error::Api(status)) => match status.code {
            404 => Reply::Missing,
            409 => Reply::Conflict,
            // How the API server says that the uid is another one.
            422 if status.details.as_ref().is_some_and(|details| details.causes.iter().any(|it| it.field == "metadata.uid")) => {
                Reply::Conflict
            }
            429 => {
                let secs = status.details.as_ref().map_or(0, |details| details.retry_after_seconds);
                Reply::Failed(Some(Duration::from_secs(u64::from(secs))))
            }
            code => {
                tracing::warn!(code, "the API server refuses a request on the Lease: {}", status.message);
                Reply::Failed(None)
            }
        },
        Err(error) => {
            tracing::warn!(error = %error, "a request on the Lease had no answer");
            Reply::Failed(None)
        }
    }
}

fn record(lease: Lease) -> Record {
    let spec = lease.spec.unwrap_or_default();
    let seconds = spec.lease_duration_seconds.and_then(|secs| u64::try_from(secs).ok()).filter(|secs| *secs > 0);
    Record {
        uid: lease.metadata.uid.unwrap_or_default(),
        version: Version(lease.metadata.resource_version.unwrap_or_default()),
        holder: spec.holder_identity.unwrap_or_default(),
        duration: seconds.map(Duration::from_secs),
        renewed: spec.renew_time.map(|time| Timestamp::to_string(&time.0)).unwrap_or_default(),
        transitions: spec.lease_transitions.unwrap_or_default(),
    }
}

#[derive(Debug)]
enum Seen {
    Lease(Record),
    /// With the version of the deletion, if it was seen.
    Nothing(Option<Version>),
}

/// The one Lease, as the watch shows it. A failure waits inside the stream, so that it never holds up a renewal.
fn sights(api: Api<Lease>, name: &str, seed: u64, metrics: Metrics) -> BoxStream<'static, Seen> {
    let config = watcher::Config::default().fields(&format!("metadata.name={name}"));
    events(watcher(api, config).boxed(), seed, metrics).boxed()
}

fn events(
    watch: impl Stream<Item = Result<Event<Lease>, watcher::Error>> + Send + 'static,
    seed: u64,
    metrics: Metrics,
) -> impl Stream<Item = Seen> {
    let start = (Box::pin(watch), Random::new(seed), 0_u32, false);
    futures::stream::unfold(start, move |(mut watch, mut random, mut failures, mut listed)| {
        let metrics = metrics.clone();
        async move {
            loop {
                let sight = match watch.next().await? {
                    Ok(event) => {
                        let works = works(&event);
                        if works {
                            failures = 0;
                        }
                        metrics.watched("Lease", 1, !works, &[]);
                        match event {
                            Event::Init => {
                                listed = false;
                                None
                            }
                            Event::InitApply(lease) => {
                                listed = true;
                                Some(Seen::Lease(record(lease)))
                            }
                            Event::InitDone => (!listed).then_some(Seen::Nothing(None)),
                            Event::Apply(lease) => Some(Seen::Lease(record(lease))),
                            Event::Delete(lease) => Some(Seen::Nothing(Some(record(lease).version))),
                        }
                    }
                    Err(error) => {
                        failures += 1;
                        if failures == 1 || failures % 20 == 0 {
                            tracing::warn!(kind = "Lease", failures, error = %error, "the watch failed; it is tried again");
                        }
                        let pause = watch_pause(failures, &mut random);
                        metrics.watch_failed("Lease", Instant::now() + pause + crate::client::ANSWER_WITHIN);
                        tokio::time::sleep(pause).await;
                        None
                    }
                };
                if let Some(sight) = sight {
                    return Some((sight, (watch, random, failures, listed)));
                }
            }
        }
    })
}
