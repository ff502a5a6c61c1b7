//! Who wants which parameter of one scope, what is known, and what is to be asked next: the memory of the hub, without tasks or network.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use bascule_core::{Answer, Parameter, sources::ParameterName};
use jiff::{SignedDuration, Timestamp};
use tokio::time::Instant;

use super::{AT_MOST, Batch, SourceError};

/// A parameter that somebody wants, and the version of it that they follow.
pub(super) type Wanted = BTreeMap<ParameterName, Option<i64>>;

/// A failure that time may heal is told after this time: until then the last answer is good.
const GOOD_FOR: SignedDuration = SignedDuration::from_secs(60);

/// Reasons that time does not heal.
const PERMANENT: [&str; 2] = ["AccessDenied", "RequestRefused"];

pub(super) type Known = Answer<Option<Parameter>>;

#[derive(Debug)]
pub(super) struct Book<K> {
    entries: BTreeMap<ParameterName, Entry<K>>,
    /// What each key wants, and how often.
    askers: BTreeMap<K, (Wanted, Duration)>,
    /// When everything is read again.
    next_round: Instant,
    /// Names that were asked for so far.
    turns: u64,
    /// Once through all of them.
    sweep: Option<Sweep>,
}

#[derive(Debug)]
struct Sweep {
    began: Instant,
    /// What was asked for before it.
    turns: u64,
    calls: u32,
}

/// Every parameter has been asked for once.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Swept {
    pub(crate) took: Duration,
    pub(crate) calls: u32,
    pub(crate) parameters: usize,
}

#[derive(Debug)]
struct Entry<K> {
    askers: BTreeSet<K>,
    answer: Known,
    /// When AWS answered last.
    answered: Option<Timestamp>,
    /// To be asked now.
    due: bool,
    /// When it was asked last, in turns: a round that takes longer than its interval must not begin with the same names for ever.
    turn: u64,
    /// Not together with others: an answer about ten is refused for the sake of one.
    alone: bool,
    /// The first of the failures in a row.
    failing: Option<Timestamp>,
}

impl<K: Clone + Ord> Book<K> {
    pub(super) fn new(now: Instant) -> Self {
        Self { entries: BTreeMap::new(), askers: BTreeMap::new(), next_round: now, turns: 0, sweep: None }
    }

    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// From now on `key` wants exactly these. True when there is something new to ask.
    pub(super) fn ask(&mut self, key: &K, names: &Wanted, every: Duration, now: Instant) -> bool {
        let wish = (names.clone(), every);
        if self.askers.get(key) == Some(&wish) {
            return false;
        }
        // Who wants it sooner does not wait for the end of a longer interval.
        let mut new = !names.is_empty() && now + every < self.next_round;
        if new {
            self.next_round = now + every;
        }
        for name in names.keys() {
            let entry = self.entries.entry(name.clone()).or_insert_with(|| {
                new = true;
                Entry {
                    askers: BTreeSet::new(),
                    answer: Answer::Pending,
                    answered: None,
                    due: true,
                    turn: 0,
                    alone: false,
                    failing: None,
                }
            });
            entry.askers.insert(key.clone());
        }
        let before = if names.is_empty() { self.askers.remove(key) } else { self.askers.insert(key.clone(), wish) };
        let before = before.map(|(names, _)| names).unwrap_or_default();
        for gone in before.keys().filter(|name| !names.contains_key(name)) {
            if let Some(entry) = self.entries.get_mut(gone) {
                entry.askers.remove(key);
                if entry.askers.is_empty() {
                    self.entries.remove(gone);
                }
            }
        }
        new
    }

    /// The oldest answer that somebody goes by.
    pub(super) fn oldest_answer(&self) -> Option<Timestamp> {
        self.entries.values().filter_map(|entry| entry.answered).min()
    }

    pub(super) fn answer(&self, name: &ParameterName) -> Known {
        self.entries.get(name).map_or(Answer::Pending, |entry| entry.answer.clone())
    }

    /// What is to be asked now: at most ten, and no two versions of one parameter, whose answers could not be told apart.
    pub(super) fn batch(&mut self, now: Instant) -> Vec<ParameterName> {
        if now >= self.next_round {
            let every = self.askers.values().map(|(_, every)| *every).min().unwrap_or(Duration::from_secs(60));
            self.next_round = now + every;
            self.entries.values_mut().for_each(|entry| entry.due = true);
            self.sweep.get_or_insert(Sweep { began: now, turns: self.turns, calls: 0 });
        }
        let mut bases = BTreeSet::new();
        let mut names = Vec::new();
        // What was never answered comes first: somebody waits for it. Then what was asked longest ago.
        let mut due: Vec<_> = self.entries.iter().filter(|(_, entry)| entry.due).collect();
        due.sort_by_key(|(_, entry)| (entry.answer != Answer::Pending, entry.turn));
        for (name, entry) in due {
            if names.len() < AT_MOST && (!entry.alone || names.is_empty()) && bases.insert(name.short()) {
                names.push(name.clone());
                if entry.alone {
                    break;
                }
            }
        }
        if let Some(sweep) = self.sweep.as_mut().filter(|_| !names.is_empty()) {
            sweep.calls += 1;
        }
        for name in &names {
            self.turns += 1;
            if let Some(entry) = self.entries.get_mut(name) {
                // A hint that comes while it is on its way makes it due again.
                (entry.turn, entry.due) = (self.turns, false);
            }
        }
        names
    }

    /// Whether a sweep has come to its end since this was asked last.
    pub(super) fn swept(&mut self, now: Instant) -> Option<Swept> {
        let sweep = self.sweep.take_if(|sweep| self.entries.values().all(|entry| entry.turn > sweep.turns))?;
        let (calls, parameters) = (sweep.calls, self.entries.len());
        (calls > 0).then(|| Swept { took: now.duration_since(sweep.began), calls, parameters })
    }

    /// Somebody may have written it: it is asked for now. True: somebody wants it.
    pub(super) fn hint(&mut self, name: &str) -> bool {
        let meant = self.entries.iter_mut().filter(|(known, _)| known.short() == name);
        meant.map(|(_, entry)| entry.due = true).count() > 0
    }

    /// Versions that somebody will follow and does not yet.
    pub(super) fn news(&self, batch: &Batch) -> Vec<(ParameterName, i64)> {
        let is_news = |name: &ParameterName, parameter: &Parameter| {
            let known = matches!(self.answer(name), Answer::Known(Some(before)) if before.version == parameter.version);
            let askers = self.entries.get(name).map(|entry| &entry.askers);
            let follows = |key: &K| self.askers.get(key).and_then(|(wanted, _)| *wanted.get(name)?) == Some(parameter.version);
            !known && askers.is_some_and(|askers| !askers.iter().all(follows))
        };
        let news = batch.found.iter().filter(|(name, parameter)| is_news(name, parameter));
        news.map(|(name, parameter)| (name.clone(), parameter.version)).collect()
    }

    /// When there will be something to ask.
    pub(super) fn next_at(&self) -> Instant {
        self.next_round
    }

    /// Gives those who were told something else before.
    pub(super) fn record(
        &mut self,
        asked: &[ParameterName],
        outcome: &Result<Batch, SourceError>,
        now: Timestamp,
    ) -> BTreeSet<K> {
        let mut tell = BTreeSet::new();
        let single = asked.len() == 1;
        // Nobody is asked for the others while it fails: they are as old as these.
        let all = matches!(outcome, Err(error) if error.is_transient());
        let concerned = |name: &ParameterName, entry: &Entry<K>| asked.contains(name) || (all && entry.due);
        let askers = &self.askers;
        for (name, entry) in &mut self.entries {
            if !concerned(name, entry) {
                continue;
            }
            let before = entry.answer.clone();
            // Who follows a version of it can do without an answer for a while.
            let follows = |key: &K| askers.get(key).is_some_and(|(wanted, _)| wanted.get(name).is_some_and(Option::is_some));
            let patient = matches!(entry.answer, Answer::Known(_)) || entry.askers.iter().all(follows);
            match outcome {
                Ok(batch) => match batch.found.get(name) {
                    Some(parameter) => entry.known(Some(parameter.clone()), now),
                    None if batch.missing.contains(name) => entry.known(None, now),
                    None => {
                        entry.failed(name, "HalfAnswer", "Parameter Store did not mention it in its answer", true, patient, now);
                        // It must not hold up the others: by itself, and in the next round.
                        (entry.due, entry.alone) = (false, true);
                    }
                },
                // One of them spoils it for the others: each is asked by itself.
                Err(error) if !error.is_transient() && !single => (entry.alone, entry.due) = (true, true),
                Err(error) => {
                    entry.alone |= !error.is_transient();
                    entry.failed(name, error.reason(), &error.to_string(), error.is_transient(), patient, now);
                }
            }
            if entry.answer != before {
                tell.extend(entry.askers.iter().cloned());
            }
        }
        tell
    }
}

impl<K> Entry<K> {
    fn known(&mut self, mut parameter: Option<Parameter>, now: Timestamp) {
        // Who wrote it is asked once.
        if let (Some(after), Answer::Known(Some(before))) = (&mut parameter, &self.answer)
            && after.modified_by.is_none()
            && (after.version, after.modified_at) == (before.version, before.modified_at)
        {
            after.modified_by.clone_from(&before.modified_by);
        }
        self.answer = Answer::Known(parameter);
        self.answered = Some(now);
        (self.alone, self.failing) = (false, None);
    }

    fn failed(&mut self, name: &ParameterName, reason: &'static str, why: &str, transient: bool, patient: bool, now: Timestamp) {
        self.due |= transient;
        let since = *self.failing.get_or_insert(now);
        let told = match &self.answer {
            // One outage has many faces: what was told of it first is good until it is over.
            Answer::Failed { reason: told, .. } => *told == reason || (transient && !PERMANENT.contains(told)),
            _ if transient && patient && now.duration_since(since) < GOOD_FOR => return,
            _ => false,
        };
        if !told {
            let since = since.strftime("%Y-%m-%dT%H:%M:%SZ");
            self.answer = Answer::Failed { reason, message: format!("parameter {name} cannot be read since {since}: {why}") };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> ParameterName {
        ParameterName::parse(text).unwrap()
    }

    fn set(texts: &[&str]) -> BTreeSet<ParameterName> {
        texts.iter().map(|text| name(text)).collect()
    }

    fn names(texts: &[&str]) -> Wanted {
        texts.iter().map(|text| (name(text), None)).collect()
    }

    fn parameter(value: &str, version: i64) -> Parameter {
        Parameter { value: value.into(), version, secure: false, modified_at: None, modified_by: None }
    }

    fn found(texts: &[&str]) -> Batch {
        Batch { found: texts.iter().map(|text| (name(text), parameter("v1", 1))).collect(), missing: BTreeSet::new() }
    }

    const EVERY: Duration = Duration::from_secs(15);

    fn at(secs: i64) -> Timestamp {
        Timestamp::from_second(secs).unwrap()
    }

    #[test]
    fn a_parameter_of_two_askers_is_asked_once_and_both_are_told() {
        let now = Instant::now();
        let mut book = Book::new(now);
        assert!(book.ask(&"a", &names(&["/web"]), EVERY, now));
        assert!(!book.ask(&"b", &names(&["/web"]), EVERY, now));
        assert_eq!(book.batch(now), [name("/web")]);
        assert_eq!(book.record(&[name("/web")], &Ok(found(&["/web"])), at(0)), BTreeSet::from(["a", "b"]));
        assert!(book.batch(now).is_empty());
        assert_eq!(book.batch(now + EVERY).len(), 1);
        assert!(book.record(&[name("/web")], &Ok(found(&["/web"])), at(15)).is_empty());
    }

    #[test]
    fn ten_at_once_the_unanswered_first_and_no_parameter_twice() {
        let now = Instant::now();
        let mut book = Book::new(now);
        let many: Vec<String> = (10..35).map(|n| format!("/web/{n}")).collect();
        let many: Vec<&str> = many.iter().map(String::as_str).collect();
        book.ask(&"a", &names(&many), EVERY, now);
        let first = book.batch(now);
        assert_eq!(first.len(), 10);
        book.record(
            &first,
            &Ok(Batch { found: first.iter().map(|it| (it.clone(), parameter("x", 1))).collect(), ..Batch::default() }),
            at(0),
        );
        assert_eq!(book.batch(now).len(), 10);
        let mut book = Book::new(now);
        book.ask(&"a", &names(&["/web:1", "/web:live"]), EVERY, now);
        assert_eq!(book.batch(now).len(), 1);
    }

    #[test]
    fn one_that_is_denied_does_not_spoil_the_others() {
        let now = Instant::now();
        let mut book = Book::new(now);
        book.ask(&"a", &names(&["/evil", "/good"]), EVERY, now);
        let both = book.batch(now);
        assert_eq!(both.len(), 2);
        let denied = || Err(SourceError::Denied("not authorized".into()));
        assert!(book.record(&both, &denied(), at(0)).is_empty());
        let first = book.batch(now);
        assert_eq!(first, [name("/evil")]);
        assert_eq!(book.record(&first, &denied(), at(0)).len(), 1);
        let second = book.batch(now);
        assert_eq!(second, [name("/good")]);
        book.record(&second, &Ok(found(&["/good"])), at(0));
        assert!(matches!(book.answer(&name("/evil")), Answer::Failed { reason: "AccessDenied", .. }));
        assert!(matches!(book.answer(&name("/good")), Answer::Known(Some(_))));
        // In the next round too.
        assert_eq!(book.batch(now + EVERY).len(), 1);
    }

    #[test]
    fn a_short_failure_is_not_told_and_a_long_one_once() {
        let now = Instant::now();
        let mut book = Book::new(now);
        let web = [name("/web")];
        book.ask(&"a", &names(&["/web"]), EVERY, now);
        book.record(&web, &Ok(found(&["/web"])), at(0));
        let down = |why: &str| Err(SourceError::Unreachable(why.into()));
        assert!(book.record(&web, &down("refused"), at(15)).is_empty());
        assert!(book.record(&web, &down("refused"), at(45)).is_empty());
        assert_eq!(book.record(&web, &down("time-out"), at(80)).len(), 1);
        assert!(book.record(&web, &down("refused"), at(100)).is_empty());
        let Answer::Failed { message, .. } = book.answer(&web[0]) else { panic!() };
        assert_eq!(message, "parameter /web cannot be read since 1970-01-01T00:00:15Z: time-out");
        assert_eq!(book.record(&web, &Ok(found(&["/web"])), at(120)).len(), 1);
    }

    #[test]
    fn what_is_not_even_asked_for_while_nobody_answers_is_as_old_as_the_rest() {
        let now = Instant::now();
        let mut book = Book::new(now);
        let many: Vec<String> = (10..35).map(|n| format!("/web/{n}")).collect();
        let many: Vec<&str> = many.iter().map(String::as_str).collect();
        book.ask(&"a", &names(&many), EVERY, now);
        for _ in 0..3 {
            let batch = book.batch(now);
            let found = batch.iter().map(|it| (it.clone(), parameter("x", 1))).collect();
            book.record(&batch, &Ok(Batch { found, ..Batch::default() }), at(0));
        }
        assert!(book.batch(now).is_empty());
        for secs in [15, 80] {
            let batch = book.batch(now + EVERY);
            book.record(&batch, &Err(SourceError::Unreachable("down".into())), at(secs));
        }
        assert!(many.iter().all(|text| matches!(book.answer(&name(text)), Answer::Failed { reason: "Unreachable", .. })));
    }

    #[test]
    fn a_name_that_is_left_out_does_not_hold_up_the_others() {
        let now = Instant::now();
        let mut book = Book::new(now);
        let both = [name("/a"), name("/b")];
        book.ask(&"k", &names(&["/a", "/b"]), EVERY, now);
        assert_eq!(book.batch(now), both);
        book.record(&both, &Ok(found(&["/a"])), at(0));
        assert!(book.batch(now).is_empty(), "not again in this round");
        assert!(matches!(book.answer(&both[1]), Answer::Failed { reason: "HalfAnswer", .. }));
        assert_eq!(book.batch(now + EVERY), [name("/a")]);
        book.record(&both[..1], &Ok(found(&["/a"])), at(15));
        assert_eq!(book.batch(now + EVERY), [name("/b")]);
    }

    #[test]
    fn a_half_answer_is_no_news_and_a_missing_one_is() {
        let now = Instant::now();
        let mut book = Book::new(now);
        let both = [name("/a"), name("/b")];
        book.ask(&"k", &names(&["/a", "/b"]), EVERY, now);
        book.record(&both, &Ok(found(&["/a", "/b"])), at(0));
        let half = Batch { missing: set(&["/b"]), ..Batch::default() };
        assert_eq!(book.record(&both, &Ok(half), at(15)).len(), 1);
        assert!(matches!(book.answer(&both[0]), Answer::Known(Some(_))));
        assert_eq!(book.answer(&both[1]), Answer::Known(None));
    }

    #[test]
    fn what_nobody_wants_any_more_is_let_go() {
        let now = Instant::now();
        let mut book = Book::new(now);
        book.ask(&"a", &names(&["/a", "/b"]), EVERY, now);
        book.ask(&"a", &names(&["/b"]), EVERY, now);
        assert_eq!(book.answer(&name("/a")), Answer::Pending);
        book.ask(&"a", &Wanted::new(), EVERY, now);
        assert!(book.is_empty() && book.askers.is_empty());
    }

    #[test]
    fn a_sweep_is_over_when_every_parameter_was_asked_for_once() {
        let now = Instant::now();
        let mut book = Book::new(now);
        let many: Vec<String> = (10..35).map(|n| format!("/web/{n}")).collect();
        book.ask(&"a", &names(&many.iter().map(String::as_str).collect::<Vec<_>>()), EVERY, now);
        for call in 1..=3 {
            assert_eq!(book.swept(now), None);
            assert!(!book.batch(now + Duration::from_secs(call)).is_empty());
            book.entries.values_mut().filter(|entry| entry.turn > 0).for_each(|entry| entry.due = false);
        }
        let took = Duration::from_secs(3);
        assert_eq!(book.swept(now + took), Some(Swept { took: Duration::from_secs(2), calls: 3, parameters: 25 }));
        assert_eq!(book.swept(now + took), None);
    }

    #[test]
    fn a_hint_makes_a_parameter_due_and_others_not() {
        let now = Instant::now();
        let mut book = Book::new(now);
        let arn = "arn:aws:ssm:us-east-1:123456789012:parameter/web";
        book.ask(&"a", &names(&["/web:live", arn, "/other"]), EVERY, now);
        for _ in 0..2 {
            let batch = book.batch(now);
            let found = batch.iter().map(|it| (it.clone(), parameter("x", 1))).collect();
            book.record(&batch, &Ok(Batch { found, ..Batch::default() }), at(0));
        }
        assert!(book.batch(now).is_empty());
        assert!(book.hint("/web") && !book.hint("/nobody"));
        assert_eq!(book.entries.values().filter(|entry| entry.due).count(), 2);
    }

    #[test]
    fn who_wrote_it_is_asked_of_what_nobody_follows_yet_and_kept() {
        let now = Instant::now();
        let mut book = Book::new(now);
        let web = [name("/web")];
        book.ask(&"a", &BTreeMap::from([(web[0].clone(), Some(1))]), EVERY, now);
        let batch = |version, by: Option<&str>| {
            let parameter = Parameter { modified_by: by.map(str::to_owned), ..parameter("x", version) };
            Batch { found: BTreeMap::from([(web[0].clone(), parameter)]), ..Batch::default() }
        };
        assert!(book.news(&batch(1, None)).is_empty());
        assert_eq!(book.news(&batch(2, None)), [(web[0].clone(), 2)]);
        book.record(&web, &Ok(batch(2, Some("ci"))), at(0));
        assert!(book.news(&batch(2, None)).is_empty(), "it was asked once");
        assert!(book.record(&web, &Ok(batch(2, None)), at(15)).is_empty());
        assert!(matches!(book.answer(&web[0]), Answer::Known(Some(it)) if it.modified_by.as_deref() == Some("ci")));
    }

    #[test]
    fn an_outage_of_many_faces_is_told_once() {
        let now = Instant::now();
        let mut book = Book::new(now);
        let web = [name("/web")];
        book.ask(&"a", &names(&["/web"]), EVERY, now);
        book.record(&web, &Ok(found(&["/web"])), at(0));
        let errors = [SourceError::Throttled("slow down".into()), SourceError::Unreachable("500".into())];
        let times = (10..400).step_by(10).zip(errors.iter().cycle());
        let told: usize = times.map(|(secs, error)| book.record(&web, &Err(error.clone()), at(secs)).len()).sum();
        assert_eq!(told, 1);
        assert_eq!(book.record(&web, &Err(SourceError::Denied("no".into())), at(400)).len(), 1, "this is something else");
        assert_eq!(book.record(&web, &Ok(found(&["/web"])), at(410)).len(), 1);
    }

    #[test]
    fn who_follows_a_version_is_not_troubled_by_the_first_minute_after_a_restart() {
        let now = Instant::now();
        let mut book = Book::new(now);
        let web = [name("/web")];
        book.ask(&"a", &BTreeMap::from([(web[0].clone(), Some(3))]), EVERY, now);
        let down = || Err(SourceError::Unreachable("500".into()));
        assert!(book.record(&web, &down(), at(0)).is_empty() && book.record(&web, &down(), at(50)).is_empty());
        assert_eq!(book.record(&web, &down(), at(61)).len(), 1);
        // Who has nothing is told at once.
        let mut book = Book::new(now);
        book.ask(&"a", &names(&["/web"]), EVERY, now);
        assert_eq!(book.record(&web, &down(), at(0)).len(), 1);
    }

    #[test]
    fn a_hint_that_comes_while_it_is_asked_is_not_lost() {
        let now = Instant::now();
        let mut book = Book::new(now);
        book.ask(&"a", &names(&["/web"]), EVERY, now);
        let batch = book.batch(now);
        assert!(book.hint("/web"));
        book.record(&batch, &Ok(found(&["/web"])), at(0));
        assert_eq!(book.batch(now), [name("/web")]);
    }

    #[test]
    fn a_shorter_interval_holds_at_once() {
        let now = Instant::now();
        let mut book = Book::new(now);
        book.ask(&"a", &names(&["/web"]), Duration::from_secs(3600), now);
        let batch = book.batch(now);
        book.record(&batch, &Ok(found(&["/web"])), at(0));
        assert!(book.ask(&"a", &names(&["/web"]), EVERY, now));
        assert_eq!(book.next_at(), now + EVERY);
        assert_eq!(book.batch(now + EVERY).len(), 1);
    }
}
