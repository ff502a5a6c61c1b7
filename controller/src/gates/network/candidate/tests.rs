//! Requests to pods and Services, over loopback.

use std::{collections::BTreeMap, time::Duration};

use bascule_core::gate::Ask;
use tokio::time::Instant;

use super::{
    super::{
        places::Service,
        scene::{Asked, Does, Scene, Server, answer, fail, key, nobody, probe, sample, unknown, within},
    },
    *,
};

fn ask(each: Each) -> HttpAsk {
    HttpAsk {
        to: Target::Pods { labels: [("app".to_owned(), "web".to_owned())].into(), port: Port::Name("http".into()), each },
        tls: false,
        method: bascule_crds::Method::Get,
        path: "/healthz".into(),
        headers: BTreeMap::new(),
        body: None,
        expect: "status == 200".into(),
    }
}

fn any() -> HttpAsk {
    ask(Each::Any)
}

fn to_service(name: &str, port: u16) -> HttpAsk {
    HttpAsk { to: Target::Service { name: name.into(), port }, ..any() }
}

fn asks(ask: HttpAsk) -> Probe {
    probe(Ask::Http(ask))
}

/// One sample of a single pod that does this.
async fn of_one(does: Does, ask: HttpAsk, millis: i64) -> Verdict {
    let (scene, server) = (Scene::default(), Server::does(does).await);
    scene.has_pods(&[("web-1", &server)]);
    sample(&scene.network(), &within(asks(ask), millis)).await
}

#[tokio::test]
async fn a_good_answer_passes_and_the_request_is_as_written() {
    let (scene, server) = (Scene::default(), Server::does(answer(200, "ok")).await);
    scene.has_pods(&[("web-1", &server)]);
    let ask = HttpAsk {
        method: bascule_crds::Method::Post,
        path: "/check?deep=1&x=ü y#part".into(),
        headers: [("X-Probe".to_owned(), "bascule".to_owned())].into(),
        body: Some("{\"a\":1}".into()),
        expect: "status == 200 && body == 'ok' && latency < duration('9s')".into(),
        ..any()
    };
    assert_eq!(sample(&scene.network(), &asks(ask)).await, Verdict::Pass);
    let heard = server.heard().remove(0);
    assert_eq!(heard.line(), "POST /check?deep=1&x=%C3%BC%20y HTTP/1.1");
    assert_eq!(heard.header("host"), Some(format!("127.0.0.1:{}", server.port).as_str()));
    assert_eq!((heard.header("x-probe"), heard.body.as_str()), (Some("bascule"), "{\"a\":1}"));
    assert_eq!(heard.header("connection"), Some("close"));
}

#[tokio::test]
async fn an_author_may_choose_the_host_and_not_how_the_message_is_carried() {
    let (scene, server) = (Scene::default(), Server::does(answer(200, "")).await);
    scene.has_pods(&[("web-1", &server)]);
    let with = |name: &str, value: &str| asks(HttpAsk { headers: [(name.to_owned(), value.to_owned())].into(), ..any() });
    assert_eq!(sample(&scene.network(), &with("Host", "shop.example.com")).await, Verdict::Pass);
    assert_eq!(server.heard()[0].header("host"), Some("shop.example.com"));
    for name in ["Transfer-Encoding", "content-length", "Connection", "Upgrade"] {
        let said = sample(&scene.network(), &with(name, "x")).await;
        let name = name.to_lowercase();
        assert_eq!(said, unknown(&format!("pod web-1: the header {name} is not for a gate to set")));
    }
    let said = sample(&scene.network(), &with("x", "s3cret\r\nevil: 1")).await;
    assert_eq!(said, unknown("pod web-1: the header \"x\" cannot be sent"));
    assert_eq!(server.connections(), 1);
}

#[tokio::test]
async fn a_bad_answer_is_shown_by_its_status_its_size_and_its_beginning() {
    let said = of_one(answer(503, "down\n\"for\" good"), any(), 10_000).await;
    let why = r#"pod web-1: expect "status == 200" is false: status 503, 15 bytes, "down\n\"for\" good""#;
    assert_eq!(said, fail(why));
    let said = of_one(answer(404, ""), any(), 10_000).await;
    assert_eq!(said, fail(r#"pod web-1: expect "status == 200" is false: status 404, no body"#));
}

#[tokio::test]
async fn an_answer_that_the_condition_does_not_speak_about_is_bad() {
    let json = HttpAsk { expect: "json.ready == true".into(), ..any() };
    let Verdict::Fail(why) = of_one(answer(200, "{\"rdy\": true}"), json.clone(), 10_000).await else { panic!() };
    assert!(why.starts_with(r#"pod web-1: expect "json.ready == true" has no answer: "#), "{why}");
    assert!(why.ends_with(r#": status 200, 13 bytes, "{\"rdy\": true}""#), "{why}");
    let Verdict::Fail(why) = of_one(answer(200, "<html>"), json.clone(), 10_000).await else { panic!() };
    assert!(why.contains("the body is not JSON"), "{why}");
    assert_eq!(of_one(answer(200, "{\"ready\": true}"), json, 10_000).await, Verdict::Pass);
}

#[tokio::test]
async fn a_redirect_is_a_status_and_not_followed() {
    let elsewhere = Server::does(answer(200, "ok")).await;
    let redirect = Does::Says(format!("HTTP/1.1 302 X\r\nLocation: {}\r\nContent-Length: 0\r\n\r\n", elsewhere.url("/")));
    let said = of_one(redirect, any(), 10_000).await;
    assert_eq!(said, fail(r#"pod web-1: expect "status == 200" is false: status 302, no body"#));
    assert_eq!(elsewhere.connections(), 0);
}

#[tokio::test]
async fn no_answer_is_a_bad_answer_in_the_same_words_each_time() {
    let closed = "pod web-1: the connection was closed without an answer";
    let halved = "pod web-1: the connection was closed in the middle of the answer";
    let no_http = "pod web-1: its answer is not HTTP/1.1";
    let half = || "HTTP/1.1 200 X\r\nContent-Length: 100\r\n\r\nhalf".to_owned();
    for (does, why) in [
        (Does::SaysAndWaits(String::new()), "pod web-1: no answer within 300ms"),
        (Does::SaysAndWaits("HTTP/1.1 200 X\r\n".into()), "pod web-1: no answer within 300ms"),
        (Does::SaysAndWaits(half()), "pod web-1: no answer within 300ms"),
        (Does::Says(String::new()), closed),
        (Does::Says("HTTP/1.1 200".into()), closed),
        (Does::SaysAndResets(String::new()), closed),
        (Does::Says(half()), halved),
        (Does::SaysAndResets(half()), halved),
        (Does::Says("SSH-2.0-OpenSSH_9.6\r\n\r\n".into()), no_http),
        (Does::Says("HTTP/1.1 2000 X\r\n\r\n".into()), no_http),
        (Does::Says("HTTP/1.1 200 X\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n".into()), halved),
    ] {
        let millis = if why.ends_with("300ms") { 300 } else { 10_000 };
        for _ in 0..2 {
            assert_eq!(of_one(does.clone(), any(), millis).await, fail(why), "{does:?}");
        }
    }
}

#[tokio::test]
async fn where_nobody_listens_the_answer_is_bad() {
    let (scene, port) = (Scene::default(), nobody().await);
    scene.has_service("web", Service::At { ip: [127, 0, 0, 1].into(), ports: vec![port] });
    let began = Instant::now();
    assert_eq!(sample(&scene.network(), &within(asks(to_service("web", port)), 600)).await, fail("connection refused"));
    assert!(began.elapsed() > Duration::from_millis(400), "a Service gets its time");
    let at = Target::Pods { labels: BTreeMap::new(), port: Port::Number(port), each: Each::Any };
    let pods = vec![Pod { name: "web-1".into(), ip: [127, 0, 0, 1].into(), ports: BTreeMap::new() }];
    scene.0.lock().unwrap().pods = Some(Ok(pods));
    let began = Instant::now();
    let said = sample(&scene.network(), &asks(HttpAsk { to: at, ..any() })).await;
    assert_eq!(said, fail("pod web-1: connection refused"));
    assert!(began.elapsed() < Duration::from_secs(5), "a pod that is ready and refuses does not");
}

#[tokio::test]
async fn a_service_that_the_nodes_do_not_know_yet_is_asked_again() {
    let (scene, port) = (Scene::default(), nobody().await);
    scene.has_service("web", Service::At { ip: [127, 0, 0, 1].into(), ports: vec![port] });
    let network = scene.network();
    let late = async {
        sleep(Duration::from_millis(400)).await;
        Server::at(port, answer(200, "")).await
    };
    let (said, server) = tokio::join!(async { sample(&network, &asks(to_service("web", port))).await }, late);
    assert_eq!((said, server.connections()), (Verdict::Pass, 1));
}

#[tokio::test]
async fn a_body_without_end_is_read_to_64_kib_and_no_further() {
    let big = "x".repeat(16 * 1024);
    for head in [
        "HTTP/1.1 200 X\r\n\r\n".to_owned(),
        "HTTP/1.1 200 X\r\nContent-Length: 1073741824\r\n\r\n".to_owned(),
        "HTTP/1.1 200 X\r\nContent-Length: 9223372036854775807\r\n\r\n".to_owned(),
    ] {
        let (scene, server) = (Scene::default(), Server::does(Does::Repeats(head, big.clone(), Duration::ZERO)).await);
        scene.has_pods(&[("web-1", &server)]);
        assert_eq!(sample(&scene.network(), &asks(any())).await, Verdict::Pass, "the status is all that was asked for");
        let said = sample(&scene.network(), &asks(HttpAsk { expect: "body.contains('ok')".into(), ..any() })).await;
        let Verdict::Fail(why) = said else { panic!("{said:?}") };
        assert!(why.contains("status 200, more than 65536 bytes, \"xxx"), "{why}");
        // Some of it waits in the kernel's buffers.
        assert!(server.written() < 32 * 1024 * 1024, "{}", server.written());
    }
}

#[tokio::test]
async fn a_body_that_drips_ends_with_the_time() {
    let drip = Does::Repeats("HTTP/1.1 200 X\r\nContent-Length: 1000\r\n\r\n".into(), "x".into(), Duration::from_millis(10));
    let began = Instant::now();
    assert_eq!(of_one(drip, any(), 300).await, fail("pod web-1: no answer within 300ms"));
    assert!(began.elapsed() < Duration::from_secs(3));
    let chunks = Does::Repeats(
        "HTTP/1.1 200 X\r\nTransfer-Encoding: chunked\r\n\r\n".into(),
        "1\r\nx\r\n".into(),
        Duration::from_millis(10),
    );
    assert_eq!(of_one(chunks, any(), 300).await, fail("pod web-1: no answer within 300ms"));
}

#[tokio::test]
async fn headers_without_end_are_read_to_32_kib_and_no_further() {
    let too_large = "pod web-1: its headers are larger than 32 KiB, or more than 100";
    let long = format!("X-{}: x\r\n", "a".repeat(1_000));
    for (first, again) in [
        ("HTTP/1.1 200 X\r\n", long.as_str()),
        ("HTTP/1.1 200 X\r\n", "X: x\r\n"),
        ("HTTP/1.1 200 X\r\nX: ", "xxxxxxxxxxxxxxxx"),
        ("HTTP/1.1 200 ", "xxxxxxxxxxxxxxxx"),
    ] {
        let (scene, server) =
            (Scene::default(), Server::does(Does::Repeats(first.into(), again.repeat(64), Duration::ZERO)).await);
        scene.has_pods(&[("web-1", &server)]);
        assert_eq!(sample(&scene.network(), &asks(any())).await, fail(too_large), "{first} {again}");
        assert!(server.written() < 32 * 1024 * 1024, "{}", server.written());
    }
}

#[tokio::test]
async fn headers_of_32_kib_are_the_most() {
    let with = |size: usize| Does::Says(format!("HTTP/1.1 200 X\r\nX: {}\r\nContent-Length: 0\r\n\r\n", "x".repeat(size)));
    assert_eq!(of_one(with(30 * 1024), any(), 10_000).await, Verdict::Pass);
    let said = of_one(with(33 * 1024), any(), 10_000).await;
    assert_eq!(said, fail("pod web-1: its headers are larger than 32 KiB, or more than 100"));
}

#[tokio::test]
async fn informational_answers_without_end_are_no_answer() {
    let early = "HTTP/1.1 103 Early Hints\r\n\r\n".repeat(100);
    let said = of_one(Does::Repeats(early.clone(), early, Duration::ZERO), any(), 300).await;
    assert_eq!(said, fail("pod web-1: no answer within 300ms"));
}

#[tokio::test]
async fn where_no_pod_is_ready_nothing_is_known() {
    let scene = Scene::default();
    let network = scene.network();
    assert_eq!(sample(&network, &asks(any())).await, unknown("no pod is ready to be asked"));
    scene.0.lock().unwrap().pods = Some(Err("the pods cannot be listed: the API server answered 500".into()));
    assert_eq!(sample(&network, &asks(any())).await, unknown("the pods cannot be listed: the API server answered 500"));
}

#[tokio::test]
async fn a_port_that_no_container_has_is_said() {
    let (scene, server) = (Scene::default(), Server::does(answer(200, "")).await);
    scene.has_pods(&[("web-1", &server)]);
    let to = |port| Target::Pods { labels: BTreeMap::new(), port, each: Each::Any };
    let said = sample(&scene.network(), &asks(HttpAsk { to: to(Port::Name("grpc".into())), ..any() })).await;
    assert_eq!(said, unknown("no container of pod web-1 has a port with the name \"grpc\""));
    assert_eq!(sample(&scene.network(), &asks(HttpAsk { to: to(Port::Number(server.port)), ..any() })).await, Verdict::Pass);
}

#[tokio::test]
async fn any_means_another_pod_each_time() {
    let scene = Scene::default();
    let mut servers = Vec::new();
    for _ in 0..3 {
        servers.push(Server::does(answer(200, "")).await);
    }
    let pods = |names: &[&'static str]| -> Vec<(&'static str, usize)> { names.iter().copied().zip(0..).collect() };
    let set = |names: &[&'static str]| {
        let pods: Vec<_> = pods(names).into_iter().map(|(name, index)| (name, &servers[index])).collect();
        scene.has_pods(&pods);
    };
    set(&["web-a", "web-b", "web-c"]);
    let network = scene.network();
    let mut asked = Asked::new(&network, &asks(any()));
    for _ in 0..6 {
        assert_eq!(asked.sample().await, Verdict::Pass);
    }
    assert_eq!(servers.iter().map(Server::connections).collect::<Vec<_>>(), [2, 2, 2]);
    // Whoever comes and goes: it goes on behind the one that was last.
    set(&["web-b", "web-d"]);
    asked.sample().await;
    assert_eq!(servers.iter().map(Server::connections).collect::<Vec<_>>(), [2, 3, 2]);
}

#[tokio::test]
async fn each_pod_must_answer_well_and_the_first_that_does_not_is_named() {
    let scene = Scene::default();
    let good = Server::does(answer(200, "")).await;
    let bad = Server::does(answer(500, "")).await;
    let gone = Server::does(Does::Says(String::new())).await;
    let network = scene.network();
    let each = || asks(ask(Each::Pod));
    scene.has_pods(&[("web-a", &good), ("web-b", &good), ("web-c", &good)]);
    assert_eq!(sample(&network, &each()).await, Verdict::Pass);
    assert_eq!(good.connections(), 3);
    scene.has_pods(&[("web-a", &good), ("web-b", &gone), ("web-c", &bad)]);
    let said = sample(&network, &each()).await;
    assert_eq!(said, fail("pod web-b: the connection was closed without an answer (2 of 3 pods)"));
    scene.has_pods(&[("web-c", &bad)]);
    let said = sample(&network, &each()).await;
    assert_eq!(said, fail("pod web-c: expect \"status == 200\" is false: status 500, no body"));
}

#[tokio::test]
async fn sixteen_pods_are_asked_at_once_and_one_that_hangs_holds_up_nobody() {
    let scene = Scene::default();
    let good = Server::does(answer(200, "")).await;
    let hangs = Server::does(Does::SaysAndWaits(String::new())).await;
    let names: Vec<String> = (0..60).map(|index| format!("web-{index:02}")).collect();
    let pods: Vec<_> = names.iter().map(|name| (name.as_str(), if name == "web-00" { &hangs } else { &good })).collect();
    scene.has_pods(&pods);
    let said = sample(&scene.network(), &within(asks(ask(Each::Pod)), 2_000)).await;
    assert_eq!(said, fail("pod web-00: no answer within 2s (1 of 60 pods)"));
    assert_eq!(good.connections(), 59);
    assert!(good.most_at_once() <= 16, "{}", good.most_at_once());
}

#[tokio::test]
async fn pods_whose_turn_came_too_late_are_not_blamed() {
    let scene = Scene::default();
    // All but the first sixteen have a third of the time.
    let slow = Server::plans(|index, _| {
        if index < 16 {
            Does::Repeats("HTTP/1.1 200 X\r\n".into(), "\r\n".into(), Duration::from_millis(1_300))
        } else {
            Does::SaysAndWaits(String::new())
        }
    })
    .await;
    let names: Vec<String> = (0..20).map(|index| format!("web-{index:02}")).collect();
    let pods: Vec<_> = names.iter().map(|name| (name.as_str(), &slow)).collect();
    scene.has_pods(&pods);
    let ask = HttpAsk { method: bascule_crds::Method::Head, ..ask(Each::Pod) };
    let said = sample(&scene.network(), &within(asks(ask), 2_000)).await;
    assert_eq!(said, unknown("pod web-16: its turn came too late (4 of 20 pods)"));
}

#[test]
fn of_very_many_pods_the_next_ones_follow_in_the_next_sample() {
    let pods = |count: usize| -> Vec<Pod> {
        (0..count)
            .map(|index| Pod { name: format!("web-{index:03}"), ip: [10, 0, 0, 1].into(), ports: BTreeMap::new() })
            .collect()
    };
    let span = |pods: &[Pod]| (pods.len(), pods[0].name.clone(), pods[pods.len() - 1].name.clone());
    let first = turn(pods(250), "", MOST_PODS);
    assert_eq!(span(&first), (200, "web-000".into(), "web-199".into()));
    let second = turn(pods(250), "web-199", MOST_PODS);
    assert_eq!(span(&second), (200, "web-200".into(), "web-149".into()));
    assert_eq!(span(&turn(pods(200), "web-199", MOST_PODS)), (200, "web-000".into(), "web-199".into()));
    assert!(turn(Vec::new(), "x", 1).is_empty());
}

#[tokio::test]
async fn a_service_is_asked_at_its_own_address_under_its_name() {
    let (scene, server) = (Scene::default(), Server::does(answer(200, "")).await);
    scene.serves("web-preview", &server);
    assert_eq!(sample(&scene.network(), &asks(to_service("web-preview", server.port))).await, Verdict::Pass);
    assert_eq!(server.heard()[0].header("host"), Some(format!("web-preview.shop.svc:{}", server.port).as_str()));
    assert_eq!(scene.0.lock().unwrap().look_ups, 0, "DNS is not asked");
}

#[tokio::test]
async fn a_service_without_an_address_of_its_own_is_not_asked() {
    let scene = Scene::default();
    let network = scene.network();
    scene.has_service("headless", Service::Headless);
    scene.has_service("elsewhere", Service::ExternalName);
    scene.has_service("other", Service::At { ip: [127, 0, 0, 1].into(), ports: vec![81] });
    for (name, why) in [
        ("gone", "the Service gone does not exist in shop"),
        ("headless", "the Service headless has no address of its own (it is headless)"),
        ("elsewhere", "the Service elsewhere is only a name for something elsewhere: use that name, and allow it"),
        ("other", "the Service other has no port 80"),
    ] {
        assert_eq!(sample(&network, &asks(to_service(name, 80))).await, unknown(why));
    }
}

#[tokio::test]
async fn https_is_spoken_without_a_look_at_the_certificate() {
    let (scene, server) = (Scene::default(), Server::with_tls(answer(200, "ok")).await);
    scene.has_pods(&[("web-1", &server)]);
    scene.serves("other-name", &server);
    let network = scene.network();
    assert_eq!(sample(&network, &asks(HttpAsk { tls: true, ..any() })).await, Verdict::Pass);
    assert_eq!(sample(&network, &asks(HttpAsk { tls: true, ..to_service("other-name", server.port) })).await, Verdict::Pass);
    let plain = Server::does(Does::Says("HTTP/1.1 400 X\r\n\r\n".into())).await;
    scene.has_pods(&[("web-1", &plain)]);
    // Its first words are no TLS; it never hears a request.
    let said = sample(&network, &within(asks(HttpAsk { tls: true, ..any() }), 300)).await;
    assert_eq!(said, fail("pod web-1: no answer within 300ms"));
}

#[tokio::test]
async fn a_condition_that_cannot_be_used_asks_nobody() {
    let (scene, server) = (Scene::default(), Server::does(answer(200, "")).await);
    scene.has_pods(&[("web-1", &server)]);
    let said = sample(&scene.network(), &asks(HttpAsk { expect: "stats == 200".into(), ..any() })).await;
    let Verdict::Unknown(why) = said else { panic!() };
    assert!(why.starts_with("expect cannot be used: "), "{why}");
    assert_eq!((server.connections(), key().namespace.as_str()), (0, "shop"));
}
