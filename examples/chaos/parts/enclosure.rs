//! Namespaces for everything that is played: its own network (loopback, bridges, firewall), mounts and processes.
//!
//! The engine that is killed there is not this machine's, its bridges and rules are in no one's way, and whatever happens, the
//! kernel ends every process of it with the first one: no list of process ids to go by, no orphans that survive.

use anyhow::Context;
use std::ffi::{OsStr, OsString};
use std::fs;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::Duration;
use tokio::process::{Child, Command};

/// The first process inside. It collects whatever the killed ones leave behind, and ends with its only own child.
///
/// `/run` and `/etc/docker` are this engine's own: the first has the sockets and locks of the machine's programs, the second
/// the engine's identity.
const FIRST: &str = r#"
mount -t tmpfs tmpfs /run
mkdir -p /etc/docker
mount -t tmpfs tmpfs /etc/docker
ip link set lo up
exec 3<&0
"$@" <&3 &
wait $!
"#;

/// How long the processes of one that was told to end may take; their files are removed after it.
const ENDED_WITHIN: Duration = Duration::from_secs(20);

/// From outside. Ended, and its files removed, when dropped.
pub(in super::super) struct Enclosure {
    child: Child,
    folder: PathBuf,
}

impl Enclosure {
    /// Runs a command inside, which holds its standard input open as long as it is wanted ([`until_unwanted`]).
    ///
    /// # Errors
    /// Only root may do this.
    pub(in super::super) fn run(
        folder: &Path,
        program: &OsStr,
        arguments: &[OsString],
        environment: &[(&str, &str)],
    ) -> anyhow::Result<Self> {
        let mut command = Command::new("unshare");
        command.args(["--net", "--mount", "--pid", "--fork", "--kill-child=KILL", "--mount-proc", "--", "sh", "-c"]);
        command.arg(FIRST).arg("first").arg(program).args(arguments).envs(environment.iter().copied());
        // Its engine is not the one that the caller may mean.
        command.env_remove("DOCKER_HOST").env_remove("RUNNERFLEET_CONFIG").stdin(Stdio::piped()).kill_on_drop(true);
        let child = command.spawn().context("`unshare` (of util-linux) does not start")?;
        Ok(Self { child, folder: folder.to_owned() })
    }

    /// Until it ends by itself.
    ///
    /// # Errors
    /// The operating system does not say.
    pub(in super::super) async fn ended(&mut self) -> anyhow::Result<ExitStatus> {
        // `wait` alone would close its standard input first.
        let _wanted = self.child.stdin.take();
        self.child.wait().await.context("waiting for the enclosure")
    }

    /// Ends it, and waits for that.
    pub(in super::super) async fn end(mut self) {
        drop(self.child.stdin.take());
        let _ = self.child.start_kill();
        let _ = tokio::time::timeout(ENDED_WITHIN, self.child.wait()).await;
    }
}

impl Drop for Enclosure {
    fn drop(&mut self) {
        let _ = self.child.start_kill();
        let began = std::time::Instant::now();
        // The kernel needs a moment to end them all; until then files and groups are in use.
        while began.elapsed() < ENDED_WITHIN && (fs::remove_dir_all(&self.folder).is_err() && self.folder.exists()) {
            let _ = self.child.try_wait();
            std::thread::sleep(Duration::from_millis(50));
        }
        while began.elapsed() < ENDED_WITHIN && !remove_groups(&self.folder) {
            std::thread::sleep(Duration::from_millis(50));
        }
    }
}

/// Comes back when nobody outside wants this any more.
pub(in super::super) async fn until_unwanted() {
    let (told, unwanted) = tokio::sync::oneshot::channel();
    // Not one of the runtime's threads: it would wait for this one at its end.
    std::thread::spawn(move || {
        let _ = std::io::stdin().read(&mut [0]);
        let _ = told.send(());
    });
    let _ = unwanted.await;
}

/// The name of the control groups of an engine whose files are in this folder.
pub(super) fn group(folder: &Path) -> String {
    folder.file_name().map_or_else(|| "chaos".to_owned(), |name| name.to_string_lossy().into_owned())
}

/// Removes the control groups, which know of no namespace. True when none is left.
fn remove_groups(folder: &Path) -> bool {
    let name = group(folder);
    let root = Path::new("/sys/fs/cgroup");
    // One hierarchy, or one folder for each of them.
    let hierarchies = fs::read_dir(root).map(|entries| entries.flatten().map(|entry| entry.path()).collect::<Vec<_>>());
    let places = std::iter::once(root.to_owned()).chain(hierarchies.unwrap_or_default()).map(|place| place.join(&name));
    // Each of them is tried, whatever becomes of the one before it.
    places.filter(|place| place.is_dir() && !remove_group(place)).count() == 0
}

fn remove_group(place: &Path) -> bool {
    for entry in fs::read_dir(place).map(|entries| entries.flatten().collect::<Vec<_>>()).unwrap_or_default() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            remove_group(&entry.path());
        }
    }
    fs::remove_dir(place).is_ok()
}
