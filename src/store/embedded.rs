//! The store in the embedded file.

use super::{Reservation, Reserved, Saved, Snapshot, Store, StoreChange, StoreError, Version, Versioned};
use crate::durable::embedded::{EmbeddedDb, JOBS, LEASES, NOTES, RUNNERS, Row, Step, Unavailable};
use crate::model::{HostId, Job, JobId, JobKey, Runner, RunnerName};
use async_trait::async_trait;
use jiff::Timestamp;
use redb::{AccessGuard, ReadTransaction, ReadableTable, TableError};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::sync::Arc;
use tokio::sync::mpsc;

/// Rows that one transaction ages out; more would keep pushes waiting.
const FORGET_BATCH: usize = 500;

struct EmbeddedStore(EmbeddedDb);

impl EmbeddedDb {
    /// The store in this file.
    pub fn store(&self) -> Arc<dyn Store> {
        Arc::new(EmbeddedStore(self.clone()))
    }
}

#[async_trait]
impl Store for EmbeddedStore {
    async fn load(&self) -> Result<Snapshot, StoreError> {
        self.0.writer.heal().await?;
        Ok(self.0.writer.read_much(snapshot).await?)
    }

    async fn save_jobs(&self, rows: Vec<Versioned<Job>>) -> Result<Vec<Saved<Job>>, StoreError> {
        let rows = rows.into_iter().map(|row| Ok((json(&row.row)?, row))).collect::<Result<Vec<_>, StoreError>>()?;
        let saved = self.write(move |step, changes| {
            rows.into_iter().map(|(json, row)| save_job(step, changes, row, &json)).collect::<Result<Vec<_>, _>>()
        });
        saved.await?.into_iter().collect()
    }

    async fn save_runner(&self, row: Versioned<Runner>) -> Result<Saved<Runner>, StoreError> {
        let json = json(&row.row)?;
        self.write(move |step, changes| save_runner(step, changes, row, &json)).await?
    }

    async fn reserve(&self, wish: Reservation) -> Result<Reserved, StoreError> {
        let json = json(&wish.runner)?;
        self.write(move |step, changes| reserve(step, changes, wish, &json)).await
    }

    async fn renew_lease(&self, host: &HostId, until: Timestamp) -> Result<(), StoreError> {
        let host = host.clone();
        let renewed = self.write(move |step, _| {
            step.tables.leases.insert(host.as_str(), until.as_nanosecond())?;
            Ok(())
        });
        renewed.await
    }

    async fn changes(&self) -> Result<mpsc::Receiver<StoreChange>, StoreError> {
        Ok(self.0.feeds.subscribe())
    }

    async fn note(&self, key: &str) -> Result<Option<Versioned<String>>, StoreError> {
        self.0.writer.heal().await?;
        let (name, key) = (key.to_owned(), key.to_owned());
        let row = self.0.writer.read_much(move |txn| find_note(txn, &key)).await?;
        let read = |row: Row| match row.read() {
            Ok(value) => Ok(Versioned { version: row.version, row: value }),
            Err(error) => Err(StoreError(format!("the note `{name}` cannot be read: {error}"))),
        };
        row.map(read).transpose()
    }

    async fn set_note(&self, key: &str, value: &str, expected: Version) -> Result<Saved<String>, StoreError> {
        let json = json(&value)?;
        let key = key.to_owned();
        let written = self.write(move |step, _| {
            let stands = stands(step.tables.notes.get(key.as_str())?);
            if let Err(stale) = agree(stands, expected, &format!("note `{key}`")) {
                return Ok(stale);
            }
            let version = expected + 1;
            step.tables.notes.insert(key.as_str(), Row::encode(version, None, &json).as_slice())?;
            Ok(Ok(Saved::Saved(version)))
        });
        written.await?
    }

    async fn forget(&self, before: Timestamp) -> Result<u64, StoreError> {
        self.0.writer.heal().await?;
        let before = before.as_microsecond();
        // Looked for outside the writer, so that pushes need not wait while all rows are passed by.
        let old = self.0.writer.read_much(move |txn| find_old(txn, before)).await?;
        let mut gone = 0;
        for some in old.chunks(FORGET_BATCH) {
            let some = some.to_vec();
            gone += self.write(move |step, changes| forget_some(step, changes, &some, before)).await?;
        }
        let dead = move |step: &mut Step<'_>, _: &mut Vec<StoreChange>| {
            // A manager that has been away for so long is gone for good.
            step.tables.leases.retain(|_, until| until >= i128::from(before) * 1000)?;
            Ok(())
        };
        self.write(dead).await?;
        Ok(gone)
    }

    async fn ping(&self) -> Result<(), StoreError> {
        Ok(self.0.writer.ping().await?)
    }
}

impl EmbeddedStore {
    /// Does `work` in a transaction and tells the feeds of its changes after the commit.
    async fn write<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Step<'_>, &mut Vec<StoreChange>) -> Result<T, redb::Error> + Send + 'static,
    ) -> Result<T, StoreError> {
        let feeds = Arc::clone(&self.0.feeds);
        let written = self.0.writer.write(
            move |step| {
                let mut changes = Vec::new();
                let value = work(step, &mut changes)?;
                Ok((value, changes))
            },
            move |(_, changes)| feeds.tell(changes),
        );
        Ok(written.await?.0)
    }
}

fn find_note(txn: &ReadTransaction, key: &str) -> Result<Option<Row>, redb::Error> {
    match txn.open_table(NOTES) {
        Ok(notes) => Ok(stands(notes.get(key)?)),
        // Nothing was ever written.
        Err(TableError::TableDoesNotExist(_)) => Ok(None),
        Err(other) => Err(other.into()),
    }
}

/// A job that is over may age out.
fn job_over(job: &Job) -> Option<Timestamp> {
    job.is_over().then_some(job.since)
}

/// So may a runner that is removed.
fn runner_over(runner: &Runner) -> Option<Timestamp> {
    runner.over_since()
}

fn save_job(
    step: &mut Step<'_>,
    changes: &mut Vec<StoreChange>,
    row: Versioned<Job>,
    json: &[u8],
) -> Result<Result<Saved<Job>, StoreError>, redb::Error> {
    let key = row.row.key();
    let stands = stands(step.tables.jobs.get((key.id.0, key.attempt))?);
    if let Err(stale) = agree(stands, row.version, &format!("job {key}")) {
        return Ok(stale);
    }
    let version = row.version + 1;
    let bytes = Row::encode(version, job_over(&row.row), json);
    step.tables.jobs.insert((key.id.0, key.attempt), bytes.as_slice())?;
    step.counted.job(&row.row);
    changes.push(StoreChange::Job(Versioned { version, row: row.row }));
    Ok(Ok(Saved::Saved(version)))
}

fn save_runner(
    step: &mut Step<'_>,
    changes: &mut Vec<StoreChange>,
    row: Versioned<Runner>,
    json: &[u8],
) -> Result<Result<Saved<Runner>, StoreError>, redb::Error> {
    let stands = stands(step.tables.runners.get(row.row.name.as_str())?);
    if let Err(stale) = agree(stands, row.version, &format!("runner `{}`", row.row.name)) {
        return Ok(stale);
    }
    let version = row.version + 1;
    write_runner(step, changes, version, row.row, json)?;
    Ok(Ok(Saved::Saved(version)))
}

fn write_runner(
    step: &mut Step<'_>,
    changes: &mut Vec<StoreChange>,
    version: Version,
    runner: Runner,
    json: &[u8],
) -> Result<(), redb::Error> {
    let bytes = Row::encode(version, runner_over(&runner), json);
    step.tables.runners.insert(runner.name.as_str(), bytes.as_slice())?;
    step.counted.runner(&runner);
    changes.push(StoreChange::Runner(Versioned { version, row: runner }));
    Ok(())
}

fn reserve(
    step: &mut Step<'_>,
    changes: &mut Vec<StoreChange>,
    wish: Reservation,
    json: &[u8],
) -> Result<Reserved, redb::Error> {
    let Reservation { runner, seen, min_idle, pool_max, fleet_max, host_max } = wish;
    let version = stands(step.tables.runners.get(runner.name.as_str())?).map_or(0, |row| row.version);
    if version != seen {
        return Ok(Reserved::NameTaken);
    }
    let counted = &*step.counted;
    let places = |bound: u32| usize::try_from(bound).unwrap_or(usize::MAX);
    let is_kept = runner.kept.is_some();
    if !is_kept && counted.queued(&runner.pool).saturating_add(places(min_idle)) <= counted.supply(&runner.pool) {
        return Ok(Reserved::Covered);
    }
    let full = (!is_kept && counted.live(&runner.pool) >= places(pool_max))
        || counted.live_in_all() >= places(fleet_max)
        || counted.on_host(&runner.owner) >= places(host_max);
    if full {
        return Ok(Reserved::Full);
    }
    write_runner(step, changes, seen + 1, runner, json)?;
    Ok(Reserved::Granted(seen + 1))
}

/// The name of a row that may go.
#[derive(Clone)]
enum Old {
    Job(u64, u32),
    Runner(String),
}

fn is_old(bytes: &[u8], before: i64) -> bool {
    Row::head(bytes).1.is_some_and(|over| over < before)
}

fn find_old(txn: &ReadTransaction, before: i64) -> Result<Vec<Old>, redb::Error> {
    let mut old = Vec::new();
    for entry in ReadableTable::iter(&txn.open_table(JOBS)?)? {
        let (key, value) = entry?;
        if is_old(value.value(), before) {
            let (id, attempt) = key.value();
            old.push(Old::Job(id, attempt));
        }
    }
    for entry in ReadableTable::iter(&txn.open_table(RUNNERS)?)? {
        let (key, value) = entry?;
        if is_old(value.value(), before) {
            old.push(Old::Runner(key.value().to_owned()));
        }
    }
    Ok(old)
}

/// Deletes those that are still old: one may have been written since it was found.
fn forget_some(
    step: &mut Step<'_>,
    changes: &mut Vec<StoreChange>,
    rows: &[Old],
    before: i64,
) -> Result<u64, redb::Error> {
    let mut gone = 0;
    for row in rows {
        let still =
            |found: Option<AccessGuard<'_, &'static [u8]>>| found.is_some_and(|row| is_old(row.value(), before));
        match row {
            Old::Job(id, attempt) if still(step.tables.jobs.get((*id, *attempt))?) => {
                step.tables.jobs.remove((*id, *attempt))?;
                changes.push(StoreChange::JobForgotten(JobKey { id: JobId(*id), attempt: *attempt }));
            }
            Old::Runner(name) if still(step.tables.runners.get(name.as_str())?) => {
                step.tables.runners.remove(name.as_str())?;
                changes.push(StoreChange::RunnerForgotten(RunnerName::new(name)));
            }
            Old::Job(..) | Old::Runner(_) => continue,
        }
        gone += 1;
    }
    Ok(gone)
}

fn snapshot(txn: &ReadTransaction) -> Result<Snapshot, redb::Error> {
    let mut all = Snapshot::default();
    for entry in ReadableTable::iter(&txn.open_table(JOBS)?)? {
        let (key, value) = entry?;
        let key = JobKey { id: JobId(key.value().0), attempt: key.value().1 };
        if let Some(row) = readable(&Row::parse(value.value()), &format!("job {key}")) {
            all.jobs.insert(key, row);
        }
    }
    for entry in ReadableTable::iter(&txn.open_table(RUNNERS)?)? {
        let (key, value) = entry?;
        let name = RunnerName::new(key.value());
        if let Some(row) = readable(&Row::parse(value.value()), &format!("runner `{name}`")) {
            all.runners.insert(name, row);
        }
    }
    for entry in ReadableTable::iter(&txn.open_table(LEASES)?)? {
        let (host, until) = entry?;
        if let Ok(until) = Timestamp::from_nanosecond(until.value()) {
            all.leases.insert(HostId::new(host.value()), until);
        }
    }
    Ok(all)
}

fn readable<T: DeserializeOwned>(row: &Row, what: &str) -> Option<Versioned<T>> {
    match row.read() {
        Ok(value) => Some(Versioned { version: row.version, row: value }),
        Err(error) => {
            tracing::warn!(%error, "the row of {what} cannot be read and is left out");
            None
        }
    }
}

fn stands(found: Option<AccessGuard<'_, &'static [u8]>>) -> Option<Row> {
    found.map(|bytes| Row::parse(bytes.value()))
}

/// Whether the version that the writer has seen still stands; if not, what to tell it.
fn agree<T: DeserializeOwned>(
    stands: Option<Row>,
    seen: Version,
    what: &str,
) -> Result<(), Result<Saved<T>, StoreError>> {
    let Some(row) = stands else { return if seen == 0 { Ok(()) } else { Err(Ok(Saved::Stale(None))) } };
    if row.version == seen {
        return Ok(());
    }
    let value = row.read().map_err(|error| Err(StoreError(format!("the row of {what} cannot be read: {error}"))))?;
    Err(Ok(Saved::Stale(Some(Versioned { version: row.version, row: value }))))
}

fn json(row: &impl Serialize) -> Result<Vec<u8>, StoreError> {
    serde_json::to_vec(row).map_err(|error| StoreError(format!("a row cannot be written as JSON: {error}")))
}

impl From<Unavailable> for StoreError {
    fn from(why: Unavailable) -> Self {
        Self(why.0)
    }
}
