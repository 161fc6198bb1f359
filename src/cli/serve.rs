//! `runnerfleet serve`.

use super::{from_file, of_the_process, start_log};
use crate::app;
use crate::config::Config;
use crate::service::{self, ServiceManager};
use anyhow::Context;
use std::net::TcpListener;
use std::process::ExitCode;
use std::sync::Arc;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tracing::{info, warn};

/// What came of asking for a socket of the service manager's.
pub(super) type HandedOver = Result<Option<TcpListener>, service::HandedOver>;

/// Runs until SIGTERM or SIGINT; a second one ends it at once.
pub(super) async fn serve(config: Config, socket: HandedOver) -> anyhow::Result<ExitCode> {
    start_log(&config.log);
    let manager = Arc::new(ServiceManager::of(of_the_process));
    let mut signals = Signals::new()?;
    // A deploy means the file as it is then.
    let file = from_file(&config);
    let running = app::start_on(config, Some(file), socket?).await?;
    manager.ready(&format!("deliveries are taken on {}", running.addr));
    // Lives: the runtime gets round to a new task, and what is known can be read. Whether Docker, Redis or GitHub answer is
    // no reason to be restarted: that would change nothing.
    let (watched, memory) = (manager.clone(), running.memory.clone());
    tokio::spawn(async move {
        let lives = || async {
            let memory = memory.clone();
            let _ = tokio::spawn(async move { drop(memory.world()) }).await;
        };
        watched.watch(lives).await;
    });
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
    manager.stopping("actions under way end");
    info!(
        "stopping: actions under way end, then no more deliveries are taken; running jobs are left alone; a second signal \
         ends at once"
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
