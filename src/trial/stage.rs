//! What all parts of a run share: the true time, GitHub, the machines, the weather, the judge and the trace.

use super::dice::Dice;
use super::judge::Judge;
use super::program::Machine;
use super::trace::Trace;
use super::weather::Weather;
use crate::clock::Clock;
use crate::durable::embedded::{self, EmbeddedDb};
use crate::model::after;
use crate::simulation::github::Handle;
use jiff::Timestamp;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;
use tokio::time::Instant;

/// Every run begins at this moment.
pub(super) const EPOCH: Timestamp = Timestamp::constant(1_800_000_000, 0);

/// See the module.
pub(super) struct Stage {
    pub(super) seed: u64,
    pub(super) dice: Dice,
    pub(super) trace: Trace,
    pub(super) judge: Judge,
    pub(super) machines: Vec<Arc<Machine>>,
    pub(super) github: OnceLock<Arc<Handle>>,
    began: Instant,
    weather: Mutex<Weather>,
    calm: AtomicBool,
    store_away: AtomicBool,
    /// Of all machines, if there are several; else each start opens it anew, as a file.
    database: EmbeddedDb,
}

impl Stage {
    pub(super) fn new(
        seed: u64,
        trace: Trace,
        judge: Judge,
        machines: Vec<Arc<Machine>>,
        visibility: Duration,
    ) -> Result<Self, String> {
        Ok(Self {
            seed,
            dice: Dice::new(seed, "stage"),
            trace,
            judge,
            machines,
            github: OnceLock::new(),
            began: Instant::now(),
            weather: Mutex::new(Weather::calm()),
            calm: AtomicBool::new(false),
            store_away: AtomicBool::new(false),
            database: embedded::in_memory_inline(visibility).map_err(|error| error.to_string())?,
        })
    }

    /// How long it has been running.
    pub(super) fn elapsed(&self) -> Duration {
        self.began.elapsed()
    }

    /// The true time.
    pub(super) fn clock(&self) -> Clock {
        let began = self.began;
        Arc::new(move || after(EPOCH, began.elapsed()))
    }

    pub(super) fn note(&self, text: &str) {
        self.trace.note(self.elapsed(), text);
    }

    pub(super) fn github(&self) -> Arc<Handle> {
        self.github.get().expect("GitHub is there before anybody asks for it").clone()
    }

    pub(super) fn weather(&self) -> Weather {
        self.weather.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(super) fn set_weather(&self, weather: Weather) {
        *self.weather.lock().unwrap_or_else(PoisonError::into_inner) = weather;
    }

    /// Nothing goes wrong any more.
    pub(super) fn set_calm(&self) {
        self.set_weather(Weather::calm());
        self.calm.store(true, Ordering::Relaxed);
    }

    pub(super) fn is_calm(&self) -> bool {
        self.calm.load(Ordering::Relaxed)
    }

    pub(super) fn set_store_away(&self, away: bool) {
        self.store_away.store(away, Ordering::Relaxed);
    }

    pub(super) fn store_is_away(&self) -> bool {
        self.store_away.load(Ordering::Relaxed)
    }

    /// The database for a process that starts.
    pub(super) fn database(&self, life: u64) -> Result<EmbeddedDb, String> {
        if self.machines.len() > 1 || life == 1 { Ok(self.database.clone()) } else { self.database.reopened() }
    }
}
