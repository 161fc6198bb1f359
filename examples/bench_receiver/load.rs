//! The sending side: as little work for each request as can be, since it shares the processors with the receiver.

use crate::payload::{Payload, sign};
use anyhow::ensure;
use std::cell::Cell;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::LocalSet;

/// The secret of the shared configuration.
const SECRET: &str = "webhook-secret";

/// What one run measured.
#[derive(Debug)]
pub(super) struct Measured {
    /// Of each delivery, shortest first.
    latencies: Vec<Duration>,
    took: Duration,
    /// The receiver's peak memory.
    pub(super) peak_mib: f64,
    /// How long after the last answer everything was applied.
    pub(super) applied_after: Duration,
}

impl Measured {
    pub(super) fn count(&self) -> usize {
        self.latencies.len()
    }

    pub(super) fn rate(&self) -> f64 {
        #[expect(clippy::cast_precision_loss, reason = "there are not that many")]
        let count = self.count() as f64;
        count / self.took.as_secs_f64()
    }

    /// In milliseconds.
    pub(super) fn percentile(&self, percent: usize) -> f64 {
        let place = (self.latencies.len() * percent).div_ceil(100).saturating_sub(1);
        self.latencies.get(place).map_or(f64::NAN, |latency| latency.as_secs_f64() * 1000.0)
    }
}

/// Distinct signed deliveries, each as the bytes of a whole HTTP request.
pub(super) fn requests(count: usize) -> Vec<Vec<u8>> {
    (1_u64..).take(count).map(request).collect()
}

fn request(id: u64) -> Vec<u8> {
    let body = Payload::job(10_000_000_000 + id).bytes();
    let head = format!(
        "POST /webhook HTTP/1.1\r\nhost: localhost\r\naccept: */*\r\nuser-agent: GitHub-Hookshot/044aadd\r\n\
         content-type: application/json\r\ncontent-length: {}\r\nx-github-hook-id: 109948940\r\n\
         x-github-event: workflow_job\r\nx-github-delivery: 72d3162e-cc78-11e3-81ab-{id:012x}\r\n\
         x-github-hook-installation-target-type: integration\r\nx-github-hook-installation-target-id: 79929171\r\n\
         x-hub-signature-256: {}\r\n\r\n",
        body.len(),
        sign(SECRET, &body),
    );
    [head.into_bytes(), body].concat()
}

/// Sends them, each once, over as many connections; each connection waits for its answer. Ends when all are sent or the time is up.
///
/// # Errors
/// The receiver went away, or answered anything but 202.
pub(super) fn send(
    addr: SocketAddr,
    requests: &[Vec<u8>],
    connections: usize,
    at_most: Duration,
) -> anyhow::Result<Measured> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    // The tasks need it longer than a borrow lasts; it is copied nowhere.
    let next = Rc::new(Cell::new(0));
    LocalSet::new().block_on(&runtime, async {
        let mut streams = Vec::new();
        for _ in 0..connections {
            let stream = TcpStream::connect(addr).await?;
            stream.set_nodelay(true)?;
            streams.push(stream);
        }
        let start = Instant::now();
        let tasks = streams.into_iter().map(|stream| send_some(stream, requests, Rc::clone(&next), start + at_most));
        let latencies = futures_util::future::try_join_all(tasks).await?;
        let took = start.elapsed();
        let mut latencies = latencies.concat();
        latencies.sort_unstable();
        Ok(Measured { latencies, took, peak_mib: 0.0, applied_after: Duration::ZERO })
    })
}

/// One connection: takes the next request that nobody has taken, until none is left.
async fn send_some(
    mut stream: TcpStream,
    requests: &[Vec<u8>],
    next: Rc<Cell<usize>>,
    until: Instant,
) -> anyhow::Result<Vec<Duration>> {
    let mut latencies = Vec::new();
    let mut answer = Vec::with_capacity(1024);
    while let Some(request) = requests.get(next.replace(next.get() + 1)) {
        let start = Instant::now();
        if start >= until {
            break;
        }
        stream.write_all(request).await?;
        answer.clear();
        while !is_whole(&answer) {
            ensure!(stream.read_buf(&mut answer).await? > 0, "the receiver closed the connection");
        }
        latencies.push(start.elapsed());
        let text = || String::from_utf8_lossy(&answer).into_owned();
        ensure!(answer.starts_with(b"HTTP/1.1 202 "), "the receiver answered: {}", text());
    }
    Ok(latencies)
}

/// Whether head and body of an answer are there.
fn is_whole(answer: &[u8]) -> bool {
    let Some(end) = answer.windows(4).position(|four| four == b"\r\n\r\n") else { return false };
    let length = std::str::from_utf8(&answer[..end])
        .ok()
        .and_then(|head| {
            head.lines().find_map(|line| line.strip_prefix("content-length: ")?.trim().parse::<usize>().ok())
        })
        .unwrap_or(0);
    answer.len() >= end + 4 + length
}
