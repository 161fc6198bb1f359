//! What became of a play: the table, and whether it is good.

use super::order::{Between, Blow, Spell};
use super::play::Ledger;
use runnerfleet::simulation::github::Conclusion;
use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

/// A job that did not end as it should, and not because of a blow.
#[derive(Debug)]
pub(super) struct Lost {
    pub(super) job: String,
    /// None: it never ended.
    pub(super) conclusion: Option<Conclusion>,
    pub(super) runner: Option<String>,
}

/// All that was seen.
#[derive(Debug, Default)]
pub(super) struct Seen {
    pub(super) seed: u64,
    pub(super) blows: BTreeMap<Blow, usize>,
    pub(super) spells: BTreeMap<(Between, Spell), usize>,
    pub(super) ledger: Ledger,
    /// Attempts to deliver that failed.
    pub(super) failed_deliveries: usize,
    /// Registrations that were asked for.
    pub(super) runners: usize,
    pub(super) over_after: Duration,
    pub(super) after_last_fault: Duration,
    pub(super) gone_after: Duration,
    pub(super) left: Vec<String>,
    /// The short play passes over what an engine forgot between the start of a container and its note of it (docs/chaos.md): it
    /// ends by itself, but two minutes later.
    pub(super) passes_over_forgotten: bool,
    /// Processes of the engine's own that it forgot when it was killed.
    pub(super) empty_shims: usize,
    /// How `serve` ended after SIGTERM.
    pub(super) exit: Option<i32>,
}

impl Seen {
    /// Every job served, nothing left, nothing killed by the program under test.
    pub(super) fn is_good(&self) -> bool {
        let Ledger { jobs, served, lost, twice, .. } = &self.ledger;
        let gone = self.left.iter().all(|line| self.passes_over_forgotten && is_forgotten(line));
        served == jobs && lost.is_empty() && twice.is_empty() && gone && self.exit == Some(0)
    }
}

impl fmt::Display for Seen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let row = |f: &mut fmt::Formatter<'_>, what: &str, value: &dyn fmt::Display| writeln!(f, "{what:<52} {value}");
        row(f, &format!("BROKEN (seed {})", self.seed), &"TIMES")?;
        for (blow, times) in &self.blows {
            row(f, &blow.to_string(), times)?;
        }
        for ((between, spell), times) in &self.spells {
            row(f, &format!("{between}: {spell}"), times)?;
        }
        let all = self.blows.values().chain(self.spells.values()).sum::<usize>();
        row(f, "all", &all)?;
        let Ledger { jobs, served, struck, lost, waits, waits_again, twice } = &self.ledger;
        writeln!(f)?;
        row(f, "JOBS", &"")?;
        row(f, "served (succeeded in the end)", &format!("{served} of {jobs}"))?;
        for (blow, times) in struck {
            row(f, &format!("failed and run again: {blow}"), times)?;
        }
        row(f, "ended or cut off by runnerfleet", &lost.len())?;
        row(f, "runners that had two jobs", &twice.len())?;
        row(f, "wait, queued to running: p50 / p95 / max", &percentiles(waits))?;
        row(f, "wait of those that were run again", &percentiles(waits_again))?;
        row(f, "all over after", &seconds(self.over_after))?;
        row(f, "last fault before that", &seconds(self.after_last_fault))?;
        writeln!(f)?;
        row(f, "OTHERWISE", &"")?;
        row(f, "deliveries that failed", &self.failed_deliveries)?;
        row(f, "runners registered", &self.runners)?;
        row(f, "nothing left after", &seconds(self.gone_after))?;
        row(f, "left: containers, networks, volumes, registrations", &self.left.len())?;
        row(f, "shims that killed dockerds forgot, with no runner in", &self.empty_shims)?;
        row(f, "exit code of `serve`", &self.exit.map_or_else(|| "a signal".to_owned(), |code| code.to_string()))?;
        for line in &self.left {
            writeln!(f, "left: {line}")?;
        }
        for Lost { job, conclusion, runner } in lost {
            let how = conclusion.map_or("never over".to_owned(), |conclusion| conclusion.to_string());
            writeln!(f, "job {job}: {how} on {}", runner.as_deref().unwrap_or("no runner"))?;
        }
        for name in twice {
            writeln!(f, "two jobs: {name}")?;
        }
        Ok(())
    }
}

/// A process that waits for its credential in a container that the engine does not list.
fn is_forgotten(line: &str) -> bool {
    line.starts_with("process of container") && line.contains("no credential arrived")
}

fn seconds(time: Duration) -> String {
    format!("{:.1} s", time.as_secs_f64())
}

/// Values that were measured, not ones between them.
fn percentiles(values: &[Duration]) -> String {
    let mut sorted = values.to_vec();
    sorted.sort_unstable();
    let at = |percent: usize| sorted.get((sorted.len() * percent).div_ceil(100).max(1) - 1).copied();
    match (at(50), at(95), at(100)) {
        (Some(half), Some(most), Some(all)) => format!("{} / {} / {}", seconds(half), seconds(most), seconds(all)),
        _ => "-".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_values_that_were_measured() {
        let values: Vec<_> = (1..=20).map(Duration::from_secs).collect();
        assert_eq!(percentiles(&values), "10.0 s / 19.0 s / 20.0 s");
        assert_eq!(percentiles(&[]), "-");
    }

    #[test]
    fn what_is_left_or_lost_is_not_good() {
        let good = || Seen { exit: Some(0), ..Seen::default() };
        assert!(good().is_good());
        assert!(!Seen { left: vec!["container x".to_owned()], ..good() }.is_good());
        assert!(!Seen { exit: Some(1), ..good() }.is_good());
        let forgotten = || vec!["process of container x: sh -c no credential arrived".to_owned()];
        assert!(!Seen { left: forgotten(), ..good() }.is_good());
        assert!(Seen { left: forgotten(), passes_over_forgotten: true, ..good() }.is_good());
        let lost = vec![Lost { job: "1".to_owned(), conclusion: None, runner: None }];
        let bad = Seen { ledger: Ledger { lost, ..Ledger::default() }, ..good() };
        assert!(!bad.is_good() && bad.to_string().contains("job 1: never over on no runner"));
    }
}
