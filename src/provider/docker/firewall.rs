//! The way from runners to the host's metadata address, cut.
//!
//! On a cloud machine 169.254.169.254 hands the machine's own credentials to whoever asks. Docker has no setting against
//! that, so one rule in its `DOCKER-USER` chain drops what comes from this fleet's bridges to link-local addresses. The
//! chain is Docker's place for the administrator's rules: Docker itself never changes them. What the host has itself (a proxy of
//! the metadata service on an address of its own) is not forwarded and never meets that chain; a second rule, in `INPUT`, is for
//! that.

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

/// Whether the rules are in force.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MetadataRule {
    /// They are.
    There,
    /// One is not.
    Missing,
    /// That cannot be told from here.
    Unknown(String),
}

/// The chains: what goes through the host, and what ends there.
const CHAINS: [&str; 2] = ["DOCKER-USER", "INPUT"];

/// The rules of this fleet: the same one in each chain.
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
        let rule = ["-i", &bridges, "-d", METADATA, "-j", "DROP"].map(str::to_owned).to_vec();
        Self { rule, wanted: AtomicBool::new(false), told: AtomicBool::new(false) }
    }

    /// Puts the rules in where they are not. Where that is not possible it says once what the administrator can do;
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
                 somebody else has not put in rules against it, run on the engine's machine: {}",
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

    /// Looks whether they are in force, and changes nothing.
    pub(super) async fn look(&self, engine_is_local: bool) -> MetadataRule {
        if !engine_is_local {
            return MetadataRule::Unknown("the engine is on another machine".to_owned());
        }
        if !rustix::process::geteuid().is_root() {
            return MetadataRule::Unknown("only root may look at the firewall".to_owned());
        }
        for chain in CHAINS {
            match self.iptables("-C", chain).await {
                Ok(()) => {}
                // Its words for a rule, or a chain, that is not there.
                Err(said) if said.contains("does a matching rule exist") || said.contains("No chain/target/match") => {
                    return MetadataRule::Missing;
                }
                Err(why) => return MetadataRule::Unknown(why),
            }
        }
        MetadataRule::There
    }

    /// What an administrator runs to put them in.
    pub(super) fn command(&self) -> String {
        let rule = self.rule.join(" ");
        CHAINS.map(|chain| format!("iptables -I {chain} {rule}")).join("; ")
    }

    /// Takes the rules out, every copy.
    pub(super) async fn remove(&self, engine_is_local: bool) {
        self.wanted.store(false, Ordering::Relaxed);
        if !engine_is_local || !rustix::process::geteuid().is_root() {
            return;
        }
        for chain in CHAINS {
            for _ in 0..MOST_COPIES {
                if self.iptables("-D", chain).await.is_err() {
                    break;
                }
            }
        }
    }

    async fn insert(&self) -> Result<(), String> {
        for chain in CHAINS {
            if self.iptables("-C", chain).await.is_err() {
                self.iptables("-I", chain).await?;
                debug!("cut the way to {METADATA}: {chain} {}", self.rule.join(" "));
            }
        }
        Ok(())
    }

    async fn iptables(&self, operation: &str, chain: &str) -> Result<(), String> {
        let run = Command::new("iptables")
            .args(["-w", "5", operation, chain])
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
