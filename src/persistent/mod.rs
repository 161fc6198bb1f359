//! Persistent runners: described in the file, kept at a number, driven from the command line.

mod order;

pub use order::{Change, ChangeKind, Options, Order, Outcome, OutcomeKind, Progress, Verb};
