//! Gates and registries are asked from the controller's place in the network: a tenant chooses what is asked of his own, and nothing else.
//!
//! Somebody listens wherever a test can listen. That he hears nothing counts because others, who are allowed, are heard.

use std::{
    net::{IpAddr, UdpSocket},
    process::Command,
};

use bascule_crds::{ConditionType, GateState};
use bascule_tests::{Behaviour, Stage, stage};
use k8s_openapi::api::core::v1::{Pod, Service};
use kube::api::{ListParams, Patch, PatchParams, PostParams};
use serde_json::{Value, json};

use super::{
    around, bed,
    ear::{Ear, answer},
};

/// A Release with one gate before the switch; each has a workload of its own.
fn gated(stage: &Stage, name: &str, gate: &Value) -> Value {
    let mut spec = stage.spec("v1", Behaviour::Ready, 1);
    spec["services"] = json!([]);
    spec["workloads"][0]["name"] = json!(name);
    let mut gate = gate.clone();
    gate["name"] = json!("judge");
    gate["interval"] = json!("1s");
    spec["gates"] = json!({"beforeSwitch": [gate]});
    spec
}

/// What the gate of this Release has said.
async fn said(stage: &Stage, release: &str) -> String {
    let look = || async {
        let candidate = stage.status(release).await.candidate?;
        candidate.gates.into_iter().map(|gate| gate.message).find(|message| !message.is_empty())
    };
    stage.eventually(&format!("the gate of {release} says something"), look).await
}

/// A controller for which these names lead to this machine, as any DNS may say it.
async fn with_names(stage: &mut Stage, names: &[&str]) {
    let own = Command::new("unshare").args(["--map-root-user", "--mount", "true"]).output().expect("run unshare");
    assert!(
        own.status.success(),
        "names that lead to this machine cannot be tried here: `unshare --map-root-user --mount` is forbidden ({}). Run this as root, \
         or let users have namespaces of their own (sysctl kernel.unprivileged_userns_clone, user.max_user_namespaces)",
        String::from_utf8_lossy(&own.stderr).trim()
    );
    let hosts = around::file(stage, "hosts");
    let lines: Vec<_> = names.iter().map(|name| format!("127.0.0.1 {name}\n")).collect();
    std::fs::write(&hosts, lines.concat()).unwrap();
    let binary = bascule_tests::controller::binary();
    let inner = format!("mount --bind '{}' /etc/hosts && exec '{}' \"$@\"", hosts.display(), binary.display());
    let inner = inner.replace('\'', "'\\''");
    around::replace(stage, &format!("exec unshare --map-root-user --mount sh -c '{inner}' sh \"$@\"")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gate_goes_where_the_environment_says_and_nowhere_else() {
    let mut stage = Stage::new(&bed(), "doors").await;
    let silent = Ear::that(|_| answer(200, "", r#"{"verdict": "pass"}"#)).await;
    let (port, namespace) = (silent.port(), stage.namespace.clone());
    let elsewhere = format!("Location: http://127.0.0.1:{port}/moved\r\n");
    let redirects = Ear::that(move |_| answer(302, &elsewhere, "")).await;
    let poll = json!({"verdict": "pending", "poll": format!("http://127.0.0.1:{port}/poll")}).to_string();
    let sends_on = Ear::that(move |_| answer(200, "", &poll)).await;
    // All names with all ports: no pattern of names is one of addresses, or of what is not outside.
    stage.environment_allows(&["**", "**:*", "*.*.*.*:*", &redirects.place(), &sends_on.place()]).await;
    let outside = json!({"metadata": {"name": "outside"}, "spec": {"type": "ExternalName", "externalName": "localhost", "ports": [{"port": port}]}});
    stage.api::<Service>().create(&PostParams::default(), &stage::from(outside)).await.unwrap();
    let rebound = ["rebound.example.com", "metadata.google.internal", "victim.other.svc"];
    with_names(&mut stage, &rebound).await;

    let local = |host: &str| format!("http://{host}:{port}/");
    let server = ["config", "view", "--minify", "-o", "jsonpath={.clusters[0].cluster.server}"];
    let (_, api_server) = stage.bed.kubectl(&server, None);
    assert!(api_server.starts_with("https://127.0.0.1:"), "{api_server}");
    let (no_pattern, no_place) = ("has no pattern for it", "leads to this machine, its node or nobody");
    let mut places = vec![
        (local("127.0.0.1"), no_pattern),
        (local("127.1"), no_pattern),
        (local("2130706433"), no_pattern),
        (local("0x7f000001"), no_pattern),
        (local("0.0.0.0"), no_pattern),
        (local("[::1]"), no_pattern),
        (local("[::ffff:127.0.0.1]"), no_pattern),
        // One word is a Service of the own namespace, whatever DNS says.
        (local("localhost"), "the Service localhost does not exist"),
        (local(&format!("outside.{namespace}.svc")), "only a name for something elsewhere"),
        ("http://169.254.169.254/latest/meta-data/".to_owned(), no_pattern),
        ("http://[fd00:ec2::254]/latest/meta-data/".to_owned(), no_pattern),
        ("http://10.0.0.1:8080/".to_owned(), no_pattern),
        (api_server, no_pattern),
    ];
    places.extend(rebound.map(|name| (local(name), no_place)));
    for (number, (url, _)) in places.iter().enumerate() {
        for (kind, gate) in [
            ("webhook", json!({"webhook": {"url": url}})),
            ("prometheus", json!({"prometheus": {"query": "up", "expect": "value > 0.0", "address": url.trim_end_matches('/')}})),
        ] {
            let name = format!("{kind}-{number}");
            stage.release(&name, &gated(&stage, &name, &gate)).await;
        }
    }
    for (name, ear) in [("redirects", &redirects), ("sends-on", &sends_on)] {
        let gate = json!({"webhook": {"url": format!("http://{}/", ear.place())}});
        stage.release(name, &gated(&stage, name, &gate)).await;
    }
    for (number, (url, words)) in places.iter().enumerate() {
        for kind in ["webhook", "prometheus"] {
            let message = said(&stage, &format!("{kind}-{number}")).await;
            assert!(message.contains(words), "{kind} {url}: {message}");
        }
    }
    let message = said(&stage, "redirects").await;
    assert!(message.contains("answered 302"), "{message}");
    let message = said(&stage, "sends-on").await;
    assert!(message.contains("poll is not followed") && message.contains(no_pattern), "{message}");
    assert!(!redirects.heard().is_empty() && !sends_on.heard().is_empty(), "who is allowed is heard");
    assert_eq!(silent.heard(), Vec::<String>::new());

    // Only when the platform team writes this very address.
    stage.environment_allows(&[&silent.place()]).await;
    stage.eventually("it is asked now", || async { (!silent.heard().is_empty()).then_some(()) }).await;
    stage.end().await;
}

/// Beside one's own namespace nothing is allowed where no Environment says so.
#[tokio::test(flavor = "multi_thread")]
async fn without_an_environment_a_gate_reaches_its_own_namespace_only() {
    let mut stage = Stage::new(&bed(), "no-doors").await;
    around::claims_nothing(&stage).await;
    let silent = Ear::that(|_| answer(200, "", r#"{"verdict": "pass"}"#)).await;
    with_names(&mut stage, &["rebound.example.com"]).await;
    let hosts = ["127.0.0.1", "victim.other.svc", "victim.other", "10-0-0-1.other.pod.cluster.local", "rebound.example.com"];
    for (number, host) in hosts.iter().enumerate() {
        let name = format!("hook-{number}");
        let gate = json!({"webhook": {"url": format!("http://{host}:{}/", silent.port())}});
        stage.release(&name, &gated(&stage, &name, &gate)).await;
        let message = said(&stage, &name).await;
        assert!(message.contains("has no pattern for it"), "{host}: {message}");
    }
    assert_eq!(silent.heard(), Vec::<String>::new());
    stage.end().await;
}

/// An address of this machine that others could reach too.
fn outer_address() -> IpAddr {
    // No packet is sent: it is only asked which way it would go.
    let socket = UdpSocket::bind("0.0.0.0:0").unwrap();
    socket.connect("198.51.100.1:9").expect("a way out of this machine");
    socket.local_addr().unwrap().ip()
}

/// Whoever has a node, or may write the status of pods, says where pods are.
#[tokio::test(flavor = "multi_thread")]
async fn a_pod_that_says_it_is_at_the_controllers_own_machine_is_not_asked() {
    let stage = Stage::new(&bed(), "liar").await;
    let outer = outer_address();
    let inner = Ear::that(|_| answer(200, "", "ok")).await;
    let there = Ear::at_address(&format!("{outer}:0"), |_| answer(503, "", "not yet")).await;
    for (name, ip, ear) in [("honest", outer.to_string(), &there), ("liar", "127.0.0.1".to_owned(), &inner)] {
        let gate = json!({"http": {"workload": name, "port": ear.port(), "path": "/"}, "failures": 1000});
        let mut spec = gated(&stage, name, &gate);
        spec["strategy"]["progressDeadline"] = json!("60s");
        stage.release(name, &spec).await;
        let pods = stage.api::<Pod>();
        let of = ListParams::default().labels(&format!("bascule.dev/release={name}"));
        let pod = stage.eventually("there is a pod", || async {
            pods.list(&of).await.unwrap().items.into_iter().find(|pod| pod.status.as_ref().is_some_and(|it| it.pod_ip.is_some()))
        });
        let pod = pod.await.metadata.name.unwrap();
        let lie = json!({"status": {"podIP": ip, "podIPs": [{"ip": ip}]}});
        // Merged as a whole: a strategic merge would keep the one before.
        pods.patch_status(&pod, &PatchParams::default(), &Patch::Merge(&lie)).await.unwrap();
    }
    let asked = || async { there.heard().iter().any(|request| request.starts_with("GET / ")).then_some(()) };
    stage.eventually("the honest one is asked", asked).await;
    let passed = |gate: &bascule_crds::GateRecord| gate.state == GateState::Passed;
    let lies = || async {
        let status = stage.status("liar").await;
        let gates = status.candidate.map(|candidate| candidate.gates).unwrap_or_default();
        let told = gates.iter().any(|gate| passed(gate) || !gate.message.is_empty());
        (told || status.active.is_some()).then_some(())
    };
    stage.eventually("something is said of the liar", lies).await;
    assert_eq!(inner.heard(), Vec::<String>::new(), "nothing at the controller's own machine is asked");
    stage.end().await;
}

/// Any tenant may name any registry, where `allow.images` says nothing; it leads nobody to the controller's own machine.
#[tokio::test(flavor = "multi_thread")]
async fn a_registry_does_not_lead_to_the_controllers_own_machine() {
    let mut stage = Stage::new(&bed(), "realm").await;
    stage.service("web").await;
    let inner = Ear::that(|_| answer(200, "Content-Type: application/json\r\n", r#"{"token": "of-somebody-else"}"#)).await;
    let realm =
        format!("WWW-Authenticate: Bearer realm=\"http://127.0.0.1:{}/anything?of=mine\",service=\"x\"\r\n", inner.port());
    let registry = Ear::at_address(&format!("{}:0", outer_address()), move |_| answer(401, &realm, "")).await;
    stage.controller.restart_with(&[], &["--plain-http-registry", &registry.place()]).await;
    let mut spec = stage.spec("v1", Behaviour::Ready, 1);
    spec["artifacts"][0]["image"] = json!({"ref": format!("{}/shop/web:v1", registry.place())});
    stage.release("web", &spec).await;
    let status = stage.until("it says so", |it| stage::reason(it, ConditionType::Ready) == "ArtifactUnresolved").await;
    println!("{}", stage::message(&status, ConditionType::Ready));
    assert!(!registry.heard().is_empty(), "the registry is asked");
    assert_eq!(inner.heard(), Vec::<String>::new());
    assert!(!registry.heard().iter().any(|request| request.contains("of-somebody-else")), "and is told nothing of others");
    stage.end().await;
}
