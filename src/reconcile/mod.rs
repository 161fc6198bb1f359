//! The reconciler: observe -> `World` -> `plan` -> actions. Woken at once, level-triggered: a wake-up carries nothing, the
//! state decides.

mod degraded;
pub mod execute;
pub mod feeds;
pub mod groups;
pub mod installations;
pub mod memory;

use crate::clock;
use crate::config::Config;
use crate::plan::{Action, plan};
use degraded::Degraded;
use execute::Executor;
use memory::Memory;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{debug, info};

/// With nothing to wait for, the world is looked at again after this time all the same.
const LONGEST_SLEEP: Duration = Duration::from_secs(60);

/// Plans whenever something changed, until `stop`. Actions run on `actions`, each on its own; they outlive the loop, so
/// that whoever stops the program can let them end.
pub async fn run(
    config: Arc<Config>,
    memory: Arc<Memory>,
    executor: Arc<Executor>,
    actions: TaskTracker,
    stop: CancellationToken,
) {
    let mut degraded = Degraded::default();
    loop {
        let began = Instant::now();
        let sleep = plan_once(&config, &memory, &executor, &actions, &mut degraded);
        // A burst of deliveries is one plan, not thousands: planning takes at most half of the time.
        tokio::time::sleep(began.elapsed()).await;
        // In this order, so that a simulated run can be repeated: so it is in all of these loops.
        tokio::select! {
            biased;
            () = stop.cancelled() => return,
            () = memory.woken() => {}
            () = tokio::time::sleep(sleep) => {}
        }
    }
}

/// One plan; begins its actions. Returns how long time alone changes nothing.
fn plan_once(
    config: &Config,
    memory: &Arc<Memory>,
    executor: &Arc<Executor>,
    actions: &TaskTracker,
    degraded: &mut Degraded,
) -> Duration {
    if !memory.is_ready() {
        return LONGEST_SLEEP;
    }
    let world = memory.world();
    let decided = plan(&world, config);
    for event in degraded.news(&world, &decided, config) {
        executor.notifier.tell(event);
    }
    // Somebody may have opened it, or one of ours is to be mended.
    if decided.waiting.iter().any(|waiting| waiting.why.is_about_a_group()) {
        memory.groups_bell().notify_one();
    }
    for action in decided.actions {
        if !memory.begin(&action) {
            continue;
        }
        match &action {
            Action::Launch { runner, pool, cause, .. } => {
                info!(runner.name = %runner, pool = %pool, "making runner {runner}: {cause}");
            }
            Action::TakeDown { runner, cause, .. } => {
                info!(runner.name = %runner, "taking runner {runner} down: {cause}");
            }
            other => debug!(action = ?other, "begun"),
        }
        let (memory, executor) = (memory.clone(), executor.clone());
        actions.spawn(clock::carried(async move {
            let outcome = executor.carry_out(&action).await;
            memory.end(&action, outcome);
        }));
    }
    match decided.look_again {
        Some(moment) => crate::model::age(moment, world.now).clamp(Duration::from_millis(5), LONGEST_SLEEP),
        None => LONGEST_SLEEP,
    }
}
