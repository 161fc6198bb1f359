//! The four crowds, each bounded in count and time.

use crate::client::{Answers, Request, connect, deliver, deliver_at};
use crate::{Args, Crowd};
use anyhow::{Context, ensure};
use futures_util::future::{join_all, try_join_all};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use std::net::SocketAddr;
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::{LocalSet, spawn_blocking};

/// The burst comes over so many.
const CONNECTIONS: usize = 64;

/// In a second, while others take up the receiver.
const BESIDE: u64 = 100;

/// For so long.
const BESIDE_FOR: Duration = Duration::from_secs(10);

/// GitHub's largest payload, and the configured bound.
const LARGEST: usize = 25 << 20;

/// For the rest of this program.
const OTHER_FILES: u32 = 300;

/// Lets one come, and waits for all answers.
pub(super) fn come(crowd: Crowd, addr: SocketAddr, args: &Args) -> anyhow::Result<(Answers, Vec<String>)> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    LocalSet::new().block_on(&runtime, async {
        match crowd {
            Crowd::Burst => burst(addr, u64::from(args.deliveries)).await,
            Crowd::Slow => slow(addr, args.slow).await,
            Crowd::Idle => idle(addr, args.idle).await,
            Crowd::Large => large(addr, args.large).await,
        }
    })
}

/// All within one second, by a fixed schedule: whoever is late does not make the others come later.
async fn burst(addr: SocketAddr, count: u64) -> anyhow::Result<(Answers, Vec<String>)> {
    let mut lines: Vec<Vec<Request>> = (0..CONNECTIONS).map(|_| Vec::new()).collect();
    for (number, line) in (0..count).zip((0..CONNECTIONS).cycle()) {
        lines[line].push(Request::of(number));
    }
    let start = Instant::now() + Duration::from_millis(100);
    let each = Duration::from_secs(1).div_f64(f64::from(u32::try_from(count)?));
    let lines = (0_u32..).zip(lines).map(|(line, requests)| {
        let times = (0_u32..).map(move |turn| start + each * (turn * u32::try_from(CONNECTIONS).unwrap_or(1) + line));
        deliver_at(addr, times.zip(requests))
    });
    let answers = try_join_all(lines).await?;
    let took = start.elapsed();
    Ok((Answers::join(answers, took), vec!["times are counted from the moment at which each was due".to_owned()]))
}

/// Deliveries as on any day.
async fn beside(addr: SocketAddr, from: u64) -> anyhow::Result<Answers> {
    let start = Instant::now();
    let count = BESIDE * BESIDE_FOR.as_secs();
    let lines = (0..4).map(|line| {
        let turns = (0..count).filter(move |number| number % 4 == line);
        deliver_at(
            addr,
            turns
                .map(move |number| (start + Duration::from_millis(number * 1000 / BESIDE), Request::of(from + number))),
        )
    });
    let answers = try_join_all(lines).await?;
    Ok(Answers::join(answers, start.elapsed()))
}

/// One byte a second, in the middle of a head, or of a body that was announced.
async fn slow(addr: SocketAddr, count: u32) -> anyhow::Result<(Answers, Vec<String>)> {
    let mut streams = Vec::new();
    let request = Request::of(0).bytes;
    for number in 0..count {
        let mut stream = connect(addr).await?;
        let begun = if number % 2 == 0 { 40 } else { 1000 };
        stream.write_all(&request[..begun]).await?;
        streams.push(stream);
    }
    let began = Instant::now();
    let dribbling = join_all(streams.into_iter().map(|stream| dribble(stream, began)));
    let (answers, ends) = tokio::join!(beside(addr, 1), dribbling);
    let mut notes = vec!["times are those of 100 deliveries a second beside them".to_owned()];
    let longest = ends.iter().map(|(_, after)| *after).max().unwrap_or_default();
    let mut codes: Vec<&str> = ends.iter().map(|(code, _)| code.as_str()).collect();
    codes.sort_unstable();
    for code in ["408", "closed", "none"] {
        let times = codes.iter().filter(|known| **known == code).count();
        if times > 0 {
            notes.push(format!("{times} slow clients ended with: {code}"));
        }
    }
    notes.push(format!("the last slow client was ended after {:.1} s", longest.as_secs_f64()));
    Ok((answers?, notes))
}

/// Until the receiver has had enough; what it said.
async fn dribble(stream: TcpStream, began: Instant) -> (String, Duration) {
    let (mut from, mut to) = stream.into_split();
    let mut said = Vec::new();
    let end = async {
        loop {
            tokio::select! {
                read = from.read_buf(&mut said) => match read {
                    Ok(0) | Err(_) => return,
                    Ok(_) => {}
                },
                () = tokio::time::sleep(Duration::from_secs(1)) => if to.write_all(b"x").await.is_err() { return },
            }
        }
    };
    let ended = tokio::time::timeout(Duration::from_secs(60), end).await.is_ok();
    let text = String::from_utf8_lossy(&said);
    let code = match text.split(' ').nth(1) {
        Some(code) => code.to_owned(),
        None if ended => "closed".to_owned(),
        None => "none".to_owned(),
    };
    (code, began.elapsed())
}

/// Connections that were used once and are kept, as proxies keep them.
async fn idle(addr: SocketAddr, wanted: u32) -> anyhow::Result<(Answers, Vec<String>)> {
    let count = wanted.min(raise_files(wanted + OTHER_FILES).saturating_sub(OTHER_FILES));
    let mut notes = vec![format!("{count} idle connections; times are those of 100 deliveries a second beside them")];
    if count < wanted {
        notes.push(format!("`ulimit -n` allows no more than {count} of {wanted}"));
    }
    let mut held = Vec::new();
    for _ in 0..count {
        let mut stream = connect(addr).await?;
        stream.write_all(b"GET /healthz HTTP/1.1\r\nhost: localhost\r\n\r\n").await?;
        ensure!(stream.read(&mut [0; 512]).await? > 0, "an idle connection was closed");
        held.push(stream);
    }
    let answers = beside(addr, 1).await?;
    let open = held.iter().filter(|stream| matches!(stream.try_read(&mut [0; 1]), Err(error) if error.kind() == std::io::ErrorKind::WouldBlock)).count();
    notes.push(format!("{open} of them were still open afterwards"));
    Ok((answers, notes))
}

/// Raises the limit of open files as far as it may be; the limit then.
fn raise_files(wanted: u32) -> u32 {
    let limit = getrlimit(Resource::Nofile);
    let allowed = limit.maximum.map_or(u64::from(wanted), |most| most.min(u64::from(wanted)));
    let current = limit.current.unwrap_or(allowed);
    if current < allowed {
        let _ = setrlimit(Resource::Nofile, Rlimit { current: Some(allowed), maximum: limit.maximum });
    }
    u32::try_from(current.max(allowed)).unwrap_or(wanted)
}

/// The largest bodies that there are, each twice, and small deliveries beside them.
async fn large(addr: SocketAddr, count: u32) -> anyhow::Result<(Answers, Vec<String>)> {
    let first = 1_000_000;
    let lines = (0..u64::from(count)).map(|line| async move {
        let mut answers = Answers::default();
        for turn in 0..2 {
            // Signing takes a while, and others deliver on this thread.
            let request = spawn_blocking(move || Request::of_size(first + line * 2 + turn, LARGEST)).await?;
            let mut stream = connect(addr).await?;
            let began = Instant::now();
            let answer = deliver(&mut stream, &request.bytes).await.context("a large body")?;
            answers.note(request.job, &answer, began.elapsed());
        }
        anyhow::Ok(answers)
    });
    let began = Instant::now();
    let (large, small) = tokio::join!(try_join_all(lines), beside(addr, 1));
    let (large, small) = (Answers::join(large?, began.elapsed()), small?);
    let note = format!(
        "large bodies: {} of {} taken, p50 {:.0} ms, max {:.0} ms; small ones beside them: {} of {} taken, p50 {:.1} ms, p99 {:.1} ms, max {:.1} ms",
        large.taken.len(),
        large.sent,
        large.percentile(50),
        large.percentile(100),
        small.taken.len(),
        small.sent,
        small.percentile(50),
        small.percentile(99),
        small.percentile(100),
    );
    Ok((Answers::join(vec![large, small], began.elapsed()), vec![note]))
}
