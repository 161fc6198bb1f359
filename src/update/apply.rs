//! A newer base image in place of the old one: build, then change the file, then replace the runners, pool after pool.
//! What goes wrong before the file is changed leaves everything as it was; what goes wrong after it is taken back.
//!
//! The order, and what is taken back when, is decided here; the steps themselves are handed in.

use super::check::Update;
use crate::model::PoolName;
use async_trait::async_trait;
use serde::Serialize;

/// What can be done, each step by itself.
#[async_trait]
pub trait Steps: Send + Sync {
    /// Says what is being done to a pool (or to the file: none).
    fn tell(&self, pool: Option<&PoolName>, what: &str);

    /// Makes the pool's image on the new base (or pulls it, where the pool runs the base itself), so that the pool's next
    /// runners are made from it.
    async fn build(&self, update: &Update, pool: &PoolName) -> Result<(), String>;

    /// Makes the pool's former image the one that its next runners are made from. Only after `build`.
    async fn roll_back(&self, update: &Update, pool: &PoolName) -> Result<(), String>;

    /// Writes the new base image into the file.
    async fn change_file(&self, update: &Update) -> Result<(), String>;

    /// Puts the file back as it was, byte for byte.
    async fn restore_file(&self) -> Result<(), String>;

    /// Replaces the pool's runners by such from its current image: one first, and the others once that one is online.
    /// Waits for jobs. A pool without runners of its own (ephemeral ones) has nothing to replace.
    async fn redeploy(&self, pool: &PoolName) -> Redeployed;
}

/// How a pool came through.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Redeployed {
    /// Its runners are online.
    Done,
    /// The image is good, since a runner came online with it; but not every runner runs it yet.
    Unfinished(String),
    /// The first runner on it did not come online.
    Broken(String),
}

/// What became of an update.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Applied {
    /// Which one.
    pub update: Update,
    /// Pools with runners that are not replaced yet, and why.
    pub unfinished: Vec<(PoolName, String)>,
    /// Why it was given up.
    pub failure: Option<Failure>,
}

/// Why an update was given up.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Failure {
    /// When.
    pub stage: Stage,
    /// With which pool.
    pub pool: Option<PoolName>,
    /// Why.
    pub why: String,
    /// What could not be taken back, each in a sentence. Empty: everything is as it was.
    pub left: Vec<String>,
}

/// The stages of an update.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Stage {
    /// The images are made. Nothing else is touched yet.
    Build,
    /// The file is changed.
    File,
    /// The runners are replaced.
    Redeploy,
}

impl Applied {
    /// Whether all of it is done.
    pub fn is_done(&self) -> bool {
        self.failure.is_none() && self.unfinished.is_empty()
    }
}

/// Carries an update out, or takes it back.
pub async fn apply(steps: &dyn Steps, update: &Update) -> Applied {
    let mut applied = Applied { update: update.clone(), unfinished: Vec::new(), failure: None };
    let mut built: Vec<&PoolName> = Vec::new();
    for pool in &update.pools {
        steps.tell(Some(pool), &format!("building on {}", update.to));
        if let Err(why) = steps.build(update, pool).await {
            let left = back_to_old_images(steps, update, &built).await;
            applied.failure = Some(Failure { stage: Stage::Build, pool: Some(pool.clone()), why, left });
            return applied;
        }
        built.push(pool);
    }
    if update.changes_the_file() {
        steps.tell(None, &format!("{} becomes {}", update.from, update.to));
        if let Err(why) = steps.change_file(update).await {
            let left = back_to_old_images(steps, update, &built).await;
            applied.failure = Some(Failure { stage: Stage::File, pool: None, why, left });
            return applied;
        }
    }
    let mut redeployed: Vec<&PoolName> = Vec::new();
    for pool in &update.pools {
        steps.tell(Some(pool), "replacing its runners");
        redeployed.push(pool);
        match steps.redeploy(pool).await {
            Redeployed::Done => steps.tell(Some(pool), "runs the new image"),
            Redeployed::Unfinished(why) => applied.unfinished.push((pool.clone(), why)),
            Redeployed::Broken(why) => {
                steps.tell(Some(pool), "the new image does not come online; back to the old one");
                let left = take_back(steps, update, &redeployed).await;
                applied.unfinished.clear();
                applied.failure = Some(Failure { stage: Stage::Redeploy, pool: Some(pool.clone()), why, left });
                return applied;
            }
        }
    }
    applied
}

/// After the file was changed. The file first: whoever reads it meanwhile finds what is about to be true.
///
/// All pools of the update go back, not only the one that failed: with the file as it was, none of them belongs on the new
/// image any more.
async fn take_back(steps: &dyn Steps, update: &Update, redeployed: &[&PoolName]) -> Vec<String> {
    let mut left = Vec::new();
    if update.changes_the_file()
        && let Err(why) = steps.restore_file().await
    {
        left.push(format!("the file has the new base image still: {why}"));
    }
    let all: Vec<&PoolName> = update.pools.iter().collect();
    left.extend(back_to_old_images(steps, update, &all).await);
    // The one that is broken first: it is the one that serves nobody.
    for pool in redeployed.iter().rev() {
        steps.tell(Some(pool), "replacing its runners by such with the old image");
        match steps.redeploy(pool).await {
            Redeployed::Done => {}
            Redeployed::Unfinished(why) | Redeployed::Broken(why) => {
                left.push(format!("runners of pool `{pool}` are not back on the old image: {why}"));
            }
        }
    }
    left
}

async fn back_to_old_images(steps: &dyn Steps, update: &Update, pools: &[&PoolName]) -> Vec<String> {
    let mut left = Vec::new();
    for pool in pools.iter().rev() {
        if let Err(why) = steps.roll_back(update, pool).await {
            left.push(format!("pool `{pool}` has the new image still: {why}"));
        }
    }
    left
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::{BTreeMap, BTreeSet};
    use std::sync::Mutex;

    /// A world in which chosen steps fail: `build b`, `file`, `restore`, `roll back a`, `redeploy b`, `redeploy b again`.
    struct World {
        failing: BTreeSet<String>,
        unfinished: BTreeSet<String>,
        done: Mutex<Vec<String>>,
        state: Mutex<State>,
    }

    #[derive(Debug, Default, PartialEq, Eq, Clone)]
    struct State {
        file_is_new: bool,
        /// Which image next runners get.
        current_is_new: BTreeMap<String, bool>,
        /// Which image runners have.
        runs_new: BTreeMap<String, bool>,
        redeploys: BTreeMap<String, u32>,
    }

    impl World {
        fn new(failing: &[&str], unfinished: &[&str]) -> Self {
            let set = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
            Self { failing: set(failing), unfinished: set(unfinished), done: Mutex::default(), state: Mutex::default() }
        }

        fn try_to(&self, step: &str) -> Result<(), String> {
            self.done.lock().unwrap().push(step.to_owned());
            if self.failing.contains(step) { Err(format!("{step} fails")) } else { Ok(()) }
        }

        fn done(&self) -> Vec<String> {
            self.done.lock().unwrap().clone()
        }
    }

    #[async_trait]
    impl Steps for World {
        fn tell(&self, _: Option<&PoolName>, _: &str) {}

        async fn build(&self, _: &Update, pool: &PoolName) -> Result<(), String> {
            self.try_to(&format!("build {pool}"))?;
            self.state.lock().unwrap().current_is_new.insert(pool.to_string(), true);
            Ok(())
        }

        async fn roll_back(&self, _: &Update, pool: &PoolName) -> Result<(), String> {
            self.try_to(&format!("roll back {pool}"))?;
            self.state.lock().unwrap().current_is_new.insert(pool.to_string(), false);
            Ok(())
        }

        async fn change_file(&self, _: &Update) -> Result<(), String> {
            self.try_to("file")?;
            self.state.lock().unwrap().file_is_new = true;
            Ok(())
        }

        async fn restore_file(&self) -> Result<(), String> {
            self.try_to("restore")?;
            self.state.lock().unwrap().file_is_new = false;
            Ok(())
        }

        async fn redeploy(&self, pool: &PoolName) -> Redeployed {
            let again = {
                let mut state = self.state.lock().unwrap();
                let count = state.redeploys.entry(pool.to_string()).or_default();
                *count += 1;
                let again = if *count > 1 { " again" } else { "" };
                let new = state.current_is_new.get(pool.as_str()).copied().unwrap_or_default();
                state.runs_new.insert(pool.to_string(), new);
                again
            };
            match self.try_to(&format!("redeploy {pool}{again}")) {
                Err(why) => Redeployed::Broken(why),
                Ok(()) if self.unfinished.contains(pool.as_str()) && again.is_empty() => {
                    Redeployed::Unfinished("a job runs".to_owned())
                }
                Ok(()) => Redeployed::Done,
            }
        }
    }

    fn update(to: &str) -> Update {
        let pools = ["a", "b", "c"].map(PoolName::new).to_vec();
        Update { from: "base:1".to_owned(), to: to.to_owned(), digest: None, pools }
    }

    #[tokio::test]
    async fn build_then_file_then_runners_pool_after_pool() {
        let world = World::new(&[], &["b"]);
        let applied = apply(&world, &update("base:2")).await;
        assert_eq!(world.done(), ["build a", "build b", "build c", "file", "redeploy a", "redeploy b", "redeploy c"]);
        assert_eq!(applied.failure, None);
        assert_eq!(applied.unfinished, [(PoolName::new("b"), "a job runs".to_owned())]);
        // The same tag: the file stays.
        let world = World::new(&[], &[]);
        assert!(apply(&world, &update("base:1")).await.is_done());
        assert!(!world.done().contains(&"file".to_owned()));
    }

    #[tokio::test]
    async fn a_build_that_fails_touches_no_file_and_no_runner() {
        let world = World::new(&["build b"], &[]);
        let failure = apply(&world, &update("base:2")).await.failure.unwrap();
        assert_eq!(world.done(), ["build a", "build b", "roll back a"]);
        assert_eq!(
            (failure.stage, failure.pool, failure.why.as_str()),
            (Stage::Build, Some(PoolName::new("b")), "build b fails")
        );
        assert!(failure.left.is_empty());
    }

    #[tokio::test]
    async fn a_file_that_cannot_be_written_keeps_the_old_images() {
        let world = World::new(&["file", "roll back b"], &[]);
        let failure = apply(&world, &update("base:2")).await.failure.unwrap();
        assert_eq!(
            world.done(),
            ["build a", "build b", "build c", "file", "roll back c", "roll back b", "roll back a"]
        );
        assert_eq!(failure.stage, Stage::File);
        assert_eq!(failure.left, ["pool `b` has the new image still: roll back b fails"]);
    }

    #[tokio::test]
    async fn an_image_whose_runner_does_not_come_online_is_taken_back_everywhere() {
        let world = World::new(&["redeploy b"], &["a"]);
        let applied = apply(&world, &update("base:2")).await;
        assert_eq!(
            world.done()[3..],
            [
                "file",
                "redeploy a",
                "redeploy b",
                "restore",
                "roll back c",
                "roll back b",
                "roll back a",
                "redeploy b again",
                "redeploy a again",
            ]
        );
        let failure = applied.failure.unwrap();
        assert_eq!((failure.stage, failure.pool), (Stage::Redeploy, Some(PoolName::new("b"))));
        assert!(failure.left.is_empty() && applied.unfinished.is_empty());

        let world = World::new(&["redeploy a", "restore", "redeploy a again"], &[]);
        let failure = apply(&world, &update("base:2")).await.failure.unwrap();
        assert_eq!(
            failure.left,
            [
                "the file has the new base image still: restore fails",
                "runners of pool `a` are not back on the old image: redeploy a again fails",
            ]
        );
        // The same tag: there is nothing in the file to take back.
        let world = World::new(&["redeploy a"], &[]);
        apply(&world, &update("base:1")).await;
        assert!(!world.done().contains(&"restore".to_owned()));
    }

    proptest! {
        /// All or nothing: unless something that was to be taken back failed as well, and that is told.
        #[test]
        fn whatever_fails_all_is_new_or_all_is_old_or_it_is_told(
            failing in proptest::collection::btree_set(
                prop_oneof![
                    Just("build a"), Just("build b"), Just("build c"), Just("file"), Just("restore"), Just("roll back a"),
                    Just("roll back c"), Just("redeploy a"), Just("redeploy c"), Just("redeploy a again"),
                ],
                0..5,
            ),
        ) {
            let failing: Vec<&str> = failing.into_iter().collect();
            let world = World::new(&failing, &[]);
            let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
            let applied = runtime.block_on(apply(&world, &update("base:2")));
            let State { file_is_new, current_is_new, runs_new, .. } = world.state.lock().unwrap().clone();
            let all = |states: &BTreeMap<String, bool>, new: bool| states.values().all(|is_new| *is_new == new);
            match applied.failure {
                None => prop_assert!(file_is_new && all(&current_is_new, true) && all(&runs_new, true)),
                Some(failure) if failure.left.is_empty() => {
                    prop_assert!(!file_is_new && all(&current_is_new, false) && all(&runs_new, false));
                }
                // It says so for each thing that stayed new.
                Some(failure) => prop_assert!(
                    failure.left.iter().all(|sentence| sentence.contains("fails")),
                    "{failure:?}"
                ),
            }
        }
    }
}
