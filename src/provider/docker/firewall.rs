//! The way from runners to the host's metadata address, cut.
//!
//! On a cloud machine 169.254.169.254 hands the machine's own credentials to whoever asks. Docker has no setting against
//! that, so one rule in its `DOCKER-USER` chain drops what comes from this fleet's bridges to link-local addresses. The
//! chain is Docker's place for the administrator's rules: Docker itself never changes them.

use super::network::Names;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::process::Command;
use tracing::{debug, warn};

/// All link-local addresses: other clouds use other ones than AWS's.
const METADATA: &str = "169.254.0.0/16";

/// `iptables` waits for its lock itself; this is for a hung one.
const LIMIT: Duration = Duration::from_secs(10);

/// A rule that two managers inserted in the same moment is there twice.
const MOST_COPIES: usize = 8;

/// Whether the rule is in force.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MetadataRule {
    /// It is.
    There,
    /// It is not.
    Missing,
    /// That cannot be told from here.
    Unknown(String),
}

/// The one rule of this fleet.
#[derive(Debug)]
pub(super) struct Firewall {
    rule: Vec<String>,
    wanted: AtomicBool,
    told: AtomicBool,
}

impl Firewall {
    pub(super) fn new(names: &Names) -> Self {
        // `+` matches the shared bridge and those of single runners, which continue its name.
        let bridges = format!("{}+", names.bridge());
        let rule = ["DOCKER-USER", "-i", &bridges, "-d", METADATA, "-j", "DROP"].map(str::to_owned).to_vec();
        Self { rule, wanted: AtomicBool::new(false), told: AtomicBool::new(false) }
    }

    /// Puts the rule in if it is not there. Where that is not possible it says once what the administrator can do;
    /// runners work without it.
    pub(super) async fn ensure(&self, engine_is_local: bool) {
        self.wanted.store(true, Ordering::Relaxed);
        let outcome = if !engine_is_local {
            Err("the engine is on another machine".to_owned())
        } else if !rustix::process::geteuid().is_root() {
            Err("only root may look at the firewall, and change it".to_owned())
        } else {
            self.insert().await
        };
        if let Err(why) = outcome
            && !self.told.swap(true, Ordering::Relaxed)
        {
            warn!(
                "containers may be able to reach the metadata address of their host ({why}); if runnerfleet.service or \
                 somebody else has not put in a rule against it, run on the engine's machine: {}",
                self.command()
            );
        }
    }

    /// Puts it in again if it was wanted and is gone: a reload of the host's firewall empties the chain.
    pub(super) async fn tend(&self, engine_is_local: bool) {
        if self.wanted.load(Ordering::Relaxed) {
            self.ensure(engine_is_local).await;
        }
    }

    /// Looks whether it is in force, and changes nothing.
    pub(super) async fn look(&self, engine_is_local: bool) -> MetadataRule {
        if !engine_is_local {
            return MetadataRule::Unknown("the engine is on another machine".to_owned());
        }
        if !rustix::process::geteuid().is_root() {
            return MetadataRule::Unknown("only root may look at the firewall".to_owned());
        }
        match self.iptables("-C").await {
            Ok(()) => MetadataRule::There,
            // Its words for a rule, or a chain, that is not there.
            Err(said) if said.contains("does a matching rule exist") || said.contains("No chain/target/match") => {
                MetadataRule::Missing
            }
            Err(why) => MetadataRule::Unknown(why),
        }
    }

    /// What an administrator runs to put it in.
    pub(super) fn command(&self) -> String {
        format!("iptables -I {}", self.rule.join(" "))
    }

    /// Takes the rule out, every copy.
    pub(super) async fn remove(&self, engine_is_local: bool) {
        self.wanted.store(false, Ordering::Relaxed);
        if !engine_is_local || !rustix::process::geteuid().is_root() {
            return;
        }
        for _ in 0..MOST_COPIES {
            if self.iptables("-D").await.is_err() {
                return;
            }
        }
    }

    async fn insert(&self) -> Result<(), String> {
        if self.iptables("-C").await.is_ok() {
            return Ok(());
        }
        self.iptables("-I").await?;
        debug!("cut the way to {METADATA}: {}", self.rule.join(" "));
        Ok(())
    }

    async fn iptables(&self, operation: &str) -> Result<(), String> {
        let run = Command::new("iptables")
            .args(["-w", "5", operation])
            .args(&self.rule)
            .kill_on_drop(true)
            .stdin(std::process::Stdio::null())
            .output();
        let output = tokio::time::timeout(LIMIT, run)
            .await
            .map_err(|_| "iptables does not answer".to_owned())?
            .map_err(|error| format!("iptables cannot be run: {error}"))?;
        if output.status.success() {
            return Ok(());
        }
        let said = String::from_utf8_lossy(&output.stderr);
        Err(said.lines().next().unwrap_or("iptables failed").trim().to_owned())
    }
}
