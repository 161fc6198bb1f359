//! Real parts, and how each of them is broken. `scripts/chaos` and a test share all of it.
//!
//! ```text
//! enclosure   namespaces for all processes: nothing in them can touch this machine's own, or outlive them
//! stage       the parts themselves: engine, Redis, simulated GitHub, `serve`, and a link between each two
//! order       what is broken, and when: from a seed, pure
//! play        breaks it, while the burst is served; does what people and GitHub do meanwhile
//! report      what became of it: the table, and whether it is good
//! ```

pub(super) mod enclosure;
mod engine;
mod link;
mod order;
mod play;
mod report;
mod serve;
mod stage;

use std::path::{Path, PathBuf};
use std::time::Duration;

/// What is played.
#[derive(Debug, Clone)]
pub(super) struct Wish {
    /// From which the order, the moments and the jobs' durations follow.
    pub(super) seed: u64,
    /// How many are queued at once.
    pub(super) jobs: u32,
    /// Nothing more is broken after this.
    pub(super) faults_for: Duration,
    /// After the last fault all must be over within this.
    pub(super) patience: Duration,
    /// Each kind of fault comes once only, and not again and again until the jobs are over.
    pub(super) once: bool,
    /// The program under test.
    pub(super) program: PathBuf,
    /// Everything of this play lies in it.
    pub(super) folder: PathBuf,
}

/// Plays it in the enclosure that this process is in; the table, and whether all is well.
pub(super) async fn play(wish: &Wish) -> anyhow::Result<(String, bool)> {
    let mut stage = stage::Stage::set_up(wish).await?;
    let played = play::play(&mut stage, wish).await;
    match played {
        Ok(seen) if seen.is_good() => Ok((seen.to_string(), true)),
        Ok(seen) => Ok((format!("{seen}\n{}", stage.told()), false)),
        Err(error) => Err(error.context(stage.told())),
    }
}

/// The last lines of a log, for a person who wonders.
fn tail(path: &Path, lines: usize) -> String {
    let text = std::fs::read_to_string(path).unwrap_or_default();
    let all: Vec<&str> = text.lines().collect();
    all[all.len().saturating_sub(lines)..].join("\n")
}
