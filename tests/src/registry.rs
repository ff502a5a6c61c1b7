//! A pipeline's push: an image that nobody can run, with labels, into the bed's registry.

use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
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
