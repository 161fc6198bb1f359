//! The receiving side: a process of its own, started by the sending one.

use crate::fleet;
use anyhow::{Context, bail};
use runnerfleet::config::{Backend, RedisConfig};
use runnerfleet::inbound::Inbound;
use runnerfleet::ingest;
use runnerfleet::queue::Queue;
use runnerfleet::reconcile::memory::Memory;
use runnerfleet::webhook::{Readiness, Receiver, router};
use secrecy::SecretString;
use std::collections::BTreeMap;
use std::fmt;
use std::io::{BufRead, BufReader, Lines, Read, Write};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::str::FromStr;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio_util::sync::CancellationToken;

/// What stands behind the receiver.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Behind {
    /// Nothing: answers as if everything were stored.
    Nothing,
    /// The file.
    Embedded,
    /// Redis on this port.
    Redis(u16),
}

impl fmt::Display for Behind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Nothing => f.write_str("none"),
            Self::Embedded => f.write_str("embedded"),
            Self::Redis(port) => write!(f, "redis:{port}"),
        }
    }
}

impl FromStr for Behind {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match (text, text.strip_prefix("redis:").map(str::parse)) {
            ("none", _) => Ok(Self::Nothing),
            ("embedded", _) => Ok(Self::Embedded),
            (_, Some(Ok(port))) => Ok(Self::Redis(port)),
            _ => Err(format!("`{text}` is nothing that can stand behind a receiver")),
        }
    }
}

/// What has come out of the queue.
#[derive(Debug)]
pub(super) struct Applied {
    pub(super) jobs: usize,
    pub(super) after: Duration,
}

/// The process, as the sending side sees it. Ended when dropped.
pub(super) struct Process {
    pub(super) addr: SocketAddr,
    child: Child,
    asks: ChildStdin,
    answers: Lines<BufReader<ChildStdout>>,
}

impl Process {
    /// Starts one, and waits until it listens.
    pub(super) fn start(folder: &Path, behind: Behind) -> anyhow::Result<Self> {
        let mut child = Command::new(std::env::current_exe()?)
            .args(["--receive", "--behind", &behind.to_string(), "--folder"])
            .arg(folder)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .context("starting the receiver")?;
        let (asks, answers) = (child.stdin.take(), child.stdout.take());
        let (Some(asks), Some(answers)) = (asks, answers) else { bail!("a receiver without pipes") };
        let mut answers = BufReader::new(answers).lines();
        let addr = answers.next().context("the receiver ended at once")??.parse()?;
        Ok(Self { addr, child, asks, answers })
    }

    /// Waits until every event is applied.
    pub(super) fn applied(&mut self) -> anyhow::Result<Applied> {
        let start = Instant::now();
        self.asks.write_all(b".")?;
        let jobs = self.answers.next().context("the receiver ended")??.parse()?;
        Ok(Applied { jobs, after: start.elapsed() })
    }

    /// The most memory that it ever had.
    pub(super) fn peak_mib(&self) -> anyhow::Result<f64> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id()))?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).context("no VmHWM")?;
        Ok(line.trim().trim_end_matches(" kB").parse::<f64>()? / 1024.0)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Is the receiver, until its standard input ends.
pub(super) fn run(folder: PathBuf, behind: Behind) -> anyhow::Result<()> {
    tracing_subscriber::fmt().with_max_level(tracing::Level::INFO).with_writer(std::io::stderr).init();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    runtime.block_on(serve(folder, behind))
}

struct AllWell;

#[async_trait::async_trait]
impl Readiness for AllWell {
    async fn check(&self) -> BTreeMap<&'static str, Result<String, String>> {
        BTreeMap::new()
    }
}

async fn serve(folder: PathBuf, behind: Behind) -> anyhow::Result<()> {
    let mut config = fleet::config(folder, "bench", vec![fleet::pool("linux", &["linux", "x64"])]);
    if let Behind::Redis(port) = behind {
        let urls = vec![SecretString::from(format!("redis://127.0.0.1:{port}/0"))];
        config.store.backend = Backend::Redis(RedisConfig { urls, sentinel_master: None, prefix: "bench".to_owned() });
    }
    let config = Arc::new(config);
    let memory = Arc::new(Memory::new(config.host.clone()));
    let stop = CancellationToken::new();
    let queue = match behind {
        Behind::Nothing => None,
        Behind::Embedded | Behind::Redis(_) => {
            let (queue, store) = runnerfleet::app::open_store(&config)?;
            tokio::spawn(ingest::run(config.clone(), queue.clone(), store, memory.clone(), stop.clone()));
            Some(queue)
        }
    };
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
    say(&listener.local_addr()?)?;
    let inbound = Inbound::open(&config.http)?;
    let routes = router(Receiver::new(config, queue.clone(), Arc::new(AllWell)));
    tokio::spawn(inbound.serve(listener, routes, stop.clone()));
    while tokio::task::spawn_blocking(|| std::io::stdin().read_exact(&mut [0])).await?.is_ok() {
        if let Some(queue) = &queue {
            applied(queue.as_ref()).await?;
        }
        say(&memory.world().jobs.len())?;
    }
    stop.cancel();
    Ok(())
}

async fn applied(queue: &dyn Queue) -> anyhow::Result<()> {
    while queue.depth().await? > 0 {
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    Ok(())
}

/// One line for the sending side.
fn say(what: &impl fmt::Display) -> anyhow::Result<()> {
    let mut out = std::io::stdout().lock();
    writeln!(out, "{what}")?;
    Ok(out.flush()?)
}
