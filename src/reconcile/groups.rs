//! Runner groups: which repositories' jobs GitHub gives to the runners of a pool. They are looked at for every organization, and
//! made and kept where a pool says `create_runner_group`.
//!
//! A group that this program made is known by a note in the store, with GitHub's id of it. One without a note was there before, and
//! is its owner's: it is never changed, so it is never widened.

use super::memory::Memory;
use crate::config::{Config, Pool};
use crate::github::{Client, Error, NewGroup, RepositoryFacts};
use crate::model::{Group, Groups, Scope, Visibility};
use crate::store::{Saved, Store, StoreError, Version};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

/// One or two calls for each organization, and those that list repositories. Nothing tells of a change of a group.
const RHYTHM: Duration = Duration::from_secs(5 * 60);

/// However often the bell rings: a job that waits for its group rings it with each plan.
const AT_MOST: Duration = Duration::from_secs(20);

/// Keeps the groups of all organizations current until `stop`.
pub async fn follow(
    client: Client,
    memory: Arc<Memory>,
    config: Arc<Config>,
    store: Arc<dyn Store>,
    stop: CancellationToken,
) {
    let bell = memory.groups_bell();
    let mut told = BTreeMap::new();
    let work = async {
        loop {
            for organization in organizations(&config) {
                if memory.bar(&Scope::Organization(organization.clone())).is_some() {
                    continue;
                }
                let looked = look(&client, &memory, &config, store.as_ref(), &organization).await;
                tell(&mut told, &organization, looked.err());
            }
            tokio::time::sleep(AT_MOST).await;
            tokio::select! {
                biased;
                () = tokio::time::sleep(RHYTHM) => {}
                () = bell.notified() => {}
            }
        }
    };
    tokio::select! {
        biased;
        () = stop.cancelled() => {}
        () = work => {}
    }
}

/// Why the groups of an organization could not be looked at, or one could not be made.
#[derive(Debug, thiserror::Error)]
enum GroupsError {
    #[error(transparent)]
    GitHub(#[from] Error),
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Once for each error, and once when it is over.
fn tell(told: &mut BTreeMap<String, String>, organization: &str, error: Option<GroupsError>) {
    match error.map(|error| error.to_string()) {
        Some(error) if told.get(organization) != Some(&error) => {
            warn!("the runner groups of `{organization}` are not looked after: {error}");
            told.insert(organization.to_owned(), error);
        }
        None if told.remove(organization).is_some() => info!("the runner groups of `{organization}` can be read again"),
        Some(_) | None => {}
    }
}

/// As the configuration spells them.
fn organizations(config: &Config) -> BTreeSet<String> {
    let logins = config.pools.iter().filter_map(|pool| match &pool.scope {
        Scope::Organization(login) => Some((login.to_lowercase(), login.clone())),
        Scope::Repository { .. } => None,
    });
    logins.collect::<BTreeMap<_, _>>().into_values().collect()
}

/// The pools of an organization.
fn pools_of<'a>(config: &'a Config, organization: &str) -> Vec<&'a Pool> {
    let is_of = |pool: &&Pool| match &pool.scope {
        Scope::Organization(login) => login.eq_ignore_ascii_case(organization),
        Scope::Repository { .. } => false,
    };
    config.pools.iter().filter(is_of).collect()
}

async fn look(
    client: &Client,
    memory: &Memory,
    config: &Config,
    store: &dyn Store,
    organization: &str,
) -> Result<(), GroupsError> {
    let pools = pools_of(config, organization);
    let in_use = |name: &str, is_default: bool| {
        pools.iter().any(|pool| match &pool.runner_group {
            Some(wanted) => wanted.eq_ignore_ascii_case(name),
            None => is_default,
        })
    };
    let mut groups = client.runner_groups(organization, in_use).await?;
    // What is seen is told first: it holds whatever becomes of the changes.
    memory.set_groups(organization, groups.clone());
    let to_make = pools.iter().filter(|pool| pool.create_runner_group).filter_map(|pool| pool.runner_group.clone());
    let to_make: BTreeMap<String, String> = to_make.map(|name| (name.to_lowercase(), name)).collect();
    if to_make.is_empty() {
        return Ok(());
    }
    let repositories = client.repositories(organization).await?;
    let mut changed = false;
    for name in to_make.values() {
        let wanted = Wanted::of(name, &pools, &repositories, config);
        let there = Groups::find(&groups, Some(name));
        changed |= Making { client, store, organization }.keep(&wanted, there).await?;
    }
    if changed {
        groups = client.runner_groups(organization, in_use).await?;
        memory.set_groups(organization, groups);
    }
    Ok(())
}

/// What a group is to be.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Wanted {
    name: String,
    /// GitHub's ids, and the names for people.
    repositories: BTreeMap<u64, String>,
    allows_public: bool,
}

impl Wanted {
    /// The repositories that the pools of the group take, of those that the App was given. A pool that names the group without
    /// making it counts as well: its runners are in there.
    fn of(name: &str, pools: &[&Pool], repositories: &[RepositoryFacts], config: &Config) -> Self {
        let of_group = |pool: &&&Pool| pool.runner_group.as_ref().is_some_and(|group| group.eq_ignore_ascii_case(name));
        let pools: Vec<&Pool> = pools.iter().filter(of_group).copied().collect();
        let public = |pool: &Pool| pool.admission.public.unwrap_or(config.allow_public_repositories);
        let takes = |repository: &RepositoryFacts| {
            pools.iter().any(|pool| {
                (repository.private || public(pool)) && pool.admission.repositories.take(repository.full_name.as_str())
            })
        };
        Self {
            name: name.to_owned(),
            repositories: repositories
                .iter()
                .filter(|repository| takes(repository))
                .map(|repository| (repository.id, repository.full_name.to_string()))
                .collect(),
            allows_public: pools.iter().any(|pool| public(pool)),
        }
    }

    fn ids(&self) -> Vec<u64> {
        self.repositories.keys().copied().collect()
    }

    fn names(&self) -> String {
        let names: Vec<&str> = self.repositories.values().map(String::as_str).collect();
        if names.is_empty() { "no repository".to_owned() } else { names.join(", ") }
    }
}

/// What is remembered of a group of ours.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Note {
    /// GitHub's id; none from the moment in which it is asked for until the answer is there.
    id: Option<u64>,
    /// What it was asked for with: so one whose answer was lost is known again.
    repositories: Vec<u64>,
}

impl Note {
    /// Whether the group with these repositories is the one of the note.
    fn is_of(&self, group: &Group, repositories: &BTreeSet<u64>) -> bool {
        if let Some(id) = self.id {
            return id == group.id;
        }
        let asked_for: BTreeSet<u64> = self.repositories.iter().copied().collect();
        matches!(group.visibility, Visibility::Selected(_)) && asked_for == *repositories
    }
}

/// What has to be done about a group.
#[derive(Debug, PartialEq, Eq)]
enum Step {
    Make,
    /// It is somebody else's.
    LeaveAlone,
    /// It is ours: what of it is not as wanted.
    Mend {
        bounds: bool,
        repositories: bool,
    },
}

/// Pure. `there` has the repositories of the group that is there.
fn step(wanted: &Wanted, there: Option<(&Group, &BTreeSet<u64>)>, note: &Note) -> Step {
    let Some((group, repositories)) = there else { return Step::Make };
    if group.is_default || !note.is_of(group, repositories) {
        return Step::LeaveAlone;
    }
    let is_selected = matches!(group.visibility, Visibility::Selected(_));
    Step::Mend {
        bounds: !is_selected || group.allows_public != wanted.allows_public,
        repositories: !is_selected || *repositories != wanted.repositories.keys().copied().collect(),
    }
}

struct Making<'a> {
    client: &'a Client,
    store: &'a dyn Store,
    organization: &'a str,
}

impl Making<'_> {
    /// Makes the group, or mends it where it is ours. Whether anything was changed.
    async fn keep(&self, wanted: &Wanted, there: Option<&Group>) -> Result<bool, GroupsError> {
        let (client, organization) = (self.client, self.organization);
        let key = format!("runner_group:{}/{}", organization.to_lowercase(), wanted.name.to_lowercase());
        let (version, note) = self.note(&key).await?;
        let members: BTreeSet<u64> = match there {
            Some(group) if matches!(group.visibility, Visibility::Selected(_)) => {
                client.group_repositories(organization, group.id).await?.into_keys().collect()
            }
            Some(_) | None => BTreeSet::new(),
        };
        let name = &wanted.name;
        match step(wanted, there.map(|group| (group, &members)), &note) {
            Step::LeaveAlone => Ok(false),
            Step::Make => {
                let intent = Note { id: None, repositories: wanted.ids() };
                let Some(version) = self.write(&key, &intent, version).await? else { return Ok(false) };
                let new = NewGroup { name, repositories: &wanted.ids(), allows_public: wanted.allows_public };
                let id = client.create_group(organization, &new).await?;
                info!("made runner group `{name}` of `{organization}`, open to {}", wanted.names());
                self.write(&key, &Note { id: Some(id), ..intent }, version).await?;
                Ok(true)
            }
            Step::Mend { bounds, repositories } => {
                let Some(group) = there else { return Ok(false) };
                if note.id.is_none() {
                    self.write(&key, &Note { id: Some(group.id), ..note }, version).await?;
                }
                if bounds {
                    client.set_group_bounds(organization, (group.id, name), wanted.allows_public).await?;
                }
                if repositories {
                    client.set_group_repositories(organization, group.id, &wanted.ids()).await?;
                    info!("runner group `{name}` of `{organization}` is open to {}", wanted.names());
                }
                Ok(bounds || repositories)
            }
        }
    }

    async fn note(&self, key: &str) -> Result<(Version, Note), StoreError> {
        let note = self.store.note(key).await?;
        Ok(note
            .map_or_else(Default::default, |note| (note.version, serde_json::from_str(&note.row).unwrap_or_default())))
    }

    /// None where another manager wrote it first: it is the one that makes the group.
    async fn write(&self, key: &str, note: &Note, version: Version) -> Result<Option<Version>, StoreError> {
        let text = serde_json::to_string(note).map_err(|error| StoreError(error.to_string()))?;
        Ok(match self.store.set_note(key, &text, version).await? {
            Saved::Saved(version) => Some(version),
            Saved::Stale(_) => None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wanted(ids: &[u64], allows_public: bool) -> Wanted {
        let repositories = ids.iter().map(|id| (*id, format!("acme/r{id}"))).collect();
        Wanted { name: "builders".to_owned(), repositories, allows_public }
    }

    fn group(visibility: Visibility, allows_public: bool) -> Group {
        Group { id: 9, name: "Builders".to_owned(), is_default: false, visibility, allows_public }
    }

    fn note(id: Option<u64>, repositories: &[u64]) -> Note {
        Note { id, repositories: repositories.to_vec() }
    }

    const SELECTED: Visibility = Visibility::Selected(None);

    #[test]
    fn a_group_that_was_there_before_is_never_touched() {
        let (both, one) = (BTreeSet::from([1, 2]), BTreeSet::from([1]));
        let open = group(Visibility::All, true);
        assert_eq!(step(&wanted(&[1, 2], true), None, &Note::default()), Step::Make);
        assert_eq!(
            step(&wanted(&[1, 2], true), Some((&group(SELECTED, false), &one)), &Note::default()),
            Step::LeaveAlone
        );
        assert_eq!(step(&wanted(&[1], false), Some((&open, &BTreeSet::new())), &Note::default()), Step::LeaveAlone);
        // One of the same name that somebody made after ours was deleted.
        assert_eq!(
            step(&wanted(&[1, 2], false), Some((&group(SELECTED, false), &one)), &note(Some(8), &[1])),
            Step::LeaveAlone
        );
        // An answer was lost: only what was asked for is taken for ours.
        let lost = note(None, &[1, 2]);
        assert_eq!(step(&wanted(&[1, 2], false), Some((&group(SELECTED, false), &one)), &lost), Step::LeaveAlone);
        let nothing = Step::Mend { bounds: false, repositories: false };
        assert_eq!(step(&wanted(&[1, 2], false), Some((&group(SELECTED, false), &both)), &lost), nothing);
    }

    #[test]
    fn one_of_ours_is_kept_as_the_rules_say() {
        let ours = note(Some(9), &[1]);
        let (both, one) = (BTreeSet::from([1, 2]), BTreeSet::from([1]));
        let mend = |bounds: bool, repositories: bool| Step::Mend { bounds, repositories };
        for (wish, there, members, want) in [
            (wanted(&[1], false), group(SELECTED, false), &one, mend(false, false)),
            (wanted(&[1], false), group(SELECTED, false), &both, mend(false, true)),
            (wanted(&[1, 2], false), group(SELECTED, false), &one, mend(false, true)),
            (wanted(&[1], true), group(SELECTED, false), &one, mend(true, false)),
            (wanted(&[1], false), group(SELECTED, true), &one, mend(true, false)),
            // Somebody opened it to all.
            (wanted(&[1], false), group(Visibility::All, false), &BTreeSet::new(), mend(true, true)),
        ] {
            assert_eq!(step(&wish, Some((&there, members)), &ours), want, "{wish:?} {there:?}");
        }
    }
}
