//! Names and numbers that must not be mixed up.

use serde::{Deserialize, Serialize};
use std::fmt;

macro_rules! text_id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(String);

        impl $name {
            /// Wraps a text that is known to be one.
            pub fn new(text: impl Into<String>) -> Self {
                Self(text.into())
            }

            /// The text itself.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(&self.0)
            }
        }
    };
}

macro_rules! number_id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(pub u64);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}", self.0)
            }
        }
    };
}

text_id!(
    /// A pool's `id` in `runners_config.yaml`.
    PoolName
);
text_id!(
    /// The name under which a runner registers with GitHub; also its container's name.
    RunnerName
);
text_id!(
    /// `owner/name` of a repository.
    RepoName
);
text_id!(
    /// A fleet: all managers that share one store. Written on every container; others are never touched.
    InstanceId
);
text_id!(
    /// One manager of a fleet, with its own Docker engine.
    HostId
);
text_id!(
    /// Docker's id of a container.
    ContainerId
);
text_id!(
    /// The engine's id of an image (`sha256:…`). A tag may point to another one tomorrow.
    ImageId
);
number_id!(
    /// GitHub's id of a workflow job.
    JobId
);
number_id!(
    /// GitHub's id of a registered runner.
    RegistrationId
);

impl RepoName {
    /// The account before the slash; the whole text where there is none.
    pub fn owner(&self) -> &str {
        self.0.split('/').next().unwrap_or(&self.0)
    }
}

/// A job is known by its id and the attempt of its run: GitHub's docs promise only that the pair is one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct JobKey {
    /// GitHub's id of the job.
    pub id: JobId,
    /// `run_attempt`; 1 where an old payload has none.
    pub attempt: u32,
}

impl fmt::Display for JobKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.id, self.attempt)
    }
}
