//! What the demo shows at its end: a line for each job, and percentiles.

use super::super::output::plain;
use super::stage::Stage;
use crate::model::StateName;
use crate::simulation::github::Conclusion;
use comfy_table::Table;
use jiff::Timestamp;
use std::fmt;

/// One job.
struct Line {
    job: String,
    pool: String,
    runner: String,
    served: bool,
    /// Milliseconds from the moment at which GitHub queued it.
    started: Option<i64>,
    running: Option<i64>,
    /// Milliseconds that it ran.
    ran: Option<i64>,
}

/// A figure of a line.
type Pick = fn(&Line) -> Option<i64>;

/// All of them.
pub(super) struct Report {
    lines: Vec<Line>,
}

impl Report {
    /// As GitHub and `serve` saw it.
    pub(super) fn of(stage: &Stage) -> Self {
        let world = stage.serve.memory.world();
        let jobs = stage.jobs.lock().unwrap_or_else(std::sync::PoisonError::into_inner).clone();
        let lines = jobs.into_iter().filter_map(|(key, pool)| {
            let job = stage.github.job(key)?;
            let queued = job.queued_at.unwrap_or(job.created_at);
            let runner = job.runner.as_ref().map(|runner| runner.name.clone());
            let started = runner.as_deref().and_then(|name| {
                let row = world.runners.values().find(|row| row.name.as_str() == name)?;
                row.history.iter().find(|change| change.to == StateName::Started).map(|change| change.at)
            });
            let since_queued = |moment: Option<Timestamp>| moment.map(|moment| millis(queued, moment));
            Some(Line {
                job: job.spec.name.clone(),
                pool,
                runner: runner.unwrap_or_else(|| "-".to_owned()),
                served: job.conclusion == Some(Conclusion::Success),
                started: since_queued(started),
                running: since_queued(job.started_at),
                ran: job.started_at.zip(job.completed_at).map(|(from, to)| millis(from, to)),
            })
        });
        Self { lines: lines.collect() }
    }

    /// How many jobs there were.
    pub(super) fn jobs(&self) -> usize {
        self.lines.len()
    }

    /// How many jobs did not end well.
    pub(super) fn not_served(&self) -> usize {
        self.lines.iter().filter(|line| !line.served).count()
    }
}

fn millis(from: Timestamp, to: Timestamp) -> i64 {
    i64::try_from(to.duration_since(from).as_millis()).unwrap_or(i64::MAX)
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut table = Table::new();
        table.set_header(["JOB", "POOL", "QUEUED→STARTED", "QUEUED→RUNNING", "RUN TIME", "RUNNER"]);
        for line in &self.lines {
            let job = if line.served { line.job.clone() } else { format!("{} (not served)", line.job) };
            table.add_row([
                job,
                line.pool.clone(),
                seconds(line.started),
                seconds(line.running),
                seconds(line.ran),
                line.runner.clone(),
            ]);
        }
        writeln!(f, "{}\n", plain(table))?;
        let mut figures = Table::new();
        figures.set_header(["", "P50", "P90", "P99", "MAX"]);
        let columns: [(&str, Pick); 3] = [
            ("queued→started", |line| line.started),
            ("queued→running", |line| line.running),
            ("run time", |line| line.ran),
        ];
        for (name, pick) in columns {
            let mut values: Vec<i64> = self.lines.iter().filter_map(pick).collect();
            values.sort_unstable();
            let at = |percent| seconds(percentile(&values, percent));
            figures.add_row([name.to_owned(), at(50), at(90), at(99), at(100)]);
        }
        f.write_str(&plain(figures))
    }
}

/// The smallest value that so many percent of the values do not exceed.
fn percentile(sorted: &[i64], percent: usize) -> Option<i64> {
    let rank = (sorted.len() * percent).div_ceil(100).max(1);
    sorted.get(rank - 1).copied()
}

fn seconds(millis: Option<i64>) -> String {
    match millis {
        Some(millis) => format!("{}.{:03} s", millis / 1000, millis % 1000),
        None => "-".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::percentile;

    #[test]
    fn percentiles_are_values_that_were_measured() {
        let values: Vec<i64> = (1..=10).collect();
        assert_eq!([50, 90, 99, 100].map(|percent| percentile(&values, percent)), [5, 9, 10, 10].map(Some));
        assert_eq!(percentile(&[], 50), None);
    }
}
