//! The `runnerfleet` program.

fn main() {}
