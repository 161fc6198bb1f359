//! runnerfleet: every queued GitHub Actions job gets a fresh runner on its users' own machines.

pub mod config;
pub mod durable;
pub mod github;
pub mod model;
pub mod provider;
pub mod queue;
pub mod simulation;
pub mod store;
