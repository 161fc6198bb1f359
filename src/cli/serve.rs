//! `runnerfleet serve`.

use super::{from_file, start_log};
use crate::app;
use crate::config::Config;
use anyhow::Context;
use std::process::ExitCode;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tracing::{info, warn};

/// Runs until SIGTERM or SIGINT; a second one ends it at once.
pub(super) async fn serve(config: Config) -> anyhow::Result<ExitCode> {
    start_log(&config.log);
    let mut signals = Signals::new()?;
    // A deploy means the file as it is then.
    let file = from_file(&config);
    let running = app::start_reading(config, Some(file)).await?;
    let mut hangup = signal(SignalKind::hangup()).context("listening for SIGHUP")?;
    loop {
        tokio::select! {
            () = signals.next() => break,
            _ = hangup.recv() => {
                if let Some(live) = running.live.clone() {
                    info!("SIGHUP: reading secrets and keys again");
                    let _ = tokio::task::spawn_blocking(move || live.reload()).await;
                }
            }
        }
    }
    info!(
        "stopping: no more deliveries, actions under way end, running jobs are left alone; a second signal ends at once"
    );
    tokio::select! {
        () = running.stop() => info!("stopped"),
        () = signals.next() => {
            warn!("ended at once; the next start recovers what was under way");
            return Ok(ExitCode::from(1));
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// What ends a program.
pub(super) struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    pub(super) fn new() -> anyhow::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate()).context("listening for SIGTERM")?,
            interrupt: signal(SignalKind::interrupt()).context("listening for SIGINT")?,
        })
    }

    pub(super) async fn next(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}
