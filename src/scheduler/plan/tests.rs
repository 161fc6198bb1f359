use super::super::state::End;
use super::*;
use crate::config::{Task, Window};
use jiff::SignedDuration;
use jiff::tz::TimeZoneDatabase;
use proptest::prelude::*;
use std::collections::BTreeSet;

fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

fn every(seconds: u64) -> Schedule {
    Schedule { every: Duration::from_secs(seconds), ..Schedule::default() }
}

fn ran(slot: &str) -> Run {
    let slot = at(slot);
    let end = End { at: slot, done: vec![Task::Check], summary: String::new(), error: None };
    Run { slot, attempt: 0, began: slot, by: HostId::new("a"), lapses: slot, end: Some(end) }
}

fn failed(slot: &str, attempt: u32, ended: &str) -> State {
    let mut run = ran(slot);
    run.attempt = attempt;
    run.end = Some(End { at: at(ended), done: vec![], summary: String::new(), error: Some("no".into()) });
    State { last: Some(run), ..State::default() }
}

fn after_run(run: Run) -> State {
    State { last: Some(run), ..State::default() }
}

fn runs(slot: &str, attempt: u32) -> Decision {
    Decision::Run(Due { slot: at(slot), attempt })
}

fn waits(until: &str, why: Why) -> Decision {
    Decision::Wait { until: at(until), why }
}

#[test]
fn the_first_run_comes_at_once_if_it_may() {
    let schedule = every(3600);
    assert_eq!(plan(&schedule, &State::default(), at("2026-11-23T12:00:00Z")), runs("2026-11-23T12:00:00Z", 0));
    let nights = Schedule { window: Window { start: 22 * 60, end: 6 * 60 }, ..schedule };
    let waiting = waits("2026-11-23T22:00:00Z", Why::OutsideWindow);
    assert_eq!(plan(&nights, &State::default(), at("2026-11-23T12:00:00Z")), waiting);
}

#[test]
fn slots_do_not_drift_and_missed_ones_are_one_run() {
    let schedule = every(3600);
    let state = after_run(ran("2026-11-23T12:00:00Z"));
    assert_eq!(plan(&schedule, &state, at("2026-11-23T12:59:59Z")), waits("2026-11-23T13:00:00Z", Why::NotDue));
    // A little late is the same slot.
    assert_eq!(plan(&schedule, &state, at("2026-11-23T13:00:07Z")), runs("2026-11-23T13:00:00Z", 0));
    // After a day of sleep there is one run, and the next one an interval after it.
    let late = "2026-11-24T14:30:00Z";
    assert_eq!(plan(&schedule, &state, at(late)), runs(late, 0));
    let state = after_run(ran(late));
    assert_eq!(plan(&schedule, &state, at(late)), waits("2026-11-24T15:30:00Z", Why::NotDue));
}

#[test]
fn a_failed_run_is_tried_again_and_never_stops_for_good() {
    let schedule = every(6 * 3600);
    let now = at("2026-11-23T12:00:30Z");
    let state = failed("2026-11-23T12:00:00Z", 0, "2026-11-23T12:00:10Z");
    assert_eq!(plan(&schedule, &state, now), waits("2026-11-23T12:01:10Z", Why::Retry { attempt: 1 }));
    assert_eq!(plan(&schedule, &state, at("2026-11-23T12:01:10Z")), runs("2026-11-23T12:00:00Z", 1));
    let state = failed("2026-11-23T12:00:00Z", 2, "2026-11-23T12:10:00Z");
    assert_eq!(plan(&schedule, &state, now), waits("2026-11-23T12:14:00Z", Why::Retry { attempt: 3 }));
    // Enough: the next slot.
    let state = failed("2026-11-23T12:00:00Z", 3, "2026-11-23T12:20:00Z");
    assert_eq!(plan(&schedule, &state, now), waits("2026-11-23T18:00:00Z", Why::NotDue));
    assert_eq!(plan(&schedule, &state, at("2026-11-23T18:00:00Z")), runs("2026-11-23T18:00:00Z", 0));
    // A try that would come after the next slot gives way to it.
    let state = failed("2026-11-23T12:00:00Z", 0, "2026-11-23T17:59:59Z");
    assert_eq!(plan(&schedule, &state, at("2026-11-23T18:00:00Z")), runs("2026-11-23T18:00:00Z", 0));
}

#[test]
fn a_run_under_way_is_left_alone_until_its_claim_lapses() {
    let schedule = every(3600);
    let mut run = ran("2026-11-23T12:00:00Z");
    run.end = None;
    run.lapses = at("2026-11-23T12:02:00Z");
    let mut state = after_run(run);
    let under_way = waits("2026-11-23T12:02:00Z", Why::UnderWay { by: HostId::new("a") });
    assert_eq!(plan(&schedule, &state, at("2026-11-23T12:01:59Z")), under_way);
    state.asked = Some(at("2026-11-23T12:01:00Z"));
    assert_eq!(plan(&schedule, &state, at("2026-11-23T12:01:59Z")), under_way, "a person's word waits, too");
    assert_eq!(plan(&schedule, &state, at("2026-11-23T12:02:00Z")), runs("2026-11-23T12:02:00Z", 0));
    state.asked = None;
    let retry = waits("2026-11-23T12:03:00Z", Why::Retry { attempt: 1 });
    assert_eq!(plan(&schedule, &state, at("2026-11-23T12:02:00Z")), retry, "it counts as failed");
}

#[test]
fn a_person_may_ask_at_any_time() {
    let schedule = Schedule { days: [false, true, false, false, false, false, false], ..every(3600) };
    let mut state = after_run(ran("2026-11-23T12:00:00Z"));
    state.asked = Some(at("2026-11-23T12:00:01Z"));
    assert_eq!(plan(&schedule, &state, at("2026-11-23T12:00:02Z")), runs("2026-11-23T12:00:02Z", 0));
}

#[test]
fn a_clock_that_was_far_ahead_stops_nothing() {
    let schedule = every(3600);
    let state = after_run(ran("2031-01-01T00:00:00Z"));
    assert_eq!(plan(&schedule, &state, at("2026-11-23T12:00:00Z")), runs("2026-11-23T12:00:00Z", 0));
    let mut run = ran("2026-11-23T12:00:00Z");
    run.end = None;
    run.lapses = at("2031-01-01T00:00:00Z");
    assert!(matches!(plan(&schedule, &after_run(run), at("2026-11-23T13:00:00Z")), Decision::Run(_)));
}

#[test]
fn jitter_spreads_and_repeats_itself() {
    let schedule = Schedule { jitter: Duration::from_secs(300), ..every(3600) };
    let slot = at("2026-11-23T13:00:00Z");
    let waits: BTreeSet<_> = (0..50).map(|seed| jitter(&schedule, seed, slot)).collect();
    assert!(waits.len() > 40 && waits.iter().all(|wait| *wait <= schedule.jitter), "{waits:?}");
    assert_eq!(jitter(&schedule, 7, slot), jitter(&schedule, 7, slot));
}

/// Whether a moment is allowed, said in another way: by the local date on which its window began.
fn is_in_window(schedule: &Schedule, at: Timestamp) -> bool {
    let local = at.to_zoned(schedule.tz.clone());
    let minute = u16::try_from(local.hour()).unwrap() * 60 + u16::try_from(local.minute()).unwrap();
    let Window { start, end } = schedule.window;
    let began = if start > end && minute <= end { local.date().yesterday().unwrap() } else { local.date() };
    let in_time = if start <= end { minute >= start && minute <= end } else { minute >= start || minute <= end };
    in_time && schedule.days[usize::try_from(began.weekday().to_monday_zero_offset()).unwrap()]
}

fn schedules() -> impl Strategy<Value = Schedule> {
    let zones = prop::sample::select(vec![
        "UTC",
        "Europe/Paris",
        "America/New_York",
        "Australia/Lord_Howe",
        "Africa/Cairo",
        "Asia/Kathmandu",
        "America/St_Johns",
    ]);
    let intervals = prop::sample::select(vec![60_u64, 900, 3600, 6 * 3600, 86400, 3 * 86400]);
    let days = prop::array::uniform7(any::<bool>()).prop_map(|mut days| {
        days[3] |= days == [false; 7];
        days
    });
    let minutes = prop_oneof![0_u16..1440, prop::sample::select(vec![0_u16, 1439, 120, 150, 179, 180])];
    (zones, intervals, minutes.clone(), minutes, days, 0_u32..4, prop::sample::select(vec![0_u64, 5, 59])).prop_map(
        |(zone, every, start, end, days, max_retries, jitter)| Schedule {
            every: Duration::from_secs(every),
            window: Window { start, end },
            days,
            tz: TimeZoneDatabase::bundled().get(zone).unwrap(),
            jitter: Duration::from_secs(jitter.min(every / 10)),
            max_retries,
            ..Schedule::default()
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    /// A year of a simulated clock, with changes of the clocks in it: naps, failures, runs that last.
    #[test]
    fn never_outside_never_twice_never_too_often(
        schedule in schedules(),
        seed in any::<u64>(),
        fates in prop::collection::vec((0_u8..10, 0_u64..90_000), 1..40),
    ) {
        let mut now = at("2026-01-15T10:20:30Z");
        let year = now + SignedDuration::from_hours(24 * 366);
        let mut state = State { seed, ..State::default() };
        let mut seen = BTreeSet::new();
        let mut slots: Vec<Timestamp> = Vec::new();
        let (mut steps, mut fate) = (0, fates.iter().cycle());
        while now < year && steps < 3000 {
            steps += 1;
            match plan(&schedule, &state, now) {
                Decision::Wait { until, why } => {
                    prop_assert!(until > now, "{why:?} until {until}, at {now}");
                    // Nothing that could be done is slept through.
                    prop_assert!(
                        until <= now + SignedDuration::from_hours(24 * 10) + SignedDuration::try_from(schedule.every).unwrap(),
                        "{why:?} from {now} to {until}"
                    );
                    let (kind, length) = *fate.next().unwrap();
                    // Sometimes the machine sleeps through it.
                    now = until + SignedDuration::from_millis(3);
                    if kind == 0 {
                        now += SignedDuration::from_secs(i64::try_from(length).unwrap());
                    }
                }
                Decision::Run(due) => {
                    prop_assert!(is_in_window(&schedule, now), "ran at {now}");
                    prop_assert!(seen.insert((due.slot, due.attempt)), "twice for {due:?}");
                    prop_assert!(due.attempt <= schedule.max_retries);
                    prop_assert!(due.slot <= now);
                    if due.attempt == 0 {
                        if let Some(last) = slots.last() {
                            prop_assert!(age(due.slot, *last) >= schedule.every, "{last} and {} are too near", due.slot);
                        }
                        slots.push(due.slot);
                    } else {
                        prop_assert_eq!(Some(&due.slot), slots.last());
                    }
                    let (kind, length) = *fate.next().unwrap();
                    let took = SignedDuration::from_secs(i64::try_from(length % 50).unwrap());
                    let error = (kind < 4).then(|| "no".to_owned());
                    let end = End { at: now + took, done: vec![], summary: String::new(), error };
                    // Some are cut off, and nobody writes how they ended.
                    let end = (kind != 9).then_some(end);
                    let lapses = after(now, CLAIM);
                    state.last = Some(Run { slot: due.slot, attempt: due.attempt, began: now, by: HostId::new("a"), lapses, end });
                    now += took;
                }
            }
        }
        // A machine that sleeps each time may miss a window of a minute for a whole year.
        let sleeps_each_time = fates.iter().all(|(kind, _)| *kind == 0);
        prop_assert!(sleeps_each_time || !slots.is_empty());
    }
}
