//! A deploy as a trace, taken by the OpenTelemetry Collector's own code.

use std::{
    io::{BufRead as _, BufReader},
    process::{Child, Command, Stdio},
    sync::{Arc, Mutex},
};

use bascule_tests::{Stage, bed, stage, stage::Behaviour};
use serde_json::Value;

const BUILD: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

struct Collector {
    process: Child,
    address: String,
    spans: Arc<Mutex<Vec<Value>>>,
}

impl Collector {
    fn start() -> Self {
        let (source, program) = (bed::root().join("hack/bed/cmd/collector"), bed::root().join("target/tmp/collector"));
        let program = program.to_str().unwrap();
        let built = Command::new("go").args(["build", "-o", program, "."]).current_dir(source).output().unwrap();
        assert!(built.status.success(), "{}", String::from_utf8_lossy(&built.stderr));
        let mut collector = Command::new(program);
        let mut process =
            collector.arg("127.0.0.1:0").stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("start the collector");
        let mut first = String::new();
        BufReader::new(process.stderr.take().unwrap()).read_line(&mut first).unwrap();
        let address = first.trim().strip_prefix("listens on ").expect("it says where").to_owned();
        let (spans, lines) = (Arc::new(Mutex::new(Vec::new())), BufReader::new(process.stdout.take().unwrap()).lines());
        let heard = spans.clone();
        std::thread::spawn(move || {
            for line in lines.map_while(Result::ok) {
                heard.lock().unwrap().push(serde_json::from_str(&line).unwrap());
            }
        });
        Self { process, address, spans }
    }

    /// The deploy with this outcome and its steps, once it has been sent.
    fn deploy(&self, outcome: &str) -> Option<(Value, Vec<Value>)> {
        let spans = self.spans.lock().unwrap();
        let root = spans.iter().find(|span| span["attributes"]["bascule.outcome"] == outcome)?.clone();
        let steps = spans.iter().filter(|span| span["parent"] == root["id"]).cloned().collect();
        Some((root, steps))
    }
}

impl Drop for Collector {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn names(steps: &[Value]) -> Vec<&str> {
    steps.iter().filter_map(|step| step["name"].as_str()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deploy_goes_on_with_the_trace_of_its_build() {
    let mut stage = Stage::new(&super::bed(), "traces").await;
    let collector = Collector::start();
    stage.controller.restart_with(&[("OTEL_EXPORTER_OTLP_ENDPOINT", &format!("http://{}", collector.address))], &[]).await;
    stage.service("web").await;
    stage.release("web", &stage.spec("v1", Behaviour::Ready, 2)).await;
    let annotation = format!("bascule.dev/traceparent={BUILD}");
    let (well, text) = stage.bed.kubectl(&["-n", &stage.namespace, "annotate", "release", "web", &annotation], None);
    assert!(well, "{text}");
    stage.until("it is settled", |status| stage::is_ready(status) && status.candidate.is_none()).await;
    let (root, steps) = stage.eventually("its trace is sent", || async { collector.deploy("Settled") }).await;
    assert_eq!((root["trace"].as_str(), root["parent"].as_str()), (Some(&BUILD[3..35]), Some(&BUILD[36..52])));
    assert_eq!((root["service"].as_str(), root["failed"].as_str()), (Some("bascule-controller"), Some("")));
    assert_eq!(root["attributes"]["bascule.version"], "v1");
    assert_eq!(names(&steps), ["Starting", "Verifying", "Baking"]);
    let (from, to) = (root["from"].as_i64().unwrap(), root["to"].as_i64().unwrap());
    assert!(steps.iter().all(|step| step["from"].as_i64().unwrap() >= from && step["to"].as_i64().unwrap() <= to), "{steps:?}");

    stage.release("web", &stage.spec("v2", Behaviour::Dies(1), 2)).await;
    let (root, steps) = stage.eventually("the trace of the bad one is sent", || async { collector.deploy("SwitchedBack") }).await;
    assert!(root["failed"].as_str().unwrap().starts_with("BakeFailed: "), "{root}");
    let failed: Vec<_> = steps.iter().filter(|step| step["failed"] != "").filter_map(|step| step["name"].as_str()).collect();
    assert_eq!(failed, ["Baking"], "where it failed");
    stage.end().await;
}
