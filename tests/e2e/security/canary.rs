//! Nothing that is secret gets into logs, status, Events, metrics or any object that the controller writes: a word is hidden in every place where
//! there is a secret, each is used, with success and without, and then everything that can be read is searched for them.

use std::{collections::BTreeMap, fs};

use bascule_crds::ConditionType;
use bascule_tests::{Behaviour, Stage, aws::Emulator, stage};
use k8s_openapi::api::core::v1::{Pod, Secret};
use kube::api::{ListParams, Patch, PatchParams, PostParams};
use serde_json::{Value, json};

use super::{
    around, bed,
    ear::{Ear, answer},
    parameters::environment,
};

/// As in the header of a login.
fn base64(text: &str) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let digit = |bits: u32| char::from(DIGITS[usize::try_from(bits & 63).unwrap()]);
    let encode = |bytes: &[u8]| {
        let bits = bytes.iter().chain([&0, &0]).take(3).fold(0_u32, |bits, byte| bits << 8 | u32::from(*byte));
        let all = [18, 12, 6, 0].map(|shift| digit(bits >> shift));
        all.into_iter().enumerate().map(|(at, it)| if at <= bytes.len() { it } else { '=' }).collect::<String>()
    };
    text.as_bytes().chunks(3).map(encode).collect()
}

/// Words that are found nowhere by chance. All of them are hidden, but for those that stand in a spec: there they stay.
const SECURE: &str = "canary-of-a-secure-parameter";
const SECURE_TEXT: &str = "Canary of a Secure text";
const WATCHED: &str = "canary-of-a-watched-secret";
const WATCHED_THEN: &str = "canary-of-a-watched-secret-then";
const PULL: &str = "canary-of-a-pull-secret";
const PULL_WRONG: &str = "canary-of-a-wrong-pull-secret";
const FILE: &str = "canary-of-the-credentials-file";
const FILE_WRONG: &str = "canary-of-a-wrong-login-in-the-file";
const REGISTRY_TOKEN: &str = "canary-of-a-token-of-a-registry";
const TOKEN: &str = "canary-of-a-token-for-prometheus";
const BASIC: &str = "canary-of-a-password-for-prometheus";
const KEY: &str = "canary-of-a-key-that-signs";
const AWS_SECRET: &str = "canary-of-the-aws-secret-access-key";
const AWS_SESSION: &str = "canary-of-the-aws-session-token";
const EXTERNAL: &str = "canary-of-an-external-id";
const USERINFO: &str = "canary-of-a-user-in-a-url";
const HEADER: &str = "canary-of-a-header-of-a-gate";
const COLLECTOR: &str = "canary-of-a-collector-of-traces";
const ENVIRONMENT: &str = "canary-of-a-variable-in-a-template";

/// With what it looks like in a Secret or a login.
fn hidden() -> BTreeMap<&'static str, Vec<String>> {
    let secrets = [
        SECURE,
        SECURE_TEXT,
        WATCHED,
        WATCHED_THEN,
        PULL,
        PULL_WRONG,
        FILE,
        FILE_WRONG,
        REGISTRY_TOKEN,
        TOKEN,
        BASIC,
        KEY,
        AWS_SECRET,
        AWS_SESSION,
        COLLECTOR,
        EXTERNAL,
        USERINFO,
        HEADER,
        ENVIRONMENT,
    ];
    let forms = |secret: &'static str| {
        let logins = [secret.to_owned(), base64(secret), base64(&format!("bed:{secret}"))];
        // The last group depends on what follows.
        (secret, logins.map(|it| it.trim_end_matches('=').to_owned()).to_vec())
    };
    secrets.into_iter().map(forms).collect()
}

/// A registry that shows its images to this login, and gives it a token first.
async fn registry(login: Option<&str>, token: bool) -> Ear {
    let wanted = login.map(|secret| format!("basic {}", base64(&format!("bed:{secret}"))));
    let digest = format!("Docker-Content-Digest: sha256:{}\r\n", "a".repeat(64));
    let manifest = answer(200, &format!("{digest}Content-Type: application/vnd.oci.image.manifest.v1+json\r\n"), "");
    Ear::that(move |request| {
        let head = request.to_ascii_lowercase();
        let place = head.lines().find_map(|line| line.strip_prefix("host: ")).unwrap_or_default().to_owned();
        let login = request.lines().find(|line| line.to_ascii_lowercase().starts_with("authorization: "));
        let login = login.and_then(|line| line.split_once(": ")).map(|(_, value)| value.to_owned()).unwrap_or_default();
        let is_wanted = wanted.as_ref().is_some_and(|wanted| login.eq_ignore_ascii_case(wanted));
        let bearer = format!("WWW-Authenticate: Bearer realm=\"http://{place}/token\",service=\"x\"\r\n");
        match (head.starts_with("get /token"), token) {
            (true, _) if is_wanted => {
                answer(200, "Content-Type: application/json\r\n", &json!({"token": REGISTRY_TOKEN}).to_string())
            }
            (true, _) => answer(401, "", "who are you?"),
            (false, true) if login == format!("Bearer {REGISTRY_TOKEN}") => manifest.clone(),
            (false, true) => answer(401, &bearer, ""),
            (false, false) if is_wanted => manifest.clone(),
            (false, false) => answer(401, "WWW-Authenticate: Basic realm=\"x\"\r\n", ""),
        }
    })
    .await
}

/// One who says back all that he was told: some proxies do, when they refuse.
async fn echo(code: u16) -> Ear {
    Ear::that(move |request| {
        let login = request.lines().find(|line| line.to_ascii_lowercase().starts_with("authorization: "));
        answer(code, "", &format!("no: {}", login.unwrap_or("nothing")))
    })
    .await
}

struct Play {
    stage: Stage,
    emulator: Emulator,
}

impl Play {
    /// A Release of one workload of its own, changed by `change`.
    async fn release(&self, name: &str, change: impl FnOnce(&mut Value)) {
        let mut spec = self.stage.spec("v1", Behaviour::Ready, 1);
        spec["services"] = json!([]);
        spec["workloads"][0]["name"] = json!(name);
        spec["strategy"]["progressDeadline"] = json!("2m");
        change(&mut spec);
        self.stage.release(name, &spec).await;
    }

    async fn gated(&self, name: &str, gate: Value) {
        self.release(name, |spec| spec["gates"] = json!({"beforeSwitch": [gate]})).await;
    }

    async fn pulled(&self, name: &str, registry: &Ear, secret: Option<&str>) {
        self.release(name, |spec| {
            spec["artifacts"][0]["image"] = json!({"ref": format!("{}/shop/web:v1", registry.place())});
            if let Some(secret) = secret {
                spec["workloads"][0]["template"]["spec"]["imagePullSecrets"] = json!([{"name": secret}]);
            }
        })
        .await;
    }

    async fn pointed(&self, name: &str) {
        let parameter = format!("/shop/{}/{name}", self.stage.namespace);
        self.release(name, |spec| spec["artifacts"][0]["image"] = json!({"parameter": parameter, "resolve": "Never"})).await;
    }

    async fn secret(&self, name: &str, content: &Value) {
        let secret: Secret = stage::from(json!({"metadata": {"name": name}, "stringData": content}));
        self.stage.api::<Secret>().create(&PostParams::default(), &secret).await.unwrap();
    }

    async fn until(&self, name: &str, reason: &str) {
        let is = || async { (stage::reason(&self.stage.status(name).await, ConditionType::Ready) == reason).then_some(()) };
        self.stage.eventually(&format!("{name} is {reason}"), is).await;
    }

    async fn put(&self, name: &str, kind: &str, value: &str) {
        let name = format!("/shop/{}/{name}", self.stage.namespace);
        self.emulator.cli(&["ssm", "put-parameter", "--name", &name, "--type", kind, "--value", value]).await;
    }

    /// Everything that can be read but Secrets, by where it stands.
    fn everything(&self) -> BTreeMap<String, String> {
        let mut all = BTreeMap::new();
        for kind in [
            "releases",
            "operations",
            "events",
            "events.events.k8s.io",
            "deployments",
            "replicasets",
            "pods",
            "jobs",
            "services",
            "endpointslices",
            "controllerrevisions",
            "configmaps",
            "leases",
        ] {
            let (read, text) = self.stage.bed.kubectl(&["get", kind, "-n", &self.stage.namespace, "-o", "json"], None);
            assert!(read, "{text}");
            let list: Value = serde_json::from_str(&text).unwrap();
            for mut item in list["items"].as_array().unwrap().clone() {
                let name = format!("{kind}/{}", item["metadata"]["name"].as_str().unwrap());
                for part in ["spec", "status", "data"] {
                    all.insert(format!("{name}: {part}"), item[part].take().to_string());
                }
                all.insert(format!("{name}: the rest"), item.to_string());
            }
        }
        all.insert("log".to_owned(), around::log(&self.stage));
        all.insert("metrics".to_owned(), self.stage.controller.get("/metrics").unwrap());
        all
    }
}

/// A word that stands in a spec is where that spec goes, and nowhere else.
fn is_expected(secret: &str, place: &str) -> bool {
    let kinds = match secret {
        ENVIRONMENT => {
            ["releases/plain: spec", "deployments/plain-", "replicasets/plain-", "pods/plain-", "controllerrevisions/plain-"]
                .as_slice()
        }
        HEADER => ["releases/header: spec"].as_slice(),
        _ => [].as_slice(),
    };
    kinds.iter().any(|kind| place.starts_with(kind)) && !place.ends_with(": status") && !place.ends_with(": the rest")
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_that_is_secret_is_shown_anywhere() {
    assert_eq!(base64("bed:bed"), "YmVkOmJlZA==");
    let mut stage = Stage::new(&bed(), "canary").await;
    let aws = Ear::before(&std::env::var("AWS_ENDPOINT_URL_SSM").unwrap()).await;
    let (pull, pull_wrong) = (registry(Some(PULL), false).await, registry(None, false).await);
    let (file, file_wrong) = (registry(Some(FILE), true).await, registry(None, true).await);
    let (echoes, refuses) = (echo(200).await, echo(403).await);
    let one = r#"{"status": "success", "data": {"resultType": "scalar", "result": [1, "1"]}}"#;
    let prometheus = Ear::that(move |_| answer(200, "", one)).await;
    let collector = Ear::that(|_| answer(200, "", "{}")).await;
    let judge = Ear::that(|_| answer(200, "", r#"{"verdict": "pass", "message": "fine"}"#)).await;

    // The installation's own.
    let logins = [(&file, FILE), (&file_wrong, FILE_WRONG)]
        .map(|(place, secret)| (place.place(), json!({"auth": base64(&format!("bed:{secret}"))})));
    let credentials = around::file(&stage, "json");
    fs::write(&credentials, json!({"auths": serde_json::Map::from_iter(logins)}).to_string()).unwrap();
    let (traces, key) = (format!("http://{}", collector.place()), format!("authorization=Bearer%20{COLLECTOR}"));
    let variables = [
        ("OTEL_EXPORTER_OTLP_ENDPOINT", traces.as_str()),
        ("OTEL_EXPORTER_OTLP_HEADERS", key.as_str()),
        ("AWS_ACCESS_KEY_ID", "AKIACANARY"),
        ("AWS_SECRET_ACCESS_KEY", AWS_SECRET),
        ("AWS_SESSION_TOKEN", AWS_SESSION),
        ("BASCULE_LOG", "debug,bascule_controller=trace,bascule_core=trace,bascule_aws=trace"),
    ];
    let arguments = ["--read-pull-secrets", "--registry-credentials", &*credentials.to_string_lossy()];
    stage.controller.restart_with(&variables, &arguments).await;

    let role = json!({"region": "us-east-1", "endpoint": format!("http://{}", aws.place()), "pollInterval": "1s",
                      "roleArn": "arn:aws:iam::123456789012:role/shop", "externalId": EXTERNAL});
    let endpoints = [&echoes, &refuses, &prometheus, &judge].map(Ear::place);
    let allow = json!({"endpoints": endpoints, "parameters": [format!("/shop/{}/**", stage.namespace)]});
    let vars = json!({"user": format!("ada:{USERINFO}@")});
    environment(&stage, "", &json!({"aws": role, "allow": allow, "variables": vars})).await;
    let play = Play { stage, emulator: Emulator::of_bed() };

    // Parameters: one that looks like an image and one that does not, and one that is not allowed.
    play.put("secure", "SecureString", &format!("{SECURE}.example.com/web:v1")).await;
    play.put("secure-text", "SecureString", SECURE_TEXT).await;
    play.pointed("secure").await;
    play.pointed("secure-text").await;
    play.release("denied", |spec| spec["artifacts"][0]["image"] = json!({"parameter": "/other/image"})).await;

    // Secrets of the namespace.
    play.secret("watched", &json!({"password": WATCHED})).await;
    for (name, place, secret) in [("pull", &pull, PULL), ("pull-wrong", &pull_wrong, PULL_WRONG)] {
        let config = json!({"auths": {place.place(): {"username": "bed", "password": secret}}}).to_string();
        play.secret(name, &json!({".dockerconfigjson": config})).await;
    }
    play.secret("broken", &json!({".dockerconfigjson": format!("{{\"auths\": {{\"{PULL}\": \"{PULL}")})).await;
    play.secret("token", &json!({"token": TOKEN})).await;
    play.secret("basic", &json!({"username": "bed", "password": BASIC})).await;
    play.secret("key", &json!({"key": KEY})).await;
    play.release("watches", |spec| {
        spec["restartOn"] = json!(["Secrets"]);
        spec["workloads"][0]["template"]["spec"]["containers"][0]["envFrom"] = json!([{"secretRef": {"name": "watched"}}]);
    })
    .await;

    // Registries, with the login that is wanted and with another one.
    play.pulled("pull", &pull, Some("pull")).await;
    play.pulled("pull-wrong", &pull_wrong, Some("pull-wrong")).await;
    play.pulled("pull-broken", &pull_wrong, Some("broken")).await;
    play.pulled("file", &file, None).await;
    play.pulled("file-wrong", &file_wrong, None).await;

    // Gates.
    let ask = |ear: &Ear, secret: &str| {
        let ask = json!({"query": "up", "expect": "value > 0.0", "address": format!("http://{}", ear.place()), "secret": secret});
        json!({"name": "judge", "prometheus": ask, "interval": "1s", "timeout": "3s"})
    };
    play.gated("measured", ask(&prometheus, "token")).await;
    play.gated("measured-too", ask(&prometheus, "basic")).await;
    play.gated("echoed", ask(&echoes, "token")).await;
    play.gated("refused", ask(&refuses, "token")).await;
    play.gated("refused-too", ask(&refuses, "basic")).await;
    let signed =
        |url: &str| json!({"name": "judge", "webhook": {"url": url, "secret": "key"}, "interval": "1s", "timeout": "3s"});
    play.gated("signed", signed(&format!("http://{}/", judge.place()))).await;
    play.gated("signed-echoed", signed(&format!("http://{}/", refuses.place()))).await;
    play.gated("userinfo", signed(&format!("http://$(vars.user){}/", judge.place()))).await;

    // What stands in a spec stays there.
    play.release("plain", |spec| {
        spec["workloads"][0]["template"]["spec"]["containers"][0]["env"] = json!([{"name": "NOTE", "value": ENVIRONMENT}]);
    })
    .await;
    let headers = json!({"authorization": format!("Bearer {HEADER}")});
    let header = json!({"workload": "header", "port": 9, "headers": headers, "timeout": "1s"});
    play.gated("header", json!({"name": "judge", "http": header, "interval": "1s"})).await;
    let pods = play.stage.api::<Pod>();
    let of = ListParams::default().labels("bascule.dev/release=header");
    let pod = || async {
        pods.list(&of).await.ok()?.items.into_iter().find(|pod| pod.status.as_ref().is_some_and(|it| it.pod_ip.is_some()))
    };
    play.stage.eventually("there is a pod to ask", pod).await;

    let bad = "the URL in a spec";
    let userinfo = signed(&format!("http://ada:{USERINFO}@{}/", judge.place()));
    let mut spec = play.stage.spec("v1", Behaviour::Ready, 1);
    spec["gates"] = json!({"beforeSwitch": [userinfo]});
    assert!(play.stage.try_release("bad", &spec).await.is_err(), "{bad} has no user");

    for (name, reason) in [
        ("secure", "NotAllowed"),
        ("secure-text", "ValueInvalid"),
        ("denied", "NotAllowed"),
        ("watches", "Settled"),
        ("pull", "Settled"),
        ("pull-wrong", "ArtifactUnresolved"),
        ("pull-broken", "ArtifactUnresolved"),
        ("file", "Settled"),
        ("file-wrong", "ArtifactUnresolved"),
        ("measured", "Settled"),
        ("measured-too", "Settled"),
        ("echoed", "Rejected"),
        ("refused", "Rejected"),
        ("refused-too", "Rejected"),
        ("signed", "Settled"),
        ("signed-echoed", "Rejected"),
        ("userinfo", "GateInvalid"),
        ("plain", "Settled"),
        ("header", "Rejected"),
    ] {
        play.until(name, reason).await;
    }
    let first = play.stage.status("watches").await.active.unwrap().revision;
    let then = json!({"stringData": {"password": WATCHED_THEN}});
    play.stage.api::<Secret>().patch("watched", &PatchParams::default(), &Patch::Merge(&then)).await.unwrap();
    let another = || async {
        let status = play.stage.status("watches").await;
        (stage::is_ready(&status) && status.active?.revision != first).then_some(())
    };
    play.stage.eventually("the Secret that is watched counts", another).await;

    // They were used, or this shows nothing.
    let used = |ear: &Ear, text: &str| ear.heard().iter().any(|request| request.to_lowercase().contains(&text.to_lowercase()));
    let login = |secret: &str| format!("basic {}", base64(&format!("bed:{secret}")));
    assert!(used(&pull, &login(PULL)) && used(&pull_wrong, &login(PULL_WRONG)));
    assert!(
        used(&file, &login(FILE)) && used(&file, &format!("bearer {REGISTRY_TOKEN}")) && used(&file_wrong, &login(FILE_WRONG))
    );
    assert!(used(&prometheus, &format!("bearer {TOKEN}")) && used(&prometheus, &login(BASIC)));
    assert!(used(&echoes, &format!("bearer {TOKEN}")) && used(&refuses, &login(BASIC)));
    assert!(
        used(&judge, "bascule-signature: v1=") && used(&aws, AWS_SESSION) && used(&aws, EXTERNAL) && used(&aws, "AKIACANARY")
    );
    assert!(used(&collector, &format!("bearer {COLLECTOR}")));

    // Who is denied gets AWS' words.
    let denied = json!({"region": "us-east-1", "endpoint": std::env::var("BASCULE_AWS_STRICT").unwrap(), "pollInterval": "1s",
                        "roleArn": "arn:aws:iam::000000000000:role/shop", "externalId": EXTERNAL});
    environment(&play.stage, "", &json!({"aws": denied, "allow": allow, "variables": vars})).await;
    play.pointed("late").await;
    play.until("late", "AccessDenied").await;
    println!("{}", stage::message(&play.stage.status("late").await, ConditionType::Ready));

    let mut everything = play.everything();
    let spans = collector.heard().into_iter().filter_map(|request| Some(request.split_once("\r\n\r\n")?.1.to_owned()));
    everything.insert("traces".to_owned(), spans.collect());
    let length: usize = everything.values().map(String::len).sum();
    let mut found = Vec::new();
    for (secret, forms) in hidden() {
        let shown = everything.iter().filter(|(_, text)| forms.iter().any(|form| text.contains(form)));
        found.extend(shown.map(|(place, _)| (secret, place)).filter(|(secret, place)| !is_expected(secret, place)));
    }
    println!("{} places with {length} bytes searched for {} words", everything.len(), hidden().len());
    assert!(everything["deployments/plain-blue: spec"].contains(ENVIRONMENT), "what is searched is what there is");
    assert!(everything["log"].contains("DEBUG"), "all that can be logged is");
    assert!(found.is_empty(), "shown: {found:#?}");
    fs::remove_file(credentials).unwrap();
    play.stage.end().await;
}
