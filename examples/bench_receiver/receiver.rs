//! The receiving side: a process of its own, started by the sending one.

use crate::fleet;
use anyhow::{Context, bail};
use runnerfleet::config::{Backend, Config, RedisConfig};
use runnerfleet::inbound::Inbound;
use runnerfleet::ingest;
use runnerfleet::queue::Queue;
use runnerfleet::reconcile::memory::Memory;
use runnerfleet::webhook::{Readiness, Receiver, router};
use secrecy::SecretString;
use std::collections::{BTreeMap, BTreeSet};
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

    /// Waits until every event is applied; the ids of all jobs that the store has.
    pub(super) fn stored(&mut self) -> anyhow::Result<BTreeSet<u64>> {
        self.asks.write_all(b"?")?;
        let ids = self.answers.next().context("the receiver ended")??;
        Ok(ids.split(',').filter(|id| !id.is_empty()).map(str::parse).collect::<Result<_, _>>()?)
    }

    /// The memory that it has now.
    pub(super) fn memory_mib(&self) -> anyhow::Result<f64> {
        self.status("VmRSS:")
    }

    /// The most memory that it ever had.
    pub(super) fn peak_mib(&self) -> anyhow::Result<f64> {
        self.status("VmHWM:")
    }

    fn status(&self, name: &str) -> anyhow::Result<f64> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id()))?;
        let line = status.lines().find_map(|line| line.strip_prefix(name)).context("no such line")?;
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
pub(super) fn run(folder: PathBuf, behind: Behind, change: fn(&mut Config)) -> anyhow::Result<()> {
    tracing_subscriber::fmt().with_max_level(tracing::Level::INFO).with_writer(std::io::stderr).init();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    runtime.block_on(serve(folder, behind, change))
}

struct AllWell;

#[async_trait::async_trait]
impl Readiness for AllWell {
    async fn check(&self) -> BTreeMap<&'static str, Result<String, String>> {
        BTreeMap::new()
    }
}

async fn serve(folder: PathBuf, behind: Behind, change: fn(&mut Config)) -> anyhow::Result<()> {
    let mut config = fleet::config(folder, "bench", vec![fleet::pool("linux", &["linux", "x64"])]);
    if let Behind::Redis(port) = behind {
        let urls = vec![SecretString::from(format!("redis://127.0.0.1:{port}/0"))];
        config.store.backend = Backend::Redis(RedisConfig { urls, sentinel_master: None, prefix: "bench".to_owned() });
    }
    change(&mut config);
    let config = Arc::new(config);
    let memory = Arc::new(Memory::new(config.host.clone()));
    let stop = CancellationToken::new();
    let (queue, store) = match behind {
        Behind::Nothing => (None, None),
        Behind::Embedded | Behind::Redis(_) => {
            let (queue, store) = runnerfleet::app::open_store(&config)?;
            tokio::spawn(ingest::run(config.clone(), queue.clone(), store.clone(), memory.clone(), stop.clone()));
            (Some(queue), Some(store))
        }
    };
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
    say(&listener.local_addr()?)?;
    let inbound = Inbound::open(&config.http)?;
    let routes = router(Receiver::new(config, queue.clone(), Arc::new(AllWell)));
    tokio::spawn(inbound.serve(listener, routes, stop.clone()));
    while let Ok(question) = tokio::task::spawn_blocking(ask).await? {
        if let Some(queue) = &queue {
            applied(queue.as_ref()).await?;
        }
        match (question, &store) {
            (b'?', Some(store)) => {
                let ids: Vec<_> = store.load().await?.jobs.keys().map(|job| job.id.0.to_string()).collect();
                say(&ids.join(","))?;
            }
            _ => say(&memory.world().jobs.len())?,
        }
    }
    stop.cancel();
    Ok(())
}

/// What the sending side wants to know.
fn ask() -> std::io::Result<u8> {
    let mut question = [0];
    std::io::stdin().read_exact(&mut question)?;
    Ok(question[0])
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
