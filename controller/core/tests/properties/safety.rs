//! The safety invariants of the design, one property each, over histories that the controller sees only in part.

use proptest::prelude::*;

use crate::{
    generate::half_seen,
    play::{holds, property},
    world::Rule,
};

const CASES: u32 = 30;

fn over_half_seen_histories(rule: Rule) {
    property(&format!("{rule:?}"), CASES, &(any::<bool>(), half_seen()), |(policy, events)| holds(rule, policy, &events));
}

#[test]
fn s1_traffic_points_only_at_what_was_fully_ready() {
    over_half_seen_histories(Rule::S1);
}

#[test]
fn no_one_who_sees_an_old_state_does_harm() {
    over_half_seen_histories(Rule::Old);
}

#[test]
fn s2_a_rollback_comes_before_anything_else() {
    over_half_seen_histories(Rule::S2);
}

#[test]
fn s3_what_has_traffic_or_may_get_it_back_is_changed_in_nothing_but_replicas() {
    over_half_seen_histories(Rule::S3);
}

#[test]
fn s4_what_is_unknown_ends_nothing_and_passes_nothing() {
    over_half_seen_histories(Rule::S4);
}

#[test]
fn s5_a_late_write_that_moves_or_destroys_does_not_land() {
    over_half_seen_histories(Rule::S5);
}

#[test]
fn s6_what_was_rejected_does_not_come_back_by_itself() {
    over_half_seen_histories(Rule::S6);
}

#[test]
fn s7_nothing_that_was_asked_is_done_twice() {
    over_half_seen_histories(Rule::S7);
}

#[test]
fn status_says_where_traffic_is() {
    over_half_seen_histories(Rule::Truth);
}

#[test]
fn a_decision_comes_to_an_end_whatever_is_seen() {
    over_half_seen_histories(Rule::Rests);
}
