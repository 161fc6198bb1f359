//! The process of a job: called `Runner.Worker`, as with the real agent. It lives for the job's time and tells its end by
//! the real one's exit codes.

use super::WORKER_NAME;
use crate::simulation::protocol::{Acquired, Ending};
use rustix::process::{Signal, getpid, kill_process};
use std::io::{Read as _, Write as _};
use std::thread::sleep;
use std::time::Duration;

/// Memory is taken in pieces of this size.
const PIECE: usize = 16 << 20;
/// No more is taken: a machine without a limit must not be brought down by a test.
const CEILING: usize = 2 << 30;

/// What the real worker adds to a result: 100 succeeded, 102 failed, 103 cancelled, 104 skipped (actions/runner,
/// TaskResultUtil).
pub(super) fn exit_code(conclusion: &str) -> u8 {
    match conclusion {
        "success" | "neutral" => 100,
        "cancelled" => 103,
        "skipped" => 104,
        _ => 102,
    }
}

/// The agent's word for a conclusion.
pub(super) fn result_word(conclusion: &str) -> &'static str {
    match conclusion {
        "success" | "neutral" => "Succeeded",
        "cancelled" => "Canceled",
        "skipped" => "Skipped",
        _ => "Failed",
    }
}

/// Reads its job from standard input, and lives as long as it takes.
pub(super) fn main() -> u8 {
    // `ps` shows either the arguments or this.
    let short = WORKER_NAME.rsplit('/').next().unwrap_or(WORKER_NAME);
    if let Err(error) = std::fs::write("/proc/self/comm", short) {
        tracing::debug!(%error, "the worker keeps its own name");
    }
    let mut text = String::new();
    let job = std::io::stdin()
        .read_to_string(&mut text)
        .map_err(|error| error.to_string())
        .and_then(|_| serde_json::from_str::<Acquired>(&text).map_err(|error| error.to_string()));
    let job = match job {
        Ok(job) => job,
        Err(error) => {
            // A broken pipe ends the worker anyway.
            let _ = writeln!(std::io::stdout(), "Unhandled exception: {error}");
            return 1;
        }
    };
    let mut out = std::io::stdout().lock();
    for line in 1..=job.output_lines {
        // Nobody has to listen.
        let _ = writeln!(
            out,
            "[WORKER {}] line {line} of {} {}",
            super::listen::moment(),
            job.output_lines,
            "·".repeat(60)
        );
    }
    drop(out);
    sleep(Duration::from_millis(job.duration_ms));
    match job.ending {
        Ending::JobOutOfMemory => devour(),
        Ending::Hangs => loop {
            sleep(Duration::from_secs(60));
        },
        // The agent's own end is the agent's business.
        Ending::Normal | Ending::AgentDies { .. } | Ending::AgentOutOfMemory => exit_code(&job.conclusion),
    }
}

/// Takes memory until the kernel kills this process; where no limit is met, it ends itself in the same way.
pub(super) fn devour() -> u8 {
    let mut taken: Vec<Vec<u8>> = Vec::new();
    while taken.len() * PIECE < CEILING {
        // Ones, since untouched zeroes cost nothing.
        taken.push(vec![1; PIECE]);
    }
    if let Err(error) = kill_process(getpid(), Signal::KILL) {
        tracing::debug!(%error, "a process without rights over itself");
    }
    // PID 1 is not killed by its own hand: this is the code that a killed process has. `taken` lives until here.
    137 + u8::from(taken.is_empty())
}
