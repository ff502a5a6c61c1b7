//! Who asks what, and what is known: the memory of the hub, without tasks, time or network.
//!
//! In: questions with the key that asks them, outcomes of lookups. Out: what to start, whom to tell. Never here: I/O.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;

use super::{Answer, Failure as _, Kind};

/// `K` is the key of an asker; `T` keeps a lookup going for as long as it is held.
pub(super) struct Book<K, T, W: Kind> {
    entries: BTreeMap<W::Question, Entry<K, T, W>>,
    asked: BTreeMap<K, BTreeSet<W::Question>>,
    last_ticket: u64,
}

struct Entry<K, T, W: Kind> {
    askers: BTreeSet<K>,
    answer: Answer<W::Found>,
    failures: u32,
    /// Tells the lookup of this entry from one that was started for an earlier entry of the same question.
    ticket: u64,
    lookup: T,
}

/// What an outcome leads to.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Recorded<K> {
    /// Those who were told something else before.
    pub(super) tell: Vec<K>,
    /// Failures in a row; 0 when it is found.
    pub(super) failures: u32,
}

impl<K, T, W: Kind> Default for Book<K, T, W> {
    fn default() -> Self {
        Self { entries: BTreeMap::new(), asked: BTreeMap::new(), last_ticket: 0 }
    }
}

impl<K: Clone + Ord, T, W: Kind> Book<K, T, W> {
    /// From now on `key` asks exactly these questions; what it asked before and does not ask now is let go.
    /// `start` is called for each question that nobody else asks already.
    pub(super) fn ask(&mut self, key: &K, questions: &BTreeSet<W::Question>, mut start: impl FnMut(&W::Question, u64) -> T) {
        if self.asked.get(key).is_some_and(|before| before == questions)
            || (questions.is_empty() && !self.asked.contains_key(key))
        {
            return;
        }
        for question in questions {
            let entry = self.entries.entry(question.clone()).or_insert_with(|| {
                self.last_ticket += 1;
                let lookup = start(question, self.last_ticket);
                Entry { askers: BTreeSet::new(), answer: Answer::Pending, failures: 0, ticket: self.last_ticket, lookup }
            });
            entry.askers.insert(key.clone());
        }
        let before =
            if questions.is_empty() { self.asked.remove(key) } else { self.asked.insert(key.clone(), questions.clone()) };
        for gone in before.unwrap_or_default().difference(questions) {
            self.let_go(key, gone);
        }
    }

    /// `key` asks nothing any more.
    pub(super) fn forget(&mut self, key: &K) {
        for question in self.asked.remove(key).unwrap_or_default() {
            self.let_go(key, &question);
        }
    }

    fn let_go(&mut self, key: &K, question: &W::Question) {
        if let Some(entry) = self.entries.get_mut(question) {
            entry.askers.remove(key);
            if entry.askers.is_empty() {
                self.entries.remove(question);
            }
        }
    }

    pub(super) fn answer(&self, question: &W::Question) -> Answer<W::Found> {
        self.entries.get(question).map_or(Answer::Pending, |entry| entry.answer.clone())
    }

    /// None when nobody waits for this outcome any more.
    pub(super) fn record(
        &mut self,
        question: &W::Question,
        ticket: u64,
        outcome: Result<&W::Found, &W::Error>,
        now: Timestamp,
    ) -> Option<Recorded<K>> {
        let entry = self.entries.get_mut(question).filter(|entry| entry.ticket == ticket)?;
        let answer = match outcome {
            Ok(found) => {
                entry.failures = 0;
                Answer::Found(found.clone())
            }
            Err(error) => {
                entry.failures = entry.failures.saturating_add(1);
                let since = match entry.answer {
                    Answer::Failed { since, .. } => since,
                    Answer::Pending | Answer::Found(_) => now,
                };
                Answer::Failed { why: error.to_string(), category: error.category(), transient: error.is_transient(), since }
            }
        };
        let tell = if entry.answer == answer { Vec::new() } else { entry.askers.iter().cloned().collect() };
        entry.answer = answer;
        Some(Recorded { tell, failures: entry.failures })
    }

    /// Those of the lookups that go on.
    pub(super) fn lookups(&self, meant: impl Fn(&W::Question) -> bool) -> impl Iterator<Item = &T> {
        self.entries.iter().filter(move |(question, _)| meant(question)).map(|(_, entry)| &entry.lookup)
    }

    /// How many questions are pending, found, failed.
    #[cfg(test)]
    pub(super) fn count(&self) -> (usize, usize, usize) {
        self.entries.values().fold((0, 0, 0), |(pending, found, failed), entry| match entry.answer {
            Answer::Pending => (pending + 1, found, failed),
            Answer::Found(_) => (pending, found + 1, failed),
            Answer::Failed { .. } => (pending, found, failed + 1),
        })
    }
}

#[cfg(test)]
mod tests {
    use bascule_core::image::Digest;

    use bascule_core::sources::Wish;

    use super::*;
    use crate::sources::registry::{Access, Described, Images, LookupError, Question};

    type Notes = Book<&'static str, u64, Images>;

    const THEN: Timestamp = Timestamp::UNIX_EPOCH;

    fn question(tag: &str) -> Question {
        Question {
            registry: "ghcr.io".into(),
            repository: "shop/web".into(),
            tag: tag.into(),
            access: Access::Controller,
            aws: None,
            wish: Wish::Digest,
            written: 0,
        }
    }

    fn digest(byte: u8) -> Described {
        Digest::from_sha256([byte; 32]).into()
    }

    fn later(seconds: i64) -> Timestamp {
        Timestamp::from_second(seconds).unwrap()
    }

    /// Asks, and gives the tickets of the lookups that were started.
    fn ask(book: &mut Notes, key: &'static str, tags: &[&str]) -> Vec<u64> {
        let mut started = Vec::new();
        book.ask(&key, &tags.iter().map(|tag| question(tag)).collect(), |_, ticket| {
            started.push(ticket);
            ticket
        });
        started
    }

    #[test]
    fn a_question_of_two_askers_is_looked_up_once_and_both_are_told() {
        let mut book = Notes::default();
        assert_eq!(ask(&mut book, "a", &["v1"]), [1]);
        assert_eq!(ask(&mut book, "b", &["v1"]), [0_u64; 0]);
        assert_eq!(book.answer(&question("v1")), Answer::Pending);

        let recorded = book.record(&question("v1"), 1, Ok(&digest(1)), THEN).unwrap();
        assert_eq!(recorded, Recorded { tell: vec!["a", "b"], failures: 0 });
        assert_eq!(book.answer(&question("v1")), Answer::Found(digest(1)));
    }

    #[test]
    fn what_is_held_is_not_started_again_and_follows_what_is_found() {
        let mut book = Notes::default();
        ask(&mut book, "a", &["v1"]);
        book.record(&question("v1"), 1, Ok(&digest(1)), THEN);
        assert_eq!(book.record(&question("v1"), 1, Ok(&digest(1)), THEN).unwrap().tell, [""; 0]);
        assert_eq!(book.record(&question("v1"), 1, Ok(&digest(2)), THEN).unwrap().tell, ["a"]);
        assert_eq!(ask(&mut book, "b", &["v1"]), [0_u64; 0]);
        book.forget(&"a");
        assert_eq!(book.answer(&question("v1")), Answer::Found(digest(2)));
    }

    #[test]
    fn an_answer_goes_with_its_last_asker_and_a_late_outcome_of_the_old_lookup_is_dropped() {
        let mut book = Notes::default();
        ask(&mut book, "a", &["v1"]);
        book.forget(&"a");
        assert_eq!(book.count(), (0, 0, 0));
        assert_eq!(ask(&mut book, "a", &["v1"]), [2]);
        assert_eq!(book.record(&question("v1"), 1, Ok(&digest(1)), THEN), None);
        assert_eq!(book.answer(&question("v1")), Answer::Pending);
    }

    #[test]
    fn asking_for_other_images_lets_go_of_the_former_ones() {
        let mut book = Notes::default();
        assert_eq!(ask(&mut book, "a", &["v1", "v2"]), [1, 2]);
        assert_eq!(ask(&mut book, "a", &["v2", "v3"]), [3]);
        assert_eq!(book.count(), (2, 0, 0));
        assert_eq!(ask(&mut book, "a", &[]), [0_u64; 0]);
        assert_eq!(book.count(), (0, 0, 0));
        assert!(book.asked.is_empty());
    }

    #[test]
    fn the_same_failure_again_is_counted_but_not_told_again() {
        let mut book = Notes::default();
        ask(&mut book, "a", &["v1"]);
        let refused = LookupError::Unreachable { what: "ghcr.io: connection refused".into(), retry_after: None };
        let gone = LookupError::NotFound { repository: "ghcr.io/shop/web".into(), tag: "v1".into() };

        let first = book.record(&question("v1"), 1, Err(&refused), later(5)).unwrap();
        assert_eq!(first, Recorded { tell: vec!["a"], failures: 1 });
        let second = book.record(&question("v1"), 1, Err(&refused), later(9)).unwrap();
        assert_eq!(second, Recorded { tell: vec![], failures: 2 });
        let other = book.record(&question("v1"), 1, Err(&gone), later(20)).unwrap();
        assert_eq!(other, Recorded { tell: vec!["a"], failures: 3 });
        assert_eq!(
            book.answer(&question("v1")),
            Answer::Failed {
                why: "tag \"v1\" does not exist in ghcr.io/shop/web".into(),
                category: "NotFound",
                transient: false,
                since: later(5)
            }
        );
        assert_eq!(
            book.record(&question("v1"), 1, Ok(&digest(1)), later(30)).unwrap(),
            Recorded { tell: vec!["a"], failures: 0 }
        );
    }

    #[test]
    fn a_question_that_watches_goes_on_and_tells_what_changes() {
        let watch = Question { wish: Wish::Watch, ..question("v1") };
        let mut book = Notes::default();
        book.ask(&"a", &BTreeSet::from([watch.clone()]), |_, ticket| ticket);
        let mut record = |byte| book.record(&watch, 1, Ok(&digest(byte)), THEN).unwrap().tell;
        assert_eq!((record(1), record(1), record(2)), (vec!["a"], vec![], vec!["a"]));
        assert_eq!(book.lookups(|_| true).count(), 1);
    }
}
