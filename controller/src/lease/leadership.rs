//! Whether this process may write, for all who must ask before they do.
//!
//! In: from the driver, until when the lease is ours. Out: a [`Term`] to whoever begins to work, and to whoever is about to write the
//! answer whether that very term still holds. The answer is computed from the clock at that moment: no task has to run in time for a
//! lease that has run out to be noticed. Never here: a request, a log.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::time::Instant;

use crate::told::Told;

/// One uninterrupted time of leadership. What was decided in one is not carried out in another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Term(u64);

#[derive(Clone, Debug)]
pub(crate) struct Leadership {
    hold: Arc<Mutex<Hold>>,
    /// What everybody has been told; may be a moment behind `hold`.
    told: Arc<Told<Option<Term>>>,
}

#[derive(Clone, Copy, Debug)]
struct Hold {
    term: u64,
    until: Until,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Until {
    /// We do not lead.
    Past,
    At(Instant),
    /// Nobody else contends.
    Forever,
}

/// What has changed for the others, and has not been told yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Turn {
    pub(crate) lost: bool,
    pub(crate) gained: Option<Term>,
}

impl Leadership {
    /// Without an election: from the start and for ever.
    pub(crate) fn sole() -> Self {
        Self::new(Hold { term: 1, until: Until::Forever }, Some(Term(1)))
    }

    pub(crate) fn contended() -> Self {
        Self::new(Hold { term: 0, until: Until::Past }, None)
    }

    fn new(hold: Hold, told: Option<Term>) -> Self {
        Self { hold: Arc::new(Mutex::new(hold)), told: Arc::new(Told::new(told)) }
    }

    fn hold(&self) -> MutexGuard<'_, Hold> {
        self.hold.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Right now, by the clock.
    pub(crate) fn holds(&self, term: Term) -> bool {
        let hold = self.hold();
        hold.term == term.0 && hold.is_on(Instant::now())
    }

    /// Whether this process leads at this moment.
    pub(crate) fn leads_now(&self) -> bool {
        self.hold().is_on(Instant::now())
    }

    /// The term that was begun last, when it has begun.
    pub(crate) async fn gained(&self) -> Term {
        loop {
            if let Some(term) = self.told.until(Option::is_some).await {
                return term;
            }
        }
    }

    /// When everybody has been told that this term is over.
    pub(crate) async fn over(&self, term: Term) {
        self.told.until(|told| *told != Some(term)).await;
    }

    /// From now on [`Self::holds`] answers by this; the others have not been told yet.
    ///
    /// One lock for the answer and for the count of terms: if anybody was refused because the time had run out, the next one is
    /// another term, and begins with everything being looked at again.
    pub(crate) fn set(&self, until: Option<Instant>) -> Turn {
        let told = self.told.now();
        let mut hold = self.hold();
        let now = Instant::now();
        match until.filter(|until| now < *until) {
            Some(until) => {
                if !hold.is_on(now) {
                    hold.term += 1;
                }
                hold.until = Until::At(until);
            }
            None => hold.until = Until::Past,
        }
        let holds = hold.is_on(now).then_some(Term(hold.term));
        Turn { lost: told.is_some() && told != holds, gained: holds.filter(|_| told != holds) }
    }

    pub(crate) fn tell(&self, term: Option<Term>) {
        self.told.tell(term);
    }
}

impl Hold {
    fn is_on(self, now: Instant) -> bool {
        match self.until {
            Until::Past => false,
            Until::At(until) => now < until,
            Until::Forever => true,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn gain(leadership: &Leadership) -> Term {
        let turn = leadership.set(Some(Instant::now() + SECOND));
        leadership.tell(turn.gained);
        turn.gained.unwrap()
    }

    #[tokio::test(start_paused = true)]
    async fn a_term_ends_by_the_clock_alone() {
        let leadership = Leadership::contended();
        let term = gain(&leadership);
        assert!(leadership.holds(term));
        tokio::time::advance(SECOND).await;
        assert!(!leadership.holds(term), "nobody had to be told");
    }

    #[tokio::test(start_paused = true)]
    async fn a_renewal_in_time_is_the_same_term() {
        let leadership = Leadership::contended();
        let term = gain(&leadership);
        tokio::time::advance(SECOND / 2).await;
        assert_eq!(leadership.set(Some(Instant::now() + SECOND)), Turn { lost: false, gained: None });
        tokio::time::advance(SECOND / 2 + SECOND / 4).await;
        assert!(leadership.holds(term));
    }

    #[tokio::test(start_paused = true)]
    async fn a_renewal_that_comes_too_late_begins_another_term() {
        let leadership = Leadership::contended();
        let old = gain(&leadership);
        tokio::time::advance(SECOND).await;
        let turn = leadership.set(Some(Instant::now() + SECOND));
        assert!(turn.lost && turn.gained.is_some_and(|new| new != old));
        assert!(!leadership.holds(old), "what was decided before is not carried out any more");
    }

    #[tokio::test(start_paused = true)]
    async fn whoever_waits_is_told_of_the_end() {
        let leadership = Leadership::contended();
        let term = gain(&leadership);
        let waiting = tokio::spawn({
            let leadership = leadership.clone();
            async move { leadership.over(term).await }
        });
        let turn = leadership.set(None);
        assert_eq!(turn, Turn { lost: true, gained: None });
        assert!(!leadership.holds(term), "in memory first");
        leadership.tell(None);
        waiting.await.unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn without_an_election_it_is_for_ever() {
        let leadership = Leadership::sole();
        let term = leadership.gained().await;
        tokio::time::advance(SECOND * 1_000_000).await;
        assert!(leadership.holds(term));
    }
}
