//! Runs that once showed a mistake of the program, each with what it was.

use super::{play, told};

fn holds(seed: u64) {
    assert_eq!(told(&play(seed)), None);
}

/// An agent that registers itself did so just after GitHub was asked for its name in vain; its manager stood still for some seconds
/// before it removed the container, in which a job ran by then.
#[test]
fn an_agent_that_registers_late_keeps_its_job() {
    holds(33);
}

/// What the memory kept beside the rows of two runners stayed when the rows had gone.
#[test]
fn the_memory_keeps_nothing_for_runners_that_are_forgotten() {
    holds(3);
}

/// A job that another's runner took, and whose `completed` was lost, stayed in the store for 36 days.
#[test]
fn a_stolen_job_whose_end_nobody_told_does_not_stay() {
    holds(19);
    holds(33);
}

/// A manager that was slow to renew its lease lost a fresh runner to another, and then removed its container, with a job in it.
#[test]
fn a_runner_that_another_took_for_dead_keeps_its_job() {
    holds(219);
}

/// So did one that was cancelled before anybody approved it.
#[test]
fn a_waiting_job_whose_end_nobody_told_does_not_stay() {
    holds(179);
}

/// After its clock had gone back, GitHub's list looked newer than any answer, and a job was asked about again and again without a
/// pause: the run never ended.
#[test]
fn a_clock_that_goes_back_makes_nobody_ask_without_a_pause() {
    holds(19);
}

/// Three failures in a row, and then no job: one spare was tried, came up, and the second was never made.
#[test]
fn a_spare_that_waits_in_peace_is_followed_by_the_next() {
    holds(403);
}

/// A job's `queued` and its `completed`, both lost and both found in GitHub's log, went into the queue side by side: a runner was made
/// for a job that was over.
#[test]
fn what_is_made_good_ends_before_it_begins() {
    holds(65);
    holds(1784);
}
