//! `scripts/chaos` in short: everything is broken once while a burst is served.

#[path = "../../../examples/chaos/parts/mod.rs"]
mod parts;

use parts::Wish;
use parts::enclosure::{Enclosure, until_unwanted};
use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

/// Names the folder, inside the enclosure.
const INSIDE: &str = "RUNNERFLEET_CHAOS_FOLDER";

/// One play takes less than a minute where nothing else runs.
const PATIENCE: Duration = Duration::from_secs(160);

/// This program runs itself, in namespaces of its own: its network and its engine are nobody else's.
#[tokio::test(flavor = "multi_thread")]
async fn a_burst_is_served_while_each_part_is_broken_once() {
    if let Some(folder) = std::env::var_os(INSIDE) {
        return inside(PathBuf::from(folder)).await;
    }
    let folder = tempfile::Builder::new().prefix("runnerfleet-chaos-").tempdir().unwrap().keep();
    let program = std::env::current_exe().unwrap();
    let name = "chaos::a_burst_is_served_while_each_part_is_broken_once";
    let arguments = ["--exact", name, "--nocapture"].map(OsString::from);
    let inside = [(INSIDE, folder.to_str().unwrap())];
    let mut enclosure = Enclosure::run(&folder, program.as_os_str(), &arguments, &inside).unwrap();
    let ended = tokio::time::timeout(PATIENCE, enclosure.ended()).await;
    enclosure.end().await;
    let status = ended.expect("it ends").unwrap();
    assert!(status.success(), "{status}");
}

async fn inside(folder: PathBuf) {
    let wish = Wish {
        seed: 5,
        jobs: 16,
        faults_for: Duration::from_secs(60),
        patience: Duration::from_secs(45),
        once: true,
        program: PathBuf::from(env!("CARGO_BIN_EXE_runnerfleet")),
        folder,
    };
    let played = tokio::select! {
        played = parts::play(&wish) => played,
        // The kernel ends the rest with this process.
        () = until_unwanted() => return,
    };
    let (table, good) = played.unwrap_or_else(|error| panic!("{error:#}"));
    println!("{table}");
    assert!(good, "a job was lost or something is left: see the table");
}
