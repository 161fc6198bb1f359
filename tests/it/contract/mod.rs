//! One set of tests for both queues and both stores, and what only one of them has to keep.

mod embedded;
mod queue;
mod redis;
mod store;

use crate::support::redis::RedisServer;
use jiff::{Timestamp, ToSpan};
use runnerfleet::durable::embedded::EmbeddedDb;
use runnerfleet::durable::redis::RedisDb;
use runnerfleet::model::{
    DeliveryId, HostId, Job, JobAction, JobEvent, JobFacts, JobId, JobKey, JobState, PoolName, RepoName, Runner,
    RunnerName, Scope, StateName,
};
use runnerfleet::queue::{Queue, QueuedEvent, Received};
use runnerfleet::store::Store;
use std::sync::Arc;
use std::time::Duration;
use tempfile::TempDir;

/// Long enough that nothing comes back for being slow.
const NEVER: Duration = Duration::from_secs(600);

/// For a wait that ends at once when all is well.
const SOON: Duration = Duration::from_secs(10);

/// Runs each of these tests on both implementations, and on the embedded one as `simulate` uses it: without its thread.
macro_rules! on_both {
    ($($name:ident),* $(,)?) => {
        mod embedded {
            $(#[tokio::test(flavor = "multi_thread")] async fn $name() {
                super::$name(crate::contract::Bed::embedded()).await;
            })*
        }
        mod inline {
            $(#[tokio::test(flavor = "multi_thread")] async fn $name() {
                super::$name(crate::contract::Bed::inline()).await;
            })*
        }
        mod redis {
            $(#[tokio::test(flavor = "multi_thread")] async fn $name() {
                super::$name(crate::contract::Bed::redis()).await;
            })*
        }
    };
}
pub(crate) use on_both;

/// What queue and store stand on in one test.
pub struct Bed {
    visibility: Duration,
    kind: Kind,
}

enum Kind {
    Embedded { dir: TempDir, db: Option<EmbeddedDb> },
    Inline { db: Option<EmbeddedDb> },
    Redis { server: RedisServer },
}

/// Queue and store of one manager.
pub struct Parts {
    pub queue: Arc<dyn Queue>,
    pub store: Arc<dyn Store>,
}

impl Bed {
    pub fn embedded() -> Self {
        Self { visibility: NEVER, kind: Kind::Embedded { dir: tempfile::tempdir().unwrap(), db: None } }
    }

    pub fn inline() -> Self {
        Self { visibility: NEVER, kind: Kind::Inline { db: None } }
    }

    pub fn redis() -> Self {
        Self { visibility: NEVER, kind: Kind::Redis { server: RedisServer::start() } }
    }

    pub fn with_visibility(self, visibility: Duration) -> Self {
        Self { visibility, ..self }
    }

    /// Another manager. All of one bed share its queue and store; the embedded file has one process only, so there
    /// they are two users of one open file.
    pub fn manager(&mut self, name: &str) -> Parts {
        match &mut self.kind {
            Kind::Embedded { dir, db } => {
                let visibility = self.visibility;
                let open = || runnerfleet::durable::embedded::open(&dir.path().join("state.db"), visibility).unwrap();
                let db = db.get_or_insert_with(open);
                Parts { queue: db.queue(), store: db.store() }
            }
            Kind::Inline { db } => {
                let visibility = self.visibility;
                let db =
                    db.get_or_insert_with(|| runnerfleet::durable::embedded::in_memory_inline(visibility).unwrap());
                Parts { queue: db.queue(), store: db.store() }
            }
            Kind::Redis { server } => of_redis(&connect(server, name, self.visibility)),
        }
    }

    /// The same manager after its process ended and started again.
    pub fn restarted(&mut self, manager: Parts, name: &str) -> Parts {
        drop(manager);
        match &mut self.kind {
            Kind::Embedded { db, .. } => *db = None,
            Kind::Inline { db } => *db = db.take().map(|db| db.reopened().unwrap()),
            Kind::Redis { .. } => {}
        }
        self.manager(name)
    }
}

fn connect(server: &RedisServer, name: &str, visibility: Duration) -> RedisDb {
    runnerfleet::durable::redis::connect(&server.config(), &HostId::new(name), visibility).unwrap()
}

fn of_redis(db: &RedisDb) -> Parts {
    Parts { queue: db.queue(), store: db.store() }
}

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(1_800_000_000 + second).unwrap() + 1234.nanoseconds()
}

fn facts(number: u64) -> JobFacts {
    JobFacts {
        key: JobKey { id: JobId(number), attempt: 1 },
        run_id: 7,
        name: "build (a \"quoted\"\nname, 日本)".into(),
        workflow: Some("CI".into()),
        repository: RepoName::new("acme/web"),
        private: Some(true),
        labels: ["self-hosted", "linux"].into_iter().collect(),
        html_url: None,
        installation: Some(1),
        created_at: Some(at(0)),
    }
}

fn event(number: u64) -> QueuedEvent {
    QueuedEvent {
        delivery: DeliveryId { hook: "hook".into(), guid: format!("guid-{number}") },
        received_at: at(i64::try_from(number).unwrap()),
        event: JobEvent { action: JobAction::Queued, job: facts(number) },
    }
}

/// The numbers of events, which must all be readable.
fn numbers(events: &[Received]) -> Vec<u64> {
    events.iter().map(|received| received.event.as_ref().unwrap().event.job.key.id.0).collect()
}

fn job(number: u64, state: JobState, pool: Option<&str>) -> Job {
    Job {
        facts: facts(number),
        state,
        pool: pool.map(PoolName::new),
        first_seen: at(0),
        since: at(1),
        queued_at: Some(at(1)),
        started_at: None,
        run: None,
    }
}

fn completed(number: u64) -> Job {
    job(number, JobState::Completed { conclusion: "success".into(), runner: None }, Some("linux"))
}

fn runner(name: &str, pool: &str, host: &str) -> Runner {
    Runner::intended(
        RunnerName::new(name),
        PoolName::new(pool),
        Scope::Organization("acme".into()),
        HostId::new(host),
        "image".into(),
        None,
        at(1),
        "a job waits",
    )
}

/// The runner after it went through these states, one a second.
fn through(runner: &Runner, states: &[StateName]) -> Runner {
    states.iter().fold(runner.clone(), |runner, state| {
        let now = runner.state.since + 1.second();
        runner.become_state(*state, "test", now).unwrap()
    })
}
