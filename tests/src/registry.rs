//! A pipeline's push: an image that nobody can run, with labels, into the bed's registry; and a door before a registry that has none.

use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    task::JoinHandle,
};

const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";

fn digest(text: &str) -> String {
    format!("sha256:{:x}", Sha256::digest(text))
}

/// Pushes `repository:tag` to the registry at `place`. Gives its digest.
pub async fn push(place: &str, repository: &str, tag: &str, labels: &Value) -> String {
    let config = json!({"architecture": "amd64", "os": "linux", "rootfs": {"type": "layers", "diff_ids": []},
                        "config": {"Labels": labels}, "created": "2026-01-05T10:00:00Z"})
    .to_string();
    blob(place, repository, &config).await;
    let manifest = json!({
        "schemaVersion": 2, "mediaType": MANIFEST,
        "config": {"mediaType": "application/vnd.oci.image.config.v1+json", "digest": digest(&config), "size": config.len()},
        "layers": [],
    });
    let path = format!("/v2/{repository}/manifests/{tag}");
    let (code, _) = send(place, "PUT", &path, MANIFEST, &manifest.to_string()).await;
    assert_eq!(code, 201, "push {repository}:{tag}");
    digest(&manifest.to_string())
}

async fn blob(place: &str, repository: &str, text: &str) {
    let (_, head) = send(place, "POST", &format!("/v2/{repository}/blobs/uploads/"), "", "").await;
    let location =
        head.lines().find_map(|line| line.to_ascii_lowercase().starts_with("location:").then(|| line[9..].trim().to_owned()));
    let location = location.expect("a place for the blob");
    let path = location.split_once(place).map_or(location.as_str(), |(_, path)| path);
    let mark = if path.contains('?') { '&' } else { '?' };
    let (code, _) = send(place, "PUT", &format!("{path}{mark}digest={}", digest(text)), "application/octet-stream", text).await;
    assert_eq!(code, 201, "push a blob of {repository}");
}

/// Code and head of the answer.
async fn send(place: &str, method: &str, path: &str, kind: &str, body: &str) -> (u16, String) {
    let request = format!(
        "{method} {path} HTTP/1.1\r\nHost: {place}\r\nContent-Type: {kind}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
        body.len()
    );
    let mut stream = TcpStream::connect(place).await.expect("reach the registry");
    stream.write_all(request.as_bytes()).await.expect("ask the registry");
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.expect("read the registry's answer");
    let text = String::from_utf8_lossy(&answer).into_owned();
    let code = text.split(' ').nth(1).and_then(|code| code.parse().ok()).unwrap_or(0);
    (code, text.split("\r\n\r\n").next().unwrap_or_default().to_owned())
}

/// Asks for a login, as ECR does, before it passes anything on.
#[derive(Debug)]
pub struct Door {
    address: SocketAddr,
    opened: Arc<AtomicU64>,
    task: JoinHandle<()>,
}

impl Door {
    /// Before the registry at `place`; it opens to `Authorization: Basic <pair>`.
    pub async fn before(place: &str, pair: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("listen");
        let address = listener.local_addr().expect("an address");
        let opened = Arc::new(AtomicU64::new(0));
        let (place, wanted, count) = (place.to_owned(), format!("basic {}", pair.to_ascii_lowercase()), opened.clone());
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (place, wanted, count) = (place.clone(), wanted.clone(), count.clone());
                tokio::spawn(async move {
                    // A connection that breaks is somebody who is gone.
                    let _ = pass(stream, &place, &wanted, &count).await;
                });
            }
        });
        Self { address, opened, task }
    }

    pub fn place(&self) -> String {
        self.address.to_string()
    }

    /// Requests that had the right login.
    pub fn opened(&self) -> u64 {
        self.opened.load(Ordering::Relaxed)
    }
}

impl Drop for Door {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Reads have no body: a request ends with its head, and its connection with the answer.
async fn pass(mut stream: TcpStream, place: &str, wanted: &str, opened: &AtomicU64) -> std::io::Result<()> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        if stream.read(&mut byte).await? == 0 {
            return Ok(());
        }
        head.push(byte[0]);
    }
    let text = String::from_utf8_lossy(&head).into_owned();
    let login =
        text.lines().find_map(|line| line.to_ascii_lowercase().strip_prefix("authorization:").map(|it| it.trim().to_owned()));
    if login.as_deref() != Some(wanted) {
        let refusal = "HTTP/1.1 401 Unauthorized\r\nWWW-Authenticate: Basic realm=\"ecr\"\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
        stream.write_all(refusal.as_bytes()).await?;
        return stream.shutdown().await;
    }
    opened.fetch_add(1, Ordering::Relaxed);
    let mut onward = TcpStream::connect(place).await?;
    let head = text.trim_end().to_owned() + "\r\nConnection: close\r\n\r\n";
    onward.write_all(head.as_bytes()).await?;
    tokio::io::copy(&mut onward, &mut stream).await?;
    stream.shutdown().await
}
