//! How far it is with what was missed, for whoever asks: `/readyz`, `runnerfleet plan`.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// What is known of it now, for whoever asks.
#[derive(Clone, Default)]
pub struct Missed(Arc<Mutex<Report>>);

/// How far it is.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    /// GitHub's log of deliveries; none where it is not read.
    #[serde(default)]
    pub log: Option<Looked>,
    /// The lists of queued jobs; none where they are not read.
    #[serde(default)]
    pub jobs: Option<Looked>,
}

/// One of the two.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Looked {
    /// When some manager of the fleet last read it to the end.
    pub at: Option<Timestamp>,
    /// How many deliveries (or jobs) were made good since the store was made.
    pub made_good: u64,
    /// When the last of them was.
    pub last_made_good: Option<Timestamp>,
    /// Of a reading that is not at its end yet: down to which moment the log is still to be read.
    #[serde(default)]
    pub still_to: Option<Timestamp>,
    /// Why it cannot be read now.
    #[serde(default)]
    pub trouble: Option<String>,
}

impl Missed {
    /// What is known now.
    pub fn report(&self) -> Report {
        self.lock().clone()
    }

    pub(super) fn tell_log(&self, looked: Looked) {
        self.lock().log = Some(looked);
    }

    pub(super) fn tell_jobs(&self, looked: Looked) {
        self.lock().jobs = Some(looked);
    }

    fn lock(&self) -> MutexGuard<'_, Report> {
        // Every change is one assignment.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
