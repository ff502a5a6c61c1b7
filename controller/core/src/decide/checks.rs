//! Gates and hooks as they were written: what is wrong with them, with the path of the field.
//!
//! Asked at every decision, so that a mistake is a condition within a second of the write and not a failed release at night.

use bascule_crds::{Gate, GateStage, Gates, Hook, HttpGate, JobTemplate};
use bascule_expressions::{Expression, Kind, check_query};
use jiff::SignedDuration;
use serde_json::Value;

use super::{Decision, gates, hooks, jobs::told};
use crate::{
    gate::checks,
    revision::open_variables,
    variables::{Variables, quoted, substitute, substitute_text},
};

impl Decision<'_> {
    /// The first mistake.
    pub(super) fn check_gates(&self) -> Option<String> {
        let spec = &self.observed.release.spec;
        if spec.hooks.before_start.is_empty() && spec.gates == Gates::default() {
            return None;
        }
        let variables = self.known_variables();
        let mut hooks = spec.hooks.before_start.iter();
        let wrong = hooks.find_map(|hook| check_hook(hook, variables.as_ref()));
        wrong.or_else(|| {
            let before = spec.gates.before_switch.iter().map(|gate| (GateStage::BeforeSwitch, gate));
            let mut all = before.chain(spec.gates.after_switch.iter().map(|gate| (GateStage::AfterSwitch, gate)));
            all.find_map(|(stage, gate)| self.check_gate(gate, stage, variables.as_ref()))
        })
    }

    /// Of one that is about to be asked.
    pub(super) fn mistake(&self, gate: &Gate, stage: GateStage) -> Option<String> {
        self.check_gate(gate, stage, self.known_variables().as_ref())
    }

    /// Of one that is about to run. It is said, and waited for: nothing has run, so nothing has failed.
    pub(super) fn hook_is_wrong(&mut self, hook: &Hook) -> bool {
        let Some(why) = check_hook(hook, self.known_variables().as_ref()) else { return false };
        self.stall("GateInvalid", why);
        true
    }

    /// None: what they stand for is known when the artifacts are. Until then what can be read without them is checked.
    fn known_variables(&self) -> Option<Variables> {
        open_variables(self.observed, &self.wanted.as_ref().ok()?.artifacts).ok()
    }

    fn check_gate(&self, gate: &Gate, stage: GateStage, variables: Option<&Variables>) -> Option<String> {
        let path = &gates::field(gate, stage);
        let text = |field: &str, text: &str| resolved(text, &format!("{path}.{field}"), variables);
        let result = if let Some(http) = &gate.http {
            let expected =
                http.expect.as_deref().map_or(Ok(()), |text| expression(text, Kind::Http, &format!("{path}.http.expect")));
            expected.and_then(|()| self.check_target(http, path)).and_then(|()| {
                let texts = [("http.path", Some(&http.path)), ("http.body", http.body.as_ref())];
                let headers = http.headers.iter().map(|(name, value)| (format!("http.headers[{name}]"), value));
                let texts = texts.into_iter().filter_map(|(field, it)| Some((field.to_owned(), it?)));
                texts.chain(headers).try_for_each(|(field, it)| text(&field, it).map(drop))
            })
        } else if let Some(prometheus) = &gate.prometheus {
            let expected = expression(&prometheus.expect, Kind::Prometheus, &format!("{path}.prometheus.expect"));
            let place = self.prometheus_address(prometheus).map(drop).map_err(|why| format!("{path}.prometheus.address: {why}"));
            let quoted = variables.map(quoted);
            let query = || resolved(&prometheus.query, &format!("{path}.prometheus.query"), quoted.as_ref());
            expected.and(place).and_then(|()| query()).and_then(|query| {
                let wrong = query.and_then(|query| check_query(&query).err()).filter(|error| !error.may_be_newer());
                wrong.map_or(Ok(()), |error| Err(format!("{path}.prometheus.query: {error}")))
            })
        } else if let Some(webhook) = &gate.webhook {
            text("webhook.url", &webhook.url).map(drop)
        } else {
            gate.job.as_ref().and_then(|template| job(template, &format!("{path}.job"), variables)).map_or(Ok(()), Err)
        };
        let filled = |text: &str| substitute_text(text, "", variables?).ok();
        let result = result.and_then(|()| self.check_counts(gate, stage, path));
        result.err().or_else(|| checks::request(gate, path, filled))
    }

    /// So many answers must fit into the time that it has.
    fn check_counts(&self, gate: &Gate, stage: GateStage, path: &str) -> Result<(), String> {
        let pauses = i32::try_from(gate.successes().saturating_sub(1)).unwrap_or(i32::MAX);
        let least = gate.interval().get().checked_mul(pauses).unwrap_or(SignedDuration::MAX);
        let timeout = self.timeout_of(gate, stage);
        if gate.job.is_some() || least < timeout {
            return Ok(());
        }
        let (successes, interval) = (gate.successes(), told(gate.interval().get()));
        Err(format!(
            "{path}.successes: {successes} answers, one every {interval}, do not fit into the timeout of {}",
            told(timeout)
        ))
    }

    fn check_target(&self, http: &HttpGate, path: &str) -> Result<(), String> {
        let spec = &self.observed.release.spec;
        let service = http.service.as_ref().filter(|name| spec.services.iter().all(|it| it.name != **name));
        if let Some(name) = service {
            return Err(format!("{path}.http.service: {name} is none of spec.services"));
        }
        let workload = http.workload.as_ref().filter(|name| spec.workloads.iter().all(|it| it.name != **name));
        workload.map_or(Ok(()), |name| Err(format!("{path}.http.workload: {name} is none of spec.workloads")))
    }
}

fn expression(text: &str, kind: Kind, path: &str) -> Result<(), String> {
    Expression::parse(text, kind).map(drop).map_err(|error| format!("{path}: {error}"))
}

/// None: what stands in it is not known yet.
fn resolved(text: &str, path: &str, variables: Option<&Variables>) -> Result<Option<String>, String> {
    match variables {
        Some(variables) => substitute_text(text, path, variables).map(Some).map_err(|error| error.to_string()),
        None => Ok((!text.contains("$(")).then(|| text.to_owned())),
    }
}

fn check_hook(hook: &Hook, variables: Option<&Variables>) -> Option<String> {
    job(&hook.job, &format!("{}.job", hooks::field(&hook.name)), variables)
}

/// A pod template must at least have containers, and no name that stands for nothing.
fn job(template: &JobTemplate, path: &str, variables: Option<&Variables>) -> Option<String> {
    let path = format!("{path}.template");
    let containers = template.template.pointer("/spec/containers").and_then(Value::as_array);
    if containers.is_none_or(Vec::is_empty) {
        return Some(format!("{path}.spec.containers: a pod needs at least one container"));
    }
    substitute(&template.template, &path, variables?).err().map(|error| error.to_string())
}
