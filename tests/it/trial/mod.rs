//! Whole lives of a fleet: what must hold does, whatever goes wrong, and a run can be repeated to its last line.
//!
//! docs/simulation.md says what goes wrong in these runs and what is checked. `scripts/test` plays two thousand of them with the
//! optimised program; a longer run: `runnerfleet simulate --seeds 100000`.

mod regressions;
mod verb;

use runnerfleet::trial::{Options, Outcome, Weather, run};

/// Runs in each part; the parts are tests of their own, so that they are played side by side.
const PART: u64 = 5;

fn play(seed: u64) -> Outcome {
    run(seed, &Options::default()).unwrap()
}

/// What did not hold, with the command that plays it again.
fn told(outcome: &Outcome) -> Option<String> {
    let violation = outcome.violation.as_ref()?;
    Some(format!(
        "seed {} ({} managers): {violation}\n  weather: {}\n  runnerfleet simulate --seed {} --trace",
        outcome.seed, outcome.managers, outcome.weather, outcome.seed
    ))
}

fn all_hold(seeds: impl Iterator<Item = u64>) {
    let wrong: Vec<String> = seeds.filter_map(|seed| told(&play(seed))).collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

macro_rules! parts {
    ($($name:ident = $number:literal),* $(,)?) => {
        $(#[test]
        fn $name() {
            all_hold($number * PART + 1..=($number + 1) * PART);
        })*
    };
}

parts! {
    what_must_hold_does_in_runs_1_to_5 = 0,
    what_must_hold_does_in_runs_6_to_10 = 1,
    what_must_hold_does_in_runs_11_to_15 = 2,
    what_must_hold_does_in_runs_16_to_20 = 3,
}

#[test]
fn where_nothing_goes_wrong_each_job_costs_one_runner() {
    for seed in 1..=4 {
        let outcome = run(seed, &Options { weather: Some(Weather::calm()), ..Options::default() }).unwrap();
        assert_eq!(told(&outcome), None);
        // Spares, and those that take their places.
        let jobs = u64::try_from(outcome.jobs).unwrap();
        assert!(outcome.figures.launches >= jobs / 2, "{outcome:?}");
        assert!(outcome.figures.launches <= jobs + 12, "{outcome:?}");
    }
}

#[test]
fn a_number_gives_the_same_run_in_any_thread() {
    let all = |seed: u64| (seed, std::thread::spawn(move || play(seed)).join().unwrap());
    for (seed, first) in [5, 6, 7].map(all) {
        let again = play(seed);
        assert_eq!((first.hash, first.lines, first.jobs), (again.hash, again.lines, again.jobs), "seed {seed}");
        assert_ne!(first.hash, play(seed + 100).hash);
    }
}

#[test]
fn the_trace_is_the_same_line_by_line() {
    let traced = || run(9, &Options { trace: true, ..Options::default() }).unwrap().trace;
    let (first, again) = (traced(), traced());
    assert!(first.len() > 100, "{first:?}");
    assert_eq!(first, again);
}

#[test]
fn an_event_that_never_comes_is_told_with_its_job() {
    let weather = Weather { lost: 10_000, ..Weather::calm() };
    let outcome = run(1, &Options { weather: Some(weather), no_recovery: true, ..Options::default() }).unwrap();
    let told = told(&outcome).expect("a job that nobody heard of is not served");
    assert!(told.contains("[no job is lost] job "), "{told}");
    assert!(told.contains("its event was never taken"), "{told}");
    assert!(told.contains("runnerfleet simulate --seed 1 --trace"), "{told}");
}
