//! One connection that delivers, by hand: as little work for each request as can be, since it shares the processors with the
//! receiver.

use crate::payload::{Payload, sign};
use anyhow::{Context, ensure};
use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// The secret of the shared configuration.
const SECRET: &str = "webhook-secret";

/// One signed delivery, as the bytes of a whole HTTP request.
pub(super) struct Request {
    pub(super) job: u64,
    pub(super) bytes: Vec<u8>,
}

impl Request {
    /// A queued job of this number.
    pub(super) fn of(number: u64) -> Self {
        let job = 10_000_000_000 + number;
        Self { job, bytes: request(job, &Payload::job(job).bytes()) }
    }

    /// The same, grown to so many bytes by a field that means nothing.
    pub(super) fn of_size(number: u64, bytes: usize) -> Self {
        let job = 10_000_000_000 + number;
        let mut body = Payload::job(job).bytes();
        let tail = br#","filler":""}"#.len();
        let missing = bytes.saturating_sub(body.len() - 1 + tail);
        body.pop();
        body.extend_from_slice(br#","filler":""#);
        body.resize(body.len() + missing, b'x');
        body.extend_from_slice(br#""}"#);
        Self { job, bytes: request(job, &body) }
    }
}

fn request(job: u64, body: &[u8]) -> Vec<u8> {
    let head = format!(
        "POST /webhook HTTP/1.1\r\nhost: localhost\r\nuser-agent: GitHub-Hookshot/044aadd\r\n\
         content-type: application/json\r\ncontent-length: {}\r\nx-github-hook-id: 109948940\r\n\
         x-github-event: workflow_job\r\nx-github-delivery: 72d3162e-cc78-11e3-81ab-{job:012x}\r\n\
         x-hub-signature-256: {}\r\n\r\n",
        body.len(),
        sign(SECRET, body),
    );
    [head.as_bytes(), body].concat()
}

/// What a crowd was told.
#[derive(Debug, Default)]
pub(super) struct Answers {
    pub(super) sent: usize,
    /// Jobs of deliveries that were acknowledged.
    pub(super) taken: BTreeSet<u64>,
    /// All others: what was said, how often.
    pub(super) refused: BTreeMap<String, usize>,
    pub(super) took: Duration,
    latencies: Vec<Duration>,
}

impl Answers {
    /// Notes one answer and how long it took from the first byte of its request.
    pub(super) fn note(&mut self, job: u64, answer: &Answer, took: Duration) {
        self.sent += 1;
        self.latencies.push(took);
        if matches!(answer.code, 200 | 202) {
            self.taken.insert(job);
        } else {
            *self.refused.entry(format!("{}: {}", answer.code, answer.why)).or_default() += 1;
        }
    }

    /// All of them together.
    pub(super) fn join(all: Vec<Self>, took: Duration) -> Self {
        let mut joined = Self { took, ..Self::default() };
        for one in all {
            joined.sent += one.sent;
            joined.taken.extend(one.taken);
            joined.latencies.extend(one.latencies);
            for (why, times) in one.refused {
                *joined.refused.entry(why).or_default() += times;
            }
        }
        joined.latencies.sort_unstable();
        joined
    }

    /// In milliseconds.
    pub(super) fn percentile(&self, percent: usize) -> f64 {
        let place = (self.latencies.len() * percent).div_ceil(100).saturating_sub(1);
        self.latencies.get(place).map_or(f64::NAN, |latency| latency.as_secs_f64() * 1000.0)
    }
}

/// What the receiver said.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) code: u16,
    pub(super) why: String,
    /// It hangs up after this.
    pub(super) closes: bool,
}

/// Connects.
pub(super) async fn connect(addr: SocketAddr) -> anyhow::Result<TcpStream> {
    let stream = TcpStream::connect(addr).await.context("connecting")?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

/// Sends one request and reads its answer. One that comes before all is sent (it is too large, there is no room) counts too.
pub(super) async fn deliver(stream: &mut TcpStream, request: &[u8]) -> anyhow::Result<Answer> {
    let (mut from, mut to) = stream.split();
    let mut said = Vec::with_capacity(1024);
    let mut sending = std::pin::pin!(to.write_all(request));
    let mut sent = false;
    loop {
        tokio::select! {
            // If it hangs up in the middle, its answer says why.
            _ = &mut sending, if !sent => sent = true,
            read = from.read_buf(&mut said) => {
                ensure!(read? > 0, "the receiver closed the connection without an answer");
                if let Some(answer) = read_answer(&said) {
                    return Ok(Answer { closes: answer.closes || !sent, ..answer });
                }
            }
        }
    }
}

/// An answer whose head and body are there.
fn read_answer(said: &[u8]) -> Option<Answer> {
    let end = said.windows(4).position(|four| four == b"\r\n\r\n")?;
    let head = std::str::from_utf8(said.get(..end)?).ok()?;
    let field = |name: &str| {
        head.lines().find_map(|line| line.split_once(':').filter(|(field, _)| field.eq_ignore_ascii_case(name)))
    };
    let length: usize = field("content-length").and_then(|(_, length)| length.trim().parse().ok()).unwrap_or(0);
    let body = said.get(end + 4..end + 4 + length)?;
    let code = head.split(' ').nth(1)?.parse().ok()?;
    let said: serde_json::Value = serde_json::from_slice(body).unwrap_or_default();
    let why = said["why"].as_str().or(said["status"].as_str()).unwrap_or_default().to_owned();
    let closes = field("connection").is_some_and(|(_, value)| value.trim().eq_ignore_ascii_case("close"));
    Some(Answer { code, why, closes })
}

/// Delivers these, one after the other, each at its moment; a moment that has passed is one that was waited for. What it takes
/// is counted from then on, so that a receiver that falls behind does not look quick.
pub(super) async fn deliver_at(
    addr: SocketAddr,
    requests: impl IntoIterator<Item = (Instant, Request)>,
) -> anyhow::Result<Answers> {
    let mut answers = Answers::default();
    let mut stream = connect(addr).await?;
    for (at, request) in requests {
        tokio::time::sleep_until(at.into()).await;
        let answer = deliver(&mut stream, &request.bytes).await?;
        answers.note(request.job, &answer, at.elapsed());
        if answer.closes {
            stream = connect(addr).await?;
        }
    }
    Ok(answers)
}
