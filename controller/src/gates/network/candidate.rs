//! The gate of type `http`: a request to the candidate itself. No answer is a bad answer; not to be able to ask is none.
//!
//! In: a probe. Out: verdicts. Never here: a redirect (it is a status like any other), anybody but the pods and Services of the Release's
//! own namespace, a word of what was sent.

use std::{
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use bascule_core::gate::{HttpAsk, Port, Probe, Target, Verdict, checks};
use bascule_crds::Each;
use bascule_expressions::{Body, Headers, Kind, MAX_BODY, Values};
use bytes::Bytes;
use futures::{FutureExt as _, StreamExt as _, future::BoxFuture, stream};
use http::{HeaderName, HeaderValue, Method, Request};
use http_body_util::Full;
use tokio::time::{Instant, sleep};
use url::Url;

use super::{
    Shared,
    expect::{Condition, Held},
    in_time, line,
    places::Pod,
    transport::{Call, Reply, Trouble},
    trust::Trust,
    words,
};
use crate::{
    gates::{Session, hub::silence},
    queue::Key,
};

/// An answer that is larger than this is a download; the rest of it is not read. The one byte more shows that there is a rest.
const MOST_OF_A_BODY: usize = MAX_BODY + 1;
/// Pods that are asked at the same time in one sample.
const AT_ONCE: usize = 16;
/// Of more pods than that the next ones follow in the next sample.
const MOST_PODS: usize = 200;
/// A Service that refuses is asked again so often, as long as there is time.
const AGAIN_AFTER: Duration = Duration::from_millis(250);

/// One such gate on its way.
pub(super) struct Questions {
    shared: Arc<Shared>,
    namespace: String,
    ask: HttpAsk,
    expect: Condition,
    within: Duration,
    silence: String,
    /// Whom to ask in this sample.
    whom: Vec<Whom>,
    /// The pod that was asked last.
    last: String,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Whom {
    /// None for a Service: the gate has named it.
    pod: Option<String>,
    address: SocketAddr,
    /// Host and port, as a URL has them.
    host: String,
}

/// What one of them said.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Said {
    Good,
    Bad(String),
    Unsure(String),
}

impl Questions {
    pub(super) fn new(shared: Arc<Shared>, key: &Key, probe: &Probe, ask: &HttpAsk) -> Self {
        Self {
            shared,
            namespace: key.namespace.clone(),
            ask: ask.clone(),
            expect: Condition::new(&ask.expect, Kind::Http),
            within: probe.within.unsigned_abs(),
            silence: silence(probe),
            whom: Vec::new(),
            last: String::new(),
        }
    }

    async fn find(&mut self) -> Result<(), String> {
        self.expect.usable()?;
        match &self.ask.to {
            Target::Service { name, port } => {
                let address = self.shared.service(&self.namespace, name, *port).await?;
                let host = format!("{name}.{}.svc:{port}", self.namespace);
                self.whom = vec![Whom { pod: None, address, host }];
            }
            Target::Pods { labels, port, each } => {
                let pods = self.shared.places.pods(&self.namespace, labels).await?;
                let most = match each {
                    Each::Any => 1,
                    Each::Pod => MOST_PODS,
                };
                let mut turn = turn(pods, &self.last, most);
                let Some(last) = turn.last() else { return Err("no pod is ready to be asked".to_owned()) };
                self.last.clone_from(&last.name);
                // The first that fails is named, and it shall be the same one in each sample.
                turn.sort_unstable_by(|a, b| a.name.cmp(&b.name));
                self.whom = turn.into_iter().map(|pod| at(pod, port)).collect::<Result<_, _>>()?;
            }
        }
        Ok(())
    }

    async fn all(&self, until: Instant) -> Verdict {
        let until = in_time(until, self.within);
        let said = stream::iter(0..self.whom.len())
            .map(|index| async move { (index, self.one(&self.whom[index], until).await) })
            .buffer_unordered(AT_ONCE);
        // Unordered: one that hangs must not hold up those behind it.
        let mut said: Vec<_> = said.collect().await;
        said.sort_unstable_by_key(|(index, _)| *index);
        let said: Vec<_> = self.whom.iter().zip(said).map(|(whom, (_, said))| (whom.pod.as_deref(), said)).collect();
        verdict(&said)
    }

    async fn one(&self, whom: &Whom, until: Instant) -> Said {
        let trouble = loop {
            let call = match self.call(whom, until) {
                Ok(call) => call,
                Err(why) => return Said::Unsure(why),
            };
            match self.shared.transport.send(call).await {
                Ok(reply) => return self.judge(&reply).await,
                // What the API server shows of a Service comes to the nodes a moment later: until then they refuse for it.
                Err(Trouble::Refused) if whom.pod.is_none() && Instant::now() + AGAIN_AFTER < until => sleep(AGAIN_AFTER).await,
                Err(trouble) => break trouble,
            }
        };
        match trouble {
            Trouble::Ours(why) => Said::Unsure(why),
            // Behind many others it has had hardly any time: nothing is known of it.
            Trouble::Silent(given) if given < self.within / 2 && whom.pod.is_some() => {
                Said::Unsure("its turn came too late".to_owned())
            }
            trouble => Said::Bad(trouble.words(&self.silence)),
        }
    }

    fn call(&self, whom: &Whom, until: Instant) -> Result<Call, String> {
        let HttpAsk { path, tls, .. } = &self.ask;
        let scheme = if *tls { "https" } else { "http" };
        let url = Some(path).filter(|path| path.starts_with('/'));
        let url = url.and_then(|path| Url::parse(&format!("{scheme}://{}{path}", whom.host)).ok());
        let url = url.ok_or_else(|| "the path of the gate is none".to_owned())?;
        let tls = match tls {
            true => Some((line::server_name(&url)?, self.shared.tls.config(Trust::Anybody)?)),
            false => None,
        };
        let request = self.request(&url)?;
        Ok(Call { addresses: vec![whom.address], tls, request, most: MOST_OF_A_BODY, until })
    }

    fn request(&self, url: &Url) -> Result<Request<Full<Bytes>>, String> {
        let method =
            Method::from_bytes(self.ask.method.as_str().as_bytes()).map_err(|_| "the method of the gate is none".to_owned())?;
        let body = Full::from(self.ask.body.clone().unwrap_or_default());
        let request = line::request(method, url).body(body);
        let mut request = request.map_err(|_| "a request with this path cannot be made".to_owned())?;
        for (name, value) in &self.ask.headers {
            let (name, value) = checks::header(name, value)?;
            request.headers_mut().insert(name, value);
        }
        Ok(request)
    }

    async fn judge(&self, reply: &Reply) -> Said {
        let held = self.expect.holds(values(reply)).await;
        let expect = self.expect.shown();
        match held {
            Held::Yes => Said::Good,
            Held::No => Said::Bad(format!("expect {expect} is false: {}", seen(reply))),
            Held::Nothing(why) => Said::Bad(format!("expect {expect} has no answer: {why}: {}", seen(reply))),
            Held::Mistake => {
                Said::Unsure("the controller made a mistake while it judged the answer; its log says more".to_owned())
            }
        }
    }
}

fn values(reply: &Reply) -> Values {
    let header = |(name, value): (&HeaderName, &HeaderValue)| {
        (name.as_str().to_owned(), String::from_utf8_lossy(value.as_bytes()).into_owned())
    };
    let headers: Headers = reply.headers.iter().map(header).collect();
    Values::http(reply.status.as_u16(), headers, Body::new(&reply.body), reply.took)
}

/// For whoever wonders why it was no good answer.
fn seen(reply: &Reply) -> String {
    let status = reply.status.as_u16();
    match reply.body.len() {
        0 => format!("status {status}, no body"),
        1..=MAX_BODY => format!("status {status}, {} bytes, {}", reply.body.len(), words::preview(&reply.body)),
        _ => format!("status {status}, more than {MAX_BODY} bytes, {}", words::preview(&reply.body)),
    }
}

/// So many of them, going on after the one that was last. They come sorted by name.
fn turn(mut pods: Vec<Pod>, last: &str, most: usize) -> Vec<Pod> {
    if pods.len() > most {
        let next = pods.iter().position(|pod| pod.name.as_str() > last).unwrap_or(0);
        pods.rotate_left(next);
        pods.truncate(most);
    }
    pods
}

fn at(pod: Pod, port: &Port) -> Result<Whom, String> {
    let port = match port {
        Port::Number(number) => *number,
        Port::Name(name) => match pod.ports.get(name) {
            Some(number) => *number,
            None => return Err(format!("no container of pod {} has a port with the name {}", pod.name, words::expression(name))),
        },
    };
    let host = match pod.ip {
        IpAddr::V4(ip) => format!("{ip}:{port}"),
        IpAddr::V6(ip) => format!("[{ip}]:{port}"),
    };
    Ok(Whom { pod: Some(pod.name), address: SocketAddr::new(pod.ip, port), host })
}

/// One bad answer is a bad sample. Without one, one that is missing is a missing one.
fn verdict(said: &[(Option<&str>, Said)]) -> Verdict {
    let about = |pod: Option<&str>, why: &str, count: usize| match pod {
        None => why.to_owned(),
        Some(pod) if said.len() == 1 => format!("pod {pod}: {why}"),
        Some(pod) => format!("pod {pod}: {why} ({count} of {} pods)", said.len()),
    };
    let bad: Vec<_> =
        said.iter().filter_map(|(pod, said)| if let Said::Bad(why) = said { Some((*pod, why)) } else { None }).collect();
    if let Some((pod, why)) = bad.first() {
        return Verdict::Fail(about(*pod, why, bad.len()));
    }
    let unsure: Vec<_> =
        said.iter().filter_map(|(pod, said)| if let Said::Unsure(why) = said { Some((*pod, why)) } else { None }).collect();
    match unsure.first() {
        Some((pod, why)) => Verdict::Unknown(about(*pod, why, unsure.len())),
        None if said.is_empty() => Verdict::Unknown("nobody was asked".to_owned()),
        None => Verdict::Pass,
    }
}

impl Session for Questions {
    fn prepare(&mut self) -> BoxFuture<'_, Result<(), String>> {
        self.find().boxed()
    }

    fn sample(&mut self, until: Instant) -> BoxFuture<'_, Verdict> {
        self.all(until).boxed()
    }
}

#[cfg(test)]
mod tests;
