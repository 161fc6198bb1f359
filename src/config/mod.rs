//! `runners_config.yaml`, checked: the values that the program works with.
//!
//! `file` reads the text into these types and reports every problem of a file at once; nothing else in the program
//! sees the file's own shape. Secrets are behind [`SecretString`] and print as nothing.

mod address;
mod build;
pub mod certificate;
mod cidr;
mod collection;
pub mod edit;
mod excerpt;
pub mod file;
mod intake;
mod interpolate;
mod later;
mod leaf;
mod legacy;
pub mod migrate;
mod names;
mod node;
mod notifications;
mod notify_shape;
mod org_url;
mod patterns;
mod pool;
mod problem;
mod reading;
mod schedule;
mod schedule_shape;
mod schema;
mod secret;
mod section;
mod shape;
mod summary;
mod units;

pub use file::{Loaded, SecretSource, load, outline, parse};
pub use notifications::{Form, Notifications, Rate, Recipient};
pub use org_url::{OrgPlace, org_place};
pub use problem::{Problem, Problems};
pub use schedule::{Schedule, Task, Window};
pub use schema::schema;
pub use secret::is_stand_in;
pub use summary::summary;

use crate::model::{HostId, InstanceId, LabelSet, Patterns, PoolName, Scope};
use ipnet::IpNet;
use secrecy::SecretString;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

/// The whole file.
#[derive(Debug, Clone)]
pub struct Config {
    /// The file itself, absolute.
    pub file: PathBuf,
    /// Where relative paths start: the file's folder.
    pub folder: PathBuf,
    /// Which fleet this is (`security.instance`).
    pub instance: InstanceId,
    /// Which manager this is (`hosts[0].name`; the machine's host name by default).
    pub host: HostId,
    /// The pools, in the order of the file.
    pub pools: Vec<Pool>,
    /// How GitHub is reached.
    pub github: GitHub,
    /// How incoming events are taken.
    pub intake: Intake,
    /// Where events and state are kept.
    pub store: StoreConfig,
    /// Where the program listens.
    pub http: Http,
    /// The Docker engine.
    pub docker: Docker,
    /// Bounds over all pools.
    pub limits: Limits,
    /// Whether jobs of public repositories are served by pools that don't say. GitHub's docs: self-hosted runners "should almost never be used
    /// for public repositories", since a fork's pull request runs anybody's code on them.
    pub allow_public_repositories: bool,
    /// Which newer base images are wanted.
    pub versions: Versions,
    /// How it logs.
    pub log: Log,
    /// Who is told of what.
    pub notifications: Notifications,
    /// What is done at regular times.
    pub scheduler: Option<Schedule>,
}

/// One pool: one entry under `runners:`.
#[derive(Debug, Clone, PartialEq)]
pub struct Pool {
    /// `id`.
    pub name: PoolName,
    /// What its runners' names start with.
    pub name_prefix: String,
    /// Registered with every runner of the pool.
    pub labels: LabelSet,
    /// From `org_url`.
    pub scope: Scope,
    /// `org_url` as it is given to an agent that registers itself.
    pub scope_url: String,
    /// The runner group's name; GitHub's default group where none.
    pub runner_group: Option<String>,
    /// Whether that group is made where it is missing, for the repositories that [`Pool::admission`] takes.
    pub create_runner_group: bool,
    /// Whose jobs it takes, beside its labels.
    pub admission: Admission,
    /// How runners get their credential.
    pub registration: RegistrationKind,
    /// Whether its runners live for one job, or are kept.
    pub mode: Mode,
    /// The image. Of a pool with [`Pool::build`] it is the moving tag of its newest build.
    pub image: String,
    /// Whether a missing image may be pulled.
    pub pull: bool,
    /// The base image that it is built on, or that it runs itself; none where the pool has an `image` of its own.
    pub base_image: Option<String>,
    /// How its image is made, if it is made here.
    pub build: Option<Build>,
    /// Runners kept idle on top of the demand.
    pub min_idle: u32,
    /// At most so many runners at once.
    pub max: u32,
    /// Among several pools that match a job, the higher one gets it.
    pub priority: i32,
    /// A surplus runner lives idle for so long.
    pub idle_timeout: Duration,
    /// An idle runner older than this is replaced. One with a job is never ended for its age.
    pub max_lifetime: Duration,
    /// A queued job older than this is no demand any more; GitHub itself fails it after 24 hours.
    pub job_max_age: Duration,
    /// From the intent to a container that is started, image pull included.
    pub provision_timeout: Duration,
    /// From the container's start to a runner that GitHub lists as online.
    pub online_timeout: Duration,
    /// How long a runner that is to go is waited for while it runs a job (persistent runners).
    pub drain_timeout: Duration,
    /// From SIGTERM to SIGKILL (persistent runners).
    pub stop_grace: Duration,
    /// At most so many of its runners are replaced at once (persistent runners).
    pub max_unavailable: u32,
    /// Limits of each container.
    pub resources: Resources,
    /// Environment for the agent and its jobs.
    pub env: BTreeMap<String, String>,
    /// What to run; `/home/runner/run.sh` by default (the official image has no entrypoint).
    pub command: Vec<String>,
    /// The user in the container; the image's own by default.
    pub user: Option<String>,
    /// The agent's work folder.
    pub work_dir: String,
    /// The network.
    pub network: Network,
    /// What is given away.
    pub security: Security,
}

/// Whose jobs a pool takes (`matching`). What is none here has a default that depends on the repository: docs/access.md.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Admission {
    /// Which repositories; all where empty.
    pub repositories: Patterns,
    /// Whether public ones among them; none: as [`Config::allow_public_repositories`] says.
    pub public: Option<bool>,
    /// Whether jobs that run a fork's code; none: only in private repositories.
    pub forks: Option<bool>,
    /// Runs of which events; none: all, in public repositories all but those that strangers can cause.
    pub events: Option<Patterns>,
}

/// How long a pool's runners live, and how many there are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// For one job; as many as there is demand for.
    Ephemeral,
    /// Job after job; always this many, named `prefix-1` to `prefix-count`.
    Persistent {
        /// `nb`.
        count: u32,
    },
}

/// How the image of a pool is made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Build {
    /// `build_image`: the Dockerfile, absolute.
    pub dockerfile: PathBuf,
    /// The Dockerfile's folder: the build's context.
    pub context: PathBuf,
    /// `techno`: the language that the image is made for.
    pub techno: Option<String>,
    /// `techno_version`, as it is written.
    pub techno_version: Option<String>,
    /// `build_args`: the user's own.
    pub args: BTreeMap<String, String>,
}

/// How a runner gets its credential.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RegistrationKind {
    /// One API call registers it; nothing in the container could register a second one.
    Jit,
    /// The agent registers itself with a token of the scope.
    Token,
}

/// Limits of a container.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Resources {
    /// Bytes; swap is off.
    pub memory: u64,
    /// Processors, in whole and parts; no limit where none.
    pub cpus: Option<f64>,
    /// Processes and threads.
    pub pids: u32,
    /// Bytes of `/dev/shm`.
    pub shm_size: Option<u64>,
}

/// What a container is given beyond the least.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Security {
    /// Everything of the host. Off by default.
    pub privileged: bool,
    /// On by default; off makes `sudo` work, and lets a job become root inside its container.
    pub no_new_privileges: bool,
    /// Capabilities given back; all are dropped by default.
    pub cap_add: Vec<String>,
    /// Files or folders of the host inside the container (`/host:/inside[:ro]`). The Docker socket here gives a job the
    /// whole host.
    pub mounts: Vec<String>,
}

/// The network of a pool's containers.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Network {
    /// The fleet's own bridge, on which containers cannot reach each other. The default.
    Isolated,
    /// A bridge for each runner, made and removed with it.
    Dedicated,
    /// No network.
    None,
    /// A network that exists, by name (`bridge`, `host`, …).
    Named(String),
}

/// How GitHub is reached.
#[derive(Debug, Clone)]
pub struct GitHub {
    /// Who we are there.
    pub auth: GitHubAuth,
    /// `https://api.github.com`, `https://HOST/api/v3` or `https://api.SUBDOMAIN.ghe.com`; no slash at the end.
    pub api_url: String,
    /// Requests under way at once for one account.
    pub max_concurrent: usize,
    /// How often GitHub's list of runners is read.
    pub poll_runners: Duration,
    /// How often GitHub's log of the App's deliveries is read; none: never.
    pub poll_deliveries: Option<Duration>,
    /// How often the queued jobs of active repositories are listed; none: never.
    pub poll_jobs: Option<Duration>,
}

/// Who we are at GitHub.
#[derive(Debug, Clone)]
pub enum GitHubAuth {
    /// A GitHub App.
    App {
        /// Client id (recommended by GitHub) or App id: the JWT's `iss`.
        issuer: String,
        /// RSA key, PEM.
        private_key: SecretString,
        /// The installation, if it is not to be looked up for each account.
        installation: Option<u64>,
    },
    /// A personal access token.
    Token(SecretString),
}

/// How GitHub's events come here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum IntakeMode {
    /// GitHub delivers them.
    Webhook,
    /// They are read from GitHub's log of deliveries.
    Pull,
}

/// How incoming events are taken.
#[derive(Debug, Clone)]
pub struct Intake {
    /// How they come.
    pub mode: IntakeMode,
    /// `/webhook`.
    pub path: String,
    /// Each is valid (rotation). At least one where a pool is ephemeral and GitHub delivers; with none there is no receiver.
    pub secrets: Vec<SecretString>,
    /// Largest body, bytes. GitHub's own cap is 25 MB.
    pub max_body: u64,
    /// How long a delivery's mark is kept.
    pub dedupe_ttl: Duration,
    /// From where deliveries are taken.
    pub sources: Sources,
}

/// From where deliveries are taken (`intake.source_allowlist`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Sources {
    /// Anywhere: the signature is what counts.
    Anywhere,
    /// The addresses that GitHub names for its hooks.
    GitHubMeta,
    /// These networks.
    Networks(Vec<IpNet>),
}

/// Where events and state are kept.
#[derive(Debug, Clone)]
pub struct StoreConfig {
    /// Which one.
    pub backend: Backend,
    /// A manager that is silent for so long is dead: its events are handed to another, and its runners are taken over.
    pub visibility_timeout: Duration,
    /// How long finished jobs and removed runners are kept.
    pub retention: Duration,
}

/// Which store.
#[derive(Debug, Clone)]
pub enum Backend {
    /// One file.
    Embedded {
        /// Its path.
        path: PathBuf,
    },
    /// Redis.
    Redis(RedisConfig),
}

/// How Redis is reached.
#[derive(Debug, Clone)]
pub struct RedisConfig {
    /// `redis://[user:password@]host:port/db` or `rediss://…`; with Sentinel the address of each sentinel.
    pub urls: Vec<SecretString>,
    /// The name of the primary that the sentinels watch; `urls` are sentinels then.
    pub sentinel_master: Option<String>,
    /// What every key starts with.
    pub prefix: String,
}

/// Where the program listens.
#[derive(Debug, Clone)]
pub struct Http {
    /// Intake, `/healthz`, `/readyz`.
    pub listen: SocketAddr,
    /// Where GitHub reaches the receiver, without `intake.path` and without a slash at the end.
    pub public_url: Option<String>,
    /// The socket for the verbs beside `serve`.
    pub admin_socket: PathBuf,
    /// The receiver's own certificate.
    pub tls: Option<Tls>,
    /// The proxies whose word on a client's address is taken.
    pub trusted_proxies: Vec<IpNet>,
    /// What clients may take up.
    pub limits: HttpLimits,
}

/// The files of a certificate, absolute.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tls {
    /// The certificate, and those that lead from it to a known authority.
    pub cert: PathBuf,
    /// Its private key.
    pub key: PathBuf,
}

/// What clients of the receiver may take up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HttpLimits {
    /// Connections at once.
    pub connections: usize,
    /// Connections at once from one address; requests at once of one client behind a trusted proxy.
    pub connections_per_address: usize,
    /// For a request's head, and for the TLS handshake.
    pub header_timeout: Duration,
    /// For a request's body.
    pub body_timeout: Duration,
}

/// The Docker engine.
#[derive(Debug, Clone)]
pub struct Docker {
    /// `unix:///var/run/docker.sock`, `tcp://…`; `DOCKER_HOST` or the local socket where none.
    pub url: Option<String>,
    /// At most so many of our runners on this engine.
    pub max_runners: u32,
    /// Memory that is left to the host, bytes.
    pub reserve_memory: u64,
    /// Creates and starts under way at once; 2 × processors where none (measured: beyond that only latency grows).
    pub concurrent_starts: Option<usize>,
}

/// Bounds over all pools.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// Runners of the whole fleet at once.
    pub max_runners: u32,
    /// Below so many free bytes no runner is made.
    pub disk_free_min: u64,
}

/// Which newer base images are wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Versions {
    /// How far away a newer one may be.
    pub policy: UpdatePolicy,
}

/// How far away a newer base image may be. Each looks for another image behind the same tag as well.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UpdatePolicy {
    /// Only the last numbers of its version differ: 2.331.0 to 2.331.4.
    Patch,
    /// All but the first may differ: 2.331.0 to 2.336.1.
    Minor,
    /// Any newer version.
    Major,
    /// The same tag only.
    Digest,
}

/// How it logs.
#[derive(Debug, Clone)]
pub struct Log {
    /// `error`, `warn`, `info`, `debug`, `trace`, or a filter as `tracing` knows it.
    pub level: String,
    /// JSON lines instead of text.
    pub json: bool,
}

/// An address at which GitHub can reach a receiver, without a slash at the end. Plain HTTP only on this machine itself: a
/// delivery that is read on its way is no secret, but one that is changed would at least be noticed and lost.
///
/// # Errors
/// It is none; the text goes on after the address.
pub fn public_url(text: &str) -> Result<String, &'static str> {
    let text = text.trim().trim_end_matches('/');
    let (scheme, rest) = text.split_once("://").ok_or("has no `https://` before it")?;
    let authority = rest.split('/').next().unwrap_or_default();
    let host = match authority.strip_prefix('[') {
        Some(v6) => v6.split(']').next().unwrap_or_default(),
        None => authority.split(':').next().unwrap_or_default(),
    };
    let here = matches!(host, "localhost" | "127.0.0.1" | "::1");
    match scheme {
        _ if host.is_empty() || rest.contains([' ', '?', '#', '@', '"', '<']) => Err("is not an address"),
        "https" => Ok(text.to_owned()),
        "http" if here => Ok(text.to_owned()),
        "http" => Err("is not encrypted: GitHub sends what your workflows are called over it"),
        _ => Err("does not begin with `https://`"),
    }
}

impl Config {
    /// The pool of that name.
    pub fn pool(&self, name: &PoolName) -> Option<&Pool> {
        self.pools.iter().find(|pool| pool.name == *name)
    }

    /// The pools whose runners are made for one job each.
    pub fn ephemeral_pools(&self) -> impl Iterator<Item = &Pool> {
        self.pools.iter().filter(|pool| pool.mode == Mode::Ephemeral)
    }

    /// The pools whose runners are kept, each with their number.
    pub fn persistent_pools(&self) -> impl Iterator<Item = (&Pool, u32)> {
        self.pools.iter().filter_map(|pool| match pool.mode {
            Mode::Ephemeral => None,
            Mode::Persistent { count } => Some((pool, count)),
        })
    }
}
