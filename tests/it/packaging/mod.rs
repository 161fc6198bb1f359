//! What is shipped beside the program, held against the tools that will read it. There is no systemd that runs here: its
//! own judges look at the units, and its part at a start and a restart is played as the manuals describe it.

/// The Compose file, brought up.
mod compose;
/// The image of the program, as read-only and as powerless as it may be run.
mod container;
/// `runnerfleet health`.
mod health;
/// Images FROM scratch of programs that are on this machine.
mod images;
/// A socket that outlives the process.
mod socket;
/// Units, users, folders.
mod units;

use std::path::{Path, PathBuf};

/// A file of the repository.
fn shipped(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(name)
}

fn text(name: &str) -> String {
    std::fs::read_to_string(shipped(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
}
