//! The notation of the scenarios, read into a world; and a plan, written in it.
//!
//! Runner names are written without the fleet's tag. Times are "so long ago", as of 10:00:00.

use crate::support::fleet;
use jiff::Timestamp;
use runnerfleet::config::{Config, Mode, Pool};
use runnerfleet::model::{
    Access, Accounts, Capacity, Change, Container, ContainerId, ContainerStatus, Group, Groups, HostId, InstanceId,
    Job, JobFacts, JobId, JobKey, JobState, Kept, KeptContainer, LabelSet, Observed, Patterns, PoolName, Registration,
    RegistrationHold, RegistrationId, RegistrationStatus, RepoName, RunFacts, Runner, RunnerName, RunnerState, Scope,
    StateName, Visibility, Wanted,
};
use runnerfleet::plan::{Action, Blocked, Listed, Listing, RunAsked, World, naming, plan};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

const FLEET: &str = "scenario";

pub fn now() -> Timestamp {
    "2026-11-22T10:00:00Z".parse().unwrap()
}

pub fn ago(text: &str) -> Timestamp {
    now() - duration(text)
}

fn duration(text: &str) -> Duration {
    let (number, unit) = text.split_at(text.len() - 1);
    let number: u64 = number.parse().unwrap_or_else(|_| panic!("`{text}` is no time"));
    Duration::from_secs(
        number
            * match unit {
                "s" => 1,
                "m" => 60,
                "h" => 3600,
                other => panic!("`{other}` is no unit of time"),
            },
    )
}

fn bytes(text: &str) -> u64 {
    let (number, unit) = text.split_at(text.len() - 1);
    number.parse::<u64>().unwrap() << if unit == "g" { 30 } else { 20 }
}

pub fn runner_name(text: &str) -> RunnerName {
    RunnerName::new(format!("{text}-{}", naming::tag(&InstanceId::new(FLEET))))
}

fn short(name: &RunnerName) -> String {
    let tag = format!("-{}", naming::tag(&InstanceId::new(FLEET)));
    name.as_str().strip_suffix(&tag).unwrap_or(name.as_str()).to_owned()
}

pub fn job_key(text: &str) -> JobKey {
    let (id, attempt) = text.split_once('/').unwrap_or((text, "1"));
    JobKey { id: JobId(id.parse().unwrap()), attempt: attempt.parse().unwrap() }
}

pub fn empty_world() -> World {
    World {
        now: now(),
        host: HostId::new("here"),
        store: Observed::Known(()),
        jobs: BTreeMap::new(),
        runners: BTreeMap::new(),
        leases: BTreeMap::new(),
        containers: Observed::Known(BTreeMap::new()),
        registrations: BTreeMap::new(),
        accounts: Observed::Unknown("not looked at".to_owned()),
        capacity: Observed::Known(Capacity { cpus: 8, memory: 64 << 30, disk_free: None }),
        github_blocked: BTreeMap::new(),
        in_flight: std::collections::BTreeSet::new(),
        held: BTreeMap::new(),
        asked: BTreeMap::new(),
        runs_asked: BTreeMap::new(),
        granted: BTreeMap::new(),
        groups: Groups::default(),
    }
}

pub fn acme() -> Scope {
    Scope::Organization("acme".to_owned())
}

pub fn config(pools: Vec<Pool>) -> Config {
    fleet::config(std::path::PathBuf::from("/nowhere"), FLEET, pools)
}

/// The world of a scenario, decided.
pub fn decide(text: &str) -> String {
    let (world, config) = read(text);
    write(&plan(&world, &config))
}

fn read(text: &str) -> (World, Config) {
    let mut world = empty_world();
    let mut config = config(Vec::new());
    for line in text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#')) {
        let words: Vec<&str> = line.split_whitespace().collect();
        match words[0] {
            "pool" => config.pools.push(read_pool(&words[1..])),
            "limits" => read_limits(&words[1..], &mut config, &mut world),
            "job" => {
                let job = read_job(&words[1..], line, &config);
                world.jobs.insert(job.key(), Arc::new(job));
            }
            "runner" => read_runner(&words[1..], line, &mut world),
            "container" => {
                let status = read_status(words.get(2).copied().unwrap_or("running"), words.get(3).copied());
                put_container(&mut world, words[1], status, "linux");
                if words.contains(&"kept") {
                    keep_container(&mut world, words[1]);
                }
            }
            "listed" => {
                let listing = Listing { at: ago(words[1]), runners: BTreeMap::new() };
                world.registrations.insert(acme(), Observed::Known(listing));
            }
            "registered" => read_registered(&words[1..], &mut world),
            "github" if words[1] == "unknown" => {
                world.registrations.insert(acme(), Observed::Unknown("no answer".to_owned()));
            }
            "github" => {
                // `github blocked 30s`, `github was_blocked 30s`: over since then, and not proven yet.
                let until = if words[1] == "was_blocked" { ago(words[2]) } else { now() + duration(words[2]) };
                world.github_blocked.insert(acme(), Blocked { until, why: "rate limit".to_owned() });
            }
            "store" => world.store = Observed::Unknown("connection refused".to_owned()),
            "docker" => world.containers = Observed::Unknown("connection refused".to_owned()),
            // `app installed`, `app installed [acme/web]`, `app suspended`, `app gone 5m`
            "app" => {
                let access = match words[1] {
                    "installed" => Access::Installed {
                        repositories: words
                            .get(2)
                            .map(|list| list.trim_matches(['[', ']']).split(',').map(str::to_owned).collect()),
                    },
                    "suspended" => Access::Suspended,
                    _ => Access::NotInstalled { since: ago(words[2]) },
                };
                world.accounts = Observed::Known(Accounts(BTreeMap::from([("acme".to_owned(), access)])));
            }
            // `group Default all default`, `group builders selected [acme/web] public`, `group - none`: looked at, and not there
            "group" => read_group(&words[1..], &mut world),
            // `granted 1m`: the account grants something else since then
            "granted" => {
                world.granted.insert("acme".to_owned(), ago(words[1]));
            }
            // `run_asked 1 10s not_found`
            "run_asked" => {
                let asked = RunAsked { at: ago(words[2]), error: words.get(3).map(|word| word.replace('_', " ")) };
                world.runs_asked.insert(words[1].parse().unwrap(), asked);
            }
            "asked" => {
                world.asked.insert(job_key(words[1]), ago(words[2]));
            }
            "in_flight" => {
                world.in_flight.insert(runner_name(words[1]));
            }
            "held" => {
                world.held.insert(runner_name(words[1]), now() + duration(words[2]));
            }
            "lease" => {
                let until = if words[2] == "lapsed" { ago("1s") } else { now() + duration(words[2]) };
                world.leases.insert(HostId::new(words[1]), until);
            }
            other => panic!("`{other}` begins no line of a scenario: {line}"),
        }
    }
    (world, config)
}

fn read_pool(words: &[&str]) -> Pool {
    let labels: Vec<&str> = words[1].trim_matches(['[', ']']).split(',').collect();
    let mut pool = fleet::pool(words[0], &labels);
    for pair in words[2..].chunks(2) {
        match pair[0] {
            "max" => pool.max = pair[1].parse().unwrap(),
            "min_idle" => pool.min_idle = pair[1].parse().unwrap(),
            "nb" => pool.mode = Mode::Persistent { count: pair[1].parse().unwrap() },
            "priority" => pool.priority = pair[1].parse().unwrap(),
            "memory" => pool.resources.memory = bytes(pair[1]),
            "repository" => pool.scope = Scope::try_from(pair[1].to_owned()).unwrap(),
            "account" => pool.scope = Scope::Organization(pair[1].to_owned()),
            "takes" => pool.admission.repositories = Patterns::new(pair[1].split(',')),
            "public" => pool.admission.public = Some(pair[1] == "allow"),
            "forks" => pool.admission.forks = Some(pair[1] == "allow"),
            "events" => pool.admission.events = Some(Patterns::new(pair[1].split(','))),
            "group" => pool.runner_group = Some(pair[1].to_owned()),
            "makes_group" => {
                pool.runner_group = Some(pair[1].to_owned());
                pool.create_runner_group = true;
            }
            other => panic!("a pool has no `{other}`"),
        }
    }
    pool
}

fn read_group(words: &[&str], world: &mut World) {
    let groups = world.groups.0.entry("acme".to_owned()).or_default();
    let visibility = match words[1] {
        "none" => return,
        "all" => Visibility::All,
        "private" => Visibility::Private,
        _ => Visibility::Selected(Some(words[2].trim_matches(['[', ']']).split(',').map(str::to_owned).collect())),
    };
    groups.push(Group {
        id: 1 + groups.len() as u64,
        name: words[0].to_owned(),
        is_default: words.contains(&"default"),
        visibility,
        allows_public: words.contains(&"public"),
    });
}

fn read_limits(words: &[&str], config: &mut Config, world: &mut World) {
    let capacity = |change: &dyn Fn(&mut Capacity), world: &mut World| {
        if let Observed::Known(capacity) = &mut world.capacity {
            change(capacity);
        }
    };
    for pair in words.chunks(2) {
        match pair[0] {
            "fleet" => config.limits.max_runners = pair[1].parse().unwrap(),
            "host" => config.docker.max_runners = pair[1].parse().unwrap(),
            "memory" => capacity(&|capacity| capacity.memory = bytes(pair[1]), world),
            "disk_free" => capacity(&|capacity| capacity.disk_free = Some(bytes(pair[1])), world),
            "disk_free_min" => config.limits.disk_free_min = bytes(pair[1]),
            other => panic!("there is no limit `{other}`"),
        }
    }
}

/// `job 7 queued [linux] 40s`, `job 8 in_progress [linux] 40s on linux-8-1-1`, with `public` or `repo o/r` behind; `unsaid`: nobody
/// said whether its repository is private; `of 5`: of run 5; `run pull_request mallory/web`: what is known of its run.
fn read_job(words: &[&str], line: &str, config: &Config) -> Job {
    let labels: Vec<&str> = words[2].trim_matches(['[', ']']).split(',').filter(|label| !label.is_empty()).collect();
    let since = ago(words[3]);
    let after = |word: &str| words.iter().position(|w| *w == word).and_then(|place| words.get(place + 1).copied());
    let runner = after("on").map(runner_name);
    let state = match words[1] {
        "waiting" => JobState::Waiting,
        "queued" => JobState::Queued,
        "in_progress" => JobState::InProgress { runner },
        "completed" => JobState::Completed { conclusion: "success".to_owned(), runner },
        other => panic!("`{other}` is no state of a job: {line}"),
    };
    let facts = JobFacts {
        key: job_key(words[0]),
        run_id: after("of").map_or(1, |run| run.parse().unwrap()),
        name: "test".to_owned(),
        workflow: None,
        repository: RepoName::new(after("repo").unwrap_or("acme/web")),
        private: (!words.contains(&"unsaid")).then(|| !words.contains(&"public")),
        labels: labels.into_iter().collect::<LabelSet>(),
        html_url: None,
        installation: None,
        created_at: None,
    };
    let run = words.iter().position(|word| *word == "run").map(|place| RunFacts {
        event: words[place + 1].to_owned(),
        head_repository: words.get(place + 2).filter(|head| **head != "gone").map(|head| RepoName::new(*head)),
        private: None,
    });
    let matched = runnerfleet::plan::match_pool(&facts, run.as_ref(), config).pool();
    let pool = matched.filter(|_| !words.contains(&"unassigned")).map(|pool| pool.name.clone());
    let queued_at = matches!(state, JobState::Queued).then_some(since);
    Job { facts, state, pool, first_seen: since, since, queued_at, started_at: None, run }
}

/// `runner linux-7-1-1 started 30s for 7 container running`; also `job 8`, `owner there`, `cause <one word>`, `blameless`,
/// `up` (it was started before), `unregistered` (nobody knows), `exit 1` (its evidence), `pool windows`.
fn read_runner(words: &[&str], line: &str, world: &mut World) {
    let state: StateName = serde_json::from_value(serde_json::json!(words[1])).unwrap_or_else(|_| panic!("{line}"));
    let since = ago(words[2]);
    let after = |word: &str| words.iter().position(|w| *w == word).and_then(|place| words.get(place + 1).copied());
    let pool = after("pool").unwrap_or("linux");
    let cause = after("cause").unwrap_or("test").to_owned();
    let mut history = vec![Change { at: since, to: StateName::Created, cause: "test".to_owned() }];
    if words.contains(&"up") {
        history.push(Change { at: since, to: StateName::Started, cause: "test".to_owned() });
    }
    if words.contains(&"failed") {
        history.push(Change { at: since, to: StateName::Error, cause: cause.clone() });
    }
    history.push(Change { at: since, to: state, cause: cause.clone() });
    let container = after("container").filter(|status| *status != "none");
    let row = Runner {
        name: runner_name(words[0]),
        pool: PoolName::new(pool),
        scope: acme(),
        owner: HostId::new(after("owner").unwrap_or("here")),
        state: RunnerState { name: state, since, cause },
        registration: if words.contains(&"unregistered") {
            RegistrationHold::Unknown
        } else {
            RegistrationHold::Held(RegistrationId(1))
        },
        container: after("container").map(|_| ContainerId::new(format!("c-{}", words[0]))),
        created_for: after("for").map(job_key),
        job: after("job").map(job_key),
        image: "runner:1".to_owned(),
        created_at: after("created").map_or(since, ago),
        evidence: None,
        blameless: words.contains(&"blameless"),
        history,
        kept: words.contains(&"kept").then(|| Kept::new(1, Wanted::Present)),
    };
    let kept = row.kept.is_some();
    world.runners.insert(row.name.clone(), Arc::new(row));
    if let Some(status) = container {
        let code = words.iter().position(|w| *w == "exited").and_then(|place| words.get(place + 1).copied());
        put_container(world, words[0], read_status(status, code), pool);
        if kept {
            keep_container(world, words[0]);
        }
    }
}

fn read_status(word: &str, code: Option<&str>) -> ContainerStatus {
    match word {
        "created" => ContainerStatus::Created,
        "running" => ContainerStatus::Running,
        "exited" => ContainerStatus::Exited {
            exit_code: code.and_then(|code| code.parse().ok()).unwrap_or(0),
            oom_killed: code == Some("137"),
        },
        other => panic!("`{other}` is nothing that a container does"),
    }
}

pub fn put_container(world: &mut World, name: &str, status: ContainerStatus, pool: &str) {
    let id = ContainerId::new(format!("c-{name}"));
    let container = Container {
        id: id.clone(),
        runner: runner_name(name),
        pool: PoolName::new(pool),
        scope: acme(),
        host: HostId::new("here"),
        created_for: None,
        registration: None,
        image: "runner:1".to_owned(),
        image_id: None,
        kept: None,
        created_at: now(),
        status,
    };
    if let Observed::Known(containers) = &mut world.containers {
        containers.insert(id, container);
    }
}

/// It is a persistent runner's.
fn keep_container(world: &mut World, name: &str) {
    let Observed::Known(containers) = &mut world.containers else { return };
    let container = containers.get_mut(&ContainerId::new(format!("c-{name}"))).unwrap();
    container.kept = Some(KeptContainer { index: 1, spec: String::new(), restarts: 0 });
}

/// `registered linux-7-1-1 online`, `… busy`, `… offline 3m`.
fn read_registered(words: &[&str], world: &mut World) {
    let Some(Observed::Known(listing)) = world.registrations.get_mut(&acme()) else {
        panic!("`listed` comes before `registered`")
    };
    let name = if words[0].starts_with('=') { RunnerName::new(&words[0][1..]) } else { runner_name(words[0]) };
    let offline = words[1] == "offline";
    listing.runners.insert(
        name.clone(),
        Listed {
            registration: Registration {
                id: RegistrationId(1),
                name,
                status: if offline { RegistrationStatus::Offline } else { RegistrationStatus::Online },
                busy: words[1] == "busy",
                labels: LabelSet::default(),
                version: None,
            },
            offline_since: offline.then(|| ago(words[2])),
        },
    );
}

fn write(plan: &runnerfleet::plan::Plan) -> String {
    let mut lines: Vec<String> = plan.actions.iter().map(write_action).collect();
    for waiting in &plan.waiting {
        let tag = format!("-{}", naming::tag(&InstanceId::new(FLEET)));
        lines.push(format!("job {} waits: {}", waiting.job, waiting.why.to_string().replace(&tag, "")));
    }
    if lines.is_empty() {
        lines.push("nothing".to_owned());
    }
    if let Some(moment) = plan.look_again {
        lines.push(format!("look again in {} s", moment.duration_since(now()).as_secs()));
    }
    lines.join("\n") + "\n"
}

fn write_action(action: &Action) -> String {
    match action {
        Action::Assign { job, pool } => {
            format!("assign job {job} to {}", pool.as_ref().map_or("no pool", |pool| pool.as_str()))
        }
        Action::Expire { job } => format!("expire job {job}"),
        Action::Drop { job, account } => format!("drop job {job} of {account}"),
        Action::AskJob { job } => format!("ask GitHub about job {job}"),
        Action::AskRun { job, run } => format!("ask GitHub about run {run} of job {job}"),
        Action::Launch { runner, pool, job, .. } => {
            let whom = job.map_or("as a spare".to_owned(), |job| format!("for job {job}"));
            format!("launch {} of {pool} {whom}", short(runner))
        }
        Action::Record { runner, state, job, cause, .. } => {
            let job = job.map_or(String::new(), |job| format!(" with job {job}"));
            format!("record {} as {state}{job}: {cause}", short(runner))
        }
        Action::Adopt { runner, .. } => format!("adopt {}", short(runner)),
        Action::TakeOver { runner } => format!("take over {}", short(runner)),
        Action::TakeDown { runner, failed, cause } => {
            let failed = if *failed { ", failed" } else { "" };
            format!("take down {}{failed}: {cause}", short(runner))
        }
        Action::RemoveContainer { runner, .. } => format!("remove the container of {}", short(runner)),
        Action::Deregister { runner, .. } => format!("delete the registration of {}", short(runner)),
    }
}
