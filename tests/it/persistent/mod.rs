//! Persistent runners on real Docker: deployed, given jobs, stopped, started, replaced, removed, and kept.

mod change;
mod kept;
mod life;

use crate::support::app::{PATIENCE, TestApp, pool};
use runnerfleet::config::{Mode, Pool};
use runnerfleet::model::{Runner, RunnerName, StateName};
use runnerfleet::persistent::{Change, ChangeKind, Keeper, Options, Order, Outcome, OutcomeKind, Progress, Verb};
use runnerfleet::simulation::github::{JobSpec, Timings};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;

/// A pool of so many persistent runners. Container names belong to the whole engine, so each test has a prefix of its own.
fn kept(count: u32) -> Pool {
    let mut pool = pool("web", &["self-hosted", "web"]);
    pool.name_prefix = prefix();
    pool.mode = Mode::Persistent { count };
    pool.online_timeout = Duration::from_secs(60);
    pool
}

fn prefix() -> String {
    use std::sync::atomic::{AtomicU32, Ordering};
    static COUNT: AtomicU32 = AtomicU32::new(0);
    format!("web-{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed))
}

/// A job for it.
fn job() -> JobSpec {
    JobSpec::new("acme/web", ["self-hosted", "web"])
}

/// A GitHub that notices within seconds that an agent is gone.
fn quick() -> Timings {
    Timings {
        poll: Duration::from_secs(2),
        offline_after: Duration::from_secs(2),
        lost_after: Duration::from_secs(4),
        fetch_within: Duration::from_secs(4),
        conflict_retry: Duration::from_millis(300),
        ..Timings::default()
    }
}

/// The name of the pool's runner with this number.
fn name(app: &TestApp, index: u32) -> RunnerName {
    RunnerName::new(format!("{}-{index}", app.config.pools[0].name_prefix))
}

fn keeper(app: &TestApp) -> Keeper {
    app.serve.as_ref().expect("`serve` runs").keeper.clone()
}

/// What became of an order, by runner.
type Outcomes = BTreeMap<RunnerName, Outcome>;

/// Has an order carried out, and waits for its end.
async fn order(keeper: &Keeper, verb: Verb, runners: &[RunnerName], options: Options) -> Outcomes {
    let order = Order { verb, runners: runners.to_vec(), options };
    let (sender, mut news) = mpsc::channel::<Progress>(1024);
    let carried = keeper.carry_out(order, sender);
    let listened = async {
        let mut outcomes = Outcomes::new();
        while let Some(told) = news.recv().await {
            if let Some(outcome) = told.outcome {
                assert!(outcomes.insert(told.runner.clone(), outcome).is_none(), "{} ended twice", told.runner);
            }
        }
        outcomes
    };
    let (carried, outcomes) =
        tokio::time::timeout(PATIENCE, async { tokio::join!(carried, listened) }).await.expect("the order ends");
    carried.expect("the order is begun");
    assert_eq!(outcomes.len(), runners.len(), "each runner has an outcome: {outcomes:?}");
    outcomes
}

/// The same for one runner.
async fn one(app: &TestApp, verb: Verb, runner: &RunnerName, options: Options) -> Outcome {
    order(&keeper(app), verb, &[runner.clone()], options).await.remove(runner).expect("it has an outcome")
}

/// Deploys everything that differs, and what does not.
async fn deploy(app: &TestApp) -> Outcomes {
    let keeper = keeper(app);
    let changes = keeper.difference(&[]).await.expect("there is a difference to see");
    let runners: Vec<_> = changes.into_iter().map(|change| change.runner).collect();
    let outcomes = order(&keeper, Verb::Deploy, &runners, Options::default()).await;
    for (runner, outcome) in &outcomes {
        assert!(
            matches!(outcome.kind, OutcomeKind::Changed | OutcomeKind::Unchanged),
            "{runner}: {outcome:?}\n{}",
            app.github.state()
        );
    }
    outcomes
}

/// What a deploy would do, in short.
async fn changes(app: &TestApp) -> Vec<(RunnerName, ChangeKind)> {
    let changes: Vec<Change> = keeper(app).difference(&[]).await.expect("there is a difference to see");
    changes.into_iter().map(|change| (change.runner, change.kind)).collect()
}

fn row(app: &TestApp, runner: &RunnerName) -> Arc<Runner> {
    app.runner(runner.as_str()).unwrap_or_else(|| panic!("{runner} has no row"))
}

/// Until its row is in this state.
async fn state(app: &TestApp, runner: &RunnerName, state: StateName) -> Arc<Runner> {
    app.until(&format!("{runner} {state}"), |world| {
        world.runners.get(runner).is_some_and(|row| row.state.name == state)
    })
    .await;
    row(app, runner)
}

/// Everything goes; nothing may be left.
async fn remove_all(app: TestApp) {
    let live: Vec<_> = app.runners().into_iter().filter(|row| row.is_live()).map(|row| row.name.clone()).collect();
    let outcomes = order(&keeper(&app), Verb::Remove, &live, Options::default()).await;
    assert!(outcomes.values().all(|outcome| outcome.kind == OutcomeKind::Changed), "{outcomes:?}");
    app.finish().await;
}
