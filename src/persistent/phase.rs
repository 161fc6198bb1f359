//! In which phase of its life a persistent runner is. The six states tell what a list needs; the phases tell what is going on.
//! Pure.

use crate::model::{Container, ContainerStatus, Registration, RegistrationStatus, Runner, StateName, Wanted};
use serde::{Deserialize, Serialize};
use std::fmt;

/// The phase.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    /// The file describes it, and nothing of it is there.
    Declared,
    /// Its row is written; image, credential and container are being had.
    Provisioning,
    /// Its container is made.
    Created,
    /// Its container runs; GitHub does not list it as online yet.
    Starting,
    /// Online, without a job.
    Idle,
    /// It runs a job.
    Busy,
    /// It runs a job, and is to stop or to go after it.
    Draining,
    /// It is being stopped.
    Stopping,
    /// Its container is kept, stopped.
    Stopped,
    /// It is being removed.
    Removing,
    /// Gone.
    Removed,
    /// Something went wrong; the cause of its state says what.
    Error,
}

impl fmt::Display for Phase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Declared => "declared",
            Self::Provisioning => "provisioning",
            Self::Created => "created",
            Self::Starting => "starting",
            Self::Idle => "idle",
            Self::Busy => "busy",
            Self::Draining => "draining",
            Self::Stopping => "stopping",
            Self::Stopped => "stopped",
            Self::Removing => "removing",
            Self::Removed => "removed",
            Self::Error => "error",
        })
    }
}

/// From what is known: its row, its container, GitHub's entry of its name.
pub fn phase(row: Option<&Runner>, container: Option<&Container>, registration: Option<&Registration>) -> Phase {
    let status = container.map(|container| &container.status);
    let runs = status == Some(&ContainerStatus::Running);
    let online = registration.is_some_and(|registration| registration.status == RegistrationStatus::Online);
    let busy = registration.is_some_and(|registration| registration.busy);
    let wanted = row.and_then(|row| row.kept.as_ref()).map_or(Wanted::Present, |kept| kept.wanted);
    let up = |works: bool| match (wanted, works) {
        (Wanted::Present, true) => Phase::Busy,
        (Wanted::Stopped | Wanted::Absent, true) => Phase::Draining,
        (Wanted::Present, false) if online => Phase::Idle,
        (Wanted::Present, false) => Phase::Starting,
        (Wanted::Stopped, false) => Phase::Stopping,
        (Wanted::Absent, false) => Phase::Removing,
    };
    let down = if wanted == Wanted::Absent { Phase::Removing } else { Phase::Stopped };
    let Some(row) = row else {
        return match status {
            None => Phase::Declared,
            Some(ContainerStatus::Created) => Phase::Created,
            Some(ContainerStatus::Running) => up(busy),
            Some(ContainerStatus::Exited { .. }) => Phase::Stopped,
        };
    };
    match row.state.name {
        StateName::Created if runs => up(busy),
        StateName::Created | StateName::Error if wanted == Wanted::Absent => Phase::Removing,
        StateName::Created if status.is_some() => Phase::Created,
        StateName::Created => Phase::Provisioning,
        StateName::Started => up(busy),
        StateName::Running => up(true),
        StateName::Stopped => down,
        StateName::Removed if wanted == Wanted::Present => Phase::Declared,
        StateName::Removed => Phase::Removed,
        StateName::Error => Phase::Error,
    }
}
