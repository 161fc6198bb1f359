//! runnerfleet: every queued GitHub Actions job gets a fresh runner on its users' own machines.
//!
//! The modules stand here in the order in which one webhook meets them:
//!
//! ```text
//! GitHub --POST /webhook--> inbound -> webhook -> queue -> ingest -> store
//!                                                  | (the wake-up carries nothing)
//!                                                  v
//!                                              reconcile -> plan (pure) -> github, provider
//! ```
//!
//! `model` and `config` are the words that all of them speak; `plan` decides and does nothing; `reconcile` does and decides
//! nothing. `app` joins the parts, `cli` is what a user types, `simulation` is the GitHub of the demo and the tests,
//! `trial` plays whole lives against it, each from a number.
//! ARCHITECTURE.md walks through it with one webhook.

pub mod inbound;

pub mod webhook;

pub mod missed;

pub mod queue;

pub mod ingest;

pub mod store;

pub mod durable;

pub mod reconcile;

pub mod plan;

pub mod github;

pub mod provider;

pub mod registry;

pub mod model;

pub mod config;

pub mod clock;

pub mod credentials;

pub mod permissions;

pub mod setup;

pub mod overview;

pub mod images;

pub mod notify;

pub mod persistent;

pub mod maintenance;

pub mod update;

pub mod removal;

pub mod adoption;

pub mod readiness;

pub mod doctor;

pub mod scheduler;

pub mod admin;

pub mod service;

pub mod app;

pub mod simulation;

pub mod trial;

pub mod cli;

#[doc(hidden)]
pub mod untrusted;
