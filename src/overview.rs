//! What a person asks about: runners, jobs, and why jobs wait. A pure view of the world and its plan; the verbs print it,
//! and `serve` answers with it on its local socket.

use crate::config::Config;
use crate::missed::report::Report;
use crate::model::{
    Change, Container, ContainerStatus, Evidence, ImageId, Job, JobState, LabelSet, Observed, RegistrationStatus,
    Runner, RunnerName, StateName, Wanted,
};
use crate::persistent::phase::{Phase, phase};
use crate::persistent::spec;
use crate::plan::{Listed, Listing, Plan, World, match_pool, naming, plan};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt;

/// Everything, as of one moment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Overview {
    /// When.
    pub at: Timestamp,
    /// The manager that tells.
    pub host: String,
    /// Parts that could not be looked at, with the reason.
    pub unknown: BTreeMap<String, String>,
    /// All runners, removed ones that have not aged out among them.
    pub runners: Vec<RunnerRow>,
    /// All jobs.
    pub jobs: Vec<JobRow>,
    /// What the reconciler would do now.
    pub actions: Vec<ActionRow>,
    /// What was made good of lost deliveries; `serve` alone knows it.
    #[serde(default)]
    pub missed: Report,
}

/// One runner.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunnerRow {
    /// Its name.
    pub name: String,
    /// Its pool.
    pub pool: String,
    /// Whether it lives for one job, or is kept.
    #[serde(default)]
    pub kind: Kind,
    /// One of the six states. A persistent runner that the file describes and that was never deployed is `created`, in phase
    /// `declared`.
    pub state: StateName,
    /// Why it is in that state.
    pub cause: String,
    /// Since when.
    pub since: Timestamp,
    /// When it was begun.
    pub created_at: Timestamp,
    /// What GitHub's last list says: `online`, `offline`, `busy`, `absent`; none when the list is not known.
    pub github: Option<String>,
    /// The job that it runs or ran.
    pub job: Option<String>,
    /// That job's name.
    pub job_name: Option<String>,
    /// That job's repository.
    pub repository: Option<String>,
    /// The image.
    pub image: String,
    /// Its container.
    pub container: Option<String>,
    /// The manager that looks after it.
    pub host: String,
    /// What it left when it ended badly.
    pub evidence: Option<Evidence>,
    /// The labels that its pool registers it with; none where its pool is gone from the file.
    #[serde(default)]
    pub labels: LabelSet,
    /// Its changes of state, oldest first.
    #[serde(default)]
    pub history: Vec<Change>,
    /// Of a persistent runner: in which phase of its life it is.
    #[serde(default)]
    pub phase: Option<Phase>,
    /// Of a persistent runner: what a person asked for last.
    #[serde(default)]
    pub wanted: Option<Wanted>,
    /// Of a persistent runner: why a deploy would replace it.
    #[serde(default)]
    pub outdated: Option<String>,
}

/// How long a runner lives.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// For one job.
    #[default]
    Ephemeral,
    /// Job after job.
    Persistent,
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Ephemeral => "ephemeral",
            Self::Persistent => "persistent",
        })
    }
}

/// One job.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct JobRow {
    /// `id/attempt`.
    pub job: String,
    /// `waiting`, `queued`, `in_progress`, `completed`.
    pub state: String,
    /// How it ended.
    pub conclusion: Option<String>,
    /// Its name.
    pub name: String,
    /// Its workflow.
    pub workflow: Option<String>,
    /// Its repository.
    pub repository: String,
    /// What it asks for.
    pub labels: LabelSet,
    /// Its pool; none: unmatched.
    pub pool: Option<String>,
    /// The runner that has or had it.
    pub runner: Option<String>,
    /// When it was queued.
    pub queued_at: Option<Timestamp>,
    /// When a runner took it.
    pub started_at: Option<Timestamp>,
    /// Since when it is in its state.
    pub since: Timestamp,
    /// Why it waits.
    pub why: Option<String>,
    /// Its page.
    pub url: Option<String>,
}

/// One action of the plan.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ActionRow {
    /// What: `launch`, `take_down`, …
    pub action: String,
    /// On what.
    pub subject: String,
    /// The whole action.
    pub detail: serde_json::Value,
}

/// The view. `images` is what the images of persistent pools are now.
pub fn overview(world: &World, config: &Config, images: &BTreeMap<String, ImageId>) -> Overview {
    let decided = plan(world, config);
    let mut unknown = BTreeMap::new();
    if let Observed::Unknown(why) = &world.store {
        unknown.insert("store".to_owned(), why.clone());
    }
    if let Observed::Unknown(why) = &world.containers {
        unknown.insert("docker".to_owned(), why.clone());
    }
    for (scope, listing) in &world.registrations {
        if let Observed::Unknown(why) = listing {
            unknown.insert(format!("github {scope}"), why.clone());
        }
    }
    let mut runners: Vec<_> = world.runners.values().map(|runner| runner_row(world, runner)).collect();
    runners.extend(containers_without_row(world));
    runners.extend(registrations_alone(world, config));
    runners.extend(not_deployed(world, config));
    for row in &mut runners {
        of_the_file(row, world, config, images);
    }
    Overview {
        at: world.now,
        host: world.host.to_string(),
        unknown,
        runners,
        jobs: job_rows(world, config, &decided),
        actions: decided.actions.iter().map(action_row).collect(),
        missed: Report::default(),
    }
}

fn runner_row(world: &World, runner: &Runner) -> RunnerRow {
    // A persistent runner had many jobs; only the one that runs is its own.
    let is_its = |job: &Job| job.state.runner() == Some(&runner.name) && (runner.kept.is_none() || is_under_way(job));
    let job = runner.job.and_then(|key| world.jobs.get(&key)).or_else(|| world.jobs.values().find(|job| is_its(job)));
    let listing = world.registrations.get(&runner.scope).and_then(Observed::known);
    let github = listing.map(|listing| in_list(listing, &runner.name));
    RunnerRow {
        name: runner.name.to_string(),
        pool: runner.pool.to_string(),
        state: runner.state.name,
        cause: runner.state.cause.clone(),
        since: runner.state.since,
        created_at: runner.created_at,
        github: github.map(str::to_owned),
        job: runner.job.map(|key| key.to_string()),
        job_name: job.map(|job| job.facts.name.clone()),
        repository: job.map(|job| job.facts.repository.to_string()),
        image: runner.image.clone(),
        container: runner.container.as_ref().map(ToString::to_string),
        host: runner.owner.to_string(),
        evidence: runner.evidence.clone(),
        kind: if runner.kept.is_some() { Kind::Persistent } else { Kind::Ephemeral },
        labels: LabelSet::default(),
        history: runner.history.clone(),
        phase: None,
        wanted: runner.kept.as_ref().map(|kept| kept.wanted),
        outdated: None,
    }
}

/// What depends on the file: the labels, and for persistent runners the phase and whether they are as described.
fn of_the_file(row: &mut RunnerRow, world: &World, config: &Config, images: &BTreeMap<String, ImageId>) {
    let pool = config.pools.iter().find(|pool| pool.name.as_str() == row.pool);
    if let Some(pool) = pool {
        row.labels = pool.labels.clone();
    }
    if row.kind == Kind::Ephemeral {
        return;
    }
    let name = RunnerName::new(row.name.as_str());
    let runner = world.runners.get(&name).map(AsRef::as_ref);
    let containers = world.containers.known().into_iter().flat_map(BTreeMap::values);
    let container = containers.into_iter().find(|container| container.runner == name && container.kept.is_some());
    let scope = runner.map(|runner| &runner.scope).or(container.map(|container| &container.scope));
    let scope = scope.or(pool.map(|pool| &pool.scope));
    let listing = scope.and_then(|scope| world.registrations.get(scope)).and_then(Observed::known);
    let registration = listing.and_then(|listing| listing.runners.get(&name)).map(|listed| &listed.registration);
    row.phase = Some(phase(runner, container, registration));
    row.outdated = match (spec::description(config, &name), container) {
        (Some(described), Some(container)) => described.outdated(container, images.get(&described.pool.image)),
        _ => None,
    };
}

/// Persistent runners that the file describes, and of which nothing is there.
fn not_deployed(world: &World, config: &Config) -> Vec<RunnerRow> {
    let containers = world.containers.known();
    let is_there = |name: &RunnerName| {
        world.runners.contains_key(name)
            || containers.is_some_and(|all| all.values().any(|container| container.runner == *name))
    };
    spec::described(config)
        .filter(|(name, _)| !is_there(name))
        .map(|(name, described)| {
            let listing = world.registrations.get(&described.pool.scope).and_then(Observed::known);
            RunnerRow {
                name: name.to_string(),
                pool: described.pool.name.to_string(),
                state: StateName::Created,
                cause: "the file describes it; `runnerfleet deploy` makes it".to_owned(),
                since: world.now,
                created_at: world.now,
                github: listing.map(|listing| in_list(listing, &name).to_owned()),
                job: None,
                job_name: None,
                repository: None,
                image: described.pool.image.clone(),
                container: None,
                host: world.host.to_string(),
                evidence: None,
                kind: Kind::Persistent,
                labels: LabelSet::default(),
                history: Vec::new(),
                phase: None,
                wanted: None,
                outdated: None,
            }
        })
        .collect()
}

fn is_under_way(job: &Job) -> bool {
    matches!(job.state, JobState::InProgress { .. })
}

fn in_list(listing: &Listing, name: &RunnerName) -> &'static str {
    match listing.runners.get(name).map(|listed| &listed.registration) {
        None => "absent",
        Some(registration) if registration.busy => "busy",
        Some(registration) if registration.status == RegistrationStatus::Online => "online",
        Some(_) => "offline",
    }
}

/// The store was lost: what it should tell of them is not known, but they are there, and can be removed.
fn containers_without_row(world: &World) -> Vec<RunnerRow> {
    let Some(containers) = world.containers.known() else { return Vec::new() };
    let without_row = containers.values().filter(|container| !world.runners.contains_key(&container.runner));
    without_row.map(|container| row_of_container(world, container)).collect()
}

fn row_of_container(world: &World, container: &Container) -> RunnerRow {
    let github = world.registrations.get(&container.scope).and_then(Observed::known);
    let github = github.map(|listing| in_list(listing, &container.runner));
    let state = match container.status {
        ContainerStatus::Created => StateName::Created,
        ContainerStatus::Running if github == Some("busy") => StateName::Running,
        ContainerStatus::Running => StateName::Started,
        ContainerStatus::Exited { .. } => StateName::Stopped,
    };
    RunnerRow {
        name: container.runner.to_string(),
        pool: container.pool.to_string(),
        state,
        cause: "its container is here, and the store does not know it".to_owned(),
        since: container.created_at,
        created_at: container.created_at,
        github: github.map(str::to_owned),
        job: None,
        job_name: None,
        repository: None,
        image: container.image.clone(),
        container: Some(container.id.to_string()),
        host: container.host.to_string(),
        evidence: None,
        kind: if container.kept.is_some() { Kind::Persistent } else { Kind::Ephemeral },
        labels: LabelSet::default(),
        history: Vec::new(),
        phase: None,
        wanted: None,
        outdated: None,
    }
}

/// Registrations of this fleet behind which nothing stands any more.
fn registrations_alone(world: &World, config: &Config) -> Vec<RunnerRow> {
    let Some(containers) = world.containers.known() else { return Vec::new() };
    let mut rows = Vec::new();
    for (scope, listing) in &world.registrations {
        let Some(listing) = listing.known() else { continue };
        for (name, Listed { registration, offline_since }) in &listing.runners {
            let Some(pool) = naming::given_by(name, &config.pools, &config.instance) else { continue };
            let is_known = world.runners.contains_key(name)
                || world.in_flight.contains(name)
                || containers.values().any(|container| container.runner == *name);
            if is_known || pool.scope != *scope {
                continue;
            }
            let since = offline_since.unwrap_or(listing.at);
            rows.push(RunnerRow {
                name: name.to_string(),
                pool: pool.name.to_string(),
                state: StateName::Error,
                cause: "GitHub has its registration; there is no container here, and the store does not know it"
                    .to_owned(),
                since,
                created_at: since,
                github: Some(in_list(listing, &registration.name).to_owned()),
                job: None,
                job_name: None,
                repository: None,
                image: pool.image.clone(),
                container: None,
                host: world.host.to_string(),
                evidence: None,
                kind: Kind::Ephemeral,
                labels: LabelSet::default(),
                history: Vec::new(),
                phase: None,
                wanted: None,
                outdated: None,
            });
        }
    }
    rows
}

fn job_rows(world: &World, config: &Config, decided: &Plan) -> Vec<JobRow> {
    let why: BTreeMap<_, _> = decided.waiting.iter().map(|waiting| (waiting.job, waiting.why.to_string())).collect();
    world.jobs.values().map(|job| job_row(job, config, why.get(&job.key()).cloned())).collect()
}

fn job_row(job: &Job, config: &Config, why: Option<String>) -> JobRow {
    let matched = match_pool(&job.facts, job.run.as_ref(), config).pool().map(|pool| pool.name.to_string());
    let conclusion = match &job.state {
        JobState::Completed { conclusion, .. } => Some(conclusion.clone()),
        JobState::Waiting | JobState::Queued | JobState::InProgress { .. } => None,
    };
    JobRow {
        job: job.key().to_string(),
        state: job.state.word().to_owned(),
        conclusion,
        name: job.facts.name.clone(),
        workflow: job.facts.workflow.clone(),
        repository: job.facts.repository.to_string(),
        labels: job.facts.labels.clone(),
        pool: if job.is_over() { job.pool.as_ref().map(ToString::to_string) } else { matched },
        runner: job.state.runner().map(ToString::to_string),
        queued_at: job.queued_at,
        started_at: job.started_at,
        since: job.since,
        why,
        url: job.facts.html_url.clone(),
    }
}

fn action_row(action: &crate::plan::Action) -> ActionRow {
    let detail = serde_json::to_value(action).unwrap_or_default();
    let text = |key: &str| detail.get(key).and_then(|value| value.as_str()).map(str::to_owned);
    let subject = action
        .runner()
        .map(ToString::to_string)
        .or_else(|| action.job().map(|job| job.to_string()))
        .unwrap_or_default();
    ActionRow { action: text("action").unwrap_or_default(), subject, detail }
}
