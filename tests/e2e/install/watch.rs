//! Who is paged: the chart's alerts in a real Prometheus that scrapes the controller's pods, and a real Alertmanager behind it.
//!
//! In: a bed with both. Out: alerts that fire. What is to last for minutes lasts for a second here; nothing else of a rule is changed.

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
    /// The rules are those that the chart would give to the Prometheus Operator.
    pub fn begin(bed: &Bed) -> Self {
        let rendered = Command::new("helm")
            .args(["template", "bascule", "charts/bascule", "--kube-version", "1.36.3", "--show-only", "templates/alerts.yaml"])
            .args(["--set", "alerts.enabled=true,image.repository=example.org/bascule"])
            .current_dir(bed::root())
            .output()
            .unwrap();
        assert!(rendered.status.success(), "{}", String::from_utf8_lossy(&rendered.stderr));
        let mut rules: Value = serde_yaml_ng::from_slice(&rendered.stdout).unwrap();
        for group in rules["spec"]["groups"].as_array_mut().unwrap() {
            group.as_object_mut().unwrap().remove("interval");
            for rule in group["rules"].as_array_mut().unwrap().iter_mut().filter(|rule| rule["for"].is_string()) {
                rule["for"] = json!("1s");
            }
        }
        let folder = PathBuf::from(bed.variable("BASCULE_PROMETHEUS_RULES"));
        fs::write(folder.join("bascule.yaml"), rules["spec"].to_string()).unwrap();
        let watch = Self {
            prometheus: place(bed, "BASCULE_PROMETHEUS"),
            alertmanager: place(bed, "BASCULE_ALERTMANAGER"),
            targets: PathBuf::from(bed.variable("BASCULE_PROMETHEUS_TARGETS")),
        };
        assert!(ask(&watch.prometheus, "POST", "/-/reload").starts_with("HTTP/1.1 200"), "Prometheus takes the rules");
        watch
    }

    /// Scrapes these pods from now on.
    pub fn look_at(&self, addresses: &[String]) {
        let targets: Vec<_> = addresses.iter().map(|address| format!("{address}:8080")).collect();
        let said = json!([{"targets": targets, "labels": {"job": "bascule-controller-metrics"}}]);
        fs::write(self.targets.join("bascule.json"), said.to_string()).unwrap();
    }

    /// An alert of that name that Alertmanager has at this moment.
    pub fn fires(&self, name: &str) -> Option<Value> {
        let answer = ask(&self.alertmanager, "GET", "/api/v2/alerts");
        let (_, body) = answer.split_once("\r\n\r\n")?;
        let alerts: Vec<Value> = serde_json::from_str(body).ok()?;
        alerts.into_iter().find(|alert| alert["labels"]["alertname"] == name && alert["status"]["state"] == "active")
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

/// A whole answer, headers included; empty when there is none.
pub fn ask(place: &str, method: &str, path: &str) -> String {
    let ask = || -> std::io::Result<String> {
        let mut stream = TcpStream::connect(place)?;
        stream.set_read_timeout(Some(Duration::from_secs(10)))?;
        write!(stream, "{method} {path} HTTP/1.1\r\nHost: {place}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        Ok(answer)
    };
    ask().unwrap_or_default()
}
