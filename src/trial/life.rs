//! One process of the program, from its start to its end. Everything that it does to the world outside goes through
//! [`Life::call`], and that is where it can be killed, stand still, or be told something else than what happened. What lies
//! between two calls changes nothing outside, so to die at a call is to die anywhere.

use super::dice::Dice;
use super::stage::Stage;
use super::weather::Rates;
use crate::simulation::changes::Changes;
use std::fmt::Display;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// What a process does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum State {
    Runs,
    /// It got SIGSTOP, or its machine sleeps.
    Stands,
    Dead,
}

/// See the module.
pub(super) struct Life {
    pub(super) name: String,
    pub(super) stop: CancellationToken,
    stage: Weak<Stage>,
    state: Mutex<State>,
    changes: Arc<Changes>,
    steps: AtomicU64,
    dies_at: AtomicU64,
    dice: Dice,
    /// Ends the feeds that are open.
    feeds: Mutex<CancellationToken>,
}

/// How a call goes.
struct Fate {
    before: Duration,
    after: Duration,
    refused: bool,
    lost: bool,
}

impl Life {
    pub(super) fn new(stage: &Arc<Stage>, name: String) -> Arc<Self> {
        let dice = Dice::new(stage.seed, &name);
        Arc::new(Self {
            name,
            stop: CancellationToken::new(),
            stage: Arc::downgrade(stage),
            state: Mutex::new(State::Runs),
            changes: Arc::default(),
            steps: AtomicU64::new(0),
            dies_at: AtomicU64::new(0),
            dice,
            feeds: Mutex::default(),
        })
    }

    pub(super) fn stage(&self) -> Arc<Stage> {
        self.stage.upgrade().expect("the stage outlives the tasks that play on it")
    }

    pub(super) fn state(&self) -> State {
        *self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn dice(&self) -> &Dice {
        &self.dice
    }

    fn become_state(&self, state: State) {
        *self.state.lock().unwrap_or_else(PoisonError::into_inner) = state;
        self.changes.touch();
    }

    /// It will be killed after so many more calls.
    pub(super) fn die_in(&self, steps: u64) {
        self.dies_at.store(self.steps.load(Ordering::Relaxed) + steps.max(1), Ordering::Relaxed);
    }

    /// SIGKILL.
    pub(super) fn die(&self) {
        if self.state() != State::Dead {
            self.stage().note(&format!("{} is dead", self.name));
            self.become_state(State::Dead);
            self.stop.cancel();
            self.cut_feeds();
        }
    }

    pub(super) fn stand_still(&self, still: bool) {
        if self.state() != State::Dead {
            self.become_state(if still { State::Stands } else { State::Runs });
        }
    }

    /// Until it is dead.
    pub(super) async fn died(&self) {
        let mut seen = self.changes.watch();
        while self.state() != State::Dead {
            seen.changed().await;
        }
    }

    /// Ends once the feeds that are open now are cut.
    pub(super) fn feeds(&self) -> CancellationToken {
        self.feeds.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(super) fn cut_feeds(&self) {
        std::mem::take(&mut *self.feeds.lock().unwrap_or_else(PoisonError::into_inner)).cancel();
    }

    /// Goes on if it lives: later, if it stands still; never, once it is dead.
    pub(super) async fn gate(&self) {
        let step = self.steps.fetch_add(1, Ordering::Relaxed) + 1;
        if self.dies_at.load(Ordering::Relaxed) == step {
            self.die();
        }
        let mut seen = self.changes.watch();
        loop {
            match self.state() {
                State::Runs => return,
                State::Dead => return std::future::pending().await,
                State::Stands => seen.changed().await,
            }
        }
    }

    /// One call to the world outside. `act` is done at most once, at one moment; `away` says why it is not.
    pub(super) async fn call<T, E: Display>(
        &self,
        what: &str,
        rates: Rates,
        away: Option<&str>,
        error: impl Fn(String) -> E,
        act: impl Future<Output = Result<T, E>>,
    ) -> Result<T, E> {
        self.gate().await;
        let fate = self.fate(rates);
        tokio::time::sleep(fate.before).await;
        self.gate().await;
        let stage = self.stage();
        if let Some(away) = away {
            return Err(error(away.to_owned()));
        }
        if fate.refused {
            stage.note(&format!("{} {what}: refused", self.name));
            return Err(error("the connection was refused".to_owned()));
        }
        let done = act.await;
        match &done {
            Ok(_) if fate.lost => stage.note(&format!("{} {what}: done, and the answer is lost", self.name)),
            Ok(_) => stage.note(&format!("{} {what}", self.name)),
            Err(error) => stage.note(&format!("{} {what}: {error}", self.name)),
        }
        drop(stage);
        self.gate().await;
        tokio::time::sleep(fate.after).await;
        self.gate().await;
        if fate.lost {
            return Err(error("the connection broke".to_owned()));
        }
        done
    }

    fn fate(&self, rates: Rates) -> Fate {
        let dice = &self.dice;
        let slow = |dice: &Dice| match dice.below(4) {
            0 => dice.seconds(5, 40),
            _ => dice.millis(200, 5000),
        };
        let mut fate = Fate { before: dice.millis(0, 8), after: dice.millis(0, 8), refused: false, lost: false };
        if dice.happens(rates.slow) {
            if dice.happens(5000) { fate.before = slow(dice) } else { fate.after = slow(dice) }
        }
        fate.refused = dice.happens(rates.refused);
        fate.lost = !fate.refused && dice.happens(rates.answer_lost);
        fate
    }
}
