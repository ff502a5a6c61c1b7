//! One request over one connection of its own: to an address that was chosen before, so long, so much, and no further.
//!
//! In: addresses, a request. Out: the answer with the beginning of its body, or what went wrong and whose fault it is, in words that stay
//! the same while the cause does. Never here: names, URLs, redirects, proxies, a pool, decompression: each comfort of an HTTP client is a
//! way to be led elsewhere than to the address that was checked, so hyper is used below all of them.

use std::{io, net::SocketAddr, sync::Arc, time::Duration};

use bytes::Bytes;
use http::{HeaderMap, Request, StatusCode};
use http_body_util::{BodyExt as _, Full};
use hyper::{body::Incoming, client::conn::http1};
use hyper_util::rt::TokioIo;
use rustls::{ClientConfig, pki_types::ServerName};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
    sync::Semaphore,
    time::{Instant, timeout_at},
};
use tokio_rustls::TlsConnector;
use tokio_util::task::AbortOnDropHandle;

/// Below the 1,024 files that a process may open where nobody has said otherwise.
const CONNECTIONS: usize = 256;
/// A host that does not accept within this time is down or behind a firewall that swallows packets.
const CONNECTED_WITHIN: Duration = Duration::from_secs(5);
/// A name with more addresses is still one place.
const MOST_ADDRESSES: usize = 4;
/// What servers themselves accept of clients, and more than they send.
const MOST_HEADERS: usize = 100;
const LARGEST_HEAD: usize = 32 * 1024;

pub(super) struct Transport {
    places: Semaphore,
}

/// A request and where it goes.
pub(super) struct Call {
    pub(super) addresses: Vec<SocketAddr>,
    pub(super) tls: Option<(ServerName<'static>, Arc<ClientConfig>)>,
    pub(super) request: Request<Full<Bytes>>,
    /// Of the body so much is read.
    pub(super) most: usize,
    pub(super) until: Instant,
}

#[derive(Debug)]
pub(super) struct Reply {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    pub(super) body: Vec<u8>,
    /// There was more of it.
    pub(super) cut: bool,
    /// From the first packet to the last byte that was read.
    pub(super) took: Duration,
}

/// Why there is no answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Trouble {
    /// Nothing came in time; it was given this long.
    Silent(Duration),
    /// Nobody listens there.
    Refused,
    /// What the other side did.
    Theirs(String),
    /// It was not even asked.
    Ours(String),
}

impl Trouble {
    /// One line; `silence` is that for no answer.
    pub(super) fn words(self, silence: &str) -> String {
        match self {
            Self::Silent(_) => silence.to_owned(),
            Self::Refused => "connection refused".to_owned(),
            Self::Theirs(why) | Self::Ours(why) => why,
        }
    }
}

impl Transport {
    pub(super) fn new() -> Self {
        Self { places: Semaphore::new(CONNECTIONS) }
    }

    pub(super) async fn send(&self, call: Call) -> Result<Reply, Trouble> {
        let busy = || Trouble::Ours("too many other requests were on their way".to_owned());
        // Never closed; if it were, going on without a place is better than never.
        let _place = timeout_at(call.until, self.places.acquire()).await.map_err(|_| busy())?;
        let began = Instant::now();
        let until = call.until;
        let answer = timeout_at(until, exchange(call, began)).await;
        answer.unwrap_or_else(|_| Err(Trouble::Silent(until - began)))
    }
}

async fn exchange(call: Call, began: Instant) -> Result<Reply, Trouble> {
    let stream = connect(&call.addresses).await?;
    match call.tls {
        None => talk(stream, call.request, call.most, began).await,
        Some((name, config)) => {
            let stream = TlsConnector::from(config).connect(name, stream).await.map_err(|error| handshake(&error))?;
            talk(stream, call.request, call.most, began).await
        }
    }
}

/// The first address that accepts.
async fn connect(addresses: &[SocketAddr]) -> Result<TcpStream, Trouble> {
    let mut trouble = Trouble::Ours("it has no address".to_owned());
    for address in addresses.iter().take(MOST_ADDRESSES) {
        trouble = match timeout_at(Instant::now() + CONNECTED_WITHIN, TcpStream::connect(address)).await {
            Ok(Ok(stream)) => {
                // A request is one packet that nothing follows.
                let _ = stream.set_nodelay(true);
                return Ok(stream);
            }
            Ok(Err(error)) => unconnected(&error),
            Err(_) => Trouble::Theirs(format!("no connection within {} s", CONNECTED_WITHIN.as_secs())),
        };
    }
    Err(trouble)
}

fn unconnected(error: &io::Error) -> Trouble {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset, HostUnreachable, NetworkUnreachable, TimedOut};
    match error.kind() {
        ConnectionRefused => Trouble::Refused,
        ConnectionReset | ConnectionAborted => Trouble::Theirs("connection reset".to_owned()),
        HostUnreachable | NetworkUnreachable => Trouble::Theirs("there is no way to its address".to_owned()),
        TimedOut => Trouble::Theirs("no connection in time".to_owned()),
        // No file, no port, no memory: nobody has asked it anything.
        kind => Trouble::Ours(format!("no connection can be made: {kind}")),
    }
}

async fn talk<S>(stream: S, request: Request<Full<Bytes>>, most: usize, began: Instant) -> Result<Reply, Trouble>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let mut builder = http1::Builder::new();
    builder.max_headers(MOST_HEADERS).max_header_size(LARGEST_HEAD).max_buf_size(2 * LARGEST_HEAD);
    let (mut sender, connection) = builder.handshake(TokioIo::new(stream)).await.map_err(|error| unanswered(&error))?;
    // It ends with this request, whatever is still to come.
    let _connection = AbortOnDropHandle::new(tokio::spawn(async move {
        let _ = connection.await;
    }));
    let response = sender.send_request(request).await.map_err(|error| unanswered(&error))?;
    let (head, body) = response.into_parts();
    let (body, cut) = read(body, most).await?;
    Ok(Reply { status: head.status, headers: head.headers, body, cut, took: began.elapsed() })
}

/// The beginning of a body, and whether there is more of it.
async fn read(mut body: Incoming, most: usize) -> Result<(Vec<u8>, bool), Trouble> {
    let mut bytes = Vec::new();
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|error| if error.is_parse() { unanswered(&error) } else { broken() })?;
        let Some(data) = frame.data_ref() else { continue };
        let room = most - bytes.len();
        if data.len() > room {
            bytes.extend_from_slice(&data[..room]);
            return Ok((bytes, true));
        }
        bytes.extend_from_slice(data);
    }
    Ok((bytes, false))
}

fn broken() -> Trouble {
    Trouble::Theirs("the connection was closed in the middle of the answer".to_owned())
}

/// A reset and a close are one: which of them is seen first is chance.
fn unanswered(error: &hyper::Error) -> Trouble {
    if error.is_parse_too_large() {
        Trouble::Theirs(format!("its headers are larger than {} KiB, or more than {MOST_HEADERS}", LARGEST_HEAD / 1024))
    } else if error.is_parse() {
        Trouble::Theirs("its answer is not HTTP/1.1".to_owned())
    } else if error.is_user() {
        Trouble::Ours("the request cannot be sent".to_owned())
    } else {
        Trouble::Theirs("the connection was closed without an answer".to_owned())
    }
}

/// rustls' own words can hold the time of day; these do not.
fn handshake(error: &io::Error) -> Trouble {
    use rustls::{CertificateError as Bad, Error};
    let inner = error.get_ref().and_then(|inner| inner.downcast_ref::<Error>());
    let what = match inner {
        Some(Error::InvalidCertificate(bad)) => match bad {
            Bad::UnknownIssuer => "its certificate is from nobody who is known: put `ca.crt` into the Secret",
            Bad::NotValidForName | Bad::NotValidForNameContext { .. } => "its certificate is for another name",
            Bad::Expired | Bad::ExpiredContext { .. } => "its certificate has expired",
            Bad::NotValidYet | Bad::NotValidYetContext { .. } => "its certificate is not valid yet",
            _ => "its certificate cannot be verified",
        },
        Some(Error::AlertReceived(_)) => "it refused the TLS handshake",
        Some(Error::InvalidMessage(_)) => "it does not speak TLS",
        Some(Error::PeerIncompatible(_)) => "it speaks no TLS that can be used",
        Some(_) => "the TLS handshake failed",
        None => "the connection was closed in the TLS handshake",
    };
    Trouble::Theirs(what.to_owned())
}

#[cfg(test)]
mod tests {
    use super::{
        super::scene::{Server, answer, nobody},
        *,
    };

    fn call(addresses: &[u16], until: Instant) -> Call {
        let addresses = addresses.iter().map(|port| SocketAddr::from(([127, 0, 0, 1], *port))).collect();
        let request = Request::builder().uri("/").header("host", "x").body(Full::default()).unwrap();
        Call { addresses, tls: None, request, most: 3, until }
    }

    fn soon() -> Instant {
        Instant::now() + Duration::from_secs(10)
    }

    #[tokio::test]
    async fn the_first_address_that_accepts_is_asked_and_only_it() {
        let (first, second) = (Server::does(answer(200, "1st")).await, Server::does(answer(200, "2nd")).await);
        let gone = nobody().await;
        let reply = Transport::new().send(call(&[gone, first.port, second.port], soon())).await.unwrap();
        assert_eq!((reply.body.as_slice(), reply.cut, second.connections()), (b"1st".as_slice(), false, 0));
        let trouble = Transport::new().send(call(&[gone, gone], soon())).await.unwrap_err();
        assert_eq!(trouble, Trouble::Refused);
        assert!(matches!(Transport::new().send(call(&[], soon())).await, Err(Trouble::Ours(_))));
    }

    #[tokio::test]
    async fn a_body_is_cut_where_it_is_too_long_and_not_before() {
        for (body, expected) in [("", (&b""[..], false)), ("abc", (b"abc", false)), ("abcd", (b"abc", true))] {
            let server = Server::does(answer(200, body)).await;
            let reply = Transport::new().send(call(&[server.port], soon())).await.unwrap();
            assert_eq!((reply.body.as_slice(), reply.cut), expected);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn whoever_finds_no_place_was_not_asked() {
        let transport = Transport { places: Semaphore::new(0) };
        let trouble = transport.send(call(&[1], soon())).await.unwrap_err();
        assert_eq!(trouble, Trouble::Ours("too many other requests were on their way".into()));
    }

    #[test]
    fn what_this_machine_lacks_is_not_the_other_sides_fault() {
        let of = |code: i32| unconnected(&io::Error::from_raw_os_error(code));
        // EMFILE, EADDRNOTAVAIL, ENOMEM
        for code in [24, 99, 12] {
            assert!(matches!(of(code), Trouble::Ours(_)), "{code}");
        }
        // ECONNREFUSED, ECONNRESET, EHOSTUNREACH, ENETUNREACH, ETIMEDOUT
        for code in [111, 104, 113, 101, 110] {
            assert!(matches!(of(code), Trouble::Theirs(_) | Trouble::Refused), "{code}");
        }
    }
}
