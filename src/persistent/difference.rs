//! The file against what is there: what a deploy would do. Pure.

use super::order::{Change, ChangeKind};
use super::spec::{self, Described};
use crate::config::Config;
use crate::model::{Container, ContainerStatus, HostId, ImageId, PoolName, Runner, RunnerName, StateName, Wanted};
use std::collections::{BTreeMap, BTreeSet};

/// What is there of persistent runners.
#[derive(Debug, Clone, Default)]
pub struct There<'a> {
    /// Rows of persistent runners.
    pub rows: BTreeMap<&'a RunnerName, &'a Runner>,
    /// Their containers.
    pub containers: BTreeMap<&'a RunnerName, &'a Container>,
    /// What each image's reference stands for now.
    pub images: BTreeMap<String, ImageId>,
    /// Other managers that live: what they look after is theirs.
    pub others: BTreeSet<HostId>,
}

/// The changes, in the order of the file; what is surplus comes last. Only of these pools; of all where none is given.
pub fn difference(config: &Config, there: &There<'_>, pools: &[PoolName]) -> Vec<Change> {
    let asked = |pool: &PoolName| pools.is_empty() || pools.contains(pool);
    let mut changes = Vec::new();
    let mut described = BTreeSet::new();
    for (name, wanted) in spec::described(config) {
        if asked(&wanted.pool.name) {
            changes.push(change(&name, &wanted, there));
        }
        described.insert(name);
    }
    let mut surplus: BTreeMap<&RunnerName, &PoolName> = BTreeMap::new();
    surplus.extend(there.rows.iter().filter(|(_, row)| row.is_live()).map(|(name, row)| (*name, &row.pool)));
    surplus.extend(there.containers.iter().map(|(name, container)| (*name, &container.pool)));
    for (name, pool) in surplus {
        if described.contains(name) || !asked(pool) {
            continue;
        }
        if let Some(host) = there.rows.get(name).map(|row| &row.owner).filter(|host| there.others.contains(host)) {
            changes.push(keep(name, pool, format!("host {host} looks after it")));
            continue;
        }
        let why = match config.persistent_pools().find(|(known, _)| known.name == *pool) {
            Some((_, count)) => format!("pool `{pool}` has {count} runners (nb)"),
            None => format!("pool `{pool}` is not in the file any more, or is not persistent"),
        };
        changes.push(Change { runner: name.clone(), pool: pool.clone(), kind: ChangeKind::Remove, why });
    }
    changes
}

fn change(name: &RunnerName, described: &Described<'_>, there: &There<'_>) -> Change {
    let pool = &described.pool.name;
    let of =
        |kind: ChangeKind, why: &str| Change { runner: name.clone(), pool: pool.clone(), kind, why: why.to_owned() };
    let row = there.rows.get(name).copied();
    if let Some(host) = row.filter(|row| row.is_live()).map(|row| &row.owner).filter(|host| there.others.contains(host))
    {
        return keep(name, pool, format!("host {host} looks after it"));
    }
    let Some(container) = there.containers.get(name) else {
        return of(ChangeKind::Create, "it is not there");
    };
    if let Some(why) = described.outdated(container, there.images.get(&described.pool.image)) {
        return of(ChangeKind::Replace, &why);
    }
    let is_wanted = row.and_then(|row| row.kept.as_ref()).is_none_or(|kept| kept.wanted == Wanted::Present);
    match (&container.status, row.map(|row| row.state.name)) {
        (ContainerStatus::Created, _) => of(ChangeKind::Start, "it was made and never started"),
        (ContainerStatus::Exited { .. }, _) => of(ChangeKind::Start, "it is stopped"),
        (ContainerStatus::Running, _) if !is_wanted => of(ChangeKind::Start, "it was told to stop"),
        (ContainerStatus::Running, Some(StateName::Error)) => of(ChangeKind::Start, "it is in error"),
        (ContainerStatus::Running, _) => of(ChangeKind::Keep, "it is as described"),
    }
}

fn keep(name: &RunnerName, pool: &PoolName, why: String) -> Change {
    Change { runner: name.clone(), pool: pool.clone(), kind: ChangeKind::Keep, why }
}
