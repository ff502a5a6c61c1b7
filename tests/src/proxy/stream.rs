//! Bodies of replies on their way back: cut in the middle, or, for watches, silent for a while.
//!
//! In: a body. Out: a body with the same bytes, as far as it goes. Never here: a byte that was not in it.

use std::time::Duration;

use futures::{StreamExt as _, stream};
use http::Response;
use http_body_util::{BodyExt as _, StreamBody};
use hyper::body::Frame;
use tokio::{sync::watch, time::Instant};

use super::{Reply, Stream, cut};

/// The reply up to the middle of its first piece; then the connection is cut.
pub(super) fn half(reply: Reply) -> Reply {
    let (head, mut body) = reply.into_parts();
    let first = stream::once(async move {
        let bytes = body.frame().await.and_then(Result::ok).and_then(|frame| frame.into_data().ok()).unwrap_or_default();
        Ok(Frame::data(bytes.slice(..bytes.len() / 2)))
    });
    let end = stream::once(async {
        // What was given is sent only when there is nothing more for the moment.
        tokio::task::yield_now().await;
        Err(cut())
    });
    Response::from_parts(head, StreamBody::new(first.chain(end)).boxed_unsync())
}

/// All open watches together.
#[derive(Debug)]
pub(super) struct Watches {
    cuts: watch::Sender<u64>,
    silent_until: watch::Sender<Option<Instant>>,
}

impl Default for Watches {
    fn default() -> Self {
        Self { cuts: watch::Sender::new(0), silent_until: watch::Sender::new(None) }
    }
}

impl Watches {
    pub(super) fn cut(&self) {
        self.cuts.send_modify(|count| *count += 1);
    }

    pub(super) fn silence(&self, pause: Duration) {
        self.silent_until.send_replace(Some(Instant::now() + pause));
    }

    /// What comes through a watch, when it may.
    pub(super) fn follow(&self, body: Stream) -> Stream {
        let (cuts, silence) = (self.cuts.subscribe(), self.silent_until.subscribe());
        let pieces = stream::unfold(Some((body, cuts, silence)), |state| async {
            let (mut body, mut cuts, silence) = state?;
            let piece = tokio::select! {
                piece = body.frame() => piece?,
                _ = cuts.changed() => return Some((Err(cut()), None)),
            };
            wait(&silence).await;
            Some((piece, Some((body, cuts, silence))))
        });
        StreamBody::new(pieces).boxed_unsync()
    }
}

/// Until nothing asks for silence any more.
async fn wait(silence: &watch::Receiver<Option<Instant>>) {
    loop {
        let until = *silence.borrow();
        match until.filter(|until| *until > Instant::now()) {
            Some(until) => tokio::time::sleep_until(until).await,
            None => return,
        }
    }
}
