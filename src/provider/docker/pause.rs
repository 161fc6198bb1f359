//! Containers that stand still for a moment: nothing in them can begin while somebody looks.

use super::Docker;
use super::connection::CHANGE;
use crate::model::ContainerId;
use crate::provider::ProviderError;
use std::time::Duration;

/// The kernel's freezer gives up on a busy machine before every process stands still ("unable to freeze"), and the engine thaws
/// the container again. The next try finds other processes running.
const TRIES: u32 = 5;

/// Between two of them.
const PAUSE: Duration = Duration::from_millis(100);

impl Docker {
    /// Pauses a container, or lets it go on.
    pub(super) async fn stand_still(&self, id: &ContainerId, still: bool) -> Result<(), ProviderError> {
        let mut tries = 1;
        loop {
            match self.stand_still_once(id, still).await {
                Err(ProviderError::Refused(why)) if tries < TRIES && why.contains("freeze") => {
                    tracing::debug!(container = %id, "trying to pause it again: {why}");
                    tries += 1;
                    tokio::time::sleep(PAUSE).await;
                }
                other => return other,
            }
        }
    }

    async fn stand_still_once(&self, id: &ContainerId, still: bool) -> Result<(), ProviderError> {
        let Some(found) = self.inspect_ours(id).await? else { return Ok(()) };
        // Engines differ in the status for one that stands still already.
        let is = found.state.as_ref().and_then(|state| state.paused).unwrap_or(false);
        if is == still {
            return Ok(());
        }
        let changed = self.connection.call(CHANGE, |docker| async move {
            if still { docker.pause_container(id.as_str()).await } else { docker.unpause_container(id.as_str()).await }
        });
        match changed.await {
            Ok(()) => Ok(()),
            // Gone; not running.
            Err(failure) if failure.is(404) || failure.is(409) => Ok(()),
            Err(failure) => Err(failure.into()),
        }
    }
}
