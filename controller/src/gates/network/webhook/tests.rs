//! Calls of a webhook that answers at once, later, or not at all; and a signature that is checked by hand.

use bascule_core::gate::Ask;
use bascule_crds::SecretReference;
use serde_json::json;

use super::{
    super::scene::{
        AUTHORITY, Asked, Does, Heard, NOW, Scene, Server, answer, door, fail, json, key as release, probe, sample, unknown,
        within,
    },
    *,
};

fn ask(server: &Server) -> WebhookAsk {
    WebhookAsk {
        url: server.url("/gate?team=shop"),
        secret: None,
        body: json!({"release": "web", "revision": "abc"}),
        door: door(&[&server.pattern()]),
    }
}

fn signed(server: &Server) -> WebhookAsk {
    WebhookAsk { secret: Some(SecretReference { namespace: "shop".into(), name: "hook".into() }), ..ask(server) }
}

fn asks(ask: WebhookAsk) -> Probe {
    probe(Ask::Webhook(ask))
}

fn verdict(verdict: &str) -> Does {
    json(&json!({ "verdict": verdict }))
}

async fn said(does: Does) -> Verdict {
    let server = Server::does(does).await;
    sample(&Scene::default().network(), &asks(ask(&server))).await
}

/// RFC 2104, written out.
fn hmac_by_hand(key: &[u8], message: &[u8]) -> String {
    let mut block = [0_u8; 64];
    if key.len() > 64 {
        block[..32].copy_from_slice(&Sha256::digest(key));
    } else {
        block[..key.len()].copy_from_slice(key);
    }
    let pad = |with: u8| block.map(|byte| byte ^ with);
    let inner = Sha256::digest([pad(0x36).as_slice(), message].concat());
    format!("{:x}", Sha256::digest([pad(0x5c).as_slice(), inner.as_slice()].concat()))
}

/// Whether it comes from who has the key, as a receiver finds out.
fn is_genuine(heard: &Heard, key: &[u8]) -> bool {
    let at = heard.header("bascule-timestamp").unwrap();
    let expected = hmac_by_hand(key, format!("{at}.{}", heard.body).as_bytes());
    heard.header("bascule-signature") == Some(&format!("v1={expected}"))
}

#[test]
fn the_check_by_hand_is_right_itself() {
    // RFC 4231, test cases 2 and 6.
    let expected = "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843";
    assert_eq!(hmac_by_hand(b"Jefe", b"what do ya want for nothing?"), expected);
    let expected = "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54";
    assert_eq!(hmac_by_hand(&[0xaa; 131], b"Test Using Larger Than Block-Size Key - Hash Key First"), expected);
}

#[tokio::test]
async fn the_question_is_posted_and_signed() {
    let long = "k".repeat(100);
    for key in ["s3cret", "s3cret\n", &long] {
        let (scene, server) = (Scene::default(), Server::does(verdict("pass")).await);
        scene.has_secret("shop", "hook", &[("key", key)]);
        assert_eq!(sample(&scene.network(), &asks(signed(&server))).await, Verdict::Pass);
        let heard = server.heard().remove(0);
        assert_eq!(heard.line(), "POST /gate?team=shop HTTP/1.1");
        assert_eq!(heard.header("content-type"), Some("application/json"));
        assert_eq!(heard.header("bascule-timestamp"), Some(NOW.to_string().as_str()));
        let body: serde_json::Value = serde_json::from_str(&heard.body).unwrap();
        assert_eq!(body, json!({"release": "web", "revision": "abc"}));
        assert!(is_genuine(&heard, key.as_bytes()) && !is_genuine(&heard, b"other"));
        assert!(!heard.head.contains(key.trim()));
    }
}

#[tokio::test]
async fn without_a_secret_nothing_is_signed() {
    let server = Server::does(verdict("pass")).await;
    assert_eq!(sample(&Scene::default().network(), &asks(ask(&server))).await, Verdict::Pass);
    assert_eq!(server.heard()[0].header("bascule-signature"), None);
    assert!(server.heard()[0].header("bascule-timestamp").is_some());
}

#[tokio::test]
async fn a_verdict_is_what_it_says() {
    assert_eq!(said(verdict("pass")).await, Verdict::Pass);
    assert_eq!(said(verdict("fail")).await, fail("the webhook says fail"));
    assert_eq!(said(verdict("pending")).await, unknown("pending"));
    let with = |verdict: &str, message: &str| json(&json!({"verdict": verdict, "message": message, "other": 1}));
    assert_eq!(said(with("fail", "12 tests\nfailed")).await, fail("12 tests failed"));
    assert_eq!(said(with("pending", "3 of 12 tests")).await, unknown("pending: 3 of 12 tests"));
    let Verdict::Fail(why) = said(with("fail", &"x ".repeat(10_000))).await else { panic!() };
    assert_eq!(why.chars().count(), 201);
}

#[tokio::test]
async fn what_is_no_verdict_is_no_answer() {
    assert_eq!(said(verdict("PASS")).await, unknown("the webhook's verdict is \"PASS\", and not pass, fail or pending"));
    assert_eq!(said(answer(200, "")).await, unknown("the webhook's answer has no verdict"));
    assert_eq!(said(answer(200, "ok")).await, unknown("the webhook's answer has no verdict: \"ok\""));
    assert_eq!(said(answer(204, "")).await, unknown("the webhook's answer has no verdict"));
    assert_eq!(
        said(answer(200, "{\"verdict\": true}")).await,
        unknown("the webhook's answer has no verdict: \"{\\\"verdict\\\": true}\"")
    );
    assert_eq!(said(answer(202, "{\"verdict\": \"pass\"}")).await, Verdict::Pass);
    let pass = "{\"verdict\": \"pass\"}";
    assert_eq!(said(answer(500, pass)).await, unknown("the webhook answered 500: \"{\\\"verdict\\\": \\\"pass\\\"}\""));
    assert_eq!(said(answer(404, "")).await, unknown("the webhook answered 404"));
    let large = answer(200, &format!("{pass}{}", " ".repeat(70_000)));
    let Verdict::Unknown(why) = said(large).await else { panic!() };
    assert!(why.starts_with("the webhook's answer has no verdict"), "{why}");
}

#[tokio::test]
async fn silence_and_redirects_are_no_answer() {
    let elsewhere = Server::does(verdict("pass")).await;
    let redirect = Does::Says(format!("HTTP/1.1 308 X\r\nLocation: {}\r\nContent-Length: 0\r\n\r\n", elsewhere.url("/")));
    assert_eq!(said(redirect).await, unknown("the webhook answered 308"));
    assert_eq!(elsewhere.connections(), 0);
    let server = Server::does(Does::SaysAndWaits(String::new())).await;
    let probe = within(asks(ask(&server)), 300);
    assert_eq!(sample(&Scene::default().network(), &probe).await, unknown("the webhook: no answer within 300ms"));
    assert_eq!(said(Does::Says(String::new())).await, unknown("the webhook: the connection was closed without an answer"));
}

#[tokio::test]
async fn a_verdict_that_comes_later_is_fetched_where_the_other_side_says() {
    let scene = Scene::default();
    scene.has_secret("shop", "hook", &[("key", "s3cret")]);
    let pending = json(&json!({"verdict": "pending", "message": "queued", "poll": "/runs/7"}));
    let moved = json(&json!({"verdict": "pending", "poll": "/runs/8"}));
    let server = Server::does_each(vec![pending, verdict("pending"), moved, verdict("fail"), verdict("pass")]).await;
    let network = scene.network();
    let mut asked = Asked::new(&network, &asks(signed(&server)));
    let mut verdicts = Vec::new();
    for _ in 0..5 {
        verdicts.push(asked.sample().await);
    }
    let waits = || unknown("pending");
    assert_eq!(verdicts, [unknown("pending: queued"), waits(), waits(), fail("the webhook says fail"), Verdict::Pass]);
    let heard = server.heard();
    let lines: Vec<_> = heard.iter().map(Heard::line).collect();
    let post = "POST /gate?team=shop HTTP/1.1";
    // With a verdict it is through; who wants another one is asked anew.
    assert_eq!(lines, [post, "GET /runs/7 HTTP/1.1", "GET /runs/7 HTTP/1.1", "GET /runs/8 HTTP/1.1", post]);
    assert!(heard[1].body.is_empty() && heard.iter().all(|heard| is_genuine(heard, b"s3cret")));
    let once: std::collections::BTreeSet<_> = heard.iter().map(|heard| heard.header("idempotency-key").unwrap()).collect();
    assert_eq!(once.len(), 1, "it is one question");
}

#[tokio::test]
async fn without_a_place_to_look_the_same_question_is_asked_again() {
    let server = Server::does_each(vec![verdict("pending"), verdict("pass")]).await;
    let network = Scene::default().network();
    let mut asked = Asked::new(&network, &asks(ask(&server)));
    assert_eq!((asked.sample().await, asked.sample().await), (unknown("pending"), Verdict::Pass));
    let heard = server.heard();
    assert_eq!((heard[0].line(), &heard[0].body), (heard[1].line(), &heard[1].body));
    assert_eq!(heard[0].header("idempotency-key"), heard[1].header("idempotency-key"));
}

#[tokio::test]
async fn a_poll_to_where_no_gate_may_go_is_not_followed() {
    let (scene, inside) = (Scene::default(), Server::does(verdict("pass")).await);
    scene.serves("db", &inside);
    let network = scene.network();
    let to = |url: String| json(&json!({"verdict": "pending", "poll": url}));
    for (url, why) in [
        (inside.url("/"), format!("127.0.0.1:{} is not allowed", inside.port)),
        (format!("http://db.shop.svc:{}/", inside.port), format!("db.shop.svc:{} is not where it was sent from", inside.port)),
        ("http://169.254.169.254/latest/meta-data/".to_owned(), "169.254.169.254:80 is not allowed".to_owned()),
        ("http://user:pw@db/".to_owned(), "the URL has a user name in it".to_owned()),
    ] {
        let server = Server::does(to(url)).await;
        let mut asked = Asked::new(&network, &asks(ask(&server)));
        for _ in 0..2 {
            let Verdict::Unknown(said) = asked.sample().await else { panic!() };
            assert!(said.starts_with(&format!("the webhook's poll is not followed: {why}")), "{said}");
        }
        assert_eq!(server.heard().len(), 2, "and it is asked again");
    }
    assert_eq!(inside.connections(), 0);
}

#[tokio::test]
async fn a_verdict_that_is_gone_is_asked_for_anew() {
    let pending = json(&json!({"verdict": "pending", "poll": "/runs/7"}));
    let server = Server::does_each(vec![pending, answer(404, "no such run"), verdict("pass")]).await;
    let network = Scene::default().network();
    let mut asked = Asked::new(&network, &asks(ask(&server)));
    let verdicts = [asked.sample().await, asked.sample().await, asked.sample().await];
    assert_eq!(verdicts, [unknown("pending"), unknown("the webhook has forgotten about this: it is called anew"), Verdict::Pass]);
    assert!(server.heard()[2].line().starts_with("POST "));
}

#[tokio::test]
async fn a_secret_that_cannot_sign_sends_nothing() {
    let (scene, server) = (Scene::default(), Server::does(verdict("pass")).await);
    scene.has_secret("other", "hook", &[("key", "x")]);
    let network = scene.network();
    let why = "the Secret shop/hook does not exist: create it";
    assert_eq!(sample(&network, &asks(signed(&server))).await, unknown(why));
    scene.has_secret("shop", "hook", &[("kei", "x")]);
    assert_eq!(sample(&scene.network(), &asks(signed(&server))).await, unknown("the Secret has no `key` to sign with"));
    let foreign = SecretReference { namespace: "other".into(), name: "hook".into() };
    let ask = WebhookAsk { secret: Some(foreign), ..ask(&server) };
    let why = "the Secret of a webhook is one of the Release's own namespace";
    assert_eq!(sample(&scene.network(), &asks(ask)).await, unknown(why));
    assert_eq!(server.connections(), 0);
}

#[tokio::test]
async fn a_place_that_is_not_allowed_is_not_called_and_its_path_is_not_told() {
    let (scene, server) = (Scene::default(), Server::does(verdict("pass")).await);
    let url = "https://hooks.example.com/services/T0/B0/s3cret".to_owned();
    let why = "the webhook is not called: hooks.example.com:443 is not allowed: spec.allow.endpoints of the Environment has no pattern for it";
    assert_eq!(sample(&scene.network(), &asks(WebhookAsk { url, ..ask(&server) })).await, unknown(why));
}

#[tokio::test]
async fn the_prometheus_of_the_environment_is_no_webhook() {
    let (scene, server) = (Scene::default(), Server::does(verdict("pass")).await);
    let url = server.url("");
    let door = Door { configured: Some(url.clone()), ..door(&[]) };
    let said = sample(&scene.network(), &asks(WebhookAsk { url, door, ..ask(&server) })).await;
    assert!(matches!(said, Verdict::Unknown(why) if why.contains("is not allowed")));
    assert_eq!(server.connections(), 0);
}

#[tokio::test]
async fn a_private_certificate_is_believed_where_the_secret_has_its_authority() {
    let (scene, server) = (Scene::default(), Server::with_tls(verdict("pass")).await);
    scene.serves("judge", &server);
    scene.has_secret("shop", "hook", &[("key", "k"), ("ca.crt", AUTHORITY)]);
    let url = format!("https://judge.shop.svc:{}/gate", server.port);
    assert_eq!(sample(&scene.network(), &asks(WebhookAsk { url, ..signed(&server) })).await, Verdict::Pass);
}

#[test]
fn no_two_questions_have_the_same_key() {
    let id = |revision: &str, name: &str| {
        let mut id = asks(WebhookAsk { url: String::new(), secret: None, body: json!({}), door: door(&[]) }).id;
        (id.revision, id.name) = (revision.into(), name.into());
        once(&release(), &id)
    };
    assert_eq!(id("abc", "x").len(), 64);
    assert_eq!(id("abc", "x"), id("abc", "x"));
    assert_ne!(id("ab", "cx"), id("abc", "x"));
    assert_ne!(id("abc", "y"), id("abc", "x"));
}
