//! Store, containers and GitHub's list held against each other: what is known to only one or two of them is adopted,
//! repaired or removed. All rules for that stand here; a crash at any point ends in one of them.
//!
//! | row | container | registration | then |
//! | --- | --- | --- | --- |
//! | none | here | any | adopt the container |
//! | removed | here | any | remove the container (never while a job's process is in it) |
//! | live, its manager dead | here | any | take the runner over |
//! | live, its manager dead | elsewhere | not busy, or gone | take it down without its container |
//! | none or removed | none | offline for a while | delete the registration |
//! | live, mine | none or ended | any | `upkeep` takes it down |
//!
//! Persistent runners are their keeper's: nothing here touches a row or a container of one.

use super::{Action, Draft, Listing, naming, upkeep};
use crate::model::{RegistrationStatus, Runner, Scope, StateName, after};
use std::time::Duration;

/// A registration of ours behind which nothing stands is deleted after it was seen offline for so long. Shorter could hit
/// one that another manager is just bringing up.
const GHOST_AFTER: Duration = Duration::from_secs(120);

/// Compares the three.
pub(super) fn hold_against_each_other(draft: &mut Draft<'_>) {
    containers(draft);
    dead_managers(draft);
    registrations(draft);
}

fn containers(draft: &mut Draft<'_>) {
    let world = draft.world;
    let Some(containers) = world.containers.known() else { return };
    for container in containers.values() {
        if container.kept.is_some() || draft.is_left_alone(&container.runner) {
            continue;
        }
        let (runner, id) = (container.runner.clone(), container.id.clone());
        match world.runners.get(&container.runner) {
            None => draft.act(Action::Adopt { runner, container: id }),
            Some(row) if row.kept.is_some() => {}
            Some(row) if !row.is_live() => draft.act(Action::RemoveContainer { runner, container: id }),
            Some(row) if !draft.owner_lives(row) => draft.act(Action::TakeOver { runner }),
            Some(_) => {}
        }
    }
}

/// Rows of managers whose lease lapsed and whose engine cannot be seen from here.
fn dead_managers(draft: &mut Draft<'_>) {
    let world = draft.world;
    if world.containers.known().is_none() {
        return;
    }
    for runner in world.runners.values() {
        if !runner.is_live()
            || runner.kept.is_some()
            || draft.owner_lives(runner)
            || draft.container_of(runner).is_some()
            || draft.is_left_alone(&runner.name)
        {
            continue;
        }
        let Some(listing) = draft.listing(&runner.scope) else { continue };
        if listing.at > runner.state.since && is_idle_in(listing, runner) {
            let cause = format!("its manager {} is gone", runner.owner);
            draft.act(upkeep::take_down(runner, runner.state.name == StateName::Error, cause));
        }
    }
}

fn is_idle_in(listing: &Listing, runner: &Runner) -> bool {
    listing
        .runners
        .get(&runner.name)
        .is_none_or(|listed| !listed.registration.busy && listed.registration.status == RegistrationStatus::Offline)
}

fn registrations(draft: &mut Draft<'_>) {
    let world = draft.world;
    let Some(containers) = world.containers.known() else { return };
    for (scope, listing) in &world.registrations {
        let Some(listing) = listing.known() else { continue };
        for (name, listed) in &listing.runners {
            let ours = naming::given_by(name, &draft.config.pools, &draft.config.instance)
                .is_some_and(|pool| pool.scope == *scope);
            let stands = world.runners.get(name).is_some_and(|row| row.is_live() || row.kept.is_some())
                || draft.is_left_alone(name)
                || containers.values().any(|container| container.runner == *name);
            let offline = listed.registration.status == RegistrationStatus::Offline && !listed.registration.busy;
            let Some(since) = listed.offline_since.filter(|_| ours && !stands && offline) else { continue };
            if listing.at >= after(since, GHOST_AFTER) {
                draft.act(deregister(scope, listed.registration.id, name));
            }
        }
    }
}

fn deregister(scope: &Scope, id: crate::model::RegistrationId, name: &crate::model::RunnerName) -> Action {
    Action::Deregister { scope: scope.clone(), id, runner: name.clone() }
}
