//! An event of each kind, for `notify test`: real events, so that a test shows what will be sent.

use super::{BuildFacts, Event, Kind, RunnerFacts, Update};
use crate::model::{JobId, JobKey, PoolName, RunnerName};
use jiff::Timestamp;
use std::time::Duration;

impl Event {
    /// An example of this kind.
    pub fn sample(kind: Kind) -> Self {
        let runner = || RunnerFacts {
            name: RunnerName::new("example-1"),
            pool: PoolName::new("example"),
            labels: ["self-hosted", "linux", "node"].into_iter().collect(),
            image: "runnerfleet/default/example:current".to_owned(),
            base_image: Some("ghcr.io/actions/actions-runner:2.336.0".to_owned()),
            techno: Some("node".to_owned()),
            techno_version: Some("22".to_owned()),
        };
        let build = || BuildFacts {
            pool: PoolName::new("example"),
            image: "runnerfleet/default/example:2.336.0-0123456789ab".to_owned(),
            dockerfile: "dockerfiles/node/Dockerfile".to_owned(),
            base_image: Some("ghcr.io/actions/actions-runner:2.336.0".to_owned()),
            techno: Some("node".to_owned()),
            techno_version: Some("22".to_owned()),
        };
        let update = || Update {
            image: "ghcr.io/actions/actions-runner".to_owned(),
            from: "2.335.0".to_owned(),
            to: "2.336.0".to_owned(),
            pools: vec![PoolName::new("example"), PoolName::new("example-2")],
        };
        let why = || "this is a test".to_owned();
        match kind {
            Kind::RunnerStarted => Self::RunnerStarted { runner: runner(), reason: why() },
            Kind::RunnerStopped => {
                Self::RunnerStopped { runner: runner(), uptime: Some(Duration::from_secs(7500)), reason: why() }
            }
            Kind::RunnerRemoved => Self::RunnerRemoved { runner: runner(), reason: why() },
            Kind::RunnerError => Self::RunnerError { runner: runner(), operation: "start".to_owned(), error: why() },
            Kind::RunnerSkipped => {
                Self::RunnerSkipped { runner: runner(), operation: "stop".to_owned(), reason: why() }
            }
            Kind::BuildStarted => Self::BuildStarted { build: build() },
            Kind::BuildCompleted => {
                Self::BuildCompleted { build: build(), duration: Duration::from_secs(83), image_size: 1_503_238_553 }
            }
            Kind::BuildFailed => Self::BuildFailed { build: build(), duration: Duration::from_secs(12), error: why() },
            Kind::ImageUpdated => Self::ImageUpdated(update()),
            Kind::UpdateAvailable => Self::UpdateAvailable(update()),
            Kind::UpdateApplied => Self::UpdateApplied(update()),
            Kind::UpdateError => {
                let Update { image, pools, .. } = update();
                Self::UpdateError { image: Some(image), pools, error: why() }
            }
            Kind::JobLost => Self::JobLost {
                job: JobKey { id: JobId(123_456), attempt: 1 },
                job_name: "build".to_owned(),
                repository: "acme/web".to_owned(),
                url: Some("https://github.com/acme/web/actions/runs/7/job/123456".to_owned()),
                runner: Some(RunnerName::new("example-1")),
                pool: Some(PoolName::new("example")),
                labels: ["self-hosted", "linux"].into_iter().collect(),
                error: why(),
            },
            Kind::PoolDegraded => Self::PoolDegraded {
                pool: PoolName::new("example"),
                labels: ["self-hosted", "linux"].into_iter().collect(),
                failures: 3,
                error: why(),
                retry_at: Some(Timestamp::UNIX_EPOCH),
            },
        }
    }
}
