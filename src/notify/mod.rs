//! Tells people and programs what happened: Slack, Discord, Microsoft Teams, webhooks of their own.
//!
//! Whoever has something to tell calls [`Notifier::tell`], which never waits and never fails. Each recipient has a queue and
//! a task of its own, so that one that hangs keeps nobody up: neither the others, nor a runner.

pub mod event;
mod facts;
mod form;
mod line;
mod pace;
mod send;
pub mod template;
mod trial;
mod worker;

pub use form::Payload;
pub use send::SendError;
pub use trial::{Trial, try_out};

use crate::clock;
use crate::config::Config;
use crate::model::{HostId, InstanceId};
use event::{Event, Kind};
use jiff::Timestamp;
use line::Line;
use std::hash::{BuildHasher, Hasher};
use std::sync::Arc;
use std::time::Duration;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// Something to tell, with its moment.
#[derive(Debug, Clone, PartialEq)]
pub struct Notice {
    /// The same for every try, so that a receiver can tell a repetition.
    pub id: String,
    /// When it happened.
    pub at: Timestamp,
    /// Which fleet.
    pub instance: InstanceId,
    /// Which manager.
    pub host: HostId,
    /// What.
    pub news: News,
}

/// What a message is about.
#[derive(Debug, Clone, PartialEq)]
pub enum News {
    /// One event.
    One(Event),
    /// Many of one kind, of which only the first few are told one by one.
    Many {
        /// Of which kind.
        kind: Kind,
        /// How many.
        count: usize,
        /// The first few of them.
        first: Vec<Event>,
    },
}

impl News {
    /// Of which kind it is.
    pub fn kind(&self) -> Kind {
        match self {
            Self::One(event) => event.kind(),
            Self::Many { kind, .. } => *kind,
        }
    }
}

/// Where news are handed in. Clones are the same one.
#[derive(Clone)]
pub struct Notifier(Arc<Inner>);

struct Inner {
    instance: InstanceId,
    host: HostId,
    lines: Vec<Arc<Line>>,
    tasks: TaskTracker,
    /// No more news: send what is there, and end.
    closing: CancellationToken,
    /// End now.
    stop: CancellationToken,
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

impl Notifier {
    /// Begins a task for each recipient of the configuration. Within a runtime; before the first
    /// news comes, a TLS provider has to be installed.
    pub fn start(config: &Config) -> Self {
        let told = &config.notifications;
        let (tasks, closing, stop) = (TaskTracker::new(), CancellationToken::new(), CancellationToken::new());
        let mut lines = Vec::new();
        for recipient in told.recipients.iter().filter(|recipient| told.enabled && recipient.enabled) {
            let line = Arc::new(Line::new(recipient.clone()));
            lines.push(line.clone());
            let worker = worker::Worker::new(line, told, closing.clone());
            let stop = stop.clone();
            tasks.spawn(async move {
                tokio::select! {
                    () = stop.cancelled() => {}
                    () = worker.run() => {}
                }
            });
        }
        tasks.close();
        Self(Arc::new(Inner {
            instance: config.instance.clone(),
            host: config.host.clone(),
            lines,
            tasks,
            closing,
            stop,
        }))
    }

    /// One that tells nobody.
    pub fn silent() -> Self {
        Self(Arc::new(Inner {
            instance: InstanceId::new(""),
            host: HostId::new(""),
            lines: Vec::new(),
            tasks: TaskTracker::new(),
            closing: CancellationToken::new(),
            stop: CancellationToken::new(),
        }))
    }

    /// Tells it to every recipient that wants to know. Returns at once, whatever state they are in.
    pub fn tell(&self, event: Event) {
        let kind = event.kind();
        let mut notice = None;
        for line in self.0.lines.iter().filter(|line| line.recipient.events.contains(&kind)) {
            let notice = notice.get_or_insert_with(|| {
                Arc::new(notice_of(&self.0.instance, &self.0.host, clock::now(), News::One(event.clone())))
            });
            line.push(notice.clone());
        }
    }

    /// Sends what is still there, and ends. What is not sent after `within` is lost, and told in the log. For a verb before
    /// it ends, and for `serve` at its end.
    pub async fn finish(&self, within: Duration) {
        self.0.closing.cancel();
        self.0.tasks.close();
        if tokio::time::timeout(within, self.0.tasks.wait()).await.is_err() {
            self.0.stop.cancel();
        }
        for line in &self.0.lines {
            let left = line.close();
            if left > 0 {
                tracing::warn!("{left} notifications to {} were not sent before the end", line.recipient.name);
            }
        }
    }
}

fn notice_of(instance: &InstanceId, host: &HostId, at: Timestamp, news: News) -> Notice {
    Notice { id: fresh_id(), at, instance: instance.clone(), host: host.clone(), news }
}

/// 128 bits that nobody has had before.
fn fresh_id() -> String {
    format!("{:016x}{:016x}", random(), random())
}

/// The standard library's own source of random keys: good for jitter and names, not for secrets.
fn random() -> u64 {
    std::hash::RandomState::new().build_hasher().finish()
}
