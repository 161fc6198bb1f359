//! What holds for any world: caps, runners with jobs, unknowns, rest after the actions took effect.

use super::notation::{acme, ago, config, empty_world, put_container, runner_name};
use crate::support::fleet;
use proptest::prelude::*;
use runnerfleet::config::Config;
use runnerfleet::model::{
    Access, Accounts, Change, ContainerId, ContainerStatus, HostId, Job, JobFacts, JobId, JobKey, JobState, Observed,
    PoolName, Registration, RegistrationHold, RegistrationId, RegistrationStatus, RepoName, RunFacts, Runner,
    RunnerName, RunnerState, StateName,
};
use runnerfleet::plan::{Action, Listed, Listing, Plan, World, plan};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, LazyLock};

const POOLS: [(&str, &[&str], u32, u32); 3] =
    [("linux", &["linux", "x64"], 4, 1), ("gpu", &["linux", "x64", "gpu"], 2, 0), ("arm", &["arm"], 3, 0)];
const FLEET_MAX: u32 = 7;

fn some_config() -> Config {
    let pools = POOLS
        .iter()
        .map(|(name, labels, max, min_idle)| {
            let mut pool = fleet::pool(name, labels);
            (pool.max, pool.min_idle) = (*max, *min_idle);
            pool
        })
        .collect();
    let mut config = config(pools);
    config.limits.max_runners = FLEET_MAX;
    config
}

/// A run that nobody needs to fear.
static SAME_REPOSITORY: LazyLock<RunFacts> = LazyLock::new(|| RunFacts {
    event: "push".to_owned(),
    head_repository: Some(RepoName::new("acme/web")),
    private: None,
});

#[derive(Debug, Clone)]
struct SomeJob {
    id: u64,
    labels: usize,
    state: u8,
    on: Option<usize>,
    age: u32,
}

#[derive(Debug, Clone)]
struct SomeRunner {
    pool: usize,
    state: u8,
    container: u8,
    listed: u8,
    mine: bool,
    has_row: bool,
    age: u32,
    busy_with: Option<u64>,
}

fn some_jobs() -> impl Strategy<Value = Vec<SomeJob>> {
    let job = (1..30_u64, 0..4_usize, 0..4_u8, prop::option::of(0..8_usize), 0..100_000_u32);
    prop::collection::vec(job, 0..14).prop_map(|jobs| {
        jobs.into_iter().map(|(id, labels, state, on, age)| SomeJob { id, labels, state, on, age }).collect()
    })
}

fn some_runners() -> impl Strategy<Value = Vec<SomeRunner>> {
    let runner =
        (0..3_usize, 0..6_u8, 0..4_u8, 0..5_u8, any::<bool>(), 0..10_u8, 0..40_000_u32, prop::option::of(1..30_u64));
    prop::collection::vec(runner, 0..8).prop_map(|runners| {
        let some = |(pool, state, container, listed, mine, row, age, busy_with)| SomeRunner {
            pool,
            state,
            container,
            listed,
            mine,
            has_row: row > 0,
            age,
            busy_with,
        };
        runners.into_iter().map(some).collect()
    })
}

fn short_name(number: usize, runner: &SomeRunner) -> String {
    format!("{}-{}-1-1", POOLS[runner.pool].0, 1000 + number)
}

fn world(jobs: &[SomeJob], runners: &[SomeRunner], docker_known: bool, github_known: bool) -> World {
    let mut world = empty_world();
    for job in jobs {
        let labels: &[&str] = [&["linux"][..], &["linux", "gpu"], &["arm"], &["windows"]][job.labels];
        let since = ago(&format!("{}s", job.age));
        let on = job.on.map(|number| match runners.get(number) {
            Some(runner) => runner_name(&short_name(number, runner)),
            None => RunnerName::new("somebody-elses"),
        });
        let state = match job.state {
            0 => JobState::Waiting,
            1 => JobState::Queued,
            2 => JobState::InProgress { runner: on },
            _ => JobState::Completed { conclusion: "success".to_owned(), runner: on },
        };
        let facts = JobFacts {
            key: JobKey { id: JobId(job.id), attempt: 1 },
            run_id: 1,
            name: "test".to_owned(),
            workflow: None,
            repository: RepoName::new("acme/web"),
            private: Some(true),
            labels: labels.iter().copied().collect(),
            html_url: None,
            installation: None,
            created_at: None,
        };
        let queued_at = (state == JobState::Queued).then_some(since);
        let row = Job { facts, state, pool: None, first_seen: since, since, queued_at, started_at: None, run: None };
        world.jobs.insert(row.key(), Arc::new(row));
    }
    let mut listing = Listing { at: ago("5s"), runners: BTreeMap::new() };
    for (number, runner) in runners.iter().enumerate() {
        put_runner(&mut world, &mut listing, number, runner);
    }
    world.registrations.insert(
        acme(),
        if github_known { Observed::Known(listing) } else { Observed::Unknown("no answer".to_owned()) },
    );
    if !docker_known {
        world.containers = Observed::Unknown("no answer".to_owned());
    }
    world
}

fn put_runner(world: &mut World, listing: &mut Listing, number: usize, runner: &SomeRunner) {
    let short = short_name(number, runner);
    let name = runner_name(&short);
    let since = ago(&format!("{}s", runner.age));
    let states = [
        StateName::Created,
        StateName::Started,
        StateName::Running,
        StateName::Stopped,
        StateName::Removed,
        StateName::Error,
    ];
    let state = states[usize::from(runner.state)];
    let status = match runner.container {
        0 => None,
        1 => Some(ContainerStatus::Created),
        2 => Some(ContainerStatus::Running),
        _ => Some(ContainerStatus::Exited { exit_code: 1, oom_killed: false }),
    };
    if runner.has_row {
        let row = Runner {
            name: name.clone(),
            pool: PoolName::new(POOLS[runner.pool].0),
            scope: acme(),
            owner: HostId::new(if runner.mine { "here" } else { "there" }),
            state: RunnerState { name: state, since, cause: "test".to_owned() },
            registration: RegistrationHold::Held(RegistrationId(1)),
            container: status.as_ref().map(|_| ContainerId::new(format!("c-{short}"))),
            created_for: None,
            job: (state == StateName::Running)
                .then(|| runner.busy_with.map(|id| JobKey { id: JobId(id), attempt: 1 }))
                .flatten(),
            image: "runner:1".to_owned(),
            created_at: since,
            evidence: None,
            blameless: false,
            history: vec![Change { at: since, to: state, cause: "test".to_owned() }],
            kept: None,
        };
        world.runners.insert(name.clone(), Arc::new(row));
    }
    if let Some(status) = status {
        put_container(world, &short, status, POOLS[runner.pool].0);
    }
    if runner.listed > 0 {
        let offline = runner.listed == 1;
        let registration = Registration {
            id: RegistrationId(1),
            name: name.clone(),
            status: if offline { RegistrationStatus::Offline } else { RegistrationStatus::Online },
            busy: runner.listed == 2,
            labels: runnerfleet::model::LabelSet::default(),
            version: None,
        };
        listing.runners.insert(name, Listed { registration, offline_since: offline.then_some(since) });
    }
}

/// What the world looks like when the actions took effect.
fn take_effect(world: &mut World, plan: &Plan, config: &Config) {
    for action in &plan.actions {
        match action.clone() {
            Action::Assign { job, pool } => change_job(world, job, |job| job.pool.clone_from(&pool)),
            Action::Expire { job } => change_job(world, job, |job| {
                job.state = JobState::Completed { conclusion: "expired".to_owned(), runner: None };
            }),
            Action::Drop { job, .. } => change_job(world, job, |job| {
                job.state = JobState::Completed { conclusion: "dropped".to_owned(), runner: None };
            }),
            Action::AskJob { job } => {
                world.asked.insert(job, world.now);
            }
            Action::AskRun { run, .. } => {
                let keys: Vec<JobKey> =
                    world.jobs.values().filter(|job| job.facts.run_id == run).map(|job| job.key()).collect();
                for key in keys {
                    change_job(world, key, |job| job.run = Some(SAME_REPOSITORY.clone()));
                }
            }
            Action::Launch { runner, pool, job, cause } => {
                let pool = config.pool(&pool).unwrap();
                let row = Runner::intended(
                    runner.clone(),
                    pool.name.clone(),
                    pool.scope.clone(),
                    world.host.clone(),
                    pool.image.clone(),
                    job,
                    world.now,
                    cause,
                );
                world.runners.insert(runner.clone(), Arc::new(row));
                world.in_flight.insert(runner);
            }
            Action::Record { runner, state, job, container, .. } => change_runner(world, &runner, |row| {
                if row.state.name != state {
                    *row = row.become_state(state, "recorded", super::notation::now()).expect("a legal change");
                }
                row.job = job.or(row.job);
                row.container = container.clone().or(row.container.clone());
            }),
            Action::Adopt { runner, container } => {
                let found = world.containers.known().unwrap()[&container].clone();
                let mut row = Runner::intended(
                    runner.clone(),
                    found.pool,
                    found.scope,
                    world.host.clone(),
                    found.image,
                    None,
                    world.now,
                    "adopted",
                );
                row.container = Some(container);
                world.runners.insert(runner, Arc::new(row));
            }
            Action::TakeOver { runner } => {
                let host = world.host.clone();
                change_runner(world, &runner, |row| row.owner = host.clone());
            }
            Action::TakeDown { runner, .. } => {
                change_runner(world, &runner, |row| {
                    row.state.name = StateName::Removed;
                    row.container = None;
                });
                drop_container(world, &runner);
                drop_registration(world, &runner);
            }
            Action::RemoveContainer { runner, .. } => drop_container(world, &runner),
            Action::Deregister { runner, .. } => drop_registration(world, &runner),
        }
    }
}

fn change_job(world: &mut World, key: JobKey, change: impl Fn(&mut Job)) {
    change(Arc::make_mut(world.jobs.get_mut(&key).unwrap()));
}

fn change_runner(world: &mut World, name: &RunnerName, change: impl Fn(&mut Runner)) {
    change(Arc::make_mut(world.runners.get_mut(name).unwrap()));
}

fn drop_container(world: &mut World, name: &RunnerName) {
    if let Observed::Known(containers) = &mut world.containers {
        containers.retain(|_, container| container.runner != *name);
    }
}

fn drop_registration(world: &mut World, name: &RunnerName) {
    for listing in world.registrations.values_mut() {
        if let Observed::Known(listing) = listing {
            listing.runners.remove(name);
        }
    }
}

fn is_destructive(action: &Action) -> bool {
    matches!(action, Action::TakeDown { .. } | Action::RemoveContainer { .. } | Action::Deregister { .. })
}

fn live(world: &World, pool: Option<&str>) -> usize {
    let counts = |runner: &&Arc<Runner>| runner.is_live() && pool.is_none_or(|pool| runner.pool.as_str() == pool);
    world.runners.values().filter(counts).count()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1500))]

    #[test]
    fn caps_hold(jobs in some_jobs(), runners in some_runners()) {
        let config = some_config();
        let world = world(&jobs, &runners, true, true);
        let decided = plan(&world, &config);
        let launches = |pool: Option<&str>| decided.actions.iter().filter(|action| {
            matches!(action, Action::Launch { pool: p, .. } if pool.is_none_or(|pool| p.as_str() == pool))
        }).count();
        for (pool, _, max, _) in POOLS {
            prop_assert!(launches(Some(pool)) == 0 || live(&world, Some(pool)) + launches(Some(pool)) <= max as usize);
        }
        prop_assert!(launches(None) == 0 || live(&world, None) + launches(None) <= FLEET_MAX as usize);
    }

    #[test]
    fn a_runner_with_a_job_is_never_removed(jobs in some_jobs(), runners in some_runners(), docker in any::<bool>(), github in any::<bool>()) {
        let config = some_config();
        let world = world(&jobs, &runners, docker, github);
        let busy: BTreeSet<_> = world.jobs.values().filter_map(|job| match &job.state {
            JobState::InProgress { runner } => runner.clone(),
            _ => None,
        }).collect();
        let ended = |name: &RunnerName| world.containers.known().is_some_and(|containers| {
            !containers.values().any(|c| c.runner == *name && c.status == ContainerStatus::Running)
        });
        for action in plan(&world, &config).actions.iter().filter(|action| is_destructive(action)) {
            let name = action.runner().unwrap();
            // Another manager's runner has no container here; GitHub's word counts for it.
            let elsewhere = world.runners.get(name).is_some_and(|row| row.owner.as_str() != "here");
            // Rows that are removed or ended are past that; the take-down itself looks for a job's process.
            let over = world.runners.get(name).is_none_or(|row| {
                matches!(row.state.name, StateName::Removed | StateName::Stopped | StateName::Error)
            });
            prop_assert!(!busy.contains(name) || ended(name) || elsewhere || over, "{action:?}");
        }
    }

    #[test]
    fn nothing_begins_at_an_account_that_took_the_app_away(jobs in some_jobs(), runners in some_runners(), suspended in any::<bool>()) {
        let config = some_config();
        let mut world = world(&jobs, &runners, true, true);
        let access = if suspended { Access::Suspended } else { Access::NotInstalled { since: ago("1m") } };
        world.accounts = Observed::Known(Accounts(BTreeMap::from([("acme".to_owned(), access)])));
        let decided = plan(&world, &config);
        let launches = decided.actions.iter().any(|action| matches!(action, Action::Launch { .. }));
        prop_assert!(!launches);
        // Who has a job, as far as anybody told, keeps it.
        let busy: BTreeSet<_> = world.jobs.values().filter_map(|job| match &job.state {
            JobState::InProgress { runner } => runner.clone(),
            _ => None,
        }).collect();
        for action in &decided.actions {
            let Action::TakeDown { runner, cause, .. } = action else { continue };
            let is_for_the_account = cause.contains("the App is");
            prop_assert!(!is_for_the_account || !busy.contains(runner), "{action:?}");
        }
        let queued = world.jobs.values().filter(|job| job.is_queued());
        let expired = decided.actions.iter().filter(|action| matches!(action, Action::Expire { .. })).count();
        prop_assert_eq!(decided.waiting.len() + expired, queued.count());
    }

    /// Whose code a job runs: said by the second number (none, a push, a fork, one that is gone, `pull_request_target`).
    #[test]
    fn no_runner_is_begun_that_would_get_code_which_its_pool_refuses(
        jobs in some_jobs(),
        kinds in prop::collection::vec((0..3_u8, 0..5_u8), 14),
        rules in prop::collection::vec((prop::option::of(any::<bool>()), prop::option::of(any::<bool>())), 3),
        fleet_wide in any::<bool>(),
    ) {
        let mut config = some_config();
        config.allow_public_repositories = fleet_wide;
        for (pool, (public, forks)) in config.pools.iter_mut().zip(&rules) {
            (pool.admission.public, pool.admission.forks) = (*public, *forks);
        }
        let mut world = world(&jobs, &[], true, true);
        for (job, (private, run)) in world.jobs.values_mut().zip(&kinds) {
            let job = Arc::make_mut(job);
            job.facts.run_id = job.facts.key.id.0;
            job.facts.private = [None, Some(false), Some(true)][usize::from(*private)];
            let told = |event: &str, head: Option<&str>| RunFacts {
                event: event.to_owned(),
                head_repository: head.map(RepoName::new),
                private: None,
            };
            job.run = match *run {
                0 => None,
                1 => Some(told("push", Some("acme/web"))),
                2 => Some(told("pull_request", Some("mallory/web"))),
                3 => Some(told("pull_request", None)),
                _ => Some(told("pull_request_target", Some("acme/web"))),
            };
        }
        let decided = plan(&world, &config);
        for action in &decided.actions {
            let Action::Launch { pool, .. } = action else { continue };
            let pool = config.pool(pool).unwrap();
            let takes_public = pool.admission.public.unwrap_or(fleet_wide);
            let expired = |job: &Job| decided.actions.contains(&Action::Expire { job: job.key() });
            for job in world.jobs.values().filter(|job| job.is_queued() && !expired(job)) {
                if !pool.labels.covers(&job.facts.labels) {
                    continue;
                }
                // Another pool may have it: then it is let in by somebody's word, and goes there or here.
                let elsewhere = runnerfleet::plan::match_pool(&job.facts, job.run.as_ref(), &config).pool().is_some();
                // Public ones that are refused outright are GitHub's group's to keep out.
                let counts_as_public = job.facts.private == Some(false) || (job.facts.private.is_none() && job.run.is_some());
                if elsewhere || (counts_as_public && !takes_public) {
                    continue;
                }
                prop_assert!(false, "{action:?} beside {job:?}");
            }
        }
    }

    #[test]
    fn nothing_destructive_follows_from_an_engine_that_is_unknown(jobs in some_jobs(), runners in some_runners()) {
        let decided = plan(&world(&jobs, &runners, false, true), &some_config());
        prop_assert!(!decided.actions.iter().any(is_destructive));
        let launches = decided.actions.iter().any(|action| matches!(action, Action::Launch { .. }));
        prop_assert!(!launches);
    }

    #[test]
    fn no_registration_is_deleted_while_github_is_unknown(jobs in some_jobs(), runners in some_runners()) {
        let decided = plan(&world(&jobs, &runners, true, false), &some_config());
        let deregisters = decided.actions.iter().any(|action| matches!(action, Action::Deregister { .. }));
        prop_assert!(!deregisters);
    }

    #[test]
    fn it_comes_to_rest(jobs in some_jobs(), runners in some_runners(), docker in any::<bool>(), github in any::<bool>()) {
        let config = some_config();
        let mut world = world(&jobs, &runners, docker, github);
        // Adopting and taking over only make a runner visible; what it then needs is the next plan's.
        for _ in 0..5 {
            let decided = plan(&world, &config);
            take_effect(&mut world, &decided, &config);
        }
        prop_assert_eq!(plan(&world, &config).actions, vec![]);
    }

    #[test]
    fn every_queued_job_has_a_reason(jobs in some_jobs(), runners in some_runners(), docker in any::<bool>()) {
        let config = some_config();
        let world = world(&jobs, &runners, docker, true);
        let decided = plan(&world, &config);
        let expired: BTreeSet<_> = decided.actions.iter().filter_map(|action| match action {
            Action::Expire { job } => Some(*job),
            _ => None,
        }).collect();
        let told: BTreeSet<_> = decided.waiting.iter().map(|waiting| waiting.job).collect();
        let queued: BTreeSet<_> = world.jobs.values().filter(|job| job.is_queued()).map(|job| job.key()).collect();
        prop_assert_eq!(&told | &expired, queued);
    }

    #[test]
    fn the_order_of_the_input_does_not_matter(jobs in some_jobs(), runners in some_runners()) {
        let config = some_config();
        // Jobs of one id overwrite each other, so only distinct ones can be put in another order.
        let mut seen = BTreeSet::new();
        let jobs: Vec<_> = jobs.into_iter().filter(|job| seen.insert(job.id)).collect();
        let forwards = plan(&world(&jobs, &runners, true, true), &config);
        let backwards: Vec<_> = jobs.iter().rev().cloned().collect();
        prop_assert_eq!(forwards, plan(&world(&backwards, &runners, true, true), &config));
    }
}
