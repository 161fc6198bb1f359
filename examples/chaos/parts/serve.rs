//! `runnerfleet serve`, as a process that is killed and started again.

use super::tail;
use anyhow::{Context, bail};
use rustix::process::{Pid, Signal, kill_process};
use secrecy::{ExposeSecret, SecretString};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::Duration;
use tokio::process::{Child, Command};

/// From its start to its listening.
const UP_WITHIN: Duration = Duration::from_secs(60);

/// Actions under way may end before it does.
const DOWN_WITHIN: Duration = Duration::from_secs(90);

/// See the file's head. Killed when dropped.
pub(super) struct Serve {
    pub(super) program: PathBuf,
    pub(super) folder: PathBuf,
    pub(super) app_key: SecretString,
    pub(super) hook_secret: SecretString,
    child: Option<Child>,
    starts: usize,
}

impl Serve {
    /// One whose configuration is `runners_config.yaml` in this folder; not started yet.
    pub(super) fn new(program: &Path, folder: &Path, app_key: SecretString, hook_secret: SecretString) -> Self {
        let (program, folder) = (program.to_owned(), folder.to_owned());
        Self { program, folder, app_key, hook_secret, child: None, starts: 0 }
    }

    fn command(&self, verb: &[&str]) -> Command {
        let mut command = Command::new(&self.program);
        command.args(verb).current_dir(&self.folder).stdin(Stdio::null()).kill_on_drop(true);
        command.env("APP_KEY", self.app_key.expose_secret()).env("HOOK_SECRET", self.hook_secret.expose_secret());
        command
    }

    /// Starts it (again); where it receives.
    ///
    /// # Errors
    /// It ends, or does not listen in time.
    pub(super) async fn up(&mut self) -> anyhow::Result<SocketAddr> {
        self.starts += 1;
        let log = std::fs::File::create(self.log_path())?;
        let mut child = self.command(&["serve"]).stdout(log.try_clone()?).stderr(log).spawn()?;
        let listens = tokio::time::timeout(UP_WITHIN, async {
            loop {
                if let Some(address) = listening(&std::fs::read_to_string(self.log_path()).unwrap_or_default()) {
                    return Ok(address);
                }
                if let Some(status) = child.try_wait()? {
                    bail!("`serve` ended at once ({status})");
                }
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        });
        let address = listens.await.context("`serve` does not listen").flatten().with_context(|| self.log())?;
        self.child = Some(child);
        Ok(address)
    }

    /// Ends it with SIGKILL.
    ///
    /// # Errors
    /// It had ended by itself.
    pub(super) async fn kill(&mut self) -> anyhow::Result<()> {
        let mut child = self.child.take().context("`serve` runs")?;
        if let Some(status) = child.try_wait()? {
            bail!("`serve` ended by itself ({status}):\n{}", self.log());
        }
        child.kill().await.context("killing `serve`")
    }

    /// Ends it as an init system does.
    ///
    /// # Errors
    /// It does not end.
    pub(super) async fn stop(&mut self) -> anyhow::Result<ExitStatus> {
        let mut child = self.child.take().context("`serve` runs")?;
        let pid = child.id().and_then(|id| Pid::from_raw(id.cast_signed())).context("`serve` ended by itself")?;
        kill_process(pid, Signal::TERM)?;
        let ended = tokio::time::timeout(DOWN_WITHIN, child.wait()).await;
        Ok(ended.context("SIGTERM does not end `serve`")??)
    }

    /// What a verb beside it prints.
    ///
    /// # Errors
    /// It fails.
    pub(super) async fn ask(&self, verb: &[&str]) -> anyhow::Result<String> {
        let output = self.command(verb).output().await?;
        if !output.status.success() {
            bail!("{verb:?}: {}", String::from_utf8_lossy(&output.stderr).trim());
        }
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    /// The end of its log.
    pub(super) fn log(&self) -> String {
        tail(&self.log_path(), 60)
    }

    fn log_path(&self) -> PathBuf {
        self.folder.join(format!("serve-{:03}.log", self.starts))
    }
}

fn listening(log: &str) -> Option<SocketAddr> {
    let (_, rest) = log.split_once("listening on http://")?;
    rest.split_once('/')?.0.parse().ok()
}
