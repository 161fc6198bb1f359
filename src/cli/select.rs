//! Which runners a verb works on: by name, a whole pool, or all.

use super::WrongUse;
use crate::config::{Config, Mode};
use crate::model::{RunnerName, StateName};
use crate::overview::{Kind, Overview, RunnerRow};
use crate::persistent::phase::Phase;
use clap::Args;
use std::collections::BTreeMap;

/// `NAME…`, `--pool POOL` or `--all`: one of them.
#[derive(Debug, Args)]
#[group(id = "which", required = true, multiple = false)]
pub(super) struct Which {
    /// These runners.
    #[arg(value_name = "NAME")]
    pub(super) names: Vec<String>,
    /// All runners of this pool.
    #[arg(long, value_name = "POOL")]
    pub(super) pool: Option<String>,
    /// All runners.
    #[arg(long)]
    pub(super) all: bool,
}

impl Which {
    /// `--all`.
    pub(super) fn all() -> Self {
        Self { names: Vec::new(), pool: None, all: true }
    }
}

/// A runner that can be named.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Candidate {
    /// Its name.
    pub(super) name: RunnerName,
    /// Its pool.
    pub(super) pool: String,
    /// Whether it is kept.
    pub(super) persistent: bool,
    /// Its state; none where it stands in the file alone.
    pub(super) state: Option<StateName>,
    /// Whether it stands in the file: not surplus, not of a pool that is gone.
    pub(super) described: bool,
}

/// Whether it stands in the file alone: nothing of it is there.
pub(super) fn is_declared(row: &RunnerRow) -> bool {
    row.phase == Some(Phase::Declared)
}

/// A verb's view of what can be chosen from.
pub(super) struct Choice {
    candidates: BTreeMap<RunnerName, Candidate>,
    pools: Vec<String>,
    /// Parts that could not be looked at: there may be more than is known.
    unseen: Vec<String>,
}

/// What was chosen.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Chosen {
    /// Runners that are known.
    pub(super) known: Vec<Candidate>,
    /// Names that nothing is known of, while something could not be looked at.
    pub(super) unseen: Vec<String>,
}

impl Choice {
    /// From what is there and what the file describes.
    pub(super) fn new(config: &Config, overview: &Overview) -> Self {
        let mut candidates = BTreeMap::new();
        for (pool, count) in config.persistent_pools() {
            for index in 1..=count {
                let name = RunnerName::new(format!("{}-{index}", pool.name_prefix));
                let pool = pool.name.to_string();
                let described = Candidate { name: name.clone(), pool, persistent: true, state: None, described: true };
                candidates.insert(name, described);
            }
        }
        for row in &overview.runners {
            let name = RunnerName::new(row.name.as_str());
            let described = candidates.contains_key(&name);
            let pool = row.pool.clone();
            let persistent = row.kind == Kind::Persistent;
            let state = Some(row.state).filter(|_| !is_declared(row));
            candidates.insert(name.clone(), Candidate { name, pool, persistent, state, described });
        }
        Self {
            candidates,
            pools: config.pools.iter().map(|pool| pool.name.to_string()).collect(),
            unseen: overview.unknown.keys().cloned().collect(),
        }
    }

    /// The runners that `which` names; of a pool or of all those for which `fits` holds.
    ///
    /// # Errors
    /// [`WrongUse`]: there is no such runner or pool.
    pub(super) fn choose(&self, which: &Which, fits: impl Fn(&Candidate) -> bool) -> Result<Chosen, WrongUse> {
        if which.names.is_empty() {
            if let Some(pool) = &which.pool {
                self.known_pool(pool)?;
            }
            let of_it = |candidate: &&Candidate| which.pool.as_ref().is_none_or(|pool| *pool == candidate.pool);
            let known = self.candidates.values().filter(of_it).filter(|it| fits(it)).cloned().collect();
            return Ok(Chosen { known, unseen: Vec::new() });
        }
        let mut chosen = Chosen::default();
        let mut names: Vec<&String> = which.names.iter().collect();
        names.sort();
        names.dedup();
        for name in names {
            match self.candidates.get(&RunnerName::new(name.as_str())) {
                Some(candidate) => chosen.known.push(candidate.clone()),
                None if self.unseen.is_empty() => return Err(self.unknown_name(name)),
                None => chosen.unseen.push(name.clone()),
            }
        }
        Ok(chosen)
    }

    /// A runner by its name, if it is known.
    pub(super) fn get(&self, name: &str) -> Option<&Candidate> {
        self.candidates.get(&RunnerName::new(name))
    }

    /// Parts that could not be looked at.
    pub(super) fn unseen(&self) -> &[String] {
        &self.unseen
    }

    /// Says that there is no such runner, and which one may have been meant.
    pub(super) fn unknown_name(&self, name: &str) -> WrongUse {
        let live = self.candidates.values().filter(|it| it.state != Some(StateName::Removed));
        let hint = if self.pools.iter().any(|pool| pool == name) {
            format!("there is a pool of that name: --pool {name}")
        } else if let Some(near) = nearest(name, live.map(|it| it.name.as_str())) {
            format!("did you mean `{near}`?")
        } else {
            "`runnerfleet list` shows them".to_owned()
        };
        WrongUse(format!("there is no runner `{name}`; {hint}"))
    }

    fn known_pool(&self, wanted: &str) -> Result<(), WrongUse> {
        known_pool(wanted, &self.pools, self.candidates.values().map(|it| it.pool.as_str()))
    }
}

/// A pool that is in no row and not in the configuration is a slip of the pen.
///
/// # Errors
/// [`WrongUse`]: there is no such pool.
pub(super) fn known_pool<'a>(
    wanted: &str,
    configured: &'a [String],
    rows: impl IntoIterator<Item = &'a str>,
) -> Result<(), WrongUse> {
    let mut rows = rows.into_iter();
    if configured.iter().any(|known| known == wanted) || rows.any(|row| row == wanted) {
        return Ok(());
    }
    let hint = match nearest(wanted, configured.iter().map(String::as_str)) {
        Some(near) => format!("did you mean `{near}`?"),
        None if configured.is_empty() => "the configuration has none".to_owned(),
        None => format!("the configuration has {}", configured.join(", ")),
    };
    Err(WrongUse(format!("there is no pool `{wanted}`; {hint}")))
}

/// The pools of these names, in the order of the file; all where there are none.
///
/// # Errors
/// [`WrongUse`]: there is no such pool.
pub(super) fn pools<'a>(config: &'a Config, wanted: &[String]) -> Result<Vec<&'a crate::config::Pool>, WrongUse> {
    let configured: Vec<String> = config.pools.iter().map(|pool| pool.name.to_string()).collect();
    for pool in wanted {
        known_pool(pool, &configured, [])?;
    }
    let is_wanted = |name: &str| wanted.is_empty() || wanted.iter().any(|wanted| wanted == name);
    Ok(config.pools.iter().filter(|pool| is_wanted(pool.name.as_str())).collect())
}

/// Whether a pool's runners are kept.
pub(super) fn is_persistent(pool: &crate::config::Pool) -> bool {
    matches!(pool.mode, Mode::Persistent { .. })
}

/// The one word of `words` that `text` was meant to be, if one is near.
fn nearest<'a>(text: &str, words: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let text = text.to_lowercase();
    let distance = |word: &str| strsim::osa_distance(&text, &word.to_lowercase());
    words
        .into_iter()
        .map(|word| (distance(word), word))
        .filter(|(distance, word)| *distance <= 1.max(word.len() / 4))
        .min()
        .map(|(_, word)| word)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::StateName::{Removed, Started};

    fn candidate(name: &str, pool: &str, persistent: bool, state: Option<StateName>) -> (RunnerName, Candidate) {
        let name = RunnerName::new(name);
        let described = persistent;
        (name.clone(), Candidate { name, pool: pool.to_owned(), persistent, state, described })
    }

    fn choice(unseen: &[&str]) -> Choice {
        Choice {
            candidates: [
                candidate("web-1", "web", true, Some(Started)),
                candidate("web-2", "web", true, None),
                candidate("web-3", "web", false, Some(Removed)),
                candidate("linux-41-1-1-9c0e", "linux", false, Some(Started)),
            ]
            .into(),
            pools: vec!["web".to_owned(), "linux".to_owned()],
            unseen: unseen.iter().map(ToString::to_string).collect(),
        }
    }

    fn names(names: &[&str]) -> Which {
        Which { names: names.iter().map(ToString::to_string).collect(), pool: None, all: false }
    }

    fn chosen(which: &Which) -> Vec<String> {
        let chosen = choice(&[]).choose(which, |it| it.persistent).unwrap();
        chosen.known.iter().map(|it| it.name.to_string()).collect()
    }

    #[test]
    fn by_name_by_pool_or_all() {
        // A name is a person's word; whether the verb can do it is told of that one runner.
        assert_eq!(chosen(&names(&["web-2", "linux-41-1-1-9c0e", "web-2"])), ["linux-41-1-1-9c0e", "web-2"]);
        assert_eq!(chosen(&Which { names: vec![], pool: Some("web".to_owned()), all: false }), ["web-1", "web-2"]);
        assert_eq!(chosen(&Which { names: vec![], pool: None, all: true }), ["web-1", "web-2"]);
    }

    #[test]
    fn an_unknown_name_brings_the_one_that_was_meant() {
        let told = |name: &str| choice(&[]).choose(&names(&[name]), |_| true).unwrap_err().to_string();
        assert_eq!(told("wbe-1"), "there is no runner `wbe-1`; did you mean `web-1`?");
        assert_eq!(told("web"), "there is no runner `web`; there is a pool of that name: --pool web");
        assert_eq!(told("amiga-500"), "there is no runner `amiga-500`; `runnerfleet list` shows them");
        let pool = Which { names: vec![], pool: Some("wep".to_owned()), all: false };
        let told = choice(&[]).choose(&pool, |_| true).unwrap_err().to_string();
        assert_eq!(told, "there is no pool `wep`; did you mean `web`?");
    }

    #[test]
    fn what_could_not_be_seen_is_not_called_unknown() {
        let chosen = choice(&["docker"]).choose(&names(&["web-7", "web-1"]), |_| true).unwrap();
        assert_eq!(chosen.unseen, ["web-7"]);
        assert_eq!(chosen.known.len(), 1);
    }
}
