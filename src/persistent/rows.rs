//! The one place where the row of a persistent runner changes. Whoever wants to hear of their changes of state listens here:
//! [`Inner::changed`].

use super::keeper::Inner;
use crate::github;
use crate::model::{Kept, Runner, RunnerName, Wanted};
use crate::provider::ProviderError;
use crate::store::{Reservation, Reserved, Saved, StoreError, Versioned};
use std::sync::Arc;
use tracing::{info, warn};

/// Somebody else writes the same row at most so often in between; more means that something is broken.
const TRIES: usize = 16;

/// Why something could not be done for a runner.
#[derive(Debug, thiserror::Error)]
pub(super) enum Failure {
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// GitHub.
    #[error(transparent)]
    GitHub(#[from] github::Error),
    /// The engine.
    #[error(transparent)]
    Provider(#[from] ProviderError),
    /// A bound, a name, a time: the sentence says it.
    #[error("{0}")]
    Other(String),
}

impl Failure {
    /// Whether the same may work in a moment: somebody was away.
    pub(super) fn is_passing(&self) -> bool {
        match self {
            Self::Store(_) | Self::Provider(ProviderError::Unavailable(_)) => true,
            Self::GitHub(error) => {
                matches!(error, github::Error::RateLimited { .. } | github::Error::Unavailable { .. })
            }
            Self::Provider(_) | Self::Other(_) => false,
        }
    }
}

impl Inner {
    /// The row as it stands.
    pub(super) fn row(&self, name: &RunnerName) -> Option<Arc<Runner>> {
        self.memory.runner(name).1.filter(|row| row.kept.is_some())
    }

    /// Changes the row by compare-and-set until it holds. `change` sees the row as it stands and answers `None` where there is
    /// nothing to change. Returns the row as it stands afterwards; none where there is none.
    pub(super) async fn change(
        &self,
        name: &RunnerName,
        change: impl Fn(&Runner) -> Option<Runner>,
    ) -> Result<Option<Arc<Runner>>, Failure> {
        let (mut version, mut current) = self.memory.runner(name);
        for _ in 0..TRIES {
            let Some(row) = current else { return Ok(None) };
            let Some(next) = change(&row) else { return Ok(Some(row)) };
            match self.store.save_runner(Versioned { version, row: next.clone() }).await? {
                Saved::Saved(version) => {
                    self.memory.put_runner(Versioned { version, row: next.clone() });
                    self.changed(Some(&row), &next);
                    return Ok(Some(Arc::new(next)));
                }
                Saved::Stale(Some(other)) => {
                    version = other.version;
                    current = Some(Arc::new(other.row.clone()));
                    self.memory.put_runner(other);
                }
                Saved::Stale(None) => {
                    self.memory.drop_runner(name);
                    current = None;
                    version = 0;
                }
            }
        }
        Err(StoreError(format!("runner `{name}` was written by others {TRIES} times in a row")).into())
    }

    /// Writes the row of a runner that is about to be made, or that was found: in the place of a removed one of its name. The
    /// store grants it against the bounds of fleet and host.
    pub(super) async fn reserve(&self, runner: Runner) -> Result<(), Failure> {
        let config = self.config();
        let (seen, before) = self.memory.runner(&runner.name);
        let wish = Reservation {
            runner: runner.clone(),
            seen,
            min_idle: 0,
            pool_max: u32::MAX,
            fleet_max: config.limits.max_runners,
            host_max: config.docker.max_runners,
        };
        match self.store.reserve(wish).await? {
            Reserved::Granted(version) => {
                self.memory.put_runner(Versioned { version, row: runner.clone() });
                self.changed(before.as_deref(), &runner);
                Ok(())
            }
            Reserved::NameTaken | Reserved::Covered => {
                // Somebody else wrote it: what stands is read before the next step.
                let asked = self.memory.asking();
                self.memory.load(asked, self.store.load().await?);
                Err(StoreError(format!("the row of runner `{}` was written by somebody else", runner.name)).into())
            }
            Reserved::Full => Err(Failure::Other(format!(
                "there is no room for runner `{}`: this host has its {} runners (hosts[].max_runners), or the fleet its {} \
                 (limits.max_runners); raise the bound, or remove others",
                runner.name, config.docker.max_runners, config.limits.max_runners
            ))),
        }
    }

    /// Notes what a person wants of it. A person's word also ends the hold on one that kept crashing.
    pub(super) async fn want(&self, name: &RunnerName, wanted: Wanted) -> Result<(), Failure> {
        self.change(name, |row| {
            let kept = row.kept.as_ref()?;
            let next = Kept { wanted, restarts: Vec::new(), ..kept.clone() };
            (next != *kept).then(|| Runner { kept: Some(next), ..row.clone() })
        })
        .await?;
        Ok(())
    }

    /// Every change of a persistent runner's row comes by here, after it was written: `before` is none for its first.
    fn changed(&self, before: Option<&Runner>, after: &Runner) {
        let (name, state) = (&after.name, after.state.name);
        if before.is_some_and(|before| before.state == after.state) {
            return;
        }
        let cause = &after.state.cause;
        if state == crate::model::StateName::Error {
            let last = after.evidence.as_ref().map(|evidence| format!(" ({evidence})")).unwrap_or_default();
            warn!(runner.name = %name, pool = %after.pool, "runner {name} is in error: {cause}{last}");
        } else {
            info!(runner.name = %name, pool = %after.pool, "runner {name} is {state}: {cause}");
        }
        self.tell_changed(before, after);
    }
}
