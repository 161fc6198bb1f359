//! Where containers run. Docker first; others fit behind the same trait.
//!
//! A provider knows nothing of GitHub and decides nothing: it makes, starts, watches and removes containers that carry
//! this fleet's labels, and never touches another.

mod credentials;
pub mod docker;

pub use credentials::{Anonymous, Credentials, Login, RegistryCredentials};

use crate::config::{Network, Resources, Security};
pub use crate::model::Capacity;
use crate::model::{
    Container, ContainerId, Evidence, HostId, ImageId, JobKey, KeptContainer, PoolName, RegistrationId, RunnerName,
    Scope,
};
use async_trait::async_trait;
use bytes::Bytes;
use futures_util::Stream;
use jiff::Timestamp;
use secrecy::SecretString;
use std::collections::BTreeMap;
use std::pin::Pin;
use std::time::Duration;
use tokio::sync::mpsc;

/// A container to be made.
#[derive(Debug, Clone)]
pub struct ContainerSpec {
    /// The runner's name; the container's name as well.
    pub runner: RunnerName,
    /// For the labels.
    pub pool: PoolName,
    /// For the labels.
    pub scope: Scope,
    /// For the labels.
    pub host: HostId,
    /// For the labels.
    pub created_for: Option<JobKey>,
    /// For the labels; with a JIT config GitHub's id is known before the container is made.
    pub registration: Option<RegistrationId>,
    /// For the labels, of a persistent runner: such a container is started again by the engine after a reboot, once it is
    /// told to ([`Provider::keep_up`]).
    pub kept: Option<KeptContainer>,
    /// The image.
    pub image: String,
    /// Whether a missing image may be pulled.
    pub pull: bool,
    /// Environment for the agent and its jobs. Never secret.
    pub env: BTreeMap<String, String>,
    /// How the agent gets its credential.
    pub start: StartCommand,
    /// User in the container; the image's own where none.
    pub user: Option<String>,
    /// Limits.
    pub resources: Resources,
    /// What is given away.
    pub security: Security,
    /// Which network.
    pub network: Network,
}

/// What runs in the container. The credential reaches it by standard input: never in an argument, in `docker inspect`, in
/// a log, a label or an image layer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StartCommand {
    /// The credential is a JIT config: exported as `ACTIONS_RUNNER_INPUT_JITCONFIG` to this command (default
    /// `/home/runner/run.sh`), which removes it from its own environment.
    Jit {
        /// Program and arguments.
        command: Vec<String>,
    },
    /// The credential is a registration token: given to `config.sh` only (run beside the command, in its folder), which
    /// ends before any job can run; then the command runs without it.
    Register {
        /// Program and arguments, run after the registration.
        command: Vec<String>,
        /// `https://github.com/acme`.
        url: String,
        /// Labels, as registered.
        labels: Vec<String>,
        /// The runner group's name; the default group where none (and always at repository scope).
        group: Option<String>,
        /// `_work`.
        work_dir: String,
    },
    /// As [`StartCommand::Register`], for a runner that takes job after job: it takes the place of an older registration of
    /// its name, and on a later start of the same container, which has its registration, no credential is read at all.
    Keep {
        /// Program and arguments, run after the registration.
        command: Vec<String>,
        /// `https://github.com/acme`.
        url: String,
        /// Labels, as registered.
        labels: Vec<String>,
        /// The runner group's name; the default group where none (and always at repository scope).
        group: Option<String>,
        /// `_work`.
        work_dir: String,
    },
}

/// What is asked for of a container's output.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LogQuery {
    /// Only so many of the last lines; all where none.
    pub tail: Option<u32>,
    /// Only what is newer.
    pub since: Option<Timestamp>,
    /// Go on with what comes, until the container ends.
    pub follow: bool,
}

/// Pieces of a container's output, as its process wrote them: standard output and errors in the order in which they came.
/// What the agent does not mask is not masked here.
pub type LogStream = Pin<Box<dyn Stream<Item = Result<Bytes, ProviderError>> + Send>>;

/// News from the engine.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(clippy::large_enum_variant, reason = "news are few, and moved once")]
pub enum ContainerNews {
    /// The whole list: at the start of a watch and after each interruption, so that nothing is missed.
    All(Vec<Container>),
    /// One container is there or changed.
    Changed(Container),
    /// One container is gone.
    Gone(ContainerId),
    /// The engine cannot be reached; what was known is not known any more. The watch goes on by itself.
    Lost(String),
}

/// What went wrong, by what the caller does about it.
#[derive(Debug, thiserror::Error)]
pub enum ProviderError {
    /// The engine does not answer: not the runner's fault; look again later.
    #[error("Docker cannot be reached: {0}")]
    Unavailable(String),
    /// The image is not there and may not or cannot be pulled: a fault of the pool.
    #[error("image `{image}` is not there: {why}")]
    ImageMissing {
        /// Which image.
        image: String,
        /// What the engine or registry said.
        why: String,
    },
    /// A container of that name is there already.
    #[error(
        "a container named `{0}` is there already, and it is not this fleet's: remove or rename it, or choose another `name_prefix`; `runnerfleet adopt` takes over those of the tool before this one"
    )]
    NameTaken(RunnerName),
    /// The engine refused.
    #[error("{0}")]
    Refused(String),
}

/// An engine.
#[async_trait]
pub trait Provider: Send + Sync {
    /// Makes what all runners share (the network), if it is not there. Idempotent.
    async fn prepare(&self, network: &Network) -> Result<(), ProviderError>;

    /// Makes a container, not started. Pulls the image first where that is asked for and needed.
    async fn create(&self, spec: &ContainerSpec) -> Result<ContainerId, ProviderError>;

    /// Starts it and hands the credential over by standard input.
    async fn start(&self, id: &ContainerId, credential: &SecretString) -> Result<(), ProviderError>;

    /// Starts one that was started before: it has its registration, and needs no credential.
    async fn start_again(&self, id: &ContainerId) -> Result<(), ProviderError>;

    /// Stops it: SIGTERM, and SIGKILL after `grace`. One that does not run, or is gone, is no error. The engine does not start
    /// it again by itself.
    async fn stop(&self, id: &ContainerId, grace: Duration) -> Result<(), ProviderError>;

    /// Whether the engine starts it again by itself, after its end or a reboot, until somebody stops it.
    async fn keep_up(&self, id: &ContainerId, on: bool) -> Result<(), ProviderError>;

    /// All containers of this fleet.
    async fn list(&self) -> Result<Vec<Container>, ProviderError>;

    /// One container of this fleet as it is now, asked of the engine. `None` when it is gone.
    async fn look(&self, id: &ContainerId) -> Result<Option<Container>, ProviderError>;

    /// The container of a runner of this fleet, asked of the engine. `None` when there is none.
    async fn find(&self, runner: &RunnerName) -> Result<Option<Container>, ProviderError>;

    /// A container's output. `None` when it is gone.
    async fn logs(&self, id: &ContainerId, query: &LogQuery) -> Result<Option<LogStream>, ProviderError>;

    /// The id behind an image's reference. `None` when the engine does not have it.
    async fn image_id(&self, reference: &str) -> Result<Option<ImageId>, ProviderError>;

    /// A feed that starts with [`ContainerNews::All`], and heals itself: after an interruption it lists again. Ends when
    /// the receiver is dropped.
    fn watch(&self) -> mpsc::Receiver<ContainerNews>;

    /// Whether a job's process (`Runner.Worker`) lives in it. A container that is gone or ended has none.
    async fn runs_a_job(&self, id: &ContainerId) -> Result<bool, ProviderError>;

    /// Lets all of its processes stand still. One that stands still already, has ended, or is gone, is no error.
    async fn pause(&self, id: &ContainerId) -> Result<(), ProviderError>;

    /// Lets them go on. As with [`Provider::pause`], nothing to be done is no error.
    async fn unpause(&self, id: &ContainerId) -> Result<(), ProviderError>;

    /// Exit code, OOM flag and the last output. `None` when the container is gone.
    async fn evidence(&self, id: &ContainerId) -> Result<Option<Evidence>, ProviderError>;

    /// Kills and removes it with its anonymous volumes and its own network, if it has one. A container that is gone is no error.
    async fn remove(&self, id: &ContainerId) -> Result<(), ProviderError>;

    /// What the engine has.
    async fn capacity(&self) -> Result<Capacity, ProviderError>;

    /// Whether it answers; with its version and API version.
    async fn ping(&self) -> Result<String, ProviderError>;
}
