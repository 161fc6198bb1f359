//! What can be told: each event with what is known of it. Pure; the configuration holds templates against it.

mod kind;
mod sample;

pub use kind::{COMMON, Kind, Level};

use crate::model::{JobKey, LabelSet, PoolName, RunnerName};
use jiff::Timestamp;
use serde_json::Value;
use std::time::Duration;

/// What is known of a runner.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunnerFacts {
    /// Its name.
    pub name: RunnerName,
    /// Its pool.
    pub pool: PoolName,
    /// Its labels.
    pub labels: LabelSet,
    /// Its image.
    pub image: String,
    /// What that is built on.
    pub base_image: Option<String>,
    /// The language that it is for.
    pub techno: Option<String>,
    /// Of which version.
    pub techno_version: Option<String>,
}

/// What is known of a build.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BuildFacts {
    /// The pool that it is for.
    pub pool: PoolName,
    /// The image that it makes.
    pub image: String,
    /// From this file.
    pub dockerfile: String,
    /// On this image.
    pub base_image: Option<String>,
    /// The language that it is for.
    pub techno: Option<String>,
    /// Of which version.
    pub techno_version: Option<String>,
}

/// From one version of a base image to another.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Update {
    /// The base image, without its tag.
    pub image: String,
    /// The tag or digest before.
    pub from: String,
    /// The tag or digest then.
    pub to: String,
    /// The pools on it.
    pub pools: Vec<PoolName>,
}

/// Something that somebody may want to be told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// A persistent runner is up.
    RunnerStarted {
        /// Which.
        runner: RunnerFacts,
        /// Why it was started.
        reason: String,
    },
    /// A persistent runner was stopped.
    RunnerStopped {
        /// Which.
        runner: RunnerFacts,
        /// It was up for so long.
        uptime: Option<Duration>,
        /// Why.
        reason: String,
    },
    /// A persistent runner was removed.
    RunnerRemoved {
        /// Which.
        runner: RunnerFacts,
        /// Why.
        reason: String,
    },
    /// A runner failed, or something that was done with it.
    RunnerError {
        /// Which.
        runner: RunnerFacts,
        /// What was being done: `start`, `run`, `stop`, ….
        operation: String,
        /// What went wrong.
        error: String,
    },
    /// What was asked for was not done.
    RunnerSkipped {
        /// Of which.
        runner: RunnerFacts,
        /// What was asked for.
        operation: String,
        /// Why it was not done.
        reason: String,
    },
    /// An image is being built.
    BuildStarted {
        /// Which.
        build: BuildFacts,
    },
    /// An image was built.
    BuildCompleted {
        /// Which.
        build: BuildFacts,
        /// In this time.
        duration: Duration,
        /// Bytes.
        image_size: u64,
    },
    /// An image could not be built.
    BuildFailed {
        /// Which.
        build: BuildFacts,
        /// After this time.
        duration: Duration,
        /// What went wrong.
        error: String,
    },
    /// The configuration names a newer base image.
    ImageUpdated(Update),
    /// A newer base image is there.
    UpdateAvailable(Update),
    /// The runners are on the newer base image.
    UpdateApplied(Update),
    /// Looking for a newer base image, or going to it, failed.
    UpdateError {
        /// Which base image, if it is about one.
        image: Option<String>,
        /// The pools on it.
        pools: Vec<PoolName>,
        /// What went wrong.
        error: String,
    },
    /// A job's runner died under it, or the job waited until GitHub gave it up.
    JobLost {
        /// Which job.
        job: JobKey,
        /// What its workflow calls it.
        job_name: String,
        /// Whose it is.
        repository: String,
        /// Where GitHub shows it.
        url: Option<String>,
        /// On which runner, if it had one.
        runner: Option<RunnerName>,
        /// Of which pool.
        pool: Option<PoolName>,
        /// What it asked for.
        labels: LabelSet,
        /// How it was lost.
        error: String,
    },
    /// The runners of a pool fail one after the other.
    PoolDegraded {
        /// Which pool.
        pool: PoolName,
        /// Its labels.
        labels: LabelSet,
        /// How many times in a row.
        failures: u32,
        /// What the last one said.
        error: String,
        /// When the next is tried.
        retry_at: Option<Timestamp>,
    },
}

/// What is known of an event, by name. Null where it is not known this time.
pub type Data = Vec<(&'static str, Value)>;

impl Event {
    /// What it is about.
    pub fn kind(&self) -> Kind {
        match self {
            Self::RunnerStarted { .. } => Kind::RunnerStarted,
            Self::RunnerStopped { .. } => Kind::RunnerStopped,
            Self::RunnerRemoved { .. } => Kind::RunnerRemoved,
            Self::RunnerError { .. } => Kind::RunnerError,
            Self::RunnerSkipped { .. } => Kind::RunnerSkipped,
            Self::BuildStarted { .. } => Kind::BuildStarted,
            Self::BuildCompleted { .. } => Kind::BuildCompleted,
            Self::BuildFailed { .. } => Kind::BuildFailed,
            Self::ImageUpdated(_) => Kind::ImageUpdated,
            Self::UpdateAvailable(_) => Kind::UpdateAvailable,
            Self::UpdateApplied(_) => Kind::UpdateApplied,
            Self::UpdateError { .. } => Kind::UpdateError,
            Self::JobLost { .. } => Kind::JobLost,
            Self::PoolDegraded { .. } => Kind::PoolDegraded,
        }
    }

    /// All of [`Kind::fields`], in that order. Times are seconds, sizes are bytes.
    pub fn data(&self) -> Data {
        match self {
            Self::RunnerStarted { runner, reason } | Self::RunnerRemoved { runner, reason } => {
                runner.data([("reason", text(reason))])
            }
            Self::RunnerStopped { runner, uptime, reason } => {
                runner.data([("uptime", uptime.map_or(Value::Null, seconds)), ("reason", text(reason))])
            }
            Self::RunnerError { runner, operation, error } => {
                runner.data([("operation", text(operation)), ("error_message", text(error))])
            }
            Self::RunnerSkipped { runner, operation, reason } => {
                runner.data([("operation", text(operation)), ("reason", text(reason))])
            }
            Self::BuildStarted { build } => build.data([]),
            Self::BuildCompleted { build, duration, image_size } => {
                build.data([("duration", seconds(*duration)), ("image_size", Value::from(*image_size))])
            }
            Self::BuildFailed { build, duration, error } => {
                build.data([("duration", seconds(*duration)), ("error_message", text(error))])
            }
            Self::ImageUpdated(update) | Self::UpdateApplied(update) => update.data("from_version", "to_version"),
            Self::UpdateAvailable(update) => update.data("current_version", "available_version"),
            Self::UpdateError { image, pools: affected, error } => vec![
                ("runner_type", text("base")),
                ("image_name", text(image.as_deref().unwrap_or("base images"))),
                ("affected_runners", pools(affected)),
                ("error_message", text(error)),
            ],
            Self::JobLost { job, job_name, repository, url, runner, pool, labels: asked, error } => vec![
                ("job", text(job.to_string())),
                ("job_name", text(job_name)),
                ("repository", text(repository)),
                ("url", some(url.as_deref())),
                ("runner_name", some(runner.as_ref().map(RunnerName::as_str))),
                ("pool", some(pool.as_ref().map(PoolName::as_str))),
                ("labels", labels(asked)),
                ("error_message", text(error)),
            ],
            Self::PoolDegraded { pool, labels: served, failures, error, retry_at } => vec![
                ("pool", text(pool.as_str())),
                ("labels", labels(served)),
                ("failures", Value::from(*failures)),
                ("error_message", text(error)),
                ("retry_at", retry_at.map_or(Value::Null, |at| text(format!("{at:.0}")))),
            ],
        }
    }
}

impl RunnerFacts {
    fn data<const N: usize>(&self, more: [(&'static str, Value); N]) -> Data {
        let mut data = vec![
            ("runner_name", text(self.name.as_str())),
            ("pool", text(self.pool.as_str())),
            ("labels", labels(&self.labels)),
            ("image_name", text(&self.image)),
            ("base_image", some(self.base_image.as_deref())),
            ("techno", some(self.techno.as_deref())),
            ("techno_version", some(self.techno_version.as_deref())),
        ];
        data.extend(more);
        data
    }
}

impl BuildFacts {
    fn data<const N: usize>(&self, more: [(&'static str, Value); N]) -> Data {
        let mut data = vec![
            ("pool", text(self.pool.as_str())),
            ("image_name", text(&self.image)),
            ("dockerfile", text(&self.dockerfile)),
            ("base_image", some(self.base_image.as_deref())),
            ("techno", some(self.techno.as_deref())),
            ("techno_version", some(self.techno_version.as_deref())),
        ];
        data.extend(more);
        data
    }
}

impl Update {
    fn data(&self, from: &'static str, to: &'static str) -> Data {
        vec![
            ("runner_type", text("base")),
            ("image_name", text(&self.image)),
            (from, text(&self.from)),
            (to, text(&self.to)),
            ("affected_runners", pools(&self.pools)),
        ]
    }
}

/// A value as a template shows it: lists are joined, times and sizes have units, what is not known is a dash.
pub fn shown(name: &str, value: &Value) -> String {
    match value {
        Value::Null => "-".to_owned(),
        Value::String(text) if text.is_empty() => "-".to_owned(),
        Value::String(text) => text.clone(),
        Value::Array(items) if items.is_empty() => "-".to_owned(),
        Value::Array(items) => items.iter().map(|item| shown("", item)).collect::<Vec<_>>().join(", "),
        Value::Number(number) => match (name, number.as_f64()) {
            ("uptime" | "duration", Some(seconds)) => span(seconds),
            ("image_size", Some(bytes)) => size(bytes),
            _ => number.to_string(),
        },
        Value::Bool(_) | Value::Object(_) => value.to_string(),
    }
}

/// `12.3 s`, `4 min 10 s`, `2 h 5 min`, `3 d 4 h`.
fn span(seconds: f64) -> String {
    if seconds < 60.0 {
        return format!("{seconds:.1} s");
    }
    let whole = Duration::try_from_secs_f64(seconds).unwrap_or(Duration::MAX).as_secs();
    match whole {
        0..3600 => format!("{} min {} s", whole / 60, whole % 60),
        3600..86400 => format!("{} h {} min", whole / 3600, whole % 3600 / 60),
        _ => format!("{} d {} h", whole / 86400, whole % 86400 / 3600),
    }
}

/// `1.4 GiB`.
fn size(bytes: f64) -> String {
    let mut left = bytes;
    let mut unit = "B";
    for larger in ["KiB", "MiB", "GiB", "TiB"] {
        if left < 1024.0 {
            break;
        }
        left /= 1024.0;
        unit = larger;
    }
    if unit == "B" { format!("{left:.0} B") } else { format!("{left:.1} {unit}") }
}

fn text(text: impl Into<String>) -> Value {
    Value::String(text.into())
}

fn some(text: Option<&str>) -> Value {
    text.map_or(Value::Null, Value::from)
}

fn seconds(time: Duration) -> Value {
    // Tenths are all that anybody wants to know.
    Value::from((time.as_secs_f64() * 10.0).round() / 10.0)
}

fn labels(set: &LabelSet) -> Value {
    set.iter().map(Value::from).collect()
}

fn pools(names: &[PoolName]) -> Value {
    names.iter().map(|name| Value::from(name.as_str())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_event_has_the_fields_of_its_kind() {
        for kind in Kind::ALL {
            let event = Event::sample(*kind);
            assert_eq!(event.kind(), *kind);
            let names: Vec<_> = event.data().into_iter().map(|(name, _)| name).collect();
            assert_eq!(names, kind.fields(), "{kind}");
            assert!(event.data().iter().all(|(_, value)| !value.is_null()), "a sample shows everything: {kind}");
        }
    }

    #[test]
    fn values_are_shown_for_people() {
        let list = serde_json::json!(["self-hosted", "linux"]);
        assert_eq!(shown("labels", &list), "self-hosted, linux");
        assert_eq!(shown("labels", &serde_json::json!([])), "-");
        assert_eq!(shown("url", &Value::Null), "-");
        assert_eq!(shown("duration", &Value::from(12.34)), "12.3 s");
        assert_eq!(shown("uptime", &Value::from(250)), "4 min 10 s");
        assert_eq!(shown("uptime", &Value::from(7500.0)), "2 h 5 min");
        assert_eq!(shown("uptime", &Value::from(273_600)), "3 d 4 h");
        assert_eq!(shown("image_size", &Value::from(1_503_238_553_u64)), "1.4 GiB");
        assert_eq!(shown("image_size", &Value::from(12)), "12 B");
        assert_eq!(shown("failures", &Value::from(3)), "3");
    }
}
