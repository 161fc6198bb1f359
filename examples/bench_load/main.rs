//! What crowds do to the receiver: a burst, slow clients, idle connections, large bodies.
//!
//! ```text
//! scripts/bench load [-- --only burst]
//! ```
//!
//! Each scenario has a receiver of its own, a process with two workers, and a store of its own, the embedded file and then Redis.
//! After the last answer the receiver is killed (`kill -9`) and started again: what it acknowledged must be in the store. It fails
//! where anything is missing, an answer took longer than GitHub waits, or memory passed its bound. It ends by itself; all traffic
//! stays on the loopback.
#![expect(clippy::print_stdout, reason = "a table is what it is for")]

/// One connection, by hand.
mod client;
/// The four crowds.
mod crowds;

/// Configurations, shared with the tests.
#[allow(dead_code, unreachable_pub, missing_docs, reason = "made for the tests, which use all of it")]
#[path = "../../tests/it/support/fleet.rs"]
mod fleet;
/// Payloads, shared with the tests.
#[allow(dead_code, unreachable_pub, missing_docs, reason = "made for the tests, which use all of it")]
#[path = "../../tests/it/support/payload.rs"]
mod payload;
/// The receiving side, shared with the other benchmark.
#[allow(dead_code, reason = "the other one uses it")]
#[path = "../bench_receiver/receiver.rs"]
mod receiver;
/// A Redis of our own, shared with the tests.
#[allow(dead_code, unreachable_pub, missing_docs, clippy::unwrap_used, reason = "made for the tests, which use it all")]
#[path = "../../tests/it/support/redis.rs"]
mod redis;

use anyhow::{Context, ensure};
use clap::Parser;
use client::Answers;
use receiver::{Behind, Process};
use redis::RedisServer;
use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::Duration;

/// GitHub gives up on an answer after this time.
const GITHUB_WAITS: Duration = Duration::from_secs(10);

/// What can be chosen.
#[derive(Debug, Parser)]
#[command(name = "bench_load")]
struct Args {
    /// Deliveries of the burst.
    #[arg(long, default_value_t = 5000, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    deliveries: u32,
    /// Idle connections; fewer where `ulimit -n` is lower.
    #[arg(long, default_value_t = 10_000, value_parser = clap::value_parser!(u32).range(1..=60_000))]
    idle: u32,
    /// Slow clients.
    #[arg(long, default_value_t = 500, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    slow: u32,
    /// Connections with large bodies.
    #[arg(long, default_value_t = 32, value_parser = clap::value_parser!(u32).range(1..=200))]
    large: u32,
    /// Only the scenarios whose name contains this.
    #[arg(long)]
    only: Option<String>,
    /// Inside: be the receiver.
    #[arg(long, hide = true)]
    receive: bool,
    /// Inside: its folder.
    #[arg(long, hide = true, default_value = ".")]
    folder: PathBuf,
    /// Inside: what is behind it.
    #[arg(long, hide = true, default_value = "none")]
    behind: Behind,
}

/// One crowd.
#[derive(Debug, Clone, Copy)]
enum Crowd {
    Burst,
    Slow,
    Idle,
    Large,
}

impl Crowd {
    const ALL: [Self; 4] = [Self::Burst, Self::Slow, Self::Idle, Self::Large];

    fn name(self) -> &'static str {
        match self {
            Self::Burst => "burst",
            Self::Slow => "slow clients",
            Self::Idle => "idle connections",
            Self::Large => "large bodies",
        }
    }

    /// What the receiver's process may have at most: twice what is configured to be held of bodies (16 MiB of small ones and two
    /// of the largest; JSON is read out of them), 32 KiB for each connection, and 96 MiB for all the rest.
    fn memory_bound_mib(self, args: &Args) -> f64 {
        let connections = match self {
            Self::Burst => 64,
            Self::Slow => args.slow,
            Self::Idle => args.idle,
            Self::Large => args.large,
        };
        2.0 * (16.0 + 2.0 * 25.0) + f64::from(connections) / 32.0 + 96.0
    }
}

fn main() -> anyhow::Result<()> {
    let args = Args::parse();
    if args.receive {
        // So many connections of one client: all of them come from this machine.
        return receiver::run(args.folder, args.behind, |config| {
            config.http.limits.connections = 15_000;
            config.http.limits.connections_per_address = 15_000;
        });
    }
    let load = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    println!("load of this machine before: {}", load.split(' ').take(3).collect::<Vec<_>>().join(" "));
    println!(
        "\n{:<18} {:<15} {:>7} {:>7} {:>7} {:>8} {:>8} {:>8} {:>9} {:>9} {:>7}",
        "crowd", "store", "sent", "taken", "refused", "p50 ms", "p99 ms", "max ms", "took s", "peak MiB", "stored"
    );
    let (mut notes, mut wrong) = (Vec::new(), Vec::new());
    let wanted = |crowd: &Crowd| args.only.as_deref().is_none_or(|only| crowd.name().contains(only));
    for crowd in Crowd::ALL.into_iter().filter(wanted) {
        for store in ["embedded file", "redis, always"] {
            let name = format!("{}, {store}", crowd.name());
            let (text, checked) = measure(crowd, store, &args).with_context(|| name.clone())?;
            notes.extend(text.into_iter().map(|note| format!("{name}: {note}")));
            wrong.extend(checked.err().map(|error| format!("{name}: {error:#}")));
        }
    }
    println!();
    for note in &notes {
        println!("{note}");
    }
    ensure!(wrong.is_empty(), "{}", wrong.join("\n"));
    Ok(())
}

/// One crowd at one store; what else is to be told of it, and whether all is well.
fn measure(crowd: Crowd, store: &str, args: &Args) -> anyhow::Result<(Vec<String>, anyhow::Result<()>)> {
    let folder = tempfile::tempdir()?;
    let redis = store.strip_prefix("redis, ").map(|sync| RedisServer::start_with(&["--appendfsync", sync]));
    let behind = redis.as_ref().map_or(Behind::Embedded, |redis| Behind::Redis(redis.port()));
    let receiver = Process::start(folder.path(), behind)?;
    let before = receiver.memory_mib()?;
    let (answers, mut notes) = crowds::come(crowd, receiver.addr, args)?;
    let (peak, after) = (receiver.peak_mib()?, receiver.memory_mib()?);
    // Killed with whatever it has not applied yet.
    drop(receiver);
    let mut again = Process::start(folder.path(), behind)?;
    let stored = again.stored()?;
    println!(
        "{:<18} {store:<15} {:>7} {:>7} {:>7} {:>8.1} {:>8.1} {:>8.1} {:>9.2} {peak:>9.1} {:>7}",
        crowd.name(),
        answers.sent,
        answers.taken.len(),
        answers.refused.values().sum::<usize>(),
        answers.percentile(50),
        answers.percentile(99),
        answers.percentile(100),
        answers.took.as_secs_f64(),
        stored.len(),
    );
    notes.push(format!("memory {before:.1} MiB before, {after:.1} MiB after"));
    notes.extend(answers.refused.iter().map(|(why, times)| format!("{times} times: {why}")));
    Ok((notes, check(crowd, &answers, &stored, peak, args)))
}

fn check(crowd: Crowd, answers: &Answers, stored: &BTreeSet<u64>, peak: f64, args: &Args) -> anyhow::Result<()> {
    let missing = answers.taken.difference(stored).count();
    ensure!(missing == 0, "{missing} deliveries were acknowledged and are not in the store");
    let slowest = Duration::from_secs_f64(answers.percentile(100) / 1000.0);
    ensure!(slowest < GITHUB_WAITS, "an answer took {slowest:?}: GitHub gives up after {GITHUB_WAITS:?}");
    let bound = crowd.memory_bound_mib(args);
    ensure!(peak < bound, "{peak:.0} MiB, and the bound is {bound:.0} MiB");
    Ok(())
}
