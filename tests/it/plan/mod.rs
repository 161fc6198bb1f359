//! The plan: golden scenarios that a person can read (`tests/plan/*.scenario`), and properties that hold for any world.
//!
//! A scenario has a world above the line `---` and what is decided below it. `UPDATE_SCENARIOS=1` writes what is decided now;
//! read the difference before you commit it.

mod notation;
mod properties;

use std::path::Path;

#[test]
fn every_scenario_is_decided_as_written() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/plan");
    let mut paths: Vec<_> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    assert!(paths.len() >= 20, "the scenarios are there");
    let mut wrong = Vec::new();
    for path in paths {
        let text = std::fs::read_to_string(&path).unwrap();
        let (world, expected) = text.split_once("\n---\n").unwrap_or_else(|| panic!("{} has no `---`", path.display()));
        let decided = notation::decide(world);
        if decided.trim() != expected.trim() {
            if std::env::var_os("UPDATE_SCENARIOS").is_some() {
                std::fs::write(&path, format!("{world}\n---\n{decided}")).unwrap();
            }
            wrong.push(format!("{}\nexpected:\n{}\ndecided:\n{decided}", path.display(), expected.trim()));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
}
