//! `runnerfleet simulate`: whole lives of a fleet against a simulated GitHub and engine, each from one number.

use super::output::{Output, yaml};
use super::{complain, say};
use crate::trial::{self, Options, Outcome, Weather};
use anyhow::{Context, anyhow};
use clap::Args;
use serde::Serialize;
use std::io::IsTerminal;
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// How often is told how far it is.
const TELL: Duration = Duration::from_secs(10);

/// How often is looked whether a run still comes to an end.
const LOOK: Duration = Duration::from_secs(1);

/// A run of a second or two that is not over after so long goes round in a circle in which no simulated time passes.
const STUCK: Duration = Duration::from_secs(300);

#[derive(Debug, Args)]
#[expect(clippy::struct_excessive_bools, reason = "each is an option of its own")]
pub(super) struct SimulateArgs {
    /// Only this run; the same number is the same run.
    #[arg(long, value_name = "NUMBER", conflicts_with_all = ["seeds", "from"])]
    seed: Option<u64>,
    /// How many runs.
    #[arg(long, value_name = "NUMBER", default_value_t = 100)]
    seeds: u64,
    /// The number of the first.
    #[arg(long, value_name = "NUMBER", default_value_t = 1)]
    from: u64,
    /// No new run is begun after so long.
    #[arg(long, value_name = "MINUTES")]
    minutes: Option<u64>,
    /// Runs at the same time; as many as there are processors by default.
    #[arg(long, value_name = "NUMBER", value_parser = clap::value_parser!(u16).range(1..=256))]
    threads: Option<u16>,
    /// Go on after a run that failed.
    #[arg(long)]
    keep_going: bool,
    /// Nothing goes wrong in any run.
    #[arg(long)]
    calm: bool,
    /// The program does not look for what was lost: shows that jobs are lost then.
    #[arg(long)]
    no_recovery: bool,
    /// Print what happened, line by line.
    #[arg(long, requires = "seed")]
    trace: bool,
    /// How to print; `wide` is a table with all columns.
    #[arg(short, long, value_enum, default_value = "table", value_name = "FORMAT")]
    output: Output,
}

/// What all runs came to.
#[derive(Debug, Default, Serialize)]
struct Summary {
    runs: u64,
    failed: Vec<Failed>,
    jobs: u64,
    runners: u64,
    calls: u64,
    most_calls_in_an_hour: u64,
    simulated_hours: u64,
    seconds: u64,
    /// One number for all runs of these numbers.
    hash: String,
}

#[derive(Debug, Serialize)]
struct Failed {
    seed: u64,
    violation: String,
    weather: String,
    managers: usize,
    replay: String,
}

/// Plays them. Exit code 1 where something did not hold.
pub(super) fn simulate(args: &SimulateArgs) -> anyhow::Result<ExitCode> {
    let weather = args.calm.then(Weather::calm);
    let options = Options { trace: args.trace, weather, no_recovery: args.no_recovery };
    let (from, runs) = args.seed.map_or((args.from, args.seeds), |seed| (seed, 1));
    let threads = args
        .threads
        .map_or_else(|| std::thread::available_parallelism().map_or(1, std::num::NonZero::get), usize::from);
    let began = Instant::now();
    let until = args.minutes.map(|minutes| began + Duration::from_secs(60 * minutes));
    let (next, stop) = (AtomicU64::new(0), AtomicBool::new(false));
    let mut summary = Summary::default();
    let mut hash = 0_u64;
    let (tell, told) = mpsc::channel::<Result<Outcome, String>>();
    let threads = threads.min(usize::try_from(runs).unwrap_or(usize::MAX));
    let playing: Vec<Mutex<Option<(u64, Instant)>>> = (0..threads).map(|_| Mutex::new(None)).collect();
    std::thread::scope(|scope| -> anyhow::Result<()> {
        for mine in &playing {
            let (tell, next, stop, options) = (tell.clone(), &next, &stop, &options);
            scope.spawn(move || {
                loop {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    let late = until.is_some_and(|until| Instant::now() >= until);
                    if number >= runs || late || stop.load(Ordering::Relaxed) {
                        return;
                    }
                    let seed = from + number;
                    note(mine, Some((seed, Instant::now())));
                    let outcome = trial::run(seed, options);
                    note(mine, None);
                    if tell.send(outcome).is_err() {
                        return;
                    }
                }
            });
        }
        drop(tell);
        let mut shown = Instant::now();
        loop {
            if let Some(seed) = stuck(&playing, Instant::now()) {
                summary.seconds = began.elapsed().as_secs();
                summary.fail(seed, format!("it is not over after {} s", STUCK.as_secs()), String::new(), 0, args);
                tell_summary(args.output, &summary)?;
                // Its thread cannot be ended in any other way.
                std::process::exit(1);
            }
            let outcome = match told.recv_timeout(LOOK) {
                Ok(outcome) => outcome,
                Err(RecvTimeoutError::Timeout) => continue,
                Err(RecvTimeoutError::Disconnected) => break,
            };
            let outcome = outcome.map_err(|why| anyhow!(why)).context("a run could not begin")?;
            summary.add(&outcome, args);
            hash ^= outcome.hash.rotate_left(u32::try_from(outcome.seed % 64).unwrap_or(0));
            for line in &outcome.trace {
                say(line)?;
            }
            if outcome.violation.is_some() && !args.keep_going {
                stop.store(true, Ordering::Relaxed);
            }
            if shown.elapsed() >= TELL && std::io::stderr().is_terminal() {
                shown = Instant::now();
                complain(&format!("  {} of {runs} runs, {} failed", summary.runs, summary.failed.len()));
            }
        }
        Ok(())
    })?;
    summary.seconds = began.elapsed().as_secs();
    summary.hash = format!("{hash:016x}");
    summary.failed.sort_by_key(|failed| failed.seed);
    tell_summary(args.output, &summary)?;
    Ok(ExitCode::from(u8::from(!summary.failed.is_empty())))
}

impl Summary {
    fn add(&mut self, outcome: &Outcome, args: &SimulateArgs) {
        self.runs += 1;
        self.jobs += outcome.jobs as u64;
        self.runners += outcome.figures.launches;
        self.calls += outcome.figures.calls;
        self.most_calls_in_an_hour = self.most_calls_in_an_hour.max(outcome.figures.busiest_hour);
        self.simulated_hours += outcome.lasted.as_secs() / 3600;
        if let Some(violation) = &outcome.violation {
            self.fail(outcome.seed, violation.clone(), outcome.weather.clone(), outcome.managers, args);
        }
    }

    fn fail(&mut self, seed: u64, violation: String, weather: String, managers: usize, args: &SimulateArgs) {
        let calm = if args.calm { " --calm" } else { "" };
        let lost = if args.no_recovery { " --no-recovery" } else { "" };
        let replay = format!("runnerfleet simulate --seed {seed} --trace{calm}{lost}");
        complain(&format!("seed {seed} failed {violation}\n  {replay}"));
        self.failed.push(Failed { seed, violation, weather, managers, replay });
    }
}

/// What a thread plays now.
fn note(mine: &Mutex<Option<(u64, Instant)>>, what: Option<(u64, Instant)>) {
    *mine.lock().unwrap_or_else(PoisonError::into_inner) = what;
}

/// The number of a run that has gone on for too long.
fn stuck(playing: &[Mutex<Option<(u64, Instant)>>], now: Instant) -> Option<u64> {
    let looks = playing.iter().filter_map(|one| *one.lock().unwrap_or_else(PoisonError::into_inner));
    looks.filter(|(_, since)| now.duration_since(*since) >= STUCK).map(|(seed, _)| seed).min()
}

fn tell_summary(output: Output, summary: &Summary) -> anyhow::Result<()> {
    match output {
        Output::Json => say(&serde_json::to_string_pretty(summary).context("writing JSON")?),
        Output::Yaml => say(&yaml(summary)?),
        Output::Table | Output::Wide => {
            for failed in &summary.failed {
                say(&format!("seed {}  {}", failed.seed, failed.violation))?;
                if output == Output::Wide {
                    say(&format!("  {} managers; {}", failed.managers, failed.weather))?;
                }
                say(&format!("  {}", failed.replay))?;
            }
            say(&format!(
                "{} runs in {} s, {} failed: {} jobs, {} runners, {} calls of GitHub's API, at most {} in an hour; sum {}",
                summary.runs,
                summary.seconds,
                summary.failed.len(),
                summary.jobs,
                summary.runners,
                summary.calls,
                summary.most_calls_in_an_hour,
                summary.hash
            ))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_that_does_not_end_is_told() {
        let began = Instant::now();
        let playing = [Mutex::new(None), Mutex::new(Some((7, began))), Mutex::new(Some((9, began + STUCK)))];
        assert_eq!(stuck(&playing, began + STUCK.saturating_sub(LOOK)), None);
        assert_eq!(stuck(&playing, began + STUCK), Some(7));
        note(&playing[1], None);
        assert_eq!(stuck(&playing, began + STUCK), None);
    }
}
