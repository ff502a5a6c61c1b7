//! Gates and hooks that a user may write: rows to choose from, and what the world says when they are asked.

use serde_json::{Value, json};

/// Rows of gates.
pub const GATES: u8 = 14;
/// Rows of hooks.
pub const HOOKS: u8 = 8;
/// The last row has a mistake in it.
const MISTAKEN_HOOKS: u8 = HOOKS - 1;
const MISTAKEN_GATES: u8 = GATES - 1;
/// Names of gates that measure something.
const MEASURED: [&str; 4] = ["smoke", "load", "errors", "verdict"];

pub fn measured(gate: u8) -> &'static str {
    MEASURED[usize::from(gate) % MEASURED.len()]
}

fn job(image: &str) -> Value {
    json!({"template": {"spec": {"containers": [{"name": "main", "image": image}]}}})
}

fn query(name: &str, interval: &str, failures: u8, timeout: &str) -> Value {
    let query = format!("{name}{{track=\"$(release.track)\"}}");
    let prometheus = json!({"query": query, "expect": "value < 0.01", "address": "http://p:9090"});
    json!({"name": name, "prometheus": prometheus, "interval": interval, "failures": failures, "timeout": timeout})
}

/// `spec.gates`.
pub fn gates(row: u8) -> Value {
    let http = |service: &str, path: &str, successes: u8| {
        let http = json!({"service": service, "path": path});
        json!({"name": "smoke", "http": http, "interval": "2s", "successes": successes, "failures": 2, "timeout": "30s"})
    };
    let smoke = || http("web", "/healthz", 2);
    let load = || query("load", "5s", 1, "20s");
    let errors = || query("errors", "10s", 2, "60s");
    let late = || query("errors", "5s", 1, "20s");
    let verdict = || json!({"name": "verdict", "webhook": {"url": "http://judge/"}, "interval": "5s", "timeout": "40s"});
    let run = |name: &str, image: &str| json!({"name": name, "job": job(image), "timeout": "30s"});
    let (before, after) = match row {
        0 => (vec![], vec![]),
        1 => (vec![smoke()], vec![]),
        2 => (vec![load()], vec![late()]),
        3 => (vec![], vec![errors()]),
        4 => (vec![run("accept", "r/accept--slow3")], vec![]),
        5 => (vec![smoke(), load(), run("accept", "r/accept")], vec![errors(), run("soak", "r/soak--slow10")]),
        6 => (vec![run("accept", "r/accept--fails")], vec![]),
        7 => (vec![], vec![run("soak", "r/soak--slow10")]),
        8 => (vec![], vec![run("soak", "r/soak--fails"), errors()]),
        // The same name as another, and asks for something else.
        9 => (vec![http("web", "/ready", 1)], vec![]),
        10 => (vec![verdict()], vec![verdict()]),
        11 => (vec![run("accept", "r/accept--hangs")], vec![]),
        12 => (vec![], vec![http("web", "/healthz", 1), late()]),
        _ => (vec![http("wbe", "/", 1)], vec![]),
    };
    json!({"beforeSwitch": before, "afterSwitch": after})
}

/// `spec.hooks`.
pub fn hooks(row: u8) -> Value {
    let hook = |name: &str, image: &str, timeout: &str| json!({"name": name, "timeout": timeout, "job": job(image)});
    let list = match row {
        0 => vec![],
        1 => vec![hook("migrate", "r/migrate:$(artifacts.web.tag)", "60s")],
        2 => vec![hook("backup", "r/backup", "60s"), hook("migrate", "r/migrate--slow3", "60s")],
        3 => vec![hook("migrate", "r/migrate--slow20", "60s")],
        4 => vec![hook("migrate", "r/migrate--fails", "60s")],
        5 => vec![hook("migrate", "r/migrate--hangs", "20s")],
        6 => vec![hook("backup", "r/backup--slow5", "60s"), hook("migrate", "r/migrate--fails", "60s")],
        _ => vec![hook("migrate", "$(artifacts.wbe.image)", "60s")],
    };
    json!({"beforeStart": list})
}

/// The rows of a user who wants no more surprises: what was written wrong is not written.
pub fn gates_without_mistakes(row: u8) -> u8 {
    if row == MISTAKEN_GATES { 0 } else { row }
}

pub fn hooks_without_mistakes(row: u8) -> u8 {
    if row == MISTAKEN_HOOKS { 0 } else { row }
}

/// It sends requests to a Service of the Release.
pub fn asks_a_service(gates: u8) -> bool {
    [1, 5, 9, 12].contains(&gates)
}
