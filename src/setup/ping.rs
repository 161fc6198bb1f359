//! One delivery, from GitHub to the receiver: asked for again, and looked up in GitHub's log until it is known what became of it.

use crate::github::{Client, Delivery, Error};
use std::collections::BTreeSet;
use std::time::Duration;
use tokio::time::Instant;

/// So far back a `ping` is looked for; GitHub sends one when the hook is made.
const LOOKED_AT: usize = 500;

/// The new attempt is among the newest: more than a page do not come within a minute.
const NEWEST: usize = 100;

/// How often the log is read meanwhile.
const RHYTHM: Duration = Duration::from_secs(1);

/// What became of it.
#[derive(Debug, Clone, PartialEq)]
pub enum Attempt {
    /// GitHub's log has it.
    Logged(Delivery),
    /// GitHub took the wish, and its log has nothing within the time.
    NotSeen,
    /// The log is empty: there is nothing to ask for.
    NothingToSend,
}

/// What could be sent again: the `ping`, else what came last. None where the log is empty (it goes back three days).
///
/// # Errors
/// GitHub does not answer, or refuses.
pub async fn candidate(client: &Client) -> Result<Option<Delivery>, Error> {
    let log = client.deliveries(None, LOOKED_AT).await?;
    let ping = log.iter().find(|it| it.event == "ping");
    Ok(ping.or(log.first()).cloned())
}

/// Has it sent again, and waits for the attempt in GitHub's log.
///
/// # Errors
/// GitHub does not answer, or refuses.
pub async fn again(client: &Client, delivery: &Delivery, within: Duration) -> Result<Attempt, Error> {
    let before: BTreeSet<u64> = client.deliveries(None, NEWEST).await?.iter().map(|it| it.id).collect();
    client.redeliver(delivery.id).await?;
    let until = Instant::now() + within;
    loop {
        let log = client.deliveries(None, NEWEST).await?;
        if let Some(attempt) = log.into_iter().find(|it| it.guid == delivery.guid && !before.contains(&it.id)) {
            return Ok(Attempt::Logged(attempt));
        }
        if Instant::now() >= until {
            return Ok(Attempt::NotSeen);
        }
        tokio::time::sleep(RHYTHM).await;
    }
}
