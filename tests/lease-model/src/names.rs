//! One name for what is the same: a state is recognised although more time has passed, or more writes have been made, before it.
//!
//! Versions, terms and moments only matter by their order and their age. So versions and terms are numbered by rank among those that
//! anybody still knows, ages beyond all that is ever asked for count as one, and mail is sorted.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use crate::{
    election::{Moment, Record, Reply, Sent, Times, Version},
    world::{Mail, NOW, Pace, ReplyKey, World},
};

impl World {
    /// All clocks go on.
    pub(crate) fn tick(&mut self, paces: &[Pace], times: Times) {
        let steps: Vec<u64> = paces.iter().map(|pace| if self.odd { pace.1 } else { pace.0 }).collect();
        self.odd = !self.odd && paces.iter().any(|pace| pace.0 != pace.1);
        // Nobody asks whether something is longer ago than this.
        let oldest = NOW.0.saturating_sub(times.duration);
        let latest_of_use = NOW.0.saturating_sub(times.give_up);
        let aged = |place: usize| {
            let step = Duration::from_secs(steps[place]);
            move |moment: Moment| Moment(moment.0.saturating_sub(step).max(oldest))
        };
        for (place, process) in self.processes.iter_mut().enumerate() {
            if let Some(process) = process {
                process.election = process.election.mapped(aged(place), str::to_owned);
                process.election.expire(NOW);
            }
        }
        for mail in &mut self.mail {
            let place = mail.owner();
            if let Mail::Ask { sent, .. } | Mail::Answer { sent, .. } = mail {
                sent.0.at = Moment(aged(place)(sent.0.at).0.max(latest_of_use));
            }
        }
        self.count_terms();
    }

    /// Versions of the Lease that anybody has seen or is about to see. The time of renewal is the version of that write.
    pub(crate) fn shown_versions(&self) -> impl Iterator<Item = u64> {
        let seen = self.processes.iter().flatten().filter_map(|process| process.election.seen());
        let answers = self.mail.iter().filter_map(|mail| match mail {
            Mail::Answer { reply: ReplyKey(Reply::Shown(record)), .. } => Some(record),
            _ => None,
        });
        let records =
            seen.chain(answers).chain(&self.lease).chain(self.sights.iter().flatten().filter_map(|sight| sight.0.as_ref()));
        records.filter_map(|record| record.version.0.parse().ok())
    }

    fn map_versions(&mut self, name: &dyn Fn(&str) -> String) {
        let version = |version: &Version| Version(name(&version.0));
        let record = |record: &mut Record| {
            record.version = version(&record.version);
            record.renewed = name(&record.renewed);
        };
        self.lease.iter_mut().for_each(record);
        self.sights.iter_mut().flatten().filter_map(|sight| sight.0.as_mut()).for_each(record);
        for process in self.processes.iter_mut().flatten() {
            process.election = process.election.mapped(|moment| moment, name);
        }
        let request = |sent: &Sent| Sent { at: sent.at, request: sent.request.clone().mapped(version) };
        for mail in &mut self.mail {
            match mail {
                Mail::Ask { sent, .. } => sent.0 = request(&sent.0),
                Mail::Answer { sent, reply, .. } => {
                    sent.0 = request(&sent.0);
                    if let Reply::Shown(shown) = &mut reply.0 {
                        record(shown);
                    }
                }
                Mail::Switch { .. } => {}
            }
        }
    }

    /// The same world under the names that every world like it has.
    #[must_use]
    pub(crate) fn named(mut self) -> Self {
        // A version that only requests still name can never be met again: which one it was makes no difference.
        let rank = ranks(self.shown_versions().collect());
        self.map_versions(&|text| {
            text.parse().ok().and_then(|known: u64| rank.get(&known)).map_or_else(String::new, u64::to_string)
        });

        // The same for the Service: a write was decided on it as it is, or on what is no more.
        let decided = |on: u64| u64::from(on == self.service.version);
        let mut terms = BTreeSet::from([self.service.term]);
        terms.extend(self.processes.iter().flatten().filter_map(|process| process.term));
        for mail in &self.mail {
            if let Mail::Switch { term, .. } = mail {
                terms.insert(*term);
            }
        }
        let terms = ranks(terms);
        self.service.term = terms[&self.service.term];
        for process in self.processes.iter_mut().flatten() {
            process.term = process.term.map(|term| terms[&term]);
        }
        for mail in &mut self.mail {
            if let Mail::Switch { on, term, .. } = mail {
                *on = decided(*on);
                *term = terms[term];
            }
        }
        self.service.version = 1;
        self.mail.sort();
        self
    }
}

fn ranks(known: BTreeSet<u64>) -> BTreeMap<u64, u64> {
    known.into_iter().zip(1..).collect()
}
