//! What a job is asked to be, where it can be, and how it can end.

use crate::simulation::protocol::Ending;
use std::fmt;
use std::time::Duration;

/// A job to be queued.
#[derive(Debug, Clone)]
pub struct JobSpec {
    /// `owner/name`.
    pub repository: String,
    /// `runs-on`.
    pub labels: Vec<String>,
    /// The job's name.
    pub name: String,
    /// The workflow's name.
    pub workflow: String,
    /// How long it takes.
    pub duration: Duration,
    /// How it ends.
    pub conclusion: Conclusion,
    /// What becomes of its agent meanwhile.
    pub ending: Ending,
    /// How many lines it prints.
    pub output_lines: u32,
    /// A run that it belongs to; a run of its own where none.
    pub run: Option<u64>,
    /// What made its run begin: `push`, `pull_request`, …
    pub event: String,
    /// The repository that its commit comes from, where that is another one (a fork).
    pub head_repository: Option<String>,
    /// The environment that it deploys to: it then carries a deployment in its events.
    pub environment: Option<String>,
}

impl JobSpec {
    /// A job that succeeds after a moment.
    pub fn new<'a>(repository: impl Into<String>, labels: impl IntoIterator<Item = &'a str>) -> Self {
        Self {
            repository: repository.into(),
            labels: labels.into_iter().map(str::to_owned).collect(),
            name: "build".into(),
            workflow: "CI".into(),
            duration: Duration::from_millis(200),
            conclusion: Conclusion::Success,
            ending: Ending::Normal,
            output_lines: 1,
            run: None,
            event: "push".into(),
            head_repository: None,
            environment: None,
        }
    }

    /// Under another name.
    #[must_use]
    pub fn named(mut self, name: impl Into<String>) -> Self {
        self.name = name.into();
        self
    }

    /// Taking this long.
    #[must_use]
    pub fn lasting(mut self, duration: Duration) -> Self {
        self.duration = duration;
        self
    }

    /// Ending like this.
    #[must_use]
    pub fn concluding(mut self, conclusion: Conclusion) -> Self {
        self.conclusion = conclusion;
        self
    }

    /// With this fate of its agent.
    #[must_use]
    pub fn ending(mut self, ending: Ending) -> Self {
        self.ending = ending;
        self
    }

    /// Of a run that this event began.
    #[must_use]
    pub fn event(mut self, event: impl Into<String>) -> Self {
        self.event = event.into();
        self
    }

    /// Of a pull request that comes from a fork.
    #[must_use]
    pub fn from_fork(mut self, repository: impl Into<String>) -> Self {
        self.head_repository = Some(repository.into());
        if self.event == "push" {
            self.event = "pull_request".into();
        }
        self
    }

    /// As one more job of a run.
    #[must_use]
    pub fn in_run(mut self, run: u64) -> Self {
        self.run = Some(run);
        self
    }

    /// Printing this many lines.
    #[must_use]
    pub fn printing(mut self, lines: u32) -> Self {
        self.output_lines = lines;
        self
    }
}

/// How a job ended; GitHub's words.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Conclusion {
    /// `success`
    Success,
    /// `failure`
    Failure,
    /// `cancelled`
    Cancelled,
    /// `skipped`
    Skipped,
    /// `timed_out`
    TimedOut,
    /// `neutral`
    Neutral,
}

impl Conclusion {
    /// GitHub's word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Success => "success",
            Self::Failure => "failure",
            Self::Cancelled => "cancelled",
            Self::Skipped => "skipped",
            Self::TimedOut => "timed_out",
            Self::Neutral => "neutral",
        }
    }

    /// From GitHub's word; anything unknown is a failure.
    pub fn from_word(word: &str) -> Self {
        [Self::Success, Self::Cancelled, Self::Skipped, Self::TimedOut, Self::Neutral]
            .into_iter()
            .find(|conclusion| conclusion.as_str() == word)
            .unwrap_or(Self::Failure)
    }
}

impl fmt::Display for Conclusion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// Where a job is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// For an approval.
    Waiting,
    /// For a runner.
    Queued,
    /// Given to a runner, whose agent has not fetched it yet. GitHub still calls it queued.
    Assigned {
        /// GitHub's id of the runner.
        runner: u64,
    },
    /// A runner has it.
    InProgress {
        /// GitHub's id of the runner.
        runner: u64,
    },
    /// It is over.
    Completed,
}

impl Stage {
    /// GitHub's word for `status`.
    pub fn status(self) -> &'static str {
        match self {
            Self::Waiting => "waiting",
            Self::Queued | Self::Assigned { .. } => "queued",
            Self::InProgress { .. } => "in_progress",
            Self::Completed => "completed",
        }
    }
}
