//! Who is paged: the chart's alerts in a real Prometheus that scrapes controllers, and a real Alertmanager behind it.
//!
//! In: a bed with both. Out: alerts that fire. What is to last for minutes lasts for a second here; nothing else of a rule is changed,
//! but for what the test names.

use std::{
    fs,
    io::{Read as _, Write as _},
    net::TcpStream,
    path::PathBuf,
    process::Command,
    time::Duration,
};

use bascule_tests::{Bed, bed};
use serde_json::{Value, json};

#[derive(Debug)]
pub struct Watch {
    prometheus: String,
    alertmanager: String,
    targets: PathBuf,
}

impl Watch {
    /// The rules are those that the chart would give to the Prometheus Operator. In their expressions each first text becomes the second;
    /// one that is nowhere is out of date.
    pub fn begin(bed: &Bed, changed: &[(&str, &str)]) -> Self {
        let rendered = Command::new("helm")
            .args(["template", "bascule", "charts/bascule", "--kube-version", "1.36.3", "--show-only", "templates/alerts.yaml"])
            .args(["--set", "alerts.enabled=true,image.repository=example.org/bascule"])
            .current_dir(bed::root())
            .output()
            .unwrap();
        assert!(rendered.status.success(), "{}", String::from_utf8_lossy(&rendered.stderr));
        let mut rules: Value = serde_yaml_ng::from_slice(&rendered.stdout).unwrap();
        let mut met = vec![false; changed.len()];
        for group in rules["spec"]["groups"].as_array_mut().unwrap() {
            group.as_object_mut().unwrap().remove("interval");
            for rule in group["rules"].as_array_mut().unwrap().iter_mut().filter(|rule| rule["for"].is_string()) {
                rule["for"] = json!("1s");
            }
            for rule in group["rules"].as_array_mut().unwrap().iter_mut().filter(|rule| rule["alert"].is_string()) {
                for ((from, to), met) in changed.iter().zip(&mut met) {
                    let expression = rule["expr"].as_str().unwrap().to_owned();
                    *met |= expression.contains(from);
                    rule["expr"] = json!(expression.replace(from, to));
                }
            }
        }
        assert!(met.iter().all(|met| *met), "{changed:?}: {met:?}");
        let folder = PathBuf::from(bed.variable("BASCULE_PROMETHEUS_RULES"));
        fs::write(folder.join("bascule.yaml"), rules["spec"].to_string()).unwrap();
        let watch = Self {
            prometheus: place(bed, "BASCULE_PROMETHEUS"),
            alertmanager: place(bed, "BASCULE_ALERTMANAGER"),
            targets: PathBuf::from(bed.variable("BASCULE_PROMETHEUS_TARGETS")),
        };
        assert!(ask(&watch.prometheus, "POST", "/-/reload").starts_with("HTTP/1.0 200"), "Prometheus takes the rules");
        watch
    }

    /// Scrapes these from now on, each as host:port, and nothing else.
    pub fn look_at(&self, addresses: &[String]) {
        let said = json!([{"targets": addresses, "labels": {"job": "bascule-controller-metrics"}}]);
        let (file, whole) = (self.targets.join("bascule.json"), self.targets.join("bascule.new"));
        fs::write(&whole, said.to_string()).unwrap();
        fs::rename(whole, file).unwrap();
    }

    /// What Alertmanager has at this moment.
    pub fn active(&self) -> Vec<Value> {
        let answer = ask(&self.alertmanager, "GET", "/api/v2/alerts");
        let body = answer.split_once("\r\n\r\n").map_or("", |(_, body)| body);
        let alerts: Vec<Value> = serde_json::from_str(body).unwrap_or_else(|why| panic!("Alertmanager: {why}: {answer}"));
        alerts.into_iter().filter(|alert| alert["status"]["state"] == "active").collect()
    }

    /// An alert of that name, with at least these labels.
    pub fn fires(&self, name: &str, labels: &[(&str, &str)]) -> Option<Value> {
        let has = |alert: &Value| labels.iter().all(|(label, value)| alert["labels"][label] == *value);
        self.active().into_iter().find(|alert| alert["labels"]["alertname"] == name && has(alert))
    }

    pub fn end(&self, bed: &Bed) {
        let _ = fs::remove_file(self.targets.join("bascule.json"));
        let _ = fs::remove_file(PathBuf::from(bed.variable("BASCULE_PROMETHEUS_RULES")).join("bascule.yaml"));
        ask(&self.prometheus, "POST", "/-/reload");
    }
}

/// The page that its link leads to is a file of this tree.
pub fn has_a_runbook(alert: &Value) {
    let link = alert["annotations"]["runbook_url"].as_str().unwrap();
    let page = link.strip_prefix("https://bascule.dev/").unwrap_or_else(|| panic!("{link} leads elsewhere"));
    assert!(bed::root().join(page).is_file(), "there is no {page}");
}

fn place(bed: &Bed, variable: &str) -> String {
    bed.variable(variable).trim_start_matches("http://").to_owned()
}

/// A whole answer, headers included; empty when there is none. Of the older HTTP, so that it comes in one piece.
pub fn ask(place: &str, method: &str, path: &str) -> String {
    let ask = || -> std::io::Result<String> {
        let mut stream = TcpStream::connect(place)?;
        stream.set_read_timeout(Some(Duration::from_secs(10)))?;
        write!(stream, "{method} {path} HTTP/1.0\r\nHost: {place}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        Ok(answer)
    };
    ask().unwrap_or_default()
}
