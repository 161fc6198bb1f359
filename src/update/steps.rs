//! The steps of an update on the real parts: the engine's images, the file, and whoever keeps the runners.

use super::apply::{Redeployed, Steps};
use super::check::Update;
use crate::config::edit::{Edit, ImageChange, change_images};
use crate::config::{Config, Mode};
use crate::images::{Options, current, ensure_and_tell};
use crate::model::{PoolName, RunnerName};
use crate::notify::Notifier;
use crate::persistent::{self, Change, ChangeKind, Order, OutcomeKind, Progress, Verb};
use crate::provider::docker::Docker;
use async_trait::async_trait;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::mpsc;

/// News that wait to be told.
const WAITING: usize = 64;

/// What the file's `${…}` are filled in from.
pub type Environment = Arc<dyn Fn(&str) -> Option<String> + Send + Sync>;

/// Whoever keeps the persistent runners: this process, or a `serve`. Each reads the file again before it looks.
#[async_trait]
pub trait Keepers: Send + Sync {
    /// What a deploy of this pool would do.
    async fn difference(&self, pool: &PoolName) -> Result<Vec<Change>, String>;

    /// Carries an order out.
    async fn carry_out(&self, order: Order, progress: mpsc::Sender<Progress>) -> Result<(), String>;
}

/// What an update says while it goes: of what, and what is done.
pub type Tell<'a> = &'a (dyn Fn(&str, &str) + Send + Sync);

/// What an update is carried out with.
pub struct Hands<'a> {
    /// The file as it is before.
    pub config: &'a Config,
    /// The engine, with the logins of registries.
    pub docker: &'a Docker,
    /// Whoever keeps the runners.
    pub keepers: &'a dyn Keepers,
    /// Who wants to know.
    pub notifier: &'a Notifier,
    /// For the `${…}` of the file.
    pub env: Environment,
    /// Those of the orders: how long jobs are waited for.
    pub options: persistent::Options,
    /// Whoever watches.
    pub tell: Tell<'a>,
}

/// The real parts, for one update. Made before its first step: it notes what there is, for the way back.
pub struct Parts<'a> {
    hands: Hands<'a>,
    /// The image behind the base's reference, and behind each pool's, before; by reference.
    before: BTreeMap<String, Option<String>>,
    edit: Mutex<Option<Arc<Edit>>>,
    /// Runners that were replaced, or were to be.
    touched: Mutex<BTreeSet<RunnerName>>,
}

impl<'a> Parts<'a> {
    /// For this update.
    ///
    /// # Errors
    /// The engine cannot be looked at.
    pub async fn new(hands: Hands<'a>, update: &Update) -> Result<Self, String> {
        let mut before = BTreeMap::new();
        let images = update.pools.iter().filter_map(|pool| hands.config.pool(pool)).map(|pool| pool.image.as_str());
        for reference in images.chain([update.from.as_str()]) {
            let image = hands.docker.image(reference).await.map_err(|error| error.to_string())?;
            before.insert(reference.to_owned(), image.map(|image| image.id));
        }
        Ok(Self { hands, before, edit: Mutex::default(), touched: Mutex::default() })
    }

    /// Replaces these runners, and tells how each came through.
    async fn replace(&self, runners: Vec<RunnerName>) -> Result<Vec<(RunnerName, OutcomeKind, String)>, String> {
        self.touched.lock().unwrap_or_else(PoisonError::into_inner).extend(runners.iter().cloned());
        let order = Order { verb: Verb::Deploy, runners, options: self.hands.options.clone() };
        let (progress, mut hear) = mpsc::channel(WAITING);
        let mut ended = Vec::new();
        let listen = async {
            while let Some(Progress { runner, phase, outcome }) = hear.recv().await {
                match outcome {
                    Some(outcome) => {
                        (self.hands.tell)(runner.as_str(), &outcome.text);
                        ended.push((runner, outcome.kind, outcome.text));
                    }
                    None => (self.hands.tell)(runner.as_str(), &phase),
                }
            }
        };
        let (carried, ()) = tokio::join!(self.hands.keepers.carry_out(order, progress), listen);
        carried.map(|()| ended)
    }
}

#[async_trait]
impl Steps for Parts<'_> {
    fn tell(&self, pool: Option<&PoolName>, what: &str) {
        let file = || self.hands.config.file.file_name().unwrap_or_default().to_string_lossy().into_owned();
        (self.hands.tell)(&pool.map_or_else(file, ToString::to_string), what);
    }

    async fn build(&self, update: &Update, pool: &PoolName) -> Result<(), String> {
        let Some(pool) = self.hands.config.pool(pool) else { return Ok(()) };
        let options = Options {
            bases: BTreeMap::from([(pool.name.clone(), update.to.clone())]),
            // The engine has the old image behind the tag.
            pull: !update.changes_the_file(),
            ..Options::default()
        };
        let (sender, mut hear) = mpsc::channel(WAITING);
        let work = async move {
            ensure_and_tell(self.hands.config, self.hands.docker, &[pool], &options, &sender, self.hands.notifier).await
        };
        let listen = async {
            while let Some(news) = hear.recv().await {
                (self.hands.tell)(pool.name.as_str(), &news.text);
            }
        };
        let (made, ()) = tokio::join!(work, listen);
        for one in made.map_err(|error| error.to_string())? {
            one.result.map_err(|error| error.to_string())?;
        }
        Ok(())
    }

    async fn roll_back(&self, update: &Update, pool: &PoolName) -> Result<(), String> {
        let Some(pool) = self.hands.config.pool(pool) else { return Ok(()) };
        if !update.changes_the_file() {
            // Else the next check would take the new image for one that is in use here, and the next build would use it.
            if let Some(Some(before)) = self.before.get(&update.from) {
                self.hands.docker.tag_image(before, &update.from).await.map_err(|error| error.to_string())?;
            }
        }
        if pool.build.is_none() {
            return Ok(());
        }
        match self.before.get(&pool.image) {
            Some(Some(before)) => {
                let moved =
                    current::set_current(self.hands.docker, &self.hands.config.instance, &pool.name, before).await;
                moved.map(|_| ()).map_err(|error| error.to_string())
            }
            // It had no image before: it has none again.
            Some(None) | None => self.hands.docker.remove_image(&pool.image).await.map_err(|error| error.to_string()),
        }
    }

    async fn change_file(&self, update: &Update) -> Result<(), String> {
        let (file, env) = (self.hands.config.file.clone(), Arc::clone(&self.hands.env));
        let change = ImageChange { from: update.from.clone(), to: update.to.clone() };
        let edit = tokio::task::spawn_blocking(move || change_images(&file, &[change], &*env)).await;
        let edit = edit.map_err(|error| error.to_string())?.map_err(|error| error.to_string())?;
        *self.edit.lock().unwrap_or_else(PoisonError::into_inner) = Some(Arc::new(edit));
        Ok(())
    }

    async fn restore_file(&self) -> Result<(), String> {
        let edit = self.edit.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let Some(edit) = edit else { return Ok(()) };
        let undone = tokio::task::spawn_blocking(move || edit.undo()).await.map_err(|error| error.to_string())?;
        undone.map_err(|error| error.to_string())
    }

    async fn redeploy(&self, pool: &PoolName) -> Redeployed {
        if self.hands.config.pool(pool).is_none_or(|pool| pool.mode == Mode::Ephemeral) {
            return Redeployed::Done;
        }
        let changes = match self.hands.keepers.difference(pool).await {
            Ok(changes) => changes,
            Err(why) => return Redeployed::Broken(why),
        };
        let mut runners = to_replace(&changes, &self.touched.lock().unwrap_or_else(PoisonError::into_inner));
        if runners.is_empty() {
            return Redeployed::Done;
        }
        let others = runners.split_off(1);
        match self.replace(runners).await {
            Err(why) => return Redeployed::Broken(why),
            Ok(ended) => match ended.into_iter().next() {
                Some((_, OutcomeKind::Changed | OutcomeKind::Unchanged, _)) => {}
                Some((runner, OutcomeKind::Deferred, why)) => {
                    return Redeployed::Unfinished(format!("{runner}: {why}"));
                }
                Some((runner, OutcomeKind::Failed, why)) => return Redeployed::Broken(format!("{runner}: {why}")),
                None => return Redeployed::Broken("what became of its first runner was not told".to_owned()),
            },
        }
        if others.is_empty() {
            return Redeployed::Done;
        }
        match self.replace(others).await {
            Err(why) => Redeployed::Unfinished(why),
            Ok(ended) => {
                let missed: Vec<String> = ended
                    .into_iter()
                    .filter(|(_, kind, _)| matches!(kind, OutcomeKind::Deferred | OutcomeKind::Failed))
                    .map(|(runner, _, why)| format!("{runner}: {why}"))
                    .collect();
                if missed.is_empty() { Redeployed::Done } else { Redeployed::Unfinished(missed.join("; ")) }
            }
        }
    }
}

/// Those that run another image than they should, and those that an earlier step left half-way. What is missing, stopped or
/// surplus for other reasons is a matter of `deploy`.
fn to_replace(changes: &[Change], touched: &BTreeSet<RunnerName>) -> Vec<RunnerName> {
    changes
        .iter()
        .filter(|change| match change.kind {
            ChangeKind::Replace => true,
            ChangeKind::Create | ChangeKind::Start => touched.contains(&change.runner),
            ChangeKind::Remove | ChangeKind::Keep => false,
        })
        .map(|change| change.runner.clone())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_an_update_is_about_is_touched() {
        let change = |name: &str, kind| Change {
            runner: RunnerName::new(name),
            pool: PoolName::new("web"),
            kind,
            why: String::new(),
        };
        let changes = [
            change("web-1", ChangeKind::Create),
            change("web-2", ChangeKind::Replace),
            change("web-3", ChangeKind::Start),
            change("web-4", ChangeKind::Keep),
            change("web-5", ChangeKind::Remove),
        ];
        let names = |touched: &[&str]| -> Vec<String> {
            let touched = touched.iter().map(|name| RunnerName::new(*name)).collect();
            to_replace(&changes, &touched).iter().map(ToString::to_string).collect()
        };
        assert_eq!(names(&[]), ["web-2"]);
        assert_eq!(names(&["web-1", "web-2", "web-4"]), ["web-1", "web-2"]);
    }
}
