//! Gates: what a candidate must pass before it gets the traffic, and while it has it.
//!
//! A gate has no default answer. Before the switch each verdict is written into the status before traffic goes by it; during the bake
//! the last samples count, so that a new process begins to count anew. What cannot be measured is no yes, and after the gate's
//! time-out it is a no.

use bascule_crds::{
    Candidate, Each, Gate, GateRecord, GateStage, GateState, HttpGate, JobRecord, JobTemplate, PrometheusGate, Scheme, Track,
    WebhookGate, names,
};
use jiff::SignedDuration;
use serde_json::{Value, json};

use super::{
    Decision,
    jobs::{Outcome, Wanted, told},
    later, note,
};
use crate::{
    gate::{Ask, Door, HttpAsk, Port, Probe, ProbeId, PrometheusAsk, Samples, Target, Verdict, WebhookAsk},
    mutant::{self, Mutant},
    observed::{Claim, ServiceForm, ServicePort, Sight},
    plan::NoteKind,
    revision::{short_hash, variables_of},
    variables::{Variables, quoted, substitute_text},
};

/// What all gates of a stage come to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Gated {
    Passed,
    /// Why not yet.
    NotYet(String),
    Failed(String),
}

/// What a good answer to a request is, unless somebody says.
const GOOD_STATUS: &str = "status >= 200 && status < 300";
/// What a gate says is written again at most this often: numbers move all the time.
const SAY_AGAIN: SignedDuration = SignedDuration::from_secs(15);

impl Decision<'_> {
    fn gates(&self, candidate: &Candidate, stage: GateStage) -> Vec<Gate> {
        // It was gated when it was released, and its pods have run since.
        if candidate.rollback.as_ref().is_some_and(|it| it.warm) {
            return Vec::new();
        }
        let gates = &self.observed.release.spec.gates;
        match stage {
            GateStage::BeforeSwitch => gates.before_switch.clone(),
            GateStage::AfterSwitch => gates.after_switch.clone(),
        }
    }

    /// What nobody could ask or run is said when it is written, not when it is needed: nothing starts before it is put right.
    pub(super) fn gates_are_wrong(&mut self) -> bool {
        let Some(why) = self.check_gates() else { return false };
        self.stall("GateInvalid", why);
        true
    }

    /// Its pods are ready: are its gates passed? Asks what must be asked for it.
    pub(super) fn gated(&mut self, candidate: &Candidate) -> Gated {
        let gates = self.gates(candidate, GateStage::BeforeSwitch);
        if gates.is_empty() || mutant::is(Mutant::SkipGates) {
            return Gated::Passed;
        }
        self.begin_gates(candidate, GateStage::BeforeSwitch);
        let (mut all, mut open) = (true, Vec::new());
        for gate in &gates {
            // Said as it will be said in a moment: the status is not written for less.
            let Some(known) = current(candidate, GateStage::BeforeSwitch, gate) else {
                all = false;
                open.push(format!("gate {}", gate.name));
                continue;
            };
            match known.state {
                GateState::Passed => continue,
                GateState::Failed => return Gated::Failed(format!("gate {}: {}", gate.name, known.message)),
                GateState::Running => all = false,
            }
            match self.verdict(candidate, gate, known) {
                // What has passed is in the status before traffic goes by it.
                Gated::Passed => {
                    self.pass(known);
                    let message = format!("gate {} of {} ({})", gate.name, candidate.version, candidate.revision);
                    self.record_notes.push(note(NoteKind::GatePassed, message));
                }
                Gated::NotYet(why) => {
                    let said = self.say_gate(known, why).map(|said| format!(": {said}")).unwrap_or_default();
                    open.push(format!("gate {}{said}", gate.name));
                }
                Gated::Failed(why) => {
                    self.mark(known, GateState::Failed, why.clone());
                    return Gated::Failed(format!("gate {}: {why}", gate.name));
                }
            }
        }
        if all { Gated::Passed } else { Gated::NotYet(open.join("; ")) }
    }

    /// It has the traffic: do its gates say well? Asks all of them, to the end of the bake.
    pub(super) fn watched(&mut self, candidate: &Candidate) -> Gated {
        let gates = self.gates(candidate, GateStage::AfterSwitch);
        // One may have been written since; what the others say counts all the same.
        self.begin_gates(candidate, GateStage::AfterSwitch);
        let (mut all, mut open, mut failed) = (true, Vec::new(), None);
        for gate in &gates {
            let Some(known) = current(candidate, GateStage::AfterSwitch, gate) else {
                all = false;
                continue;
            };
            match self.verdict(candidate, gate, known) {
                Gated::Passed if gate.job.is_some() && known.state == GateState::Running => self.pass(known),
                Gated::Passed => {}
                Gated::NotYet(why) => {
                    all = false;
                    // That it is asked goes without saying: the first answer is there in a moment.
                    open.extend(self.say_gate(known, why).map(|said| format!("gate {}: {said}", gate.name)));
                }
                Gated::Failed(why) => {
                    failed.get_or_insert(format!("gate {}: {why}", gate.name));
                }
            }
        }
        match failed {
            Some(why) => Gated::Failed(why),
            None if all => Gated::Passed,
            None => Gated::NotYet(open.join("; ")),
        }
    }

    /// From here on their time-outs count. What was said to another question than is asked now counts for nothing.
    pub(super) fn begin_gates(&mut self, candidate: &Candidate, stage: GateStage) {
        let gates = self.gates(candidate, stage);
        let now = self.now;
        let Some(next) = &mut self.next.candidate else { return };
        for gate in &gates {
            if current(next, stage, gate).is_some() {
                continue;
            }
            next.gates.retain(|record| record.stage != stage || record.name != gate.name);
            next.gates.push(GateRecord {
                stage,
                name: gate.name.clone(),
                state: GateState::Running,
                message: String::new(),
                at: None,
                since: now,
                question: Some(question(gate)),
                job: None,
            });
            self.must_record = true;
        }
    }

    /// While nobody asks no time runs out: what is open begins anew. A Job goes on by itself.
    pub(super) fn forget_open_gates(&mut self) {
        if let Some(candidate) = &mut self.next.candidate {
            candidate.gates.retain(|record| record.state != GateState::Running || record.job.is_some());
        }
    }

    /// While a person holds it nothing is asked, and what runs goes on: how it ended is kept before Kubernetes tidies it away.
    pub(super) fn follow_gate_jobs(&mut self, candidate: &Candidate) {
        for gate in self.gates(candidate, GateStage::BeforeSwitch) {
            let known = current(candidate, GateStage::BeforeSwitch, &gate);
            let Some(known) = known.filter(|it| it.state == GateState::Running && it.job.is_some()) else { continue };
            match self.verdict(candidate, &gate, known) {
                Gated::Passed => self.pass(known),
                Gated::Failed(why) => self.mark(known, GateState::Failed, why),
                Gated::NotYet(_) => {}
            }
        }
    }

    fn verdict(&mut self, candidate: &Candidate, gate: &Gate, known: &GateRecord) -> Gated {
        // A mistake in the spec is no answer of the version.
        if known.job.is_none()
            && known.state == GateState::Running
            && let Some(why) = self.mistake(gate, known.stage)
        {
            self.stall("GateInvalid", why.clone());
            return Gated::NotYet(why);
        }
        let timeout = self.timeout_of(gate, known.stage);
        if let Some(why) = self.hidden(gate, known.stage) {
            return Gated::NotYet(why);
        }
        if let Some(template) = &gate.job {
            return self.job_verdict(candidate, gate, template, known);
        }
        match self.probe(candidate, gate, known.stage) {
            Ok(probe) => {
                let verdict = self.count(gate, known, timeout, &probe);
                self.probes.push(probe);
                verdict
            }
            // Nothing to ask with is nothing that was answered.
            Err(why) => self.without_answer(known, timeout, why),
        }
    }

    /// After the switch there is time for the whole bake, and for what it takes to answer once more after a restart.
    pub(super) fn timeout_of(&self, gate: &Gate, stage: GateStage) -> SignedDuration {
        let bake = self.observed.release.spec.strategy.bake.get();
        let pause = gate.interval().get();
        match stage {
            GateStage::BeforeSwitch => gate.timeout.get(),
            GateStage::AfterSwitch => gate.timeout.get().max(bake.saturating_add(pause).saturating_add(pause)),
        }
    }

    fn count(&mut self, gate: &Gate, known: &GateRecord, timeout: SignedDuration, probe: &Probe) -> Gated {
        let samples = self.observed.samples.iter().find(|samples| samples.id == probe.id);
        // Time in which nobody asked is not the candidate's: after an outage, or while it was held.
        let Some(Samples { passes, failures, last, began, good, .. }) = samples else {
            return Gated::NotYet(String::new());
        };
        let good = good.filter(|_| known.stage == GateStage::AfterSwitch);
        let known = &GateRecord { since: known.since.max(*began).max(good.unwrap_or(*began)), ..known.clone() };
        if *failures >= gate.failures() {
            let why = if let Verdict::Fail(why) = last { why.clone() } else { format!("{failures} bad samples") };
            return Gated::Failed(why);
        }
        if *passes >= gate.successes() || (mutant::is(Mutant::NoDataIsGood) && matches!(last, Verdict::Unknown(_))) {
            return Gated::Passed;
        }
        let why = match last {
            Verdict::Pass => format!("{passes} good answers in a row, and {} are asked for", gate.successes()),
            Verdict::Fail(why) | Verdict::Unknown(why) => why.clone(),
        };
        self.without_answer(known, timeout, why)
    }

    fn without_answer(&mut self, known: &GateRecord, timeout: SignedDuration, why: String) -> Gated {
        let end = later(known.since, timeout);
        if self.now >= end {
            let why = if why.is_empty() { "it has not answered".to_owned() } else { why };
            return Gated::Failed(format!("no good answer within {}: {why}", told(timeout)));
        }
        self.look_at(end);
        Gated::NotYet(why)
    }

    fn job_verdict(&mut self, candidate: &Candidate, gate: &Gate, template: &JobTemplate, known: &GateRecord) -> Gated {
        if known.state == GateState::Passed {
            return Gated::Passed;
        }
        let wanted = Wanted {
            kind: "gate",
            field: field(gate, known.stage),
            attempt: candidate.started_at.to_string(),
            name: &gate.name,
            template,
            timeout: gate.timeout.get(),
            since: known.since,
            record: known.job.as_ref(),
        };
        let name = self.job_name(candidate, &wanted);
        let begun = known.job.is_some() || self.observed.jobs.known().is_none_or(|jobs| jobs.contains_key(&name));
        if !begun && let Err(why) = self.previews_show(candidate) {
            return self.without_answer(known, gate.timeout.get(), why);
        }
        match self.run(candidate, &wanted) {
            Outcome::Pending => Gated::NotYet(known.message.clone()),
            Outcome::Running => Gated::NotYet("its Job runs".to_owned()),
            Outcome::Created(job) => {
                self.keep_job(known, job);
                Gated::NotYet("its Job runs".to_owned())
            }
            Outcome::Succeeded(job, words) => {
                self.keep_job(known, job);
                if let Some(record) = self.next_record(known) {
                    record.message = words;
                }
                Gated::Passed
            }
            Outcome::Failed(job, why) => {
                self.keep_job(known, job);
                Gated::Failed(why)
            }
            Outcome::Lost(why) => Gated::Failed(why),
        }
    }

    fn keep_job(&mut self, known: &GateRecord, job: JobRecord) {
        if let Some(record) = self.next_record(known)
            && record.job.as_ref() != Some(&job)
        {
            record.job = Some(job);
            self.must_record = true;
        }
    }

    /// Of a Job its last words are kept.
    fn pass(&mut self, known: &GateRecord) {
        let words = self.next_record(known).filter(|record| record.job.is_some()).map(|record| record.message.clone());
        self.mark(known, GateState::Passed, words.unwrap_or_default());
    }

    fn mark(&mut self, known: &GateRecord, state: GateState, message: String) {
        let now = self.now;
        if let Some(record) = self.next_record(known) {
            record.state = state;
            record.message = message;
            record.at = Some(now);
            self.must_record = true;
        }
    }

    /// What it says, in the status and in one line: not each number that it says. None: nothing yet.
    fn say_gate(&mut self, known: &GateRecord, why: String) -> Option<String> {
        let now = self.now;
        let mut said = known.message.clone();
        let due = known.at.map_or(now, |at| later(at, SAY_AGAIN));
        if why != said && !why.is_empty() {
            self.look_at(due);
            if now >= due {
                said.clone_from(&why);
                if let Some(record) = self.next_record(known) {
                    record.message = why;
                    record.at = Some(now);
                }
            }
        }
        (!said.is_empty()).then_some(said)
    }

    fn next_record(&mut self, known: &GateRecord) -> Option<&mut GateRecord> {
        let gates = &mut self.next.candidate.as_mut()?.gates;
        gates.iter_mut().find(|record| record.stage == known.stage && record.name == known.name)
    }

    /// The pod template hashes of the candidate's ReplicaSets, as PromQL matches them: pods are called by them.
    pub(super) fn pod_hash(&self, candidate: &Candidate) -> String {
        let sets = self.observed.replica_sets.known().into_iter().flatten();
        let ours = sets.filter(|set| set.track == Some(candidate.track) && set.revision == candidate.revision);
        let mut hashes: Vec<_> = ours.filter_map(|set| set.name.rsplit_once('-')).map(|(_, hash)| hash.to_owned()).collect();
        hashes.sort();
        hashes.dedup();
        hashes.join("|")
    }

    /// What the question depends on cannot be seen at the moment: that is nobody's silence, whatever the time is.
    fn hidden(&self, gate: &Gate, stage: GateStage) -> Option<String> {
        fn why<T>(sight: &Sight<T>) -> Option<String> {
            if let Sight::Unknown(why) = sight { Some(why.clone()) } else { None }
        }
        let observed = self.observed;
        // One of somebody else is no part of it.
        let preview = |service: &String| {
            let preview = (stage == GateStage::BeforeSwitch).then(|| names::preview(service));
            preview.filter(|preview| self.is_own(preview).is_ok())
        };
        let told = observed.release.spec.services.iter().map(|it| &it.name).filter(|_| gate.job.is_some());
        let services = gate.http.iter().filter_map(|http| http.service.as_ref()).chain(told);
        let mut services = services.flat_map(|service| [Some(service.clone()), preview(service)]).flatten();
        why(&observed.environment).or_else(|| why(&observed.replica_sets)).or_else(|| {
            services.find_map(|name| why(observed.services.get(&name)?).or_else(|| why(observed.endpoints.get(&name)?)))
        })
    }

    /// What is to be asked, or why that cannot be said.
    fn probe(&self, candidate: &Candidate, gate: &Gate, stage: GateStage) -> Result<Probe, String> {
        let variables = variables_of(self.observed, candidate, &self.pod_hash(candidate))?;
        let (ask, within) = if let Some(http) = &gate.http {
            (Ask::Http(self.http(candidate, http, stage, &variables)?), http.timeout)
        } else if let Some(prometheus) = &gate.prometheus {
            (Ask::Prometheus(self.prometheus(prometheus, &variables)?), prometheus.timeout)
        } else if let Some(webhook) = &gate.webhook {
            (Ask::Webhook(self.webhook(candidate, gate, webhook, stage, &variables)?), webhook.timeout)
        } else {
            return Err("it asks nothing".to_owned());
        };
        let id = ProbeId {
            revision: candidate.revision.clone(),
            attempt: candidate.started_at,
            stage,
            name: gate.name.clone(),
            question: short_hash(format!("{ask:?}")),
        };
        Ok(Probe { id, ask, every: gate.interval().get(), within: within.get() })
    }

    fn http(&self, candidate: &Candidate, http: &HttpGate, stage: GateStage, variables: &Variables) -> Result<HttpAsk, String> {
        let text = |text: &str| substitute_text(text, "", variables).map_err(|error| error.message);
        let headers = http.headers.iter().map(|(name, value)| Ok((name.clone(), text(value)?)));
        Ok(HttpAsk {
            to: self.target(candidate, http, stage)?,
            tls: http.scheme == Scheme::Https,
            method: http.method,
            path: text(&http.path)?,
            headers: headers.collect::<Result<_, String>>()?,
            body: http.body.as_deref().map(text).transpose()?,
            expect: http.expect.clone().unwrap_or_else(|| GOOD_STATUS.to_owned()),
        })
    }

    /// Through the preview where there is one, as users would; else to the pods themselves.
    fn target(&self, candidate: &Candidate, http: &HttpGate, stage: GateStage) -> Result<Target, String> {
        let spec = &self.observed.release.spec;
        let labels = |workload: Option<&str>| {
            let own = [
                (names::RELEASE, self.observed.release.name.as_str()),
                (names::TRACK, candidate.track.as_str()),
                (names::REVISION, candidate.revision.as_str()),
            ];
            let all = own.into_iter().chain(workload.map(|workload| (names::WORKLOAD, workload)));
            all.map(|(key, value)| (key.to_owned(), value.to_owned())).collect::<std::collections::BTreeMap<_, _>>()
        };
        let Some(name) = &http.service else {
            let port = http.port.as_ref().and_then(pod_port).ok_or("its port is no port")?;
            return Ok(Target::Pods { labels: labels(http.workload.as_deref()), port, each: http.each });
        };
        let Some(Sight::Known(Some(service))) = self.observed.services.get(name) else {
            return Err(format!("Service {name} is not there"));
        };
        let is_meant = |port: &&ServicePort| match &http.port {
            None => true,
            Some(Value::String(named)) => port.name.as_ref() == Some(named),
            Some(number) => number.as_i64() == Some(i64::from(port.port)),
        };
        let Some(port) = service.ports.iter().find(is_meant) else {
            let asked = http.port.as_ref().map_or_else(|| "port".to_owned(), |port| format!("port {port}"));
            return Err(format!("Service {name} has no {asked}"));
        };
        let number = u16::try_from(port.port).map_err(|_| format!("port {} of Service {name} is none", port.port))?;
        let through = match stage {
            // Without an address of its own there is nothing but its pods.
            GateStage::AfterSwitch => (service.form != ServiceForm::Headless).then(|| name.clone()),
            GateStage::BeforeSwitch => spec.preview.then(|| names::preview(name)),
        };
        if let Some(through) = through.filter(|_| http.each == Each::Any) {
            if stage == GateStage::BeforeSwitch {
                self.is_own(&through)?;
            }
            self.shows(&through, candidate.track, stage)?;
            return Ok(Target::Service { name: through, port: number });
        }
        let port = port.target_port.as_ref().and_then(pod_port).unwrap_or(Port::Number(number));
        let mut labels = labels(None);
        labels.extend(service.base_selector());
        Ok(Target::Pods { labels, port, each: http.each })
    }

    /// What a Job is told of answers for the candidate, and for nobody else.
    fn previews_show(&self, candidate: &Candidate) -> Result<(), String> {
        if mutant::is(Mutant::JobBeforePreview) {
            return Ok(());
        }
        self.addresses().into_iter().try_for_each(|(service, _)| {
            let preview = names::preview(&service);
            self.is_own(&preview)?;
            self.shows(&preview, candidate.track, GateStage::BeforeSwitch)
        })
    }

    fn is_own(&self, preview: &str) -> Result<(), String> {
        let seen = self.observed.services.get(preview).and_then(|sight| sight.known()?.as_ref());
        let is_foreign = seen.is_some_and(|it| it.owner.as_deref() != Some(self.observed.release.uid.as_str()));
        if is_foreign { Err(format!("Service {preview} is not managed by this Release")) } else { Ok(()) }
    }

    /// It sends to the candidate, and to nobody else.
    fn shows(&self, service: &str, track: Track, stage: GateStage) -> Result<(), String> {
        let seen = self.observed.services.get(service).and_then(|sight| sight.known()?.as_ref());
        let Some(seen) = seen else { return Err(format!("Service {service} is not there yet")) };
        if seen.selected() != Some(track.as_str()) {
            return Err(format!("Service {service} does not send to {track} yet"));
        }
        let sets = self.observed.replica_sets.known().into_iter().flatten().filter(|set| set.track != Some(track));
        let others: Vec<_> = sets.map(|set| set.name.as_str()).collect();
        match self.observed.endpoints.get(service).and_then(Sight::known) {
            _ if stage == GateStage::AfterSwitch => Ok(()),
            Some(endpoints) if endpoints.ready.is_empty() || endpoints.any_of(others.into_iter()) => {
                Err(format!("the endpoints of Service {service} are not those of {track} yet"))
            }
            Some(_) => Ok(()),
            None => Err(format!("the endpoints of Service {service} are not known yet")),
        }
    }

    pub(super) fn prometheus_address(&self, gate: &PrometheusGate) -> Result<String, String> {
        let configured = self.environment_spec().and_then(|spec| spec.prometheus.address.as_ref());
        let address = gate.address.as_ref().or(configured).cloned();
        address.ok_or_else(|| "it names none, and the Environment has no spec.prometheus.address".to_owned())
    }

    fn prometheus(&self, gate: &PrometheusGate, variables: &Variables) -> Result<PrometheusAsk, String> {
        let configured = self.environment_spec().map(|spec| &spec.prometheus);
        let own = gate.address.clone();
        let address = self.prometheus_address(gate)?;
        let namespace = self.observed.release.namespace.clone();
        let of_release = |name: &String| bascule_crds::SecretReference { namespace: namespace.clone(), name: name.clone() };
        let secret = if own.is_some() {
            gate.secret.as_ref().map(of_release)
        } else {
            // The platform team's token is for the platform team's address only.
            configured.and_then(|it| it.secret.clone())
        };
        let query = substitute_text(&gate.query, "", &quoted(variables)).map_err(|error| error.message)?;
        Ok(PrometheusAsk { address, secret, query, expect: gate.expect.clone(), door: self.door() })
    }

    fn webhook(
        &self,
        candidate: &Candidate,
        gate: &Gate,
        webhook: &WebhookGate,
        stage: GateStage,
        variables: &Variables,
    ) -> Result<WebhookAsk, String> {
        let release = &self.observed.release;
        let url = substitute_text(&webhook.url, "", variables).map_err(|error| error.message)?;
        let secret = webhook
            .secret
            .as_ref()
            .map(|name| bascule_crds::SecretReference { namespace: release.namespace.clone(), name: name.clone() });
        let body = json!({
            "release": release.name,
            "namespace": release.namespace,
            "environment": self.environment_name(),
            "gate": gate.name,
            "stage": stage,
            "revision": candidate.revision,
            "version": candidate.version,
            "track": candidate.track,
            "attempt": candidate.started_at,
            "artifacts": candidate.artifacts,
        });
        Ok(WebhookAsk { url, secret, body, door: self.door() })
    }

    fn door(&self) -> Door {
        let spec = self.environment_spec();
        Door {
            namespace: self.observed.release.namespace.clone(),
            configured: spec.and_then(|spec| spec.prometheus.address.clone()),
            endpoints: spec.and_then(|spec| spec.allow.endpoints.clone()).unwrap_or_default(),
        }
    }

    fn environment_spec(&self) -> Option<&bascule_crds::EnvironmentSpec> {
        match self.observed.environment.known() {
            Some(Claim::Of { spec, .. }) => Some(spec),
            _ => None,
        }
    }

    fn environment_name(&self) -> Option<&str> {
        match self.observed.environment.known() {
            Some(Claim::Of { name, .. }) => Some(name),
            _ => None,
        }
    }
}

/// As it stands in the Release.
pub(super) fn field(gate: &Gate, stage: GateStage) -> String {
    let stage = match stage {
        GateStage::BeforeSwitch => "beforeSwitch",
        GateStage::AfterSwitch => "afterSwitch",
    };
    format!("spec.gates.{stage}[{}]", gate.name)
}

/// Another text is another question.
fn question(gate: &Gate) -> String {
    short_hash(serde_json::to_string(gate).unwrap_or_default())
}

/// What is known of this very gate. A Job has run, whatever has become of its template.
fn current<'a>(candidate: &'a Candidate, stage: GateStage, gate: &Gate) -> Option<&'a GateRecord> {
    let known = record(candidate, stage, &gate.name)?;
    let same = known.question.as_ref().is_none_or(|known| *known == question(gate));
    (same || known.job.is_some() || mutant::is(Mutant::KeepPassed)).then_some(known)
}

fn record<'a>(candidate: &'a Candidate, stage: GateStage, name: &str) -> Option<&'a GateRecord> {
    candidate.gates.iter().find(|record| record.stage == stage && record.name == name)
}

fn pod_port(port: &Value) -> Option<Port> {
    match port {
        Value::String(name) => Some(Port::Name(name.clone())),
        number => Some(Port::Number(u16::try_from(number.as_i64()?).ok()?)),
    }
}
