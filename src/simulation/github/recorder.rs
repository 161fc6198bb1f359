//! What was asked and answered: bounded, for tests that hold it against GitHub's description or count requests.

use super::faults::matches;
use super::lock;
use jiff::Timestamp;
use serde_json::Value;
use std::collections::VecDeque;
use std::sync::Mutex;

/// The oldest are forgotten beyond this.
const KEPT: usize = 20_000;

/// One request of the API with its answer. It holds tokens and JIT configs: it is for tests, and is never logged.
#[derive(Clone)]
pub struct Exchange {
    /// When it came.
    pub at: Timestamp,
    /// `GET`, …
    pub method: String,
    /// As in GitHub's description: `/orgs/{org}/actions/runners`; the path itself where no route matched.
    pub template: String,
    /// The path, without the base path.
    pub path: String,
    /// The query, without the `?`.
    pub query: String,
    /// The request's body, if it was JSON.
    pub request: Option<Value>,
    /// The answer's status; 0 while there is none (or where the connection was cut).
    pub status: u16,
    /// The answer's headers.
    pub headers: Vec<(String, String)>,
    /// The answer's body, if it was JSON.
    pub response: Option<Value>,
    /// Whether a fault was made: such an answer need not follow GitHub's description.
    pub faulty: bool,
}

/// All exchanges.
#[derive(Default)]
pub(super) struct Recorder {
    kept: Mutex<Kept>,
    /// Keeps nothing.
    off: bool,
}

#[derive(Default)]
struct Kept {
    /// How many were forgotten: the number of the first that is kept.
    first: usize,
    exchanges: VecDeque<Exchange>,
}

impl Recorder {
    pub(super) fn new(on: bool) -> Self {
        Self { kept: Mutex::default(), off: !on }
    }

    /// A request came; the answer is noted under the number that this returns.
    pub(super) fn begin(&self, exchange: Exchange) -> usize {
        let mut kept = lock(&self.kept);
        if self.off {
            return 0;
        }
        kept.exchanges.push_back(exchange);
        if kept.exchanges.len() > KEPT {
            kept.exchanges.pop_front();
            kept.first += 1;
        }
        kept.first + kept.exchanges.len() - 1
    }

    pub(super) fn end(&self, number: usize, note: impl FnOnce(&mut Exchange)) {
        let mut kept = lock(&self.kept);
        let Some(index) = number.checked_sub(kept.first) else { return };
        if let Some(exchange) = kept.exchanges.get_mut(index) {
            note(exchange);
        }
    }

    pub(super) fn all(&self) -> Vec<Exchange> {
        lock(&self.kept).exchanges.iter().cloned().collect()
    }

    /// The moments of the requests that match.
    pub(super) fn times(&self, pattern: &str) -> Vec<Timestamp> {
        lock(&self.kept)
            .exchanges
            .iter()
            .filter(|it| matches(pattern, &it.method, &it.template, &it.path))
            .map(|it| it.at)
            .collect()
    }
}
