//! The store in Redis: rows in hashes, written by scripts, so that a row, the sets in which it counts and the word of
//! its change are one step.

mod changes;
mod scripts;

pub(crate) use changes::read as change_of;

use super::{Reservation, Reserved, Saved, Snapshot, Store, StoreChange, StoreError, Version, Versioned, queued_in};
use crate::durable::redis::{Attempt, RedisDb, Shared, Unavailable};
use crate::model::{HostId, Job, JobId, JobKey, Runner, RunnerName, Standing};
use async_trait::async_trait;
use jiff::Timestamp;
use redis::{Script, ScriptInvocation, Value, from_redis_value};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::collections::BTreeMap;
use std::sync::Arc;
use tokio::sync::mpsc;

/// Rows of one call. A script keeps everybody else waiting while it runs.
const ROWS_MAX: usize = 200;

struct RedisStore(Arc<Shared>);

impl RedisDb {
    /// The store in this Redis.
    pub fn store(&self) -> Arc<dyn Store> {
        Arc::new(RedisStore(Arc::clone(&self.shared)))
    }
}

#[async_trait]
impl Store for RedisStore {
    async fn load(&self) -> Result<Snapshot, StoreError> {
        let keys = &self.0.keys;
        let mut all = redis::pipe();
        all.atomic().hgetall(keys.jobs()).hgetall(keys.runners()).hgetall(keys.leases());
        let (jobs, runners, leases): (Rows, Rows, BTreeMap<String, String>) = self.0.link.ask_all(&all).await?;
        let jobs = jobs.iter().filter_map(|(name, row)| Some((job_key(name)?, readable("job", name, row)?)));
        let runners = runners
            .iter()
            .filter_map(|(name, row)| Some((RunnerName::new(name), readable::<Runner>("runner", name, row)?)));
        let leases =
            leases.into_iter().filter_map(|(host, until)| Some((HostId::new(host), until.parse::<Timestamp>().ok()?)));
        Ok(Snapshot { jobs: jobs.collect(), runners: runners.collect(), leases: leases.collect() })
    }

    async fn save_jobs(&self, rows: Vec<Versioned<Job>>) -> Result<Vec<Saved<Job>>, StoreError> {
        let keys = &self.0.keys;
        let mut saved = Vec::with_capacity(rows.len());
        for some in rows.chunks(ROWS_MAX) {
            let jsons = some.iter().map(|row| json(&row.row)).collect::<Result<Vec<_>, _>>()?;
            let prepare = |attempt| {
                let mut call = scripts::JOBS.prepare_invoke();
                call.key(keys.jobs()).key(keys.jobs_over()).key(keys.jobs_queued(None)).key(keys.changes());
                call.arg(again(attempt));
                for (row, json) in some.iter().zip(&jsons) {
                    let job = &row.row;
                    let pool = queued_in(job).map_or("", |pool| pool.as_str());
                    call.arg(job.key().to_string()).arg(row.version).arg(pool);
                    call.arg(over(job.is_over().then_some(job.since))).arg(json);
                }
                call
            };
            let answers: Vec<Vec<Value>> = self.0.link.call(prepare).await?;
            for (answer, row) in answers.into_iter().zip(some) {
                saved.push(saved_row(answer, &format!("job {}", row.row.key()))?);
            }
        }
        Ok(saved)
    }

    async fn save_runner(&self, row: Versioned<Runner>) -> Result<Saved<Runner>, StoreError> {
        let json = json(&row.row)?;
        let runner = &row.row;
        let prepare = |attempt| {
            let mut call = self.on_runners(&scripts::RUNNER);
            call.arg(again(attempt)).arg(runner.name.as_str()).arg(row.version).arg(runner.pool.as_str());
            call.arg(runner.owner.as_str()).arg(standing(runner));
            call.arg(over(runner.over_since())).arg(&json);
            call
        };
        saved_row(self.0.link.call(prepare).await?, &format!("runner `{}`", runner.name))
    }

    async fn reserve(&self, wish: Reservation) -> Result<Reserved, StoreError> {
        let runner = &wish.runner;
        let json = json(runner)?;
        let prepare = |attempt| {
            let mut call = self.on_runners(&scripts::RESERVE);
            call.key(self.0.keys.jobs_queued(Some(&runner.pool)));
            call.arg(again(attempt)).arg(runner.name.as_str()).arg(runner.pool.as_str()).arg(runner.owner.as_str());
            call.arg(&json).arg(wish.min_idle).arg(wish.pool_max).arg(wish.fleet_max).arg(wish.host_max);
            call.arg(wish.seen).arg(standing(runner));
            call
        };
        let word: String = self.0.link.call(prepare).await?;
        match word.as_str() {
            "granted" => Ok(Reserved::Granted(wish.seen + 1)),
            "taken" => Ok(Reserved::NameTaken),
            "covered" => Ok(Reserved::Covered),
            "full" => Ok(Reserved::Full),
            other => Err(StoreError(format!("redis answered a reservation with `{other}`"))),
        }
    }

    async fn renew_lease(&self, host: &HostId, until: Timestamp) -> Result<(), StoreError> {
        let renew = redis::Cmd::hset(self.0.keys.leases(), host.as_str(), until.to_string());
        Ok(self.0.link.ask(&renew).await?)
    }

    async fn changes(&self) -> Result<mpsc::Receiver<StoreChange>, StoreError> {
        changes::subscribe(Arc::clone(&self.0)).await
    }

    async fn note(&self, key: &str) -> Result<Option<Versioned<String>>, StoreError> {
        let found: Option<String> = self.0.link.ask(&redis::Cmd::hget(self.0.keys.notes(), key)).await?;
        let unreadable = || StoreError(format!("the note `{key}` cannot be read: it is no row"));
        found.map(|text| readable("note", key, &text).ok_or_else(unreadable)).transpose()
    }

    async fn set_note(&self, key: &str, value: &str, expected: Version) -> Result<Saved<String>, StoreError> {
        let json = json(&value)?;
        let prepare = |attempt| {
            let mut call = scripts::NOTE.prepare_invoke();
            call.key(self.0.keys.notes()).arg(again(attempt)).arg(key).arg(expected).arg(&json);
            call
        };
        saved_row(self.0.link.call(prepare).await?, &format!("note `{key}`"))
    }

    async fn forget(&self, before: Timestamp) -> Result<u64, StoreError> {
        let keys = &self.0.keys;
        let lists = [(keys.jobs(), keys.jobs_over(), "job-gone"), (keys.runners(), keys.runners_over(), "runner-gone")];
        let mut gone = 0;
        for (rows, list, word) in &lists {
            loop {
                let prepare = |_| {
                    let mut call = scripts::FORGET.prepare_invoke();
                    call.key(rows).key(list).key(keys.changes());
                    call.arg(before.as_microsecond()).arg(ROWS_MAX).arg(word);
                    call
                };
                let some: u64 = self.0.link.call(prepare).await?;
                gone += some;
                if some < ROWS_MAX as u64 {
                    break;
                }
            }
        }
        self.forget_leases(before).await?;
        Ok(gone)
    }

    async fn ping(&self) -> Result<(), StoreError> {
        Ok(self.0.ping().await?)
    }
}

/// Names and rows as they lie in Redis.
type Rows = BTreeMap<String, String>;

impl RedisStore {
    fn on_runners(&self, script: &'static Script) -> ScriptInvocation<'static> {
        let keys = &self.0.keys;
        let mut call = script.prepare_invoke();
        call.key(keys.runners()).key(keys.runners_over()).key(keys.runners_live());
        call.key(keys.runners_live_pool(None)).key(keys.runners_live_host(None)).key(keys.runners_supply(None));
        call.key(keys.changes());
        call
    }

    /// A manager whose lease ended so long ago is gone for good.
    async fn forget_leases(&self, before: Timestamp) -> Result<(), StoreError> {
        let key = self.0.keys.leases();
        let leases: Rows = self.0.link.ask(&redis::Cmd::hgetall(&key)).await?;
        let is_old = |until: &str| until.parse::<Timestamp>().is_ok_and(|until| until < before);
        for host in leases.iter().filter(|(_, until)| is_old(until)).map(|(host, _)| host) {
            self.0.link.ask::<()>(&redis::Cmd::hdel(&key, host)).await?;
        }
        Ok(())
    }
}

fn again(attempt: Attempt) -> u8 {
    u8::from(attempt == Attempt::Again)
}

fn over(since: Option<Timestamp>) -> String {
    since.map_or_else(String::new, |since| since.as_microsecond().to_string())
}

fn standing(runner: &Runner) -> &'static str {
    match runner.standing() {
        Standing::Supply => "supply",
        Standing::Occupied => "occupied",
        Standing::Gone => "gone",
    }
}

fn json(row: &impl Serialize) -> Result<String, StoreError> {
    serde_json::to_string(row).map_err(|error| StoreError(format!("a row cannot be written as JSON: {error}")))
}

fn job_key(name: &str) -> Option<JobKey> {
    let (id, attempt) = name.split_once('/')?;
    Some(JobKey { id: JobId(id.parse().ok()?), attempt: attempt.parse().ok()? })
}

/// The row in the text that the scripts keep: version, two words, JSON, each in a line.
pub(crate) fn readable<T: DeserializeOwned>(kind: &str, name: &str, text: &str) -> Option<Versioned<T>> {
    let mut lines = text.splitn(4, '\n');
    let version = lines.next().and_then(|version| version.parse().ok());
    let row = lines.nth(2).map(serde_json::from_str);
    match (version, row) {
        (Some(version), Some(Ok(row))) => Some(Versioned { version, row }),
        (_, problem) => {
            let why = problem.and_then(Result::err).map_or("it is no row".to_owned(), |error| error.to_string());
            tracing::warn!("the row of {kind} `{name}` cannot be read and is left out: {why}");
            None
        }
    }
}

/// What a script said of one write.
fn saved_row<T: DeserializeOwned>(answer: Vec<Value>, what: &str) -> Result<Saved<T>, StoreError> {
    let bad = |why: String| StoreError(format!("the row of {what} cannot be read: {why}"));
    let text = |value: Value| from_redis_value::<String>(value).map_err(|error| bad(error.to_string()));
    let mut parts = answer.into_iter();
    let saved = parts.next() == Some(Value::Int(1));
    let Some(version) = parts.next() else { return Ok(Saved::Stale(None)) };
    let version: Version = text(version)?.parse().map_err(|_| bad("its version is no number".to_owned()))?;
    if saved {
        return Ok(Saved::Saved(version));
    }
    let json = parts.next().map(text).transpose()?.unwrap_or_default();
    let row = serde_json::from_str(&json).map_err(|error| bad(error.to_string()))?;
    Ok(Saved::Stale(Some(Versioned { version, row })))
}

impl From<Unavailable> for StoreError {
    fn from(why: Unavailable) -> Self {
        Self(why.0)
    }
}
