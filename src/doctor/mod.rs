//! Everything that can be wrong, looked at one after the other: `runnerfleet doctor`.
//!
//! - [`catalogue`]: which checks there are; docs/doctor.md shows it
//! - [`finding`]: what a check says
//! - [`config`], [`store`], [`docker`], [`github`], [`webhook`], [`runners`]: from what was seen to findings (pure)
//! - [`look`]: sees; it changes nothing, and each look has a bound
//!
//! A check that fails keeps no other from being made. What depends on it says that it was not looked at, and why.

pub mod catalogue;
pub mod config;
pub mod docker;
pub mod finding;
pub mod github;
pub mod look;
pub mod runners;
pub mod store;
pub mod webhook;
mod words;

pub use catalogue::{Area, CHECKS, Check};
pub use finding::{Finding, NOT_LOOKED, Seen, Verdict};
