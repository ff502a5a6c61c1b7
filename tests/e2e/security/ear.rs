//! Somebody who listens: what came in is kept, so that a test can say that nothing did.
//!
//! In: HTTP/1.1 on loopback, one request for each connection. Out: answers that a test chooses, or those of somebody behind.

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex},
};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    task::JoinHandle,
};

/// What is made of a request: the whole answer.
type Reply = Box<dyn Fn(&str) -> String + Send + Sync>;

pub(crate) struct Ear {
    address: SocketAddr,
    heard: Arc<Mutex<Vec<String>>>,
    task: JoinHandle<()>,
}

enum Then {
    Answer(Reply),
    PassOn(String),
}

impl Ear {
    /// Answers each request with what `reply` makes of it.
    pub(crate) async fn that(reply: impl Fn(&str) -> String + Send + Sync + 'static) -> Self {
        Self::at("127.0.0.1:0", Then::Answer(Box::new(reply))).await
    }

    /// The same at an address of this machine.
    pub(crate) async fn at_address(address: &str, reply: impl Fn(&str) -> String + Send + Sync + 'static) -> Self {
        Self::at(address, Then::Answer(Box::new(reply))).await
    }

    /// Passes everything on to `place`, and its answers back.
    pub(crate) async fn before(url: &str) -> Self {
        let place = url.trim_start_matches("http://").trim_end_matches('/').to_owned();
        Self::at("127.0.0.1:0", Then::PassOn(place)).await
    }

    async fn at(address: &str, then: Then) -> Self {
        let listener = TcpListener::bind(address).await.expect("listen");
        let address = listener.local_addr().expect("an address");
        let heard = Arc::new(Mutex::new(Vec::new()));
        let (kept, then) = (heard.clone(), Arc::new(then));
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (kept, then) = (kept.clone(), then.clone());
                tokio::spawn(async move {
                    // A connection that breaks is somebody who is gone.
                    let _ = serve(stream, &kept, &then).await;
                });
            }
        });
        Self { address, heard, task }
    }

    pub(crate) fn port(&self) -> u16 {
        self.address.port()
    }

    /// `host:port`
    pub(crate) fn place(&self) -> String {
        self.address.to_string()
    }

    /// Requests, head and body, in the order in which they came. A connection without a request counts as an empty one.
    pub(crate) fn heard(&self) -> Vec<String> {
        self.heard.lock().expect("nobody panics here").clone()
    }
}

impl Drop for Ear {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn serve(mut stream: TcpStream, heard: &Mutex<Vec<String>>, then: &Then) -> std::io::Result<()> {
    let mut bytes = Vec::new();
    let mut buffer = [0; 8192];
    let text = loop {
        let read = stream.read(&mut buffer).await?;
        bytes.extend_from_slice(&buffer[..read]);
        let text = String::from_utf8_lossy(&bytes).into_owned();
        let length = text.lines().find_map(|line| line.to_lowercase().strip_prefix("content-length: ")?.parse::<usize>().ok());
        let whole = text.split_once("\r\n\r\n").is_some_and(|(_, body)| body.len() >= length.unwrap_or(0));
        if read == 0 || whole {
            break text;
        }
    };
    heard.lock().expect("nobody panics here").push(text.clone());
    match then {
        Then::Answer(reply) => {
            stream.write_all(reply(&text).as_bytes()).await?;
        }
        Then::PassOn(place) => {
            let mut onward = TcpStream::connect(place).await?;
            onward.write_all(&bytes).await?;
            tokio::io::copy(&mut onward, &mut stream).await?;
        }
    }
    stream.shutdown().await
}

/// A whole answer.
pub(crate) fn answer(code: u16, headers: &str, body: &str) -> String {
    let length = body.len();
    format!("HTTP/1.1 {code} X\r\n{headers}Content-Length: {length}\r\nConnection: close\r\n\r\n{body}")
}
