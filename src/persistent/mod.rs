//! Persistent runners: described in the file, kept at a number, driven from the command line.
//!
//! - [`order`](Order): what a person orders, what is told on the way
//! - [`spec`]: what the file describes (pure)
//! - [`difference`](Change): the file against what is there (pure)
//! - [`step`]: the next thing to do for one runner (pure)
//! - [`phase`]: in which phase of its life one is (pure)
//! - `tend`: what `serve` does about one by itself (pure)
//! - `keeper`: orders carried out, one drive for each runner at a time
//! - `drive`: step by step to a goal; `effects`: the hands
//! - `rows`: the one place where a runner's row changes
//! - `news`: what is told of them
//! - `keep`: the loop of `serve`
//!
//! The machinery of ephemeral runners (`plan`, `reconcile`) leaves them alone, and counts them.

pub mod difference;
mod drive;
mod effects;
mod keep;
mod keeper;
mod news;
mod order;
pub mod phase;
mod rows;
pub mod spec;
pub mod step;
mod tend;

pub use keeper::{Keeper, Parts, Prepared, Refused, Reread};
pub use order::{Change, ChangeKind, Options, Order, Outcome, OutcomeKind, Progress, Verb};
