//! Idle runners that nobody waits for go, after their time; so do those that GitHub gives no job.

use super::{Action, Draft};
use crate::model::{Runner, StateName, after, age};

/// Lets go of idle runners. The take-down deletes the registration first: GitHub refuses when the runner has a job
/// after all, and then it stays.
pub(super) fn let_go(draft: &mut Draft<'_>) {
    let (world, config) = (draft.world, draft.config);
    if world.containers.known().is_none() {
        return;
    }
    for pool in &config.pools {
        let supply = draft.supply.get(&pool.name).cloned().unwrap_or_default();
        let line = draft.queued.get(&pool.name).map_or(&[][..], Vec::as_slice);
        let mut surplus = supply.len().saturating_sub(line.len() + pool.min_idle as usize);
        // The oldest of which GitHub itself says that it still waits; of others an event may be lost.
        let starved = line.iter().find(|job| world.asked.contains_key(&job.key()));
        let starved = starved.map(|job| super::demand::place_in_line(job).0);
        let mut idle: Vec<&Runner> = supply
            .into_iter()
            .filter(|runner| runner.state.name == StateName::Started && draft.is_mine(runner))
            .filter(|runner| !draft.is_left_alone(&runner.name))
            .collect();
        idle.sort_by_key(|runner| (runner.state.since, &runner.name));
        if let Some(bar) = draft.bar(&pool.scope) {
            for runner in idle {
                take_down(draft, runner, false, format!("{bar} `{}`", pool.scope.account()));
            }
            continue;
        }
        for runner in idle {
            let idle_for = age(world.now, runner.state.since);
            if idle_for >= pool.max_lifetime {
                surplus = surplus.saturating_sub(1);
                take_down(draft, runner, false, format!("older than max_lifetime ({:?})", pool.max_lifetime));
            } else if surplus > 0 && idle_for >= pool.idle_timeout {
                surplus -= 1;
                take_down(draft, runner, false, format!("idle for {} s and not needed", idle_for.as_secs()));
            } else if idle_for >= pool.idle_timeout
                && starved.is_some_and(|queued_at| age(world.now, queued_at) >= pool.idle_timeout)
            {
                let cause = format!(
                    "GitHub gave it no job in {} s though jobs wait: is its agent too old, or its runner group closed to the repository?",
                    idle_for.as_secs()
                );
                take_down(draft, runner, true, cause);
            } else {
                draft.look_at(after(runner.state.since, pool.idle_timeout));
                draft.look_at(after(runner.state.since, pool.max_lifetime));
                if let Some(queued_at) = starved {
                    draft.look_at(after(queued_at, pool.idle_timeout));
                }
            }
        }
    }
}

fn take_down(draft: &mut Draft<'_>, runner: &Runner, failed: bool, cause: String) {
    draft.act(Action::TakeDown { runner: runner.name.clone(), failed, cause });
}
