//! The fifth step: a delivery, from GitHub to the receiver. `serve` takes it where one runs; else a receiver of our own does, for
//! that time.

use super::talk::Talk;
use crate::admin;
use crate::config::Config;
use crate::credentials::{Reloaded, fingerprint};
use crate::github::Client;
use crate::setup::ping::{Attempt, again, candidate};
use crate::setup::receiver::{NoReceiver, Receiver};
use crate::setup::verdict::{Heard, advice, logged};
use anyhow::{Context, bail};
use secrecy::SecretString;
use std::time::Duration;

/// GitHub sends it within seconds, and gives a receiver ten.
const WITHIN: Duration = Duration::from_secs(60);

/// How it went.
pub(super) enum Seen {
    /// It arrived, signed as it should be.
    Arrived,
    /// There was nothing that GitHub could send again.
    NothingToSend,
}

/// Has a `serve` that runs here read its secrets and keys again; none where none runs.
///
/// # Errors
/// It cannot use what it reads, or does not answer.
pub(super) async fn reload(config: &Config) -> anyhow::Result<Option<Reloaded>> {
    let Some(serve) = admin::client::Client::connect(&config.http.admin_socket).await else { return Ok(None) };
    let reloaded = serve.reload().await.context("having `serve` read its secrets and keys again")?;
    match &reloaded.problem {
        Some(problem) => bail!("`serve` goes on with what it had before: {problem}"),
        None => Ok(Some(reloaded)),
    }
}

/// As [`reload`], and sees that it has the secret.
///
/// # Errors
/// It has it not.
pub(super) async fn reload_with(config: &Config, secret: &SecretString) -> anyhow::Result<()> {
    if let Some(reloaded) = reload(config).await?
        && !reloaded.secrets.contains(&fingerprint(secret))
    {
        bail!(
            "`serve` does not know the secret {} after reading its configuration again: was it started with another file?",
            fingerprint(secret)
        );
    }
    Ok(())
}

/// Sees one delivery arrive.
///
/// # Errors
/// It does not; what GitHub's log says, and what to do.
pub(super) async fn verify(client: &Client, config: &Config, url: &str, talk: &Talk) -> anyhow::Result<Seen> {
    let serves = reload(config).await?.is_some();
    let receiver = if serves { None } else { open(config, talk).await? };
    let Some(delivery) = candidate(client).await.context("reading GitHub's log of deliveries")? else {
        return Ok(Seen::NothingToSend);
    };
    if let Some(receiver) = &receiver {
        receiver.expect(&delivery.guid);
    }
    talk.tell(&format!("asking GitHub to send its `{}` again, to {url}", delivery.event));
    let attempt = again(client, &delivery, WITHIN).await.context("having GitHub send a delivery again")?;
    let heard = receiver.as_ref().map_or(Heard::NotOurs, |receiver| receiver.heard(&delivery.guid));
    match attempt {
        Attempt::Logged(it) if it.ok() && heard == Heard::Nothing => {
            bail!("GitHub's log says {}, and nothing came here: something else answers at {url}", logged(&it))
        }
        Attempt::Logged(it) if it.ok() => {
            let by = if serves { "`serve`" } else { "this setup" };
            let by = if receiver.is_none() && !serves { "the receiver" } else { by };
            talk.tell(&format!("it arrived: GitHub's log says {}, from {by}", logged(&it)));
            Ok(Seen::Arrived)
        }
        Attempt::Logged(it) => {
            bail!("the delivery did not arrive. {}", advice(&it, &heard, url, &config.http.listen.to_string()))
        }
        Attempt::NotSeen => bail!(
            "GitHub took the wish, and its log shows no new attempt after {} s: `runnerfleet deliveries` shows it later",
            WITHIN.as_secs()
        ),
        Attempt::NothingToSend => Ok(Seen::NothingToSend),
    }
}

/// A receiver of our own. None where somebody else listens there: GitHub's log tells all the same.
async fn open(config: &Config, talk: &Talk) -> anyhow::Result<Option<Receiver>> {
    match Receiver::open(&config.http, &config.intake.path, config.intake.secrets.clone()).await {
        Ok(receiver) => Ok(Some(receiver)),
        Err(error @ NoReceiver::Taken(_)) => {
            talk.tell(&format!("note: {error}, and no `serve` answers here: GitHub's log alone tells how it goes"));
            Ok(None)
        }
        Err(error) => Err(error.into()),
    }
}
