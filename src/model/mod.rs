//! The nouns: jobs, runners, events, labels, ids. Pure data and pure steps between them.
//!
//! Nothing here waits, reads a clock, rolls dice or speaks to anybody. Every other module speaks in these words.

mod access;
pub mod built_image;
mod container;
mod event;
mod group;
mod ids;
mod job;
mod labels;
mod observed;
mod pattern;
mod registration;
mod run;
mod runner;
mod scope;
mod time;

pub use access::{Access, Accounts, Bar};
pub use container::{Capacity, Container, ContainerStatus, Evidence, KeptContainer};
pub use event::{DeliveryId, JobAction, JobEvent, JobFacts};
pub use group::{Group, Groups, Hidden, Visibility};
pub use ids::{
    ContainerId, HostId, ImageId, InstanceId, JobId, JobKey, PoolName, RegistrationId, RepoName, RunnerName,
};
pub use job::{Applied, Job, JobState};
pub use labels::LabelSet;
pub use observed::Observed;
pub use pattern::Patterns;
pub use registration::{Registration, RegistrationStatus};
pub use run::{RISKY_EVENTS, RunFacts};
pub use runner::{
    CRASH_LOOP, Change, HISTORY_MAX, IllegalChange, Kept, RESTARTS_MAX, RegistrationHold, Runner, RunnerState,
    Standing, StateName, Wanted,
};
pub use scope::{Scope, ScopeError};
pub use time::{after, age};
