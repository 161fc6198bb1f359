//! One binary for all tests that go through the front door.
#![allow(clippy::unwrap_used, clippy::print_stderr, clippy::print_stdout, missing_docs, unreachable_pub)]
// Tests are where clocks and environments come from.
#![allow(clippy::disallowed_methods)]
// A story compares lists; how the expected one is made does not matter.
#![allow(clippy::cloned_ref_to_slice_refs)]

/// Real parts, broken on purpose.
mod chaos;
/// What a person types, through the real program.
mod cli;
/// The configuration file: every problem told at once, with its place.
mod config;
/// The contract of queue and store, held against each implementation.
mod contract;
/// `runnerfleet demo`: it ends well, and leaves nothing however it ends.
mod demo;
/// `runnerfleet doctor`: each line in its colours.
mod doctor;
/// The GitHub client against the simulated GitHub and GitHub's OpenAPI description.
mod github;
/// The images of the pools, on a real engine with both of its builders.
mod images;
/// Who may import whom.
mod layers;
/// From a signed webhook to a container and back, on real Docker.
mod lifecycle;
/// What GitHub sent and never arrived, and what it never sent: found and made good.
mod missed;
/// Notifications over real HTTP: what arrives, and what does not hold anything up.
mod notify;
/// Docker, GitHub or the store is away: a clear answer, nothing lost, recovery without a restart.
mod outage;
/// systemd's units, the image of the program, the Compose file: as they are shipped.
mod packaging;
/// Persistent runners: kept, and driven from the command line.
mod persistent;
/// The plan: golden scenarios and properties.
mod plan;
/// The Docker provider on a real engine.
mod provider;
/// Registries of images.
mod registry;
/// The scheduler's loop on real stores.
mod scheduler;
/// What SECURITY.md promises, on real parts.
mod security;
/// From nothing to an App that is installed and heard of.
mod setup;
/// The simulated GitHub and the stand-in agent, held against GitHub's OpenAPI description.
mod simulation;
/// What several of them need.
mod support;
/// Whole lives of a fleet in one thread, each from a number.
mod trial;
/// What others wrote and we read: the checks of the fuzz targets, over their seeds with changes.
mod untrusted;
/// Base images that are out of date: found, and put in place of the old ones.
mod update;
/// The receiver and ingest: signed deliveries over real HTTP, down to the store.
mod webhook;
