//! A runner of the former tool, out of service: its registration first, its container after its job.
//!
//! Labels cannot be given to a container that lives, and what has no label of ours is never touched. So nothing of it is
//! kept: once it is gone, a deploy puts one of ours under the same name.

use crate::github::{Client, Deleted, Error};
use crate::model::Scope;
use crate::provider::ProviderError;
use crate::provider::docker::Docker;
use crate::provider::docker::adoption::Former;
use std::time::{Duration, Instant};

/// Between two looks at a runner that has a job.
const LOOK_AGAIN: Duration = Duration::from_secs(3);

/// A job that began just before the registration went shows after so long at the latest.
const SECOND_LOOK: Duration = Duration::from_secs(2);

/// How long a runner is waited for.
#[derive(Debug, Clone, Copy)]
pub struct Patience {
    /// Until its job is over.
    pub job: Duration,
    /// From the signal to end to the kill.
    pub grace: Duration,
}

/// Why a runner stays as it is.
#[derive(Debug, thiserror::Error)]
pub enum Trouble {
    /// GitHub was asked first, and did not say yes.
    #[error("GitHub: {0}; its container is left as it is")]
    GitHub(#[from] Error),
    /// The engine.
    #[error(transparent)]
    Engine(#[from] ProviderError),
    /// It has a job.
    #[error("it still runs a job after {} s, and is left as it is; `--timeout` waits longer", .0.as_secs())]
    Busy(Duration),
}

/// Takes it out of service: no job is cut off, and none gets lost on its way. `say` hears what is waited for.
///
/// # Errors
/// See [`Trouble`]. What was done then is done: the next try goes on from there.
pub async fn retire(
    client: &Client,
    docker: &Docker,
    former: &Former,
    scope: &Scope,
    patience: Patience,
    say: &(dyn Fn(&str) + Send + Sync),
) -> Result<(), Trouble> {
    let began = Instant::now();
    let wait = async || {
        if began.elapsed() >= patience.job {
            return Err(Trouble::Busy(patience.job));
        }
        say("waiting for its job to end");
        tokio::time::sleep(LOOK_AGAIN.min(patience.job)).await;
        Ok(())
    };
    say("asking GitHub to forget it");
    while !is_forgotten(client, former, scope).await? {
        wait().await?;
    }
    // It gets no job any more. One that it has taken a moment ago may not run yet.
    let mut quiet = 0;
    while quiet < 2 {
        if docker.former_runs_a_job(former).await? {
            quiet = 0;
            wait().await?;
        } else {
            quiet += 1;
            if former.running && quiet < 2 {
                tokio::time::sleep(SECOND_LOOK).await;
            }
        }
    }
    say("ending its container");
    docker.end_former(former, patience.grace).await?;
    Ok(())
}

/// Whether GitHub has given its registration up; it does not while it runs a job.
async fn is_forgotten(client: &Client, former: &Former, scope: &Scope) -> Result<bool, Error> {
    let Some(registration) = client.runner_named(scope, &former.runner).await? else { return Ok(true) };
    match client.delete_runner(scope, registration.id).await {
        Ok(Deleted::Deleted | Deleted::WasGone) => Ok(true),
        Err(Error::Busy { .. }) => Ok(false),
        Err(error) => Err(error),
    }
}
