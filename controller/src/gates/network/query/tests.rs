//! Questions to a Prometheus that answers as badly as one can.

use std::net::IpAddr;

use bascule_core::gate::{Ask, Door};
use bascule_crds::SecretReference;
use serde_json::json;

use super::{
    super::{
        Network,
        places::Service,
        scene::{AUTHORITY, Asked, Does, Scene, Server, answer, door, fail, json, nobody, probe, sample, unknown, within},
    },
    *,
};

fn ask(server: &Server) -> PrometheusAsk {
    PrometheusAsk {
        address: server.url(""),
        secret: None,
        query: "sum(rate(errors[1m])) / sum(rate(all{code=~\"5..\"}[1m]))".into(),
        expect: "value < 0.01".into(),
        door: Door { configured: Some(server.url("")), ..door(&[]) },
    }
}

fn asks(ask: PrometheusAsk) -> Probe {
    probe(Ask::Prometheus(ask))
}

fn secret(namespace: &str, name: &str) -> SecretReference {
    SecretReference { namespace: namespace.into(), name: name.into() }
}

fn scalar(value: &str) -> Does {
    json(&json!({"status": "success", "data": {"resultType": "scalar", "result": [1_700_000_000.123, value]}}))
}

fn vector(values: &[&str]) -> Does {
    let one =
        |(index, value): (usize, &&str)| json!({"metric": {"pod": format!("web-{index}")}, "value": [1_700_000_000.123, value]});
    let result: Vec<_> = values.iter().enumerate().map(one).collect();
    json(&json!({"status": "success", "data": {"resultType": "vector", "result": result}, "warnings": ["careful"]}))
}

async fn said(does: Does) -> Verdict {
    said_of(does, "value < 0.01").await
}

async fn said_of(does: Does, expect: &str) -> Verdict {
    let server = Server::does(does).await;
    sample(&Scene::default().network(), &asks(PrometheusAsk { expect: expect.into(), ..ask(&server) })).await
}

#[tokio::test]
async fn a_query_is_posted_below_the_address_with_a_time() {
    let server = Server::does(scalar("0.001")).await;
    let mut ask = ask(&server);
    for (path, line) in [
        ("", "POST /api/v1/query HTTP/1.1"),
        ("/", "POST /api/v1/query HTTP/1.1"),
        ("/tenants/shop/", "POST /tenants/shop/api/v1/query HTTP/1.1"),
    ] {
        ask.address = server.url(path);
        ask.door.configured = Some(server.url(path));
        assert_eq!(sample(&Scene::default().network(), &asks(ask.clone())).await, Verdict::Pass);
        assert_eq!(server.heard().last().unwrap().line(), line);
    }
    let heard = server.heard().remove(0);
    assert_eq!(heard.header("content-type"), Some("application/x-www-form-urlencoded"));
    assert_eq!(heard.header("authorization"), None);
    let form: Vec<(String, String)> = form_urlencoded::parse(heard.body.as_bytes()).into_owned().collect();
    assert_eq!(form, [("query".into(), ask.query), ("timeout".into(), "10000ms".into())]);
}

#[tokio::test]
async fn a_number_or_the_only_element_of_a_vector_is_the_value() {
    assert_eq!(said(scalar("0.001")).await, Verdict::Pass);
    assert_eq!(said(vector(&["0.001"])).await, Verdict::Pass);
    assert_eq!(said(vector(&["1e-3"])).await, Verdict::Pass);
    assert_eq!(said(vector(&["0.314159"])).await, fail(r#"value 0.3142: expect "value < 0.01" is false"#));
    assert_eq!(said(vector(&["+Inf"])).await, fail(r#"value +Inf: expect "value < 0.01" is false"#));
    assert_eq!(said(vector(&["-Inf"])).await, Verdict::Pass);
    assert_eq!(said_of(vector(&["7"]), "samples.all(s, s.labels.pod == 'web-0')").await, Verdict::Pass);
}

#[tokio::test]
async fn of_several_series_each_can_be_looked_at_and_none_is_the_value() {
    let two = || vector(&["0.5", "0.001"]);
    assert_eq!(said_of(two(), "samples.exists(s, s.value > 0.1)").await, Verdict::Pass);
    let all = "samples.all(s, s.value < 0.1)";
    assert_eq!(said_of(two(), all).await, fail(r#"2 series: expect "samples.all(s, s.value < 0.1)" is false"#));
    let Verdict::Unknown(why) = said(two()).await else { panic!() };
    assert!(why.starts_with(r#"2 series: expect "value < 0.01" has no answer: "#), "{why}");
}

#[tokio::test]
async fn no_data_and_nan_are_no_answer_whatever_is_expected() {
    for expect in ["value < 0.01", "!(value > 0.01)", "size(samples) == 0", "true"] {
        let none = said_of(vector(&[]), expect).await;
        assert_eq!(none, unknown("no data; if that means zero, add `or vector(0)` to the query"));
        assert_eq!(said_of(vector(&["NaN"]), expect).await, unknown("the value is NaN"));
        assert_eq!(said_of(scalar("NaN"), expect).await, unknown("the value is NaN"));
        assert_eq!(said_of(vector(&["1", "NaN", "NaN"]), expect).await, unknown("2 of 3 values are NaN"));
    }
}

#[tokio::test]
async fn what_is_no_number_of_one_moment_is_no_answer() {
    for kind in ["matrix", "string"] {
        let does = json(&json!({"status": "success", "data": {"resultType": kind, "result": []}}));
        assert_eq!(said(does).await, unknown(&format!("the query gives a {kind}, and not numbers of one moment")));
    }
    let histogram = json!([{"metric": {}, "histogram": [1, {"count": "1"}]}]);
    let does = json(&json!({"status": "success", "data": {"resultType": "vector", "result": histogram}}));
    assert_eq!(said(does).await, unknown("the query gives histograms, and not numbers"));
}

#[tokio::test]
async fn what_is_not_understood_is_no_answer() {
    let strange = unknown("what answers there is not a Prometheus, or one that is not understood");
    let of = |result: serde_json::Value| json(&json!({"status": "success", "data": {"resultType": "vector", "result": result}}));
    let value = |value: serde_json::Value| of(json!([{"metric": {}, "value": value}]));
    for does in [
        answer(200, ""),
        answer(200, "<html>welcome</html>"),
        answer(200, "{}"),
        answer(200, "{\"status\": \"success\"}"),
        answer(200, "[1, 2"),
        answer(204, ""),
        answer(200, &"[".repeat(100_000)),
        json(&json!({"status": "success", "data": {"resultType": "scalar", "result": [1]}})),
        json(&json!({"status": "success", "data": {"resultType": "scalar", "result": [1, 2]}})),
        of(json!({})),
        of(json!([{"value": [1, "1"]}])),
        value(json!([1, 1])),
        value(json!([1, ""])),
        value(json!([1, "inf"])),
        value(json!([1, "nan"])),
        value(json!([1, "1 2"])),
        value(json!([1, "1e999"])),
        value(json!([1, "1", "1"])),
    ] {
        assert_eq!(said(does.clone()).await, strange, "{does:?}");
    }
}

#[tokio::test]
async fn errors_are_told_in_prometheus_own_words_on_one_line() {
    let error = json!({"status": "error", "errorType": "bad_data", "error": "1:5: parse error:\n unexpected \")\""});
    let why = r#"Prometheus says bad_data: 1:5: parse error: unexpected ")""#;
    assert_eq!(said(answer(400, &error.to_string())).await, unknown(why));
    assert_eq!(said(answer(200, &error.to_string())).await, unknown(why), "whatever the status is");
    let long = json!({"status": "error", "errorType": "execution", "error": "x".repeat(10_000)});
    let Verdict::Unknown(why) = said(answer(422, &long.to_string())).await else { panic!() };
    assert!(why.starts_with("Prometheus says execution: xxx") && why.chars().count() < 240, "{why}");
    assert_eq!(said(answer(503, "no\nbackend")).await, unknown(r#"Prometheus answered 503: "no\nbackend""#));
    assert_eq!(said(answer(401, "")).await, unknown("Prometheus answered 401"));
    let success = json!({"status": "success", "data": {"resultType": "scalar", "result": [1, "0"]}});
    assert!(matches!(said(answer(500, &success.to_string())).await, Verdict::Unknown(_)), "a success is one in all ways");
}

#[tokio::test]
async fn a_redirect_is_not_followed_and_silence_is_no_answer() {
    let elsewhere = Server::does(scalar("0")).await;
    let location = elsewhere.url("/api/v1/query");
    let redirect = Does::Says(format!("HTTP/1.1 307 X\r\nLocation: {location}\r\nContent-Length: 0\r\n\r\n"));
    assert_eq!(said(redirect).await, unknown("Prometheus answered 307"));
    assert_eq!(elsewhere.connections(), 0);
    let server = Server::does(Does::SaysAndWaits(String::new())).await;
    let probe = within(asks(ask(&server)), 300);
    assert_eq!(sample(&Scene::default().network(), &probe).await, unknown("Prometheus: no answer within 300ms"));
    let address = format!("http://127.0.0.1:{}", nobody().await);
    let gone = PrometheusAsk { door: Door { configured: Some(address.clone()), ..door(&[]) }, address, ..ask(&server) };
    assert_eq!(sample(&Scene::default().network(), &asks(gone)).await, unknown("Prometheus: connection refused"));
}

#[tokio::test]
async fn an_answer_larger_than_a_mebibyte_is_none() {
    let endless = Does::Repeats("HTTP/1.1 200 X\r\n\r\n{\"status\": \"".into(), "x".repeat(65_536), Duration::ZERO);
    assert_eq!(said(endless).await, unknown("Prometheus' answer is larger than 128 KiB: aggregate more"));
}

#[tokio::test]
async fn a_token_or_a_password_of_the_secret_is_shown() {
    let (scene, server) = (Scene::default(), Server::does(scalar("0")).await);
    scene.has_secret("monitoring", "token", &[("token", "t0ken\n"), ("username", "u"), ("password", "p")]);
    scene.has_secret("monitoring", "basic", &[("username", "ada"), ("password", "pw:1")]);
    scene.has_secret("monitoring", "other", &[("something", "else")]);
    for (name, shown) in [("token", Some("Bearer t0ken")), ("basic", Some("Basic YWRhOnB3OjE=")), ("other", None)] {
        let ask = PrometheusAsk { secret: Some(secret("monitoring", name)), ..ask(&server) };
        assert_eq!(sample(&scene.network(), &asks(ask)).await, Verdict::Pass);
        assert_eq!(server.heard().last().unwrap().header("authorization"), shown);
    }
}

#[tokio::test]
async fn whoever_says_back_what_he_was_asked_with_is_not_repeated() {
    let scene = Scene::default();
    scene.has_secret("monitoring", "token", &[("token", "t0ken")]);
    scene.has_secret("monitoring", "basic", &[("username", "ada"), ("password", "pw:1")]);
    let error = json!({"status": "error", "errorType": "unauthorized", "error": "what is t0ken?"}).to_string();
    for (name, body) in
        [("token", "no: Bearer t0ken"), ("token", &error), ("basic", "Basic YWRhOnB3OjE="), ("basic", "ada may not with pw:1")]
    {
        let server = Server::does(answer(403, body)).await;
        let ask = PrometheusAsk { secret: Some(secret("monitoring", name)), ..ask(&server) };
        let said = sample(&scene.network(), &asks(ask)).await;
        assert_eq!(said, unknown("Prometheus answered 403: \"(it says back what it was asked with)\""), "{body}");
    }
}

#[tokio::test]
async fn a_secret_that_cannot_be_used_says_what_to_do_and_asks_nobody() {
    let (scene, server) = (Scene::default(), Server::does(scalar("0")).await);
    scene.has_secret("monitoring", "half", &[("username", "ada")]);
    scene.has_secret("monitoring", "lines", &[("token", "s3cret\nline")]);
    scene.0.lock().unwrap().secrets.insert(("monitoring".into(), "denied".into()), None);
    for (name, why) in [
        ("gone", "the Secret monitoring/gone does not exist: create it"),
        ("denied", "the controller has no right to read the Secret monitoring/denied: grant it `get` on secrets there"),
        ("half", "the Secret has only one of `username` and `password`"),
        ("lines", "what is in the Secret cannot be sent in a header"),
    ] {
        let ask = PrometheusAsk { secret: Some(secret("monitoring", name)), ..ask(&server) };
        assert_eq!(sample(&scene.network(), &asks(ask)).await, unknown(why));
    }
    assert_eq!(server.connections(), 0);
}

#[tokio::test]
async fn the_platform_teams_secret_goes_to_the_platform_teams_prometheus_alone() {
    let (scene, server) = (Scene::default(), Server::does(scalar("0")).await);
    scene.has_secret("monitoring", "token", &[("token", "t0ken")]);
    let door = Door { configured: Some("http://prometheus.monitoring.svc:9090".into()), ..door(&[&server.pattern()]) };
    let ask = PrometheusAsk { secret: Some(secret("monitoring", "token")), door, ..ask(&server) };
    let why = "a Secret of another namespace is only for the address that the Environment names";
    assert_eq!(sample(&scene.network(), &asks(ask)).await, unknown(why));
    assert_eq!((server.connections(), scene.0.lock().unwrap().secret_reads), (0, 0));
}

#[tokio::test]
async fn a_secret_is_read_once_a_minute_however_many_ask() {
    let (scene, server) = (Scene::default(), Server::does(scalar("0")).await);
    scene.has_secret("monitoring", "token", &[("token", "old")]);
    let network = scene.network();
    let ask = PrometheusAsk { secret: Some(secret("monitoring", "token")), ..ask(&server) };
    let probe = asks(ask);
    for _ in 0..5 {
        assert_eq!(sample(&network, &probe).await, Verdict::Pass);
    }
    assert_eq!(scene.0.lock().unwrap().secret_reads, 1);
    scene.has_secret("monitoring", "token", &[("token", "new")]);
    tokio::time::pause();
    tokio::time::advance(Duration::from_secs(61)).await;
    tokio::time::resume();
    assert_eq!(sample(&network, &probe).await, Verdict::Pass);
    assert_eq!(server.heard().last().unwrap().header("authorization"), Some("Bearer new"));
    assert_eq!(scene.0.lock().unwrap().secret_reads, 2);
}

#[tokio::test]
async fn an_api_server_in_trouble_is_not_asked_by_every_sample_and_soon_again() {
    let (scene, server) = (Scene::default(), Server::does(scalar("0")).await);
    scene.has_secret("monitoring", "token", &[("token", "x")]);
    scene.0.lock().unwrap().secrets_fail = true;
    let network = scene.network();
    let probe = asks(PrometheusAsk { secret: Some(secret("monitoring", "token")), ..ask(&server) });
    let why = "the Secret monitoring/token cannot be read: the API server does not answer";
    assert_eq!(sample(&network, &probe).await, unknown(why));
    scene.0.lock().unwrap().secrets_fail = false;
    assert_eq!(sample(&network, &probe).await, unknown(why));
    tokio::time::pause();
    tokio::time::advance(Duration::from_secs(6)).await;
    tokio::time::resume();
    assert_eq!(sample(&network, &probe).await, Verdict::Pass);
}

fn at_name(server: &Server, name: &str) -> PrometheusAsk {
    let address = format!("http://{name}:{}", server.port);
    PrometheusAsk { address, door: door(&[&format!("*.example.com:{}", server.port)]), ..ask(server) }
}

#[tokio::test]
async fn a_name_that_leads_inside_is_not_followed_and_neither_is_one_that_changes_its_mind() {
    let (scene, server) = (Scene::default(), Server::does(scalar("0")).await);
    let outside: IpAddr = [192, 0, 2, 1].into();
    let inside: IpAddr = [127, 0, 0, 1].into();
    {
        let names = &mut scene.0.lock().unwrap().names;
        names.insert("inside.example.com".into(), vec![vec![inside]]);
        names.insert("both.example.com".into(), vec![vec![outside, inside]]);
        names.insert("later.example.com".into(), vec![vec![outside], vec![inside]]);
    }
    let network = scene.network();
    for name in ["inside.example.com", "both.example.com"] {
        let why = format!("{name} leads to this machine, its node or nobody: that is not allowed");
        assert_eq!(sample(&network, &asks(at_name(&server, name))).await, unknown(&why));
    }
    scene.0.lock().unwrap().look_ups = 0;
    let mut asked = Asked::new(&network, &within(asks(at_name(&server, "later.example.com")), 300));
    // The first answer of DNS is good, and it is the only one that this sample uses: nobody answers at that address.
    let Verdict::Unknown(why) = asked.sample().await else { panic!() };
    assert!(why.starts_with("Prometheus: "), "{why}");
    assert_eq!(scene.0.lock().unwrap().look_ups, 1);
    let Verdict::Unknown(why) = asked.sample().await else { panic!() };
    assert!(why.contains("leads to this machine"), "{why}");
    assert_eq!(server.connections(), 0);
}

#[tokio::test]
async fn what_the_platform_team_configured_may_lead_anywhere() {
    let (scene, server) = (Scene::default(), Server::does(scalar("0")).await);
    scene.0.lock().unwrap().names.insert("prom.example.com".into(), vec![vec![[127, 0, 0, 1].into()]]);
    let mut ask = at_name(&server, "prom.example.com");
    ask.door = Door { configured: Some(ask.address.clone()), ..door(&[]) };
    assert_eq!(sample(&scene.network(), &asks(ask)).await, Verdict::Pass);
    assert_eq!(server.heard()[0].header("host"), Some(format!("prom.example.com:{}", server.port).as_str()));
}

#[tokio::test]
async fn a_place_that_is_not_allowed_is_not_even_looked_up() {
    let (scene, server) = (Scene::default(), Server::does(scalar("0")).await);
    let ask = PrometheusAsk { address: "http://prom.other.svc:9090".into(), door: door(&[]), ..ask(&server) };
    let why = "Prometheus is not asked: prom.other.svc:9090 is not allowed: spec.allow.endpoints of the Environment has no pattern for it";
    assert_eq!(sample(&scene.network(), &asks(ask)).await, unknown(why));
    assert_eq!(scene.0.lock().unwrap().look_ups, 0);
}

#[tokio::test]
async fn a_prometheus_of_the_own_namespace_is_found_by_the_api_server() {
    let (scene, server) = (Scene::default(), Server::does(scalar("0")).await);
    scene.serves("prometheus", &server);
    scene.has_service("elsewhere", Service::ExternalName);
    let at =
        |host: &str| asks(PrometheusAsk { address: format!("http://{host}:{}", server.port), door: door(&[]), ..ask(&server) });
    for host in ["prometheus", "prometheus.shop", "prometheus.shop.svc", "prometheus.shop.svc.cluster.local"] {
        assert_eq!(sample(&scene.network(), &at(host)).await, Verdict::Pass);
        assert_eq!(server.heard().last().unwrap().header("host"), Some(format!("{host}:{}", server.port).as_str()));
    }
    let why = "the Service elsewhere is only a name for something elsewhere: use that name, and allow it";
    assert_eq!(sample(&scene.network(), &at("elsewhere.shop.svc")).await, unknown(why));
    assert_eq!(scene.0.lock().unwrap().look_ups, 0);
}

async fn over_tls(network: &Network, server: &Server, host: &str, secret: Option<SecretReference>) -> Verdict {
    let address = format!("https://{host}:{}", server.port);
    sample(network, &asks(PrometheusAsk { address, secret, door: door(&[]), ..ask(server) })).await
}

#[tokio::test]
async fn a_certificate_must_be_known_and_for_the_name() {
    let (scene, server) = (Scene::default(), Server::with_tls(scalar("0")).await);
    scene.serves("judge", &server);
    scene.serves("other", &server);
    scene.has_secret("shop", "ca", &[("ca.crt", AUTHORITY)]);
    scene.has_secret("shop", "nonsense", &[("ca.crt", "x")]);
    let (network, ca) = (scene.network(), || Some(secret("shop", "ca")));
    assert_eq!(over_tls(&network, &server, "judge.shop.svc", ca()).await, Verdict::Pass);
    let other = over_tls(&network, &server, "other.shop.svc", ca()).await;
    assert_eq!(other, unknown("Prometheus: its certificate is for another name"));
    let nonsense = over_tls(&network, &server, "judge.shop.svc", Some(secret("shop", "nonsense"))).await;
    assert_eq!(nonsense, unknown("`ca.crt` of the Secret is no certificate in PEM"));
    let Verdict::Unknown(why) = over_tls(&network, &server, "judge.shop.svc", None).await else { panic!() };
    let no_world = "this controller's image has no CA certificates: name a Secret with `ca.crt`";
    assert!(
        [no_world, "Prometheus: its certificate is from nobody who is known: put `ca.crt` into the Secret"]
            .contains(&why.as_str())
    );
    assert_eq!(server.heard().len(), 1);
}
