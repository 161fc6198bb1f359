//! A GitHub on loopback: the REST API that this program uses, runners and their agents, jobs, signed deliveries with a
//! log, rate limits, and faults on request.
//!
//! ```text
//! api (REST) ──┐                    ┌── webhooks (deliveries, log)
//!              ├── Shared ── Model ─┤
//! agent_api ───┘    (clock, lock)   └── Handle (tests and the demo: jobs, faults, waiting)
//! ```
//! The model is pure; `Shared` gives it the time, sends what it announces and wakes whoever waits.

mod agent_api;
mod answer;
mod api;
mod auth;
mod budget;
mod faults;
mod handle;
mod jit;
mod model;
mod options;
mod pages;
mod payload;
mod recorder;
mod seed;
mod server;
mod webhooks;
mod within;

pub use faults::{Chooser, Fault, Faults, WebhookFault};
pub use handle::{Handle, SimulatedGitHub, TimedOut};
pub use model::{Conclusion, Job, JobSpec, Model, Runner, RunnerStamp, SessionFault, Stage};
pub use options::{
    Account, AccountKind, App, GroupSpec, Installation, Limits, Options, Repository, Timings, WebhookTarget,
};
pub use recorder::Exchange;
pub use server::Outage;
pub use webhooks::{Delivery, NobodyThere, Recipient};
pub use within::{Poll, Polling};

use crate::simulation::changes::Changes;
use budget::Budgets;
use jiff::Timestamp;
use model::Urls;
use recorder::Recorder;
use secrecy::SecretString;
use server::OutageSwitch;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio_util::sync::CancellationToken;
use webhooks::Courier;

/// What all parts of the server share.
struct Shared {
    model: Mutex<Model>,
    /// Grows with every change; whoever waits for a state waits here.
    version: Arc<Changes>,
    faults: Faults,
    recorder: Recorder,
    budgets: Mutex<Budgets>,
    courier: Arc<Courier>,
    /// Codes of the manifest flow, with what each one gives.
    manifests: Mutex<HashMap<String, pages::Offer>>,
    personal_token: Option<SecretString>,
    urls: Urls,
    base_path: String,
    clock_ahead: jiff::SignedDuration,
    outage: OutageSwitch,
    stop: CancellationToken,
}

/// The one place where the clock is read.
fn clock() -> Timestamp {
    crate::clock::now()
}

impl Shared {
    /// What this GitHub takes for the present.
    fn its_time(&self) -> Timestamp {
        clock().saturating_add(self.clock_ahead).unwrap_or(Timestamp::MAX)
    }
}

/// The simulation was stopped.
struct Stopped;

impl Shared {
    /// Changes the model, lets it settle, sends what it announces and wakes whoever waits.
    fn change<T>(&self, change: impl FnOnce(&mut Model, Timestamp) -> T) -> T {
        let mut model = lock(&self.model);
        let now = clock();
        let result = change(&mut model, now);
        model.settle(now);
        for announcement in std::mem::take(&mut model.outbox) {
            self.courier.announce(announcement);
        }
        drop(model);
        self.touch();
        result
    }

    fn touch(&self) {
        self.version.touch();
    }

    /// The hook of the App that was just made; it greets its receiver.
    fn new_hook(&self, hook: Option<(String, String)>) {
        self.courier.set_app(lock(&self.model).app.id);
        let target = hook.map(|(url, secret)| options::WebhookTarget { url, secret: Some(SecretString::from(secret)) });
        self.courier.set_target(target);
        self.ping();
    }

    /// Sends a `ping`.
    fn ping(&self) {
        let hook = self.courier.hook;
        let target = self.courier.target().map(|target| target.url).unwrap_or_default();
        self.change(|model, _| {
            let payload = payload::ping_event(&model.urls, &model.app, hook, &target);
            model.outbox.push(model::Announcement {
                event: "ping",
                action: None,
                installation: None,
                repository: None,
                payload,
            });
        });
    }

    fn redeliver(&self, delivery: &Delivery) {
        self.courier.again(delivery);
    }

    /// Waits; cut short when the simulation ends.
    async fn pause(&self, delay: Duration) -> Result<(), Stopped> {
        tokio::select! {
            biased;
            () = tokio::time::sleep(delay) => Ok(()),
            () = self.stop.cancelled() => Err(Stopped),
        }
    }
}

/// A panic elsewhere does not make what it left behind worse: the next reader goes on with it.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
