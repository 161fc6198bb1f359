//! Notifications over real HTTP: what arrives, and what does not hold anything up.

mod delivery;
mod forms;
mod life;

use crate::support::fleet;
use runnerfleet::config::{Config, Recipient};
use std::time::Duration;

/// A fleet that tells these.
fn config(recipients: Vec<Recipient>) -> Config {
    let mut config = fleet::config(std::env::temp_dir(), "prod-1", Vec::new());
    config.notifications.recipients = recipients;
    config.notifications.retry_delay = Duration::from_millis(1);
    config
}
