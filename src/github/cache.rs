//! Values that cost a request: kept while they are fresh, and asked for once however many callers want them at once.

use super::error::Error;
use jiff::Timestamp;
use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// A value and how long it is good.
#[derive(Debug, Clone)]
pub(super) struct Kept<V> {
    pub(super) value: V,
    /// From then on a new one is asked for.
    pub(super) fresh_until: Timestamp,
    /// Until then it still works, and serves when no new one can be had.
    pub(super) valid_until: Timestamp,
}

/// Values by key.
#[derive(Debug)]
pub(super) struct Cache<K, V> {
    slots: Mutex<HashMap<K, Arc<Slot<V>>>>,
}

#[derive(Debug)]
struct Slot<V> {
    state: Mutex<State<V>>,
    /// Held by the one caller that asks.
    turn: tokio::sync::Mutex<()>,
}

#[derive(Debug)]
struct State<V> {
    kept: Option<Kept<V>>,
    /// How many times asking failed, and how it failed last.
    failures: u64,
    failed: Option<Error>,
}

impl<V> Slot<V> {
    /// A panic cannot leave the state half written: every change is one assignment.
    fn state(&self) -> MutexGuard<'_, State<V>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<K: Eq + Hash, V: Clone> Cache<K, V> {
    pub(super) fn new() -> Self {
        Self { slots: Mutex::new(HashMap::new()) }
    }

    /// The value, from `ask` if there is no fresh one. Callers that waited for one who failed share the failure: fifty
    /// waiting callers are not fifty more requests to a GitHub that is down.
    pub(super) async fn get(
        &self,
        key: K,
        now: impl Fn() -> Timestamp,
        ask: impl AsyncFnOnce() -> Result<Kept<V>, Error>,
    ) -> Result<V, Error> {
        let slot = self.slot(key);
        let fresh =
            || slot.state().kept.as_ref().filter(|kept| kept.fresh_until > now()).map(|kept| kept.value.clone());
        if let Some(value) = fresh() {
            return Ok(value);
        }
        let failures_before = slot.state().failures;
        let _turn = slot.turn.lock().await;
        if let Some(value) = fresh() {
            return Ok(value);
        }
        {
            let state = slot.state();
            if let Some(failed) = state.failed.as_ref().filter(|_| state.failures > failures_before) {
                return Err(failed.clone());
            }
        }
        let asked = ask().await;
        let mut state = slot.state();
        match asked {
            Ok(kept) => {
                let value = kept.value.clone();
                *state = State { kept: Some(kept), failures: state.failures, failed: None };
                Ok(value)
            }
            Err(error) => {
                // Renewal comes early, so that a short outage is not felt.
                if let Some(kept) = state.kept.as_ref().filter(|kept| error.is_transient() && kept.valid_until > now())
                {
                    return Ok(kept.value.clone());
                }
                state.failures += 1;
                state.failed = Some(error.clone());
                Err(error)
            }
        }
    }

    /// What is kept under `key`, fresh or not.
    pub(super) fn peek(&self, key: &K) -> Option<Kept<V>> {
        self.slots().get(key).and_then(|slot| slot.state().kept.clone())
    }

    /// Keeps a value that came another way.
    pub(super) fn put(&self, key: K, kept: Kept<V>) {
        self.slot(key).state().kept = Some(kept);
    }

    /// Forgets values that `unwanted` names. A caller who was told "not valid" must name the very value that it used:
    /// another caller may have put a newer one there.
    pub(super) fn forget(&self, unwanted: impl Fn(&K, &V) -> bool) {
        for (key, slot) in self.slots().iter() {
            let mut state = slot.state();
            if state.kept.as_ref().is_some_and(|kept| unwanted(key, &kept.value)) {
                state.kept = None;
            }
        }
    }

    fn slot(&self, key: K) -> Arc<Slot<V>> {
        let mut slots = self.slots();
        let slot = slots.entry(key).or_insert_with(|| {
            Arc::new(Slot {
                state: Mutex::new(State { kept: None, failures: 0, failed: None }),
                turn: tokio::sync::Mutex::new(()),
            })
        });
        Arc::clone(slot)
    }

    fn slots(&self) -> MutexGuard<'_, HashMap<K, Arc<Slot<V>>>> {
        self.slots.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
