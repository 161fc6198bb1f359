//! runnerfleet.

pub mod admin;
pub mod app;
pub mod clock;
pub mod config;
pub mod durable;
pub mod github;
pub mod ingest;
pub mod model;
pub mod overview;
pub mod plan;
pub mod provider;
pub mod queue;
pub mod readiness;
pub mod reconcile;
pub mod removal;
pub mod simulation;
pub mod store;
pub mod webhook;
