//! A Docker engine of the play's own, to be killed and started again.

use super::enclosure::group;
use super::tail;
use anyhow::{Context, bail};
use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;
use tokio::process::{Child, Command};

/// From its start to its first answer. One that ends what lived on gives each of those some seconds.
const UP_WITHIN: Duration = Duration::from_secs(60);

/// A client that gets no answer.
const ANSWERED_WITHIN: Duration = Duration::from_secs(20);

/// See the file's head. Killed when dropped.
pub(super) struct Engine {
    folder: PathBuf,
    child: Option<Child>,
}

impl Engine {
    /// Starts one whose files are in this folder.
    ///
    /// # Errors
    /// There is no `dockerd`, or it does not come up.
    pub(super) async fn start(folder: &Path) -> anyhow::Result<Self> {
        let mut engine = Self { folder: folder.to_owned(), child: None };
        engine.up(false).await?;
        Ok(engine)
    }

    /// Where it listens.
    pub(super) fn socket(&self) -> PathBuf {
        self.folder.join("docker.sock")
    }

    /// Starts it (again).
    ///
    /// # Errors
    /// It does not come up.
    pub(super) async fn up(&mut self, live_restore: bool) -> anyhow::Result<()> {
        let path = |name: &str| self.folder.join(name);
        let log = fs::OpenOptions::new().create(true).append(true).open(path("dockerd.log"))?;
        fs::write(path("daemon.json"), "{}")?;
        // Left by one that was killed; its number may belong to somebody else by now.
        let _ = fs::remove_file(path("dockerd.pid"));
        let mut command = Command::new("dockerd");
        command.arg("--config-file").arg(path("daemon.json"));
        command.arg("--host").arg(format!("unix://{}", self.socket().display()));
        command.arg("--data-root").arg(path("data")).arg("--exec-root").arg(path("exec"));
        command.arg("--pidfile").arg(path("dockerd.pid"));
        command.arg("--cgroup-parent").arg(format!("/{}", group(&self.folder)));
        command.args(["--exec-opt", "native.cgroupdriver=cgroupfs", "--shutdown-timeout", "2"]);
        if live_restore {
            command.arg("--live-restore");
        }
        command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log).kill_on_drop(true);
        self.child = Some(command.spawn().context("`dockerd` does not start (Debian and Ubuntu: docker.io)")?);
        let up = tokio::time::timeout(UP_WITHIN, async {
            while self.docker(&["version"]).await.is_err() {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        });
        if up.await.is_err() {
            bail!("dockerd does not answer after {} s:\n{}", UP_WITHIN.as_secs(), self.log());
        }
        Ok(())
    }

    /// Ends it with SIGKILL. Its containers live on, and nobody watches them.
    pub(super) async fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill().await;
        }
    }

    /// The end of its log.
    pub(super) fn log(&self) -> String {
        tail(&self.folder.join("dockerd.log"), 30)
    }

    /// Asks it with Docker's own client: what is looked at must not come from the code under test.
    ///
    /// # Errors
    /// The engine is away, or says no.
    pub(super) async fn docker(&self, arguments: &[&str]) -> anyhow::Result<String> {
        let mut command = Command::new("docker");
        command.arg("--host").arg(format!("unix://{}", self.socket().display())).args(arguments);
        let output = command.stdin(Stdio::null()).kill_on_drop(true).output();
        let output = tokio::time::timeout(ANSWERED_WITHIN, output)
            .await
            .context("no answer from dockerd")?
            .context("`docker` does not start")?;
        if !output.status.success() {
            bail!("docker {}: {}", arguments.join(" "), String::from_utf8_lossy(&output.stderr).trim());
        }
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    /// Names of the containers whose process lives: also while the engine is away, or does not know it.
    pub(super) fn alive(&self) -> BTreeSet<String> {
        let full = shims().into_iter().filter(|shim| !shim.processes.is_empty());
        full.map(|shim| self.name(&shim.container).unwrap_or(shim.container)).collect()
    }

    /// The same with what runs in them, for a person who wonders.
    pub(super) fn alive_in_words(&self) -> Vec<String> {
        let full = shims().into_iter().filter(|shim| !shim.processes.is_empty());
        full.map(|shim| {
            let name = self.name(&shim.container).unwrap_or(shim.container);
            format!("process of container {name}: {}", shim.processes.join(", "))
        })
        .collect()
    }

    /// What a container is called, as the engine wrote it down.
    fn name(&self, id: &str) -> Option<String> {
        let text = fs::read_to_string(self.folder.join(format!("data/containers/{id}/config.v2.json"))).ok()?;
        let written: serde_json::Value = serde_json::from_str(&text).ok()?;
        Some(written["Name"].as_str()?.trim_start_matches('/').to_owned())
    }
}

/// The process that stands between the engine and one container.
struct Shim {
    container: String,
    /// The command lines of the container's processes that live and were begun here.
    processes: Vec<String>,
}

/// All shims. Every process here belongs to the play.
fn shims() -> Vec<Shim> {
    let processes = fs::read_dir("/proc").map(|entries| entries.flatten().collect::<Vec<_>>()).unwrap_or_default();
    let shim = |process: fs::DirEntry| {
        let container = container_of(&fs::read_to_string(process.path().join("cmdline")).ok()?)?;
        Some(Shim { container, processes: children(&process.path()) })
    };
    processes.into_iter().filter_map(shim).collect()
}

/// Shims in which no container ever began or runs any more: what a killed dockerd forgets. It lists none of them, so nobody but it
/// could remove them.
pub(super) fn empty_shims() -> usize {
    shims().iter().filter(|shim| shim.processes.is_empty()).count()
}

/// The command lines of a process's children that are not dead; each of its threads may have started some.
fn children(process: &Path) -> Vec<String> {
    let threads = fs::read_dir(process.join("task")).map(|entries| entries.flatten().collect::<Vec<_>>());
    let of_thread = |thread: &fs::DirEntry| fs::read_to_string(thread.path().join("children")).unwrap_or_default();
    let all: Vec<String> = threads.unwrap_or_default().iter().map(of_thread).collect();
    let command = |pid: &str| fs::read_to_string(format!("/proc/{pid}/cmdline")).ok();
    let commands = all.iter().flat_map(|pids| pids.split_whitespace()).filter_map(command);
    commands.map(|line| line.replace('\0', " ")).filter(|line| is_begun(line)).collect()
}

/// One that is dead and waits to be collected has no command line. `runc init` waits for the word to become the container's
/// command; where dockerd was killed between create and start that word never comes, and nothing of the image was ever run.
fn is_begun(command_line: &str) -> bool {
    !matches!(command_line.trim(), "" | "runc init")
}

/// Out of `containerd-shim-runc-v2\0-namespace\0moby\0-id\0…`.
fn container_of(line: &str) -> Option<String> {
    let mut words = line.split('\0');
    if !words.next()?.contains("containerd-shim") {
        return None;
    }
    words.find(|word| *word == "-id" || *word == "--id")?;
    words.next().map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::{container_of, is_begun};

    #[test]
    fn shims_name_their_container() {
        let line = "/usr/bin/containerd-shim-runc-v2\0-namespace\0moby\0-id\0abc\0-address\0/x.sock\0";
        assert_eq!(container_of(line).as_deref(), Some("abc"));
        assert_eq!(container_of("dockerd\0-id\0abc\0"), None);
        assert_eq!(container_of(""), None);
        assert!(is_begun("/bin/sh -c read") && !is_begun("runc init ") && !is_begun(""));
    }
}
