//! The task of one recipient: takes from its line, keeps the pace, sends, tries again, and gives up for a while on one that
//! does not answer.

use super::event::Kind;
use super::line::Line;
use super::pace::{Digest, Pace};
use super::send::{Sender, TryAgain};
use super::{News, Notice, form, notice_of, random};
use crate::clock;
use crate::config::{Notifications, Recipient};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};

/// After so many messages in a row that could not be sent, the recipient is left alone for a while.
const FAILURES: u32 = 5;

/// For so long.
const OPEN_FOR: Duration = Duration::from_secs(300);

/// The longest wait before a further try, however long the recipient asks for.
const LONGEST_WAIT: Duration = Duration::from_secs(600);

/// How often it is told that news were dropped.
const TELL_DROPPED: Duration = Duration::from_secs(60);

pub(super) struct Worker {
    line: Arc<Line>,
    /// Made with the first message: most verbs of the command line have none to send.
    sender: Option<Sender>,
    pace: Pace,
    retries: u32,
    retry_delay: Duration,
    circuit: Circuit,
    closing: CancellationToken,
    told_dropped: Option<Instant>,
    dropped: usize,
    /// The last notice that passed by: digests are of the same fleet and manager.
    last: Option<Arc<Notice>>,
}

/// Whether the recipient is left alone.
#[derive(Default)]
struct Circuit {
    failures: u32,
    open_until: Option<Instant>,
    /// Messages that were not even tried.
    lost: usize,
}

impl Worker {
    pub(super) fn new(line: Arc<Line>, told: &Notifications, closing: CancellationToken) -> Self {
        Self {
            line,
            sender: None,
            pace: Pace::new(told.rate),
            retries: told.retries,
            retry_delay: told.retry_delay,
            circuit: Circuit::default(),
            closing,
            told_dropped: None,
            dropped: 0,
            last: None,
        }
    }

    pub(super) async fn run(mut self) {
        loop {
            let closing = self.closing.is_cancelled();
            while let Some(notice) = self.line.take() {
                self.last = Some(notice.clone());
                let News::One(event) = &notice.news else { continue };
                if self.pace.admit(event, Instant::now()) {
                    self.deliver(&notice).await;
                }
                self.tell_dropped();
            }
            while let Some(digest) = self.pace.digest(Instant::now(), closing) {
                if let Some(notice) = self.digest(digest) {
                    self.deliver(&notice).await;
                }
            }
            if closing {
                return;
            }
            let next = self.pace.next();
            tokio::select! {
                () = self.line.rung() => {}
                () = self.closing.cancelled() => {}
                () = wait_until(next) => {}
            }
        }
    }

    fn digest(&self, digest: Digest) -> Option<Notice> {
        let last = self.last.as_ref()?;
        let Digest { kind, count, first } = digest;
        // One that was held is told as what it is.
        let news = match (count, first.as_slice()) {
            (1, [only]) => News::One(only.clone()),
            _ => News::Many { kind, count, first },
        };
        Some(notice_of(&last.instance, &last.host, clock::now(), news))
    }

    /// Sends it, or gives up.
    async fn deliver(&mut self, notice: &Notice) {
        let name = &self.line.recipient.name;
        let kind = notice.news.kind();
        if self.circuit.is_open(Instant::now()) {
            self.circuit.lost += 1;
            return;
        }
        let sender = match self.sender.take().map_or_else(|| Sender::new(&self.line.recipient), Ok) {
            Ok(sender) => self.sender.insert(sender),
            Err(why) => return self.circuit.failed(name, kind, &why),
        };
        // One that was left alone gets one try to show that it is back.
        let retries = if self.circuit.failures >= FAILURES { 0 } else { self.retries };
        match deliver(sender, &self.line.recipient, notice, retries, self.retry_delay).await {
            Ok(()) => {
                if self.circuit.open_until.take().is_some() {
                    info!("notifications reach {name} again; {} were lost meanwhile", self.circuit.lost);
                }
                self.circuit = Circuit::default();
                debug!("told {name} of {kind}");
            }
            Err(why) => self.circuit.failed(name, kind, &why),
        }
    }

    fn tell_dropped(&mut self) {
        self.dropped += self.line.take_dropped();
        if self.dropped > 0 && self.told_dropped.is_none_or(|told| told.elapsed() >= TELL_DROPPED) {
            let (name, dropped) = (&self.line.recipient.name, std::mem::take(&mut self.dropped));
            warn!("{dropped} notifications to {name} were dropped, the oldest first: it takes fewer than there are");
            self.told_dropped = Some(Instant::now());
        }
    }
}

async fn wait_until(moment: Option<Instant>) {
    match moment {
        Some(moment) => tokio::time::sleep_until(moment.into()).await,
        None => std::future::pending().await,
    }
}

impl Circuit {
    fn is_open(&self, now: Instant) -> bool {
        self.open_until.is_some_and(|until| now < until)
    }

    fn failed(&mut self, name: &str, kind: Kind, why: &str) {
        self.failures = self.failures.saturating_add(1);
        if self.failures < FAILURES {
            warn!("{name} was not told of {kind}: {why}");
            return;
        }
        let is_news = self.open_until.is_none();
        self.open_until = Some(Instant::now() + OPEN_FOR);
        self.lost += 1;
        if is_news {
            let minutes = OPEN_FOR.as_secs() / 60;
            warn!("{name} gets no notifications for {minutes} minutes at a time, until it answers again: {why}");
        }
    }
}

/// Sends one message, with further tries.
pub(super) async fn deliver(
    sender: &Sender,
    recipient: &Recipient,
    notice: &Notice,
    retries: u32,
    retry_delay: Duration,
) -> Result<(), String> {
    let payload = form::payload(recipient, notice);
    let mut tries = 0;
    loop {
        tries += 1;
        let error = match sender.send(&payload).await {
            Ok(()) => return Ok(()),
            Err(error) => error,
        };
        let wait = match error.try_again() {
            TryAgain::Never => return Err(error.to_string()),
            _ if tries > retries => {
                let tries = if tries == 1 { String::new() } else { format!(" (after {tries} tries)") };
                return Err(format!("{error}{tries}"));
            }
            TryAgain::After(wait) => wait.min(LONGEST_WAIT),
            TryAgain::Soon => backoff(retry_delay, tries, random()),
        };
        debug!("{} was not told, will be tried again in {wait:?}: {error}", recipient.name);
        tokio::time::sleep(wait).await;
    }
}

/// Doubled each time, and moved by up to a quarter, so that many who failed together do not come back together.
fn backoff(first: Duration, tries: u32, random: u64) -> Duration {
    let doubled = first.saturating_mul(1_u32.checked_shl(tries - 1).unwrap_or(u32::MAX)).min(LONGEST_WAIT);
    let percent = u32::try_from(random % 51).unwrap_or_default();
    doubled * (75 + percent) / 100
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_wait_doubles_within_bounds() {
        let first = Duration::from_secs(5);
        for random in [0, 25, 50, 51, u64::MAX] {
            for (tries, middle) in [(1, 5), (2, 10), (3, 20), (4, 40)] {
                let wait = backoff(first, tries, random);
                let middle = Duration::from_secs(middle);
                assert!(wait >= middle * 3 / 4 && wait <= middle * 5 / 4, "{tries} {random}: {wait:?}");
            }
            assert!(backoff(first, 40, random) <= LONGEST_WAIT * 5 / 4);
        }
        assert_eq!(backoff(Duration::ZERO, 3, 7), Duration::ZERO);
    }

    #[test]
    fn a_recipient_that_fails_is_left_alone_and_tried_again() {
        let mut circuit = Circuit::default();
        for _ in 0..FAILURES {
            assert!(!circuit.is_open(Instant::now()));
            circuit.failed("x", Kind::RunnerError, "away");
        }
        assert!(circuit.is_open(Instant::now()));
        assert!(!circuit.is_open(Instant::now() + OPEN_FOR));
    }
}
