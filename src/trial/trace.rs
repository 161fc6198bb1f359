//! What happened in a run, line by line: kept if somebody wants to read it, and always as one number, which tells whether two runs
//! were the same.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// See the module.
#[derive(Debug)]
pub(super) struct Trace(Mutex<Kept>);

#[derive(Debug)]
struct Kept {
    hash: u64,
    count: u64,
    lines: Option<Vec<String>>,
}

impl Trace {
    /// Begins; keeps the lines themselves only if `whole`.
    pub(super) fn new(whole: bool) -> Self {
        Self(Mutex::new(Kept { hash: 0xcbf2_9ce4_8422_2325, count: 0, lines: whole.then(Vec::new) }))
    }

    /// One more line.
    pub(super) fn note(&self, at: Duration, text: &str) {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let time = at.as_millis().to_le_bytes();
        kept.hash = time
            .iter()
            .chain(text.as_bytes())
            .fold(kept.hash, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3));
        kept.count += 1;
        if let Some(lines) = &mut kept.lines {
            lines.push(format!("{:>10.3} {text}", at.as_secs_f64()));
        }
    }

    /// One number for all of it, and how many lines there were.
    pub(super) fn sum(&self) -> (u64, u64) {
        let kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        (kept.hash, kept.count)
    }

    /// The lines, if they were kept.
    pub(super) fn lines(&self) -> Vec<String> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).lines.clone().unwrap_or_default()
    }
}
