//! Every transition, told as a story of one contender `me` on the machine's own clock, with what the API server would answer.

use super::*;

const ZERO: Moment = Moment(Duration::ZERO);
const DURATION: u64 = 4_000;
const RENEW: u64 = 800;
const GIVE_UP: u64 = 2_500;
const ANSWER: u64 = 1_000;
const RETRY: u64 = 400;

fn ms(millis: u64) -> Moment {
    Moment(Duration::from_millis(millis))
}

fn record(holder: &str, version: u64) -> Record {
    Record {
        uid: "u".into(),
        version: Version(version.to_string()),
        holder: holder.into(),
        duration: Some(Duration::from_millis(DURATION)),
        renewed: format!("renewed with {version}"),
        transitions: 3,
    }
}

fn contender() -> Election {
    Election::new("me".into(), Times::default())
}

/// What it sends now; anything else fails the test.
fn sends(election: &mut Election, now: Moment) -> Sent {
    match election.next(now) {
        Next::Send(sent) => sent,
        other => panic!("it should send something, not {other:?}"),
    }
}

fn waits_until(election: &mut Election, now: Moment) -> Option<Moment> {
    match election.next(now) {
        Next::Wait(until) => until,
        other => panic!("it should wait, not {other:?}"),
    }
}

fn known(version: u64) -> (String, Version) {
    ("u".into(), Version(version.to_string()))
}

fn renewal(version: u64) -> Request {
    let (uid, version) = known(version);
    Request::Renew { uid, version }
}

fn take(version: u64) -> Request {
    let (uid, version) = known(version);
    Request::Take { uid, version, transitions: 3 }
}

/// Leads since `ZERO`, with version 2.
fn leader() -> Election {
    let mut me = contender();
    me.shown(record("", 1), ZERO);
    let sent = sends(&mut me, ZERO);
    assert_eq!(sent.request, take(1));
    me.replied(&sent, Reply::Shown(record("me", 2)), ms(5));
    assert!(me.leads(ms(5)));
    me
}

/// A standby that has seen `other` renew at `ZERO`, with version 1.
fn standby() -> Election {
    let mut me = contender();
    me.shown(record("other", 1), ZERO);
    me
}

#[test]
fn the_times_fit_together() {
    assert_eq!(Times::default().check(), Ok(()));
    let too_long = Times { give_up: Duration::from_secs(4), ..Times::default() };
    let no_second_attempt = Times { answer: Duration::from_secs(2), ..Times::default() };
    let no_pause = Times { retry: Duration::ZERO, ..Times::default() };
    assert!([too_long, no_second_attempt, no_pause].iter().all(|times| times.check().is_err()));
}

// Standby.

#[test]
fn nothing_is_done_before_the_lease_was_seen() {
    let mut me = contender();
    assert_eq!(waits_until(&mut me, ms(1_000_000)), None);
}

#[test]
fn a_lease_of_nobody_is_taken_at_once() {
    let mut me = contender();
    me.shown(record("", 7), ms(3));
    assert_eq!(sends(&mut me, ms(3)).request, take(7));
}

#[test]
fn a_lease_of_another_is_taken_when_it_has_not_changed_for_its_length() {
    let mut me = standby();
    assert_eq!(waits_until(&mut me, ms(1)), Some(ms(DURATION)));
    assert_eq!(sends(&mut me, ms(DURATION)).request, take(1));
}

#[test]
fn every_renewal_that_is_seen_begins_the_wait_anew() {
    let mut me = standby();
    for round in 1..100 {
        me.shown(record("other", round + 1), ms(round * RENEW));
        assert_eq!(waits_until(&mut me, ms(round * RENEW)), Some(ms(round * RENEW + DURATION)));
    }
}

#[test]
fn the_length_that_the_holder_has_written_counts() {
    let mut me = contender();
    me.shown(Record { duration: Some(Duration::from_secs(15)), ..record("other", 1) }, ZERO);
    assert_eq!(waits_until(&mut me, ZERO), Some(ms(15_000)));
    me.shown(Record { duration: None, ..record("other", 2) }, ZERO);
    assert_eq!(waits_until(&mut me, ZERO), Some(ms(DURATION)), "not said: ours");
}

#[test]
fn the_times_in_the_lease_mean_nothing() {
    // Skew: the other's clock is a year ahead, or behind. What is written there is only compared with what was written there before.
    for renewed in ["2027-11-21T00:00:00.000000Z", "2025-11-21T00:00:00.000000Z", "", "no time at all"] {
        let mut me = contender();
        me.shown(Record { renewed: renewed.into(), ..record("other", 1) }, ms(50));
        assert_eq!(waits_until(&mut me, ms(50)), Some(ms(50 + DURATION)));
    }
}

#[test]
fn a_label_on_the_lease_is_no_sign_of_life() {
    let mut me = standby();
    me.shown(Record { version: Version("2".into()), ..record("other", 1) }, ms(3_000));
    assert_eq!(sends(&mut me, ms(DURATION)).request, take(2), "but the write is on the condition of the newest version");
}

#[test]
fn an_old_event_changes_nothing() {
    let mut me = contender();
    me.shown(record("other", 9), ZERO);
    me.shown(record("", 8), ms(10));
    me.gone(Some(&Version("7".into())), ms(20));
    assert_eq!(me.holder(), "other");
    assert_eq!(waits_until(&mut me, ms(20)), Some(ms(DURATION)));
}

#[test]
fn of_two_that_take_one_loses_and_looks() {
    let mut me = contender();
    me.shown(record("", 1), ZERO);
    let sent = sends(&mut me, ZERO);
    me.replied(&sent, Reply::Conflict, ms(5));
    assert!(!me.leads(ms(5)));
    let read = sends(&mut me, ms(5));
    assert_eq!(read.request, Request::Read);
    me.replied(&read, Reply::Shown(record("other", 2)), ms(8));
    assert_eq!(waits_until(&mut me, ms(8)), Some(ms(8 + DURATION)), "counted from when it was seen");
}

#[test]
fn conflicts_without_an_end_do_not_become_a_storm() {
    let mut me = contender();
    me.shown(record("", 1), ZERO);
    let sent = sends(&mut me, ZERO);
    me.replied(&sent, Reply::Conflict, ZERO);
    let read = sends(&mut me, ZERO);
    me.replied(&read, Reply::Shown(record("", 2)), ZERO);
    let again = sends(&mut me, ZERO);
    me.replied(&again, Reply::Conflict, ZERO);
    assert_eq!(waits_until(&mut me, ZERO), Some(ms(RETRY)));
}

#[test]
fn a_failure_is_followed_by_a_pause_and_the_server_may_ask_for_a_longer_one() {
    for (pause, until) in [(None, RETRY), (Some(Duration::from_millis(1)), RETRY), (Some(Duration::from_secs(3)), 3_000)] {
        let mut me = contender();
        me.shown(record("", 1), ZERO);
        let sent = sends(&mut me, ZERO);
        me.replied(&sent, Reply::Failed(pause), ZERO);
        assert_eq!(waits_until(&mut me, ZERO), Some(ms(until)));
        assert_eq!(sends(&mut me, ms(until)).request, take(1));
    }
}

#[test]
fn a_watch_that_is_stuck_costs_one_conflict_for_each_length() {
    // The holder lives, but our watch shows nothing: the write fails on its condition, and what is read begins the wait anew.
    let mut me = standby();
    let sent = sends(&mut me, ms(DURATION));
    me.replied(&sent, Reply::Conflict, ms(DURATION));
    let read = sends(&mut me, ms(DURATION));
    me.replied(&read, Reply::Shown(record("other", 6)), ms(DURATION));
    assert_eq!(waits_until(&mut me, ms(DURATION)), Some(ms(DURATION * 2)));
}

// No Lease.

#[test]
fn a_missing_lease_is_made_after_its_length_because_somebody_may_still_lead() {
    let mut me = contender();
    me.gone(None, ZERO);
    assert_eq!(waits_until(&mut me, ms(10)), Some(ms(DURATION)));
    me.gone(None, ms(1_000));
    let sent = sends(&mut me, ms(DURATION));
    assert_eq!(sent.request, Request::Create, "seeing it missing again is no change");
    me.replied(&sent, Reply::Shown(record("me", 1)), ms(DURATION + 5));
    assert_eq!(me.leads_until(), Some(ms(DURATION + GIVE_UP)));
}

#[test]
fn of_two_that_create_one_loses_and_looks() {
    let mut me = contender();
    me.gone(None, ZERO);
    let sent = sends(&mut me, ms(DURATION));
    me.replied(&sent, Reply::Conflict, ms(DURATION));
    assert_eq!(sends(&mut me, ms(DURATION)).request, Request::Read);
}

#[test]
fn the_leader_puts_a_deleted_lease_back_at_once() {
    let mut me = leader();
    me.gone(Some(&Version("3".into())), ms(100));
    assert!(me.leads(ms(100)), "nobody else can have it yet");
    let sent = sends(&mut me, ms(100));
    assert_eq!(sent.request, Request::Create);
    me.replied(&sent, Reply::Shown(record("me", 4)), ms(110));
    assert_eq!(me.leads_until(), Some(ms(100 + GIVE_UP)));
}

#[test]
fn the_leader_learns_from_its_renewal_that_the_lease_is_gone() {
    let mut me = leader();
    let sent = sends(&mut me, ms(RENEW));
    me.replied(&sent, Reply::Missing, ms(RENEW));
    assert_eq!(sends(&mut me, ms(RENEW)).request, Request::Create);
}

#[test]
fn who_led_until_long_ago_waits_like_everybody_before_it_makes_a_lease() {
    let mut me = leader();
    me.gone(None, ms(10_000));
    assert_eq!(waits_until(&mut me, ms(10_000)), Some(ms(10_000 + DURATION)));
}

#[test]
fn a_namespace_that_does_not_exist_does_not_become_a_storm() {
    let mut me = contender();
    me.gone(None, ZERO);
    let sent = sends(&mut me, ms(DURATION));
    me.replied(&sent, Reply::Missing, ms(DURATION));
    assert_eq!(waits_until(&mut me, ms(DURATION)), Some(ms(DURATION + RETRY)));
}

// Leader.

#[test]
fn leadership_counts_from_when_the_request_was_sent() {
    let mut me = contender();
    me.shown(record("", 1), ZERO);
    let sent = sends(&mut me, ms(10));
    me.replied(&sent, Reply::Shown(record("me", 2)), ms(900));
    assert_eq!(me.leads_until(), Some(ms(10 + GIVE_UP)));
    assert!(me.leads(ms(10 + GIVE_UP - 1)) && !me.leads(ms(10 + GIVE_UP)));
}

#[test]
fn the_leader_renews_in_time() {
    let mut me = leader();
    assert_eq!(waits_until(&mut me, ms(5)), Some(ms(RENEW)));
    for round in 1..100 {
        let sent = sends(&mut me, ms(round * RENEW));
        assert_eq!(sent.request, renewal(round + 1));
        me.replied(&sent, Reply::Shown(record("me", round + 2)), ms(round * RENEW + 5));
        assert_eq!(me.leads_until(), Some(ms(round * RENEW + GIVE_UP)));
    }
}

#[test]
fn one_lost_renewal_costs_nothing() {
    let mut me = leader();
    sends(&mut me, ms(RENEW));
    assert_eq!(waits_until(&mut me, ms(RENEW)), Some(ms(RENEW + ANSWER)));
    let second = sends(&mut me, ms(RENEW + ANSWER));
    assert_eq!(second.request, renewal(2), "it may not have happened");
    me.replied(&second, Reply::Shown(record("me", 3)), ms(RENEW + ANSWER + 5));
    assert!(me.leads(ms(RENEW + ANSWER + 5)));
}

#[test]
fn a_renewal_that_happened_without_an_answer_is_found_out() {
    let mut me = leader();
    let first = sends(&mut me, ms(RENEW));
    let second = sends(&mut me, ms(RENEW + ANSWER));
    me.replied(&second, Reply::Conflict, ms(RENEW + ANSWER));
    assert!(me.leads(ms(RENEW + ANSWER)), "a conflict is not yet the end: the time decides");
    let read = sends(&mut me, ms(RENEW + ANSWER));
    me.replied(&read, Reply::Shown(record("me", 3)), ms(RENEW + ANSWER));
    let third = sends(&mut me, ms(RENEW + ANSWER));
    assert_eq!(third.request, renewal(3));
    me.replied(&third, Reply::Shown(record("me", 4)), ms(RENEW + ANSWER));
    assert_eq!(me.leads_until(), Some(ms(RENEW + ANSWER + GIVE_UP)));
    // And then the first answer comes after all.
    me.replied(&first, Reply::Shown(record("me", 3)), ms(2_000));
    assert_eq!(me.leads_until(), Some(ms(RENEW + ANSWER + GIVE_UP)), "it makes nothing worse");
}

#[test]
fn a_slow_server_is_no_reason_to_lose_it() {
    // Every answer takes longer than is waited for, and still is in time.
    const SLOW: u64 = ANSWER + 200;
    let mut me = leader();
    let (mut on_their_way, mut version, mut now) = (Vec::new(), 2, RENEW);
    while now < 60_000 {
        while let Some((due, _)) = on_their_way.first()
            && *due <= now
        {
            let (_, sent): (u64, Sent) = on_their_way.remove(0);
            let reply = if sent.request == renewal(version) {
                version += 1;
                Reply::Shown(record("me", version))
            } else {
                Reply::Conflict
            };
            me.replied(&sent, reply, ms(now));
        }
        if let Next::Send(sent) = me.next(ms(now)) {
            on_their_way.push((now + SLOW, sent));
        }
        assert!(me.leads(ms(now)), "at {now} ms");
        now += 10;
    }
}

#[test]
fn a_late_success_counts_from_when_it_was_sent() {
    let mut me = leader();
    let first = sends(&mut me, ms(RENEW));
    sends(&mut me, ms(RENEW + ANSWER));
    me.replied(&first, Reply::Shown(record("me", 3)), ms(2_100));
    assert_eq!(me.leads_until(), Some(ms(RENEW + GIVE_UP)));
}

#[test]
fn a_success_that_is_too_late_is_no_leadership_but_is_renewed() {
    let mut me = contender();
    me.shown(record("", 1), ZERO);
    let sent = sends(&mut me, ZERO);
    sends(&mut me, ms(ANSWER));
    sends(&mut me, ms(ANSWER * 2));
    me.replied(&sent, Reply::Shown(record("me", 2)), ms(2_600));
    assert!(!me.leads(ms(2_600)));
    assert_eq!(sends(&mut me, ms(ANSWER * 3)).request, renewal(2));
}

#[test]
fn a_lease_that_turns_out_to_be_ours_is_renewed_before_we_lead() {
    // The reply to the taking was lost; the watch shows that it happened.
    let mut me = contender();
    me.shown(record("", 1), ZERO);
    sends(&mut me, ZERO);
    me.shown(record("me", 2), ms(20));
    assert!(!me.leads(ms(20)), "when it was written is not known");
    let sent = sends(&mut me, ms(ANSWER));
    assert_eq!(sent.request, renewal(2));
    me.replied(&sent, Reply::Shown(record("me", 3)), ms(ANSWER + 5));
    assert!(me.leads(ms(ANSWER + 5)));
}

#[test]
fn without_renewals_the_leader_stops_before_anybody_can_take_over() {
    let mut me = leader();
    let mut now = RENEW;
    while now < 10_000 {
        if let Next::Send(sent) = me.next(ms(now)) {
            me.replied(&sent, Reply::Failed(None), ms(now));
        }
        assert_eq!(me.leads(ms(now)), now < GIVE_UP, "at {now} ms");
        now += 50;
    }
}

#[test]
fn it_leads_again_when_nobody_has_taken_over() {
    let mut me = leader();
    let late = sends(&mut me, ms(9_000));
    assert_eq!(late.request, renewal(2));
    me.replied(&late, Reply::Shown(record("me", 3)), ms(9_005));
    assert_eq!(me.leads_until(), Some(ms(9_000 + GIVE_UP)));
}

#[test]
fn another_holder_ends_it_at_once() {
    let mut me = leader();
    me.shown(record("other", 3), ms(50));
    assert!(!me.leads(ms(50)));
    assert_eq!(waits_until(&mut me, ms(50)), Some(ms(50 + DURATION)));
}

#[test]
fn a_late_success_does_not_undo_what_was_seen_since() {
    let mut me = contender();
    me.shown(record("", 1), ZERO);
    let sent = sends(&mut me, ZERO);
    me.shown(record("other", 5), ms(20));
    me.replied(&sent, Reply::Shown(record("me", 2)), ms(30));
    assert!(!me.leads(ms(30)));
    assert_eq!(me.holder(), "other");
}

#[test]
fn a_late_answer_of_a_read_is_forgotten() {
    let mut me = leader();
    let renew = sends(&mut me, ms(RENEW));
    me.replied(&renew, Reply::Conflict, ms(RENEW));
    let read = sends(&mut me, ms(RENEW));
    let again = sends(&mut me, ms(RENEW + ANSWER));
    assert_eq!(again.request, Request::Read);
    me.replied(&again, Reply::Shown(record("me", 5)), ms(RENEW + ANSWER));
    me.replied(&read, Reply::Shown(record("other", 4)), ms(RENEW + ANSWER));
    assert_eq!(me.holder(), "me");
}

#[test]
fn a_cluster_restored_from_a_backup_is_believed_when_it_was_asked() {
    let mut me = leader();
    let renew = sends(&mut me, ms(RENEW));
    me.replied(&renew, Reply::Conflict, ms(RENEW));
    let read = sends(&mut me, ms(RENEW));
    me.replied(&read, Reply::Shown(Record { version: Version("1".into()), ..record("me", 1) }), ms(RENEW));
    assert_eq!(sends(&mut me, ms(RENEW)).request, renewal(1), "or no condition would ever hold again");
}

// The end.

#[test]
fn whoever_resigns_leads_no_more_and_then_releases() {
    let mut me = leader();
    me.resign();
    assert!(!me.leads(ms(10)), "before anything is sent");
    let sent = sends(&mut me, ms(10));
    assert_eq!(sent.request, Request::Release { uid: "u".into(), version: Version("2".into()) });
    me.replied(&sent, Reply::Shown(record("", 3)), ms(15));
    assert_eq!(me.next(ms(15)), Next::Done);
    assert!(!me.leads(ms(15)));
}

#[test]
fn a_renewal_on_its_way_is_waited_for_before_the_release() {
    let mut me = leader();
    let renew = sends(&mut me, ms(RENEW));
    me.resign();
    assert_eq!(waits_until(&mut me, ms(RENEW + 1)), Some(ms(RENEW + ANSWER)));
    me.replied(&renew, Reply::Shown(record("me", 3)), ms(RENEW + 5));
    assert!(!me.leads(ms(RENEW + 5)), "its success changes nothing");
    let release = sends(&mut me, ms(RENEW + 5));
    assert_eq!(release.request, Request::Release { uid: "u".into(), version: Version("3".into()) });
}

#[test]
fn a_release_that_does_not_fit_looks_and_tries_again() {
    let mut me = leader();
    me.resign();
    let release = sends(&mut me, ms(10));
    me.replied(&release, Reply::Conflict, ms(15));
    let read = sends(&mut me, ms(15));
    assert_eq!(read.request, Request::Read);
    me.replied(&read, Reply::Shown(record("me", 8)), ms(20));
    assert_eq!(sends(&mut me, ms(20)).request, Request::Release { uid: "u".into(), version: Version("8".into()) });
}

#[test]
fn a_standby_has_nothing_to_release() {
    let mut me = standby();
    me.resign();
    assert_eq!(me.next(ms(10)), Next::Done);
    let mut unseen = contender();
    unseen.resign();
    assert_eq!(unseen.next(ms(10)), Next::Done);
}

#[test]
fn whoever_resigns_while_it_takes_gives_back_what_it_got() {
    let mut me = contender();
    me.shown(record("", 1), ZERO);
    let sent = sends(&mut me, ZERO);
    me.resign();
    me.replied(&sent, Reply::Shown(record("me", 2)), ms(5));
    assert!(!me.leads(ms(5)));
    assert_eq!(sends(&mut me, ms(5)).request, Request::Release { uid: "u".into(), version: Version("2".into()) });
}

#[test]
fn other_names_for_moments_and_versions_make_no_difference() {
    let mut me = leader();
    let sent = sends(&mut me, ms(RENEW));
    let later = |moment: Moment| moment + Duration::from_secs(60);
    let mut moved = me.mapped(later, |text| format!("{text}0"));
    me.replied(&sent, Reply::Failed(None), ms(RENEW));
    let sent = Sent { at: later(sent.at), request: sent.request.mapped(|version| Version(format!("{}0", version.0))) };
    moved.replied(&sent, Reply::Failed(None), later(ms(RENEW)));
    assert_eq!(me.mapped(later, |text| format!("{text}0")), moved);
    assert_eq!(moved.leads_until(), me.leads_until().map(later));
}
