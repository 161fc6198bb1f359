//! What a simulated GitHub is made of.

use jiff::SignedDuration;
use secrecy::SecretString;
use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

/// What to start. [`Options::acme`] is a good beginning.
#[derive(Debug, Clone)]
pub struct Options {
    /// Where the REST API listens; port 0 for any.
    pub listen: SocketAddr,
    /// A second address for the agents, such as a Docker bridge's gateway; the first one serves them as well.
    pub agents: Option<SocketAddr>,
    /// What a JIT config tells the agent as its server; the agents' listener (else the API's) where none.
    pub agent_url: Option<String>,
    /// `/api/v3` makes it look like GitHub Enterprise Server; empty otherwise.
    pub base_path: String,
    /// Where deliveries go; none are sent without.
    pub webhook: Option<WebhookTarget>,
    /// The App.
    pub app: App,
    /// A personal token that may do everything.
    pub personal_token: Option<SecretString>,
    /// Organizations and users.
    pub accounts: Vec<Account>,
    /// Repositories.
    pub repositories: Vec<Repository>,
    /// Runner groups besides each organization's default one.
    pub groups: Vec<GroupSpec>,
    /// How long things take and last.
    pub timings: Timings,
    /// How much may be asked.
    pub limits: Limits,
    /// By how much its clock is ahead of this machine's: in the `Date` of its answers, and where it reads a JWT.
    pub clock_ahead: SignedDuration,
    /// All ids and choices follow from it.
    pub seed: u64,
    /// Whether all requests are kept with their answers.
    pub recorded: bool,
}

impl Options {
    /// An organization `acme` with the private repositories `acme/web` and `acme/api` and the public `acme/site`, and the
    /// App installed on it; a second organization `other` without the App, and a user `octo` with `octo/tool`.
    pub fn acme(app: App) -> Self {
        let private =
            |owner: &str, name: &str| Repository { owner: owner.into(), name: name.into(), private: true, fork: false };
        Self {
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
            agents: None,
            agent_url: None,
            base_path: String::new(),
            webhook: None,
            app,
            personal_token: None,
            accounts: vec![
                Account::organization("acme", Some(Installation::usual(1001))),
                Account::organization("other", None),
                Account { kind: AccountKind::User, ..Account::organization("octo", Some(Installation::usual(1002))) },
            ],
            repositories: vec![
                private("acme", "web"),
                private("acme", "api"),
                Repository { private: false, ..private("acme", "site") },
                private("other", "thing"),
                private("octo", "tool"),
            ],
            groups: Vec::new(),
            timings: Timings::default(),
            limits: Limits::default(),
            clock_ahead: SignedDuration::ZERO,
            seed: 1,
            recorded: true,
        }
    }
}

impl Options {
    /// The same accounts and repositories, with no App made or installed yet.
    pub fn acme_without_app() -> Self {
        let mut options = Self::acme(App::none());
        for account in &mut options.accounts {
            account.installation = None;
        }
        options
    }
}

/// The GitHub App.
#[derive(Debug, Clone)]
pub struct App {
    /// Its number.
    pub id: u64,
    /// Its client id, the recommended `iss`.
    pub client_id: String,
    /// Its name in URLs.
    pub slug: String,
    /// Its name.
    pub name: String,
    /// The account that it belongs to; the first one where none is named.
    pub owner: Option<String>,
    /// The RSA public key (PEM) that its JWTs are held against; several, one behind the other, are all valid.
    pub public_key_pem: String,
    /// What it asks of an account.
    pub permissions: BTreeMap<String, String>,
    /// What its hook gets.
    pub events: Vec<String>,
    /// Where people are sent after its installation.
    pub setup_url: Option<String>,
    /// Whether it was made yet: an App that was not is unknown everywhere.
    pub exists: bool,
}

impl App {
    /// An App with this public key.
    pub fn with_public_key(pem: impl Into<String>) -> Self {
        Self {
            id: 4242,
            client_id: "Iv23liSimulated00042".into(),
            slug: "runnerfleet-demo".into(),
            name: "runnerfleet-demo".into(),
            owner: None,
            public_key_pem: pem.into(),
            permissions: Installation::usual(0).permissions,
            events: vec!["workflow_job".into()],
            setup_url: None,
            exists: true,
        }
    }

    /// None yet: one is to be made from a manifest.
    pub fn none() -> Self {
        Self { exists: false, ..Self::with_public_key("") }
    }
}

/// An organization or a user.
#[derive(Debug, Clone)]
pub struct Account {
    /// The login.
    pub login: String,
    /// Which of the two.
    pub kind: AccountKind,
    /// The App on it, if it is installed.
    pub installation: Option<Installation>,
    /// Whether the default runner group lets public repositories in. GitHub's default is no.
    pub default_group_public: bool,
}

impl Account {
    /// An organization.
    pub fn organization(login: impl Into<String>, installation: Option<Installation>) -> Self {
        Self { login: login.into(), kind: AccountKind::Organization, installation, default_group_public: false }
    }
}

/// What an account is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AccountKind {
    /// An organization: has runners and groups of its own.
    Organization,
    /// A user: only its repositories have runners.
    User,
}

/// The App on an account.
#[derive(Debug, Clone)]
pub struct Installation {
    /// Its id.
    pub id: u64,
    /// What the owner granted: `actions: read`, …
    pub permissions: BTreeMap<String, String>,
    /// Names of the repositories that it was given; all of the account where none.
    pub repositories: Option<Vec<String>>,
    /// Suspended by its owner.
    pub suspended: bool,
}

impl Installation {
    /// With what this program needs.
    pub fn usual(id: u64) -> Self {
        let granted = [
            ("actions", "read"),
            ("administration", "write"),
            ("metadata", "read"),
            ("organization_self_hosted_runners", "write"),
        ];
        let permissions = granted.into_iter().map(|(name, level)| (name.to_owned(), level.to_owned())).collect();
        Self { id, permissions, repositories: None, suspended: false }
    }
}

/// A repository.
#[derive(Debug, Clone)]
pub struct Repository {
    /// Its account's login.
    pub owner: String,
    /// Its name.
    pub name: String,
    /// Not public.
    pub private: bool,
    /// A copy of another one.
    pub fork: bool,
}

/// A runner group of an organization.
#[derive(Debug, Clone)]
pub struct GroupSpec {
    /// The organization.
    pub organization: String,
    /// Its name.
    pub name: String,
    /// Names of the repositories that may use it; all where none.
    pub repositories: Option<Vec<String>>,
    /// Whether public repositories may use it.
    pub allows_public: bool,
}

/// Where deliveries go.
#[derive(Debug, Clone)]
pub struct WebhookTarget {
    /// The receiver.
    pub url: String,
    /// The secret that they are signed with; none means no signature, as GitHub does it.
    pub secret: Option<SecretString>,
}

/// How long things take and last. The default is the real GitHub's.
#[derive(Debug, Clone)]
pub struct Timings {
    /// The life of a manifest's code.
    pub manifest_code: Duration,
    /// An installation token's life.
    pub installation_token: Duration,
    /// A registration token's life.
    pub registration_token: Duration,
    /// A job that its runner has not fetched by then is queued again.
    pub fetch_within: Duration,
    /// An agent that has not been heard of for so long is offline.
    pub offline_after: Duration,
    /// A job whose agent has not been heard of for so long is failed.
    pub lost_after: Duration,
    /// A cancelled job whose agent does not react is ended by GitHub itself.
    pub cancel_within: Duration,
    /// A job that found no runner by then is failed.
    pub queued_at_most: Duration,
    /// An ephemeral runner without an agent is forgotten after this.
    pub unused_at_most: Duration,
    /// By how much the `busy` flag of the runner list comes late, both ways (0 by default; real: up to a minute).
    pub busy_lag: Duration,
    /// For how long an agent's poll is held.
    pub poll: Duration,
    /// When an agent whose session is refused tries again.
    pub conflict_retry: Duration,
    /// When it gives up.
    pub conflict_give_up: Duration,
    /// How long a receiver has for its answer.
    pub webhook: Duration,
}

impl Default for Timings {
    fn default() -> Self {
        let minutes = |count: u64| Duration::from_secs(count * 60);
        Self {
            manifest_code: minutes(60),
            installation_token: minutes(60),
            registration_token: minutes(60),
            fetch_within: minutes(1),
            offline_after: minutes(1),
            lost_after: minutes(10),
            cancel_within: minutes(5),
            queued_at_most: minutes(24 * 60),
            unused_at_most: minutes(24 * 60),
            busy_lag: Duration::ZERO,
            poll: Duration::from_secs(50),
            conflict_retry: Duration::from_secs(30),
            conflict_give_up: minutes(4),
            webhook: Duration::from_secs(10),
        }
    }
}

impl Timings {
    /// The same rules on a clock for impatient people: what takes minutes on GitHub takes about a second.
    pub fn fast() -> Self {
        let millis = Duration::from_millis;
        Self {
            fetch_within: millis(1500),
            offline_after: millis(1000),
            lost_after: millis(3000),
            cancel_within: millis(3000),
            poll: millis(500),
            conflict_retry: millis(200),
            conflict_give_up: millis(2000),
            ..Self::default()
        }
    }
}

/// How much may be asked of the API.
#[derive(Debug, Clone)]
pub struct Limits {
    /// Requests in a window, per token and resource `core`.
    pub core: u32,
    /// The same for the resource `actions_runner_registration`.
    pub registration: u32,
    /// The window: an hour on GitHub.
    pub window: Duration,
    /// The secondary limit: points in a minute per route (a read 1, a change 5; GitHub's documentation says 900). None by
    /// default, so that a load test is not cut short by surprise.
    pub secondary_points: Option<u32>,
    /// What an exceeded primary limit is answered with: GitHub uses 403 and 429.
    pub exceeded_status: u16,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            core: 5000,
            registration: 10_000,
            window: Duration::from_secs(60 * 60),
            secondary_points: None,
            exceeded_status: 403,
        }
    }
}
