//! Runs that once showed a mistake of the program, each with what it was.

use super::{play, told};

fn holds(seed: u64) {
    assert_eq!(told(&play(seed)), None);
}

/// A job that another's runner took, and whose `completed` was lost, stayed in the store for 36 days.
#[test]
fn a_stolen_job_whose_end_nobody_told_does_not_stay() {
    holds(19);
    holds(33);
}
