//! What several tests need. Each file owns one real part and cleans up after it, also when the test fails.

/// The whole program on real parts.
pub mod app;
/// A real browser.
pub mod browser;
pub mod docker;
/// A Docker that goes away and comes back.
pub mod engine_gate;
/// Configurations made in code.
pub mod fleet;
pub mod hub;
/// What stands in for a cloud's metadata service.
pub mod metadata;
pub mod openapi;
pub mod payload;
/// `serve` as a process of its own.
pub mod process;
pub mod redis;
/// A real registry of images.
pub mod registry;
/// Who may read there.
pub mod token_server;
/// Somebody who is told, on the loopback.
pub mod told;

/// The real program, as a person runs it.
pub mod program;
