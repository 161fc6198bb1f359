//! x
pub mod clock;
pub mod config;
pub mod durable;
pub mod github;
pub mod model;
pub mod plan;
pub mod provider;
pub mod queue;
pub mod simulation;
pub mod store;
pub mod webhook;
