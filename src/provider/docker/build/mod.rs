//! Images made from a Dockerfile, by the engine's BuildKit or by its older builder.
//!
//! - `request`: the one request of the API that bollard's types do not fit
//! - `message`: what its lines hold
//! - `trace`: BuildKit's progress, in protocol buffers
//! - `story`: from lines to news, and to what went wrong (pure)
//!
//! No session is opened for BuildKit: the context goes in the body, as for the older builder. So what needs a session
//! is not to be had (`RUN --mount=type=secret` or `ssh`), and base images are pulled before, by us.

mod message;
mod request;
mod story;
mod trace;

use super::Docker;
use super::connection::Failure;
use crate::provider::ProviderError;
use bytes::Bytes;
use futures_util::Stream;
use message::Lines;
use std::collections::BTreeMap;
use std::time::Duration;
use story::Story;

/// A build that compiles a language takes its time; one that takes longer hangs.
const BUILD: Duration = Duration::from_secs(2 * 3600);

/// Which of the engine's builders.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Builder {
    /// In every engine for Linux since 18.09.
    BuildKit,
    /// The first one (`DOCKER_BUILDKIT=0`).
    Classic,
}

/// What is asked for.
#[derive(Debug, Clone)]
pub struct BuildRequest {
    /// The Dockerfile's path in the context.
    pub dockerfile: String,
    /// Build arguments.
    pub args: BTreeMap<String, String>,
    /// Labels of the image.
    pub labels: BTreeMap<String, String>,
    /// Every step is run, whatever the engine remembers.
    pub no_cache: bool,
    /// By which builder.
    pub builder: Builder,
}

/// What a builder tells on its way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Heard {
    /// What kind of news.
    pub kind: HeardKind,
    /// Which step of how many.
    pub step: Option<(u32, u32)>,
    /// One line, without secrets and without signs that command a terminal.
    pub text: String,
    /// How much is done, as far as that can be told.
    pub percent: Option<u8>,
}

/// Kinds of news.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HeardKind {
    /// A step begins.
    Begin,
    /// A step is done.
    Done,
    /// A line that a step printed.
    Output,
    /// Bytes moved.
    Progress,
}

/// Why there is no image.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    /// A step failed, or the Dockerfile cannot be read.
    #[error("{}", story::tell(step.as_deref(), why, output))]
    Failed {
        /// The step: `2/4 RUN make`.
        step: Option<String>,
        /// The builder's words.
        why: String,
        /// The last lines of the step's output.
        output: Vec<String>,
    },
    /// The engine has no such builder.
    #[error("the engine has no BuildKit: {0}")]
    NoBuildKit(String),
    /// It took too long.
    #[error("the build took longer than {} minutes", BUILD.as_secs() / 60)]
    TooLong,
    /// The engine.
    #[error(transparent)]
    Engine(#[from] ProviderError),
}

impl Docker {
    /// Builds an image of a context (a tar archive), and returns its id. It has no name yet.
    ///
    /// # Errors
    /// See [`BuildError`].
    pub async fn build<S>(
        &self,
        request: &BuildRequest,
        context: S,
        news: &mut (dyn FnMut(Heard) + Send),
    ) -> Result<String, BuildError>
    where
        S: Stream<Item = std::io::Result<Bytes>> + Send + 'static,
    {
        let mut story = Story::default();
        let mut lines = Lines::default();
        let mut hear = |piece: &[u8]| {
            lines.add(piece, &mut |line| story.hear(line, news));
        };
        match tokio::time::timeout(BUILD, self.request_build(request, context, &mut hear)).await {
            Ok(Ok(())) => {}
            Ok(Err(Failure::Answer { message, .. }))
                if request.builder == Builder::BuildKit && message.to_lowercase().contains("buildkit") =>
            {
                return Err(BuildError::NoBuildKit(message));
            }
            // What is wrong with the Dockerfile itself is told before the first step.
            Ok(Err(Failure::Answer { status: 400, message })) => {
                return Err(BuildError::Failed { step: None, why: message, output: Vec::new() });
            }
            Ok(Err(failure)) => return Err(ProviderError::from(failure).into()),
            Err(_) => return Err(BuildError::TooLong),
        }
        lines.end(&mut |line| story.hear(line, news));
        story.end()
    }
}
