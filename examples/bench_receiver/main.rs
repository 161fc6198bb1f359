//! How fast the receiver answers, with no store behind it, with the embedded file and with Redis.
//!
//! `cargo run --release --example bench_receiver -- [--events 20000] [--seconds 20] [--connections 32] [--rounds 1]`
//!
//! Each receiver is a process of its own with two workers, so that its memory is measured alone; ingest runs in it as it
//! does in the program. This process sends signed deliveries of 8 to 15 KB over the loopback, made before the clock
//! starts. Both share the machine's processors, so the figures are lower bounds. All is held: it fails when an answer is not 202 or
//! an event does not come out of the queue.
#![expect(clippy::print_stdout, reason = "a table is what it is for")]

mod load;
/// Shared with the benchmark of load, which uses all of it.
#[allow(dead_code, reason = "the other one uses it")]
mod receiver;

/// Configurations, shared with the tests.
#[allow(dead_code, unreachable_pub, missing_docs, reason = "made for the tests, which use all of it")]
#[path = "../../tests/it/support/fleet.rs"]
mod fleet;
/// Payloads, shared with the tests.
#[allow(dead_code, unreachable_pub, missing_docs, reason = "made for the tests, which use all of it")]
#[path = "../../tests/it/support/payload.rs"]
mod payload;
/// A Redis of our own, shared with the tests.
#[allow(dead_code, unreachable_pub, missing_docs, clippy::unwrap_used, reason = "made for the tests, which use it all")]
#[path = "../../tests/it/support/redis.rs"]
mod redis;

use anyhow::Context;
use clap::Parser;
use load::Measured;
use receiver::Behind;
use redis::RedisServer;
use std::path::PathBuf;
use std::time::Duration;

/// Deliveries before the clock starts.
const WARM_UP: usize = 500;

/// What can be chosen.
#[derive(Debug, Parser)]
struct Args {
    /// Distinct deliveries for each store.
    #[arg(long, default_value_t = 20_000)]
    events: usize,
    /// Ends a run early.
    #[arg(long, default_value_t = 20)]
    seconds: u64,
    /// Connections, each with one delivery under way.
    #[arg(long, default_value_t = 32)]
    connections: usize,
    /// All stores so many times in turn; the table has the round with the median rate.
    #[arg(long, default_value_t = 1)]
    rounds: usize,
    /// Only the stores whose name contains this, and none.
    #[arg(long)]
    only: Option<String>,
    /// Inside: be the receiver.
    #[arg(long, hide = true)]
    receive: bool,
    /// Inside: its folder.
    #[arg(long, hide = true, default_value = ".")]
    folder: PathBuf,
    /// Inside: what is behind it, as [`Behind`] writes it.
    #[arg(long, hide = true, default_value = "none")]
    behind: Behind,
}

/// The rows of the table.
const STORES: [&str; 4] = ["none", "embedded file", "redis, everysec", "redis, always"];

fn main() -> anyhow::Result<()> {
    let args = Args::parse();
    if args.receive {
        return receiver::run(args.folder, args.behind, |_| ());
    }
    let requests = load::requests(WARM_UP + args.events);
    let bytes: usize = requests.iter().map(Vec::len).sum();
    println!(
        "{} deliveries of {} bytes on average, {} connections, at most {} s, {} round(s)",
        args.events,
        bytes / requests.len(),
        args.connections,
        args.seconds,
        args.rounds
    );
    let stores =
        STORES.iter().filter(|store| **store == "none" || args.only.as_deref().is_none_or(|only| store.contains(only)));
    let stores: Vec<_> = stores.copied().collect();
    let mut rounds: Vec<Vec<Measured>> = stores.iter().map(|_| Vec::new()).collect();
    for round in 0..args.rounds {
        for (store, rounds) in stores.iter().zip(&mut rounds) {
            let measured = measure(store, &requests, &args).with_context(|| format!("store: {store}"))?;
            if args.rounds > 1 {
                println!("round {}: {store}: {:.0}/s", round + 1, measured.rate());
            }
            rounds.push(measured);
        }
    }
    println!(
        "\n{:<16} {:>8} {:>7} {:>7} {:>7} {:>9} {:>9} {:>11}",
        "store", "req/s", "p50 ms", "p99 ms", "max ms", "peak MiB", "x none", "applied ms"
    );
    let mut none = None;
    for (store, mut rounds) in stores.into_iter().zip(rounds) {
        rounds.sort_by(|a, b| a.rate().total_cmp(&b.rate()));
        let median = rounds.swap_remove(rounds.len() / 2);
        let none = *none.get_or_insert(median.rate());
        println!(
            "{store:<16} {:>8.0} {:>7.2} {:>7.2} {:>7.2} {:>9.1} {:>9.2} {:>11.0}",
            median.rate(),
            median.percentile(50),
            median.percentile(99),
            median.percentile(100),
            median.peak_mib,
            median.rate() / none,
            median.applied_after.as_secs_f64() * 1000.0,
        );
    }
    println!("\n`applied ms`: how long after the last answer ingest had applied every event.");
    Ok(())
}

/// One run on a store of its own, empty at its start.
fn measure(store: &str, requests: &[Vec<u8>], args: &Args) -> anyhow::Result<Measured> {
    let folder = tempfile::tempdir()?;
    let redis = store.strip_prefix("redis, ").map(|sync| RedisServer::start_with(&["--appendfsync", sync]));
    let behind = match (&redis, store) {
        (Some(redis), _) => Behind::Redis(redis.port()),
        (None, "none") => Behind::Nothing,
        (None, _) => Behind::Embedded,
    };
    let mut receiver = receiver::Process::start(folder.path(), behind)?;
    let (warm_up, requests) = requests.split_at(WARM_UP);
    let sent = load::send(receiver.addr, warm_up, args.connections, Duration::from_secs(args.seconds))?;
    let mut measured = load::send(receiver.addr, requests, args.connections, Duration::from_secs(args.seconds))?;
    let applied = receiver.applied()?;
    let all = sent.count() + measured.count();
    anyhow::ensure!(behind == Behind::Nothing || applied.jobs == all, "{} of {all} jobs were applied", applied.jobs);
    measured.applied_after = applied.after;
    measured.peak_mib = receiver.peak_mib()?;
    Ok(measured)
}
