//! Somebody else decides: a signed question, and a verdict that may take its time.

use std::sync::{Arc, Mutex};

use bascule_crds::RejectReason;
use bascule_tests::stage;
use k8s_openapi::api::core::v1::Secret;
use kube::api::PostParams;
use serde_json::json;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpListener,
};

use super::{settled, spec};

/// Answers one request after the other with what `reply` says, and keeps what came in.
async fn listen(reply: impl Fn(usize) -> String + Send + 'static) -> (std::net::SocketAddr, Arc<Mutex<Vec<String>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let heard = Arc::new(Mutex::new(Vec::new()));
    let kept = heard.clone();
    tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut text = String::new();
            let mut buffer = [0; 4096];
            loop {
                let read = stream.read(&mut buffer).await.unwrap_or(0);
                text.push_str(&String::from_utf8_lossy(&buffer[..read]));
                let length =
                    text.lines().find_map(|line| line.to_lowercase().strip_prefix("content-length: ")?.parse::<usize>().ok());
                let whole = text.split_once("\r\n\r\n").is_some_and(|(_, body)| body.len() >= length.unwrap_or(0));
                if read == 0 || whole {
                    break;
                }
            }
            let number = {
                let mut heard = kept.lock().unwrap();
                heard.push(text);
                heard.len()
            };
            let body = reply(number);
            let reply = format!(
                "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
                body.len()
            );
            let _ = stream.write_all(format!("{reply}{body}").as_bytes()).await;
        }
    });
    (address, heard)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_verdict_may_come_later_and_the_question_is_signed() {
    let stage = settled("webhook", |stage| spec(stage, "v1", &[])).await;
    let (address, heard) = listen(|number| json!({"verdict": if number < 3 { "pending" } else { "pass" }}).to_string()).await;
    let secret: Secret =
        serde_json::from_value(json!({"metadata": {"name": "approvals"}, "stringData": {"key": "not so secret"}})).unwrap();
    stage.api::<Secret>().create(&PostParams::default(), &secret).await.unwrap();
    let mut v2 = spec(&stage, "v2", &[]);
    let url = format!("http://{address}/approve");
    v2["gates"] =
        json!({"beforeSwitch": [{"name": "approve", "webhook": {"url": url, "secret": "approvals"}, "interval": "1s"}]});

    // Nobody has allowed it.
    let mut refused = v2.clone();
    refused["gates"]["beforeSwitch"][0]["timeout"] = json!("3s");
    stage.release("web", &refused).await;
    let status = stage.is_rejected_in_favour_of("v1").await;
    assert_eq!(status.rejected[0].reason, RejectReason::GateFailed);
    assert!(status.rejected[0].message.contains("allow.endpoints"), "{}", status.rejected[0].message);
    assert!(heard.lock().unwrap().is_empty(), "no connection was made");

    stage.environment_allows(&[&address.to_string()]).await;
    stage.release("web", &v2).await;
    stage.operate("Retry", "it is allowed now").await;
    stage.until("v2 has the traffic", |it| stage::is_active(it, "v2")).await;
    let asked = heard.lock().unwrap().clone();
    assert_eq!(asked.len(), 3);
    let (top, body) = asked[0].split_once("\r\n\r\n").unwrap();
    let top = top.to_lowercase();
    assert!(top.starts_with("post /approve http/1.1"), "{top}");
    assert!(
        top.contains("bascule-signature: v1=") && top.contains("bascule-timestamp: ") && !top.contains("not so secret"),
        "{top}"
    );
    let body: serde_json::Value = serde_json::from_str(body).unwrap();
    assert_eq!(
        (body["release"].as_str(), body["version"].as_str(), body["gate"].as_str()),
        (Some("web"), Some("v2"), Some("approve"))
    );
    stage.end().await;
}
