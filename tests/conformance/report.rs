//! What a person sees of a run.
//!
//! In: sequences, records, differences. Out: text; and the demand that the sequences have met what they are there for. Never here:
//! deciding what differs.

use std::{collections::BTreeMap, fmt};

use crate::{
    compare::Difference,
    sequence::{Ask, Sequence, What},
    side::Record,
};

/// The sequence, what differs, and how to see it again.
pub(crate) fn differing(sequence: &Sequence, difference: &Difference) -> String {
    let step = sequence.steps.get(difference.place).map_or(0, |step| step.id);
    format!(
        "{}\n{sequence}  at step {step}\n{difference}  replay\n    BASCULE_CONFORMANCE_REPLAY='{}' cargo test -p bascule-tests --test conformance model -- --nocapture\n",
        sequence.name,
        sequence.line().replace('\'', "'\\''")
    )
}

/// Everything that both said.
pub(crate) fn replayed(sequence: &Sequence, real: &Record, model: &Record) {
    for (place, step) in sequence.steps.iter().enumerate() {
        println!("  {:>3}  {}", step.id, step.what);
        for (name, record) in [("real ", real), ("model", model)] {
            if let Some(answer) = record.answers.get(place) {
                println!("       {name}  {}  {}", answer.code, answer.body);
            }
        }
    }
}

/// Where two differ, the same for differences of the same cause: request and field.
pub(crate) fn place(sequence: &Sequence, difference: &Difference) -> String {
    let verb = sequence.steps.get(difference.place).map_or_else(String::new, |step| match &step.what {
        What::Ask(ask) => {
            let mut parts = ask.path.split("$ns/").nth(1).unwrap_or_default().split('/');
            let (plural, subresource) = (parts.next().unwrap_or_default(), parts.nth(1).unwrap_or_default());
            format!("{} {plural} {subresource}", verb(ask))
        }
        What::Watch(_) => "watch".to_owned(),
        What::Pages(_) => "pages".to_owned(),
        What::Settle(_) => "settle".to_owned(),
    });
    let (path, real, model) = difference.fields.first().cloned().unwrap_or_default();
    // Another code is another cause.
    let codes = if path.ends_with("/code") { format!(" {real}/{model}") } else { String::new() };
    format!("{verb:<30} {path}{codes}")
}

fn verb(ask: &Ask) -> &str {
    match ask.content_type.as_str() {
        "application/apply-patch+yaml" => "apply",
        "application/merge-patch+json" => "merge",
        "application/json-patch+json" => "json",
        _ => &ask.method,
    }
}

/// Says how often each cause was met, and gives the shortest sequence for each.
pub(crate) fn causes(differing: &[(Sequence, Difference)]) -> Vec<(Sequence, Difference)> {
    let mut causes: BTreeMap<String, (usize, &(Sequence, Difference))> = BTreeMap::new();
    for found in differing {
        let (_, real, model) = found.1.fields.first().cloned().unwrap_or_default();
        let short = |text: String| text.chars().take(60).collect::<String>();
        let key = format!("{}  {} / {}", place(&found.0, &found.1), short(real), short(model));
        let cause = causes.entry(key).or_insert((0, found));
        cause.0 += 1;
        if found.1.place < cause.1.1.place {
            cause.1 = found;
        }
    }
    for (what, (count, (sequence, _))) in &causes {
        println!("  {count:>4}  {:<12}  {what}", sequence.name);
    }
    causes.into_values().map(|(_, found)| found.clone()).collect()
}

/// What the sequences met on the real server.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    sequences: usize,
    steps: usize,
    /// Verb, kind and answer.
    met: BTreeMap<String, usize>,
}

impl Tally {
    pub(crate) fn count(&mut self, sequence: &Sequence, record: &Record) {
        self.sequences += 1;
        for (step, answer) in sequence.steps.iter().zip(&record.answers) {
            self.steps += 1;
            let verb = match &step.what {
                What::Ask(ask) => verb(ask),
                What::Watch(_) => "watch",
                What::Pages(_) => "pages",
                What::Settle(_) => "settle",
            };
            // An Event has a reason of its own.
            let reason = answer.body["reason"].as_str().filter(|_| answer.body["kind"] == "Status").unwrap_or_default();
            *self.met.entry(format!("{verb} {} {reason}", answer.code).trim_end().to_owned()).or_default() += 1;
        }
    }

    /// Sequences that never meet a conflict prove nothing about conflicts.
    pub(crate) fn demand(&self) {
        if self.sequences < 200 {
            return;
        }
        for must in MUST_MEET {
            assert!(self.met.contains_key(must), "no sequence has met `{must}`\n{self}");
        }
    }
}

const MUST_MEET: [&str; 27] = [
    "DELETE 200",
    "DELETE 404 NotFound",
    "DELETE 409 Conflict",
    "GET 200",
    "GET 404 NotFound",
    "GET 500 InternalError",
    "POST 201",
    "POST 409 AlreadyExists",
    "POST 422 Invalid",
    "PUT 200",
    "PUT 201",
    "PUT 404 NotFound",
    "PUT 409 Conflict",
    "PUT 422 Invalid",
    "apply 200",
    "apply 201",
    "apply 404 NotFound",
    "apply 409 Conflict",
    "apply 422 Invalid",
    "apply 500",
    "json 200",
    "merge 200",
    "merge 409 Conflict",
    "merge 422 Invalid",
    "pages 200",
    "settle 200",
    "watch 200",
];

impl fmt::Display for Tally {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(out, "{} sequences, {} steps", self.sequences, self.steps)?;
        let met: Vec<String> = self.met.iter().map(|(what, count)| format!("{what} ×{count}")).collect();
        for line in met.chunks(5) {
            writeln!(out, "  {}", line.join("  ·  "))?;
        }
        Ok(())
    }
}
