//! Whole lives of a fleet: what must hold does, whatever goes wrong, and a run can be repeated to its last line.
//!
//! docs/simulation.md says what goes wrong in these runs and what is checked. A longer run: `runnerfleet simulate --seeds 100000`.

mod regressions;
mod verb;

use runnerfleet::trial::{Options, Outcome, Weather, run};

/// How many runs there are in four parts, which a test runner can take side by side.
const RUNS: u64 = 120;

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

fn part(number: u64) -> impl Iterator<Item = u64> {
    (1..=RUNS).filter(move |seed| seed % 4 == number)
}

#[test]
fn what_must_hold_does_in_the_first_part_of_the_runs() {
    all_hold(part(0));
}

#[test]
fn what_must_hold_does_in_the_second_part_of_the_runs() {
    all_hold(part(1));
}

#[test]
fn what_must_hold_does_in_the_third_part_of_the_runs() {
    all_hold(part(2));
}

#[test]
fn what_must_hold_does_in_the_fourth_part_of_the_runs() {
    all_hold(part(3));
}

#[test]
fn where_nothing_goes_wrong_each_job_costs_one_runner() {
    for seed in 1..=8 {
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
    let outcome = run(1, &Options { weather: Some(weather), no_redelivery: true, ..Options::default() }).unwrap();
    let told = told(&outcome).expect("a job that nobody heard of is not served");
    assert!(told.contains("[no job is lost] job "), "{told}");
    assert!(told.contains("its event was never taken"), "{told}");
    assert!(told.contains("runnerfleet simulate --seed 1 --trace"), "{told}");
}
