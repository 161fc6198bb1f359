//! Containers that stand still for a moment: nothing in them can begin while somebody looks.

use super::Docker;
use super::connection::CHANGE;
use crate::model::ContainerId;
use crate::provider::ProviderError;

impl Docker {
    /// Pauses a container, or lets it go on.
    pub(super) async fn stand_still(&self, id: &ContainerId, still: bool) -> Result<(), ProviderError> {
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
