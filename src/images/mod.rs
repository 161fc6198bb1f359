//! The images of the pools: built from their Dockerfiles, or pulled.
//!
//! - [`names`]: what they are called
//! - [`dockerfile`], [`ignore`], [`context`], [`args`], [`inputs`]: what goes into one (the last three words of its tag say so)
//! - [`mod@ensure`]: makes or fetches what is missing or has changed; `making`, `verify` do one of them
//! - `told`: the same, told to whoever wants to know
//! - [`current`]: which of its images a pool runs, and the way back
//! - [`inventory`], [`prune`]: what there is, and what nobody needs
//!
//! Nothing of this is in the store: the engine's tags and the images' labels say it all. The labels are not those of
//! containers: a container inherits the labels of its image, and one that a person starts by hand is not ours.

pub mod args;
pub mod context;
pub mod current;
pub mod dockerfile;
pub mod ensure;
pub mod ignore;
pub mod inputs;
pub mod inventory;
mod making;
pub mod names;
pub mod prune;
mod told;
mod verify;

pub use ensure::{BuildNews, Done, Ensured, Kind, NewsKind, Options, ensure};
pub use told::ensure_and_tell;

use crate::provider::ProviderError;
use crate::provider::docker::build::BuildError;
use context::ContextError;
use std::path::PathBuf;

/// Whose image it is: the fleet's name. On every image that is built here.
pub const INSTANCE: &str = "runnerfleet.image.instance";
/// The pool that it was built for first; others with the same inputs share it.
pub const POOL: &str = "runnerfleet.image.pool";
/// The digest of all that went into it.
pub const INPUTS: &str = "runnerfleet.image.inputs";
/// The base image's reference.
pub const BASE: &str = "runnerfleet.image.base";
/// The base image's id in the engine.
pub const BASE_ID: &str = "runnerfleet.image.base-id";

/// Why a pool has no image, or not the one that it should have.
#[derive(Debug, thiserror::Error)]
pub enum ImageError {
    /// What would be sent to the builder.
    #[error(transparent)]
    Context(#[from] ContextError),
    /// The Dockerfile cannot be read.
    #[error("cannot read the Dockerfile {path}: {why}")]
    Dockerfile {
        /// Which.
        path: PathBuf,
        /// Why not.
        why: String,
    },
    /// The builder.
    #[error(transparent)]
    Build(#[from] BuildError),
    /// It was built, and no runner could work in it.
    #[error("the image was built, but no runner can work in it: {0}")]
    Unfit(String),
    /// There is no image to go back to.
    #[error("pool `{0}` has no earlier image to go back to: only one was built, or `images prune --all` removed it")]
    NothingBefore(crate::model::PoolName),
    /// Another pool with the same inputs told what went wrong.
    #[error("its inputs are those of pool `{pool}`, whose build failed: {why}")]
    Shared {
        /// Which pool.
        pool: crate::model::PoolName,
        /// The first line of what it told.
        why: String,
    },
    /// The engine, or a registry.
    #[error(transparent)]
    Engine(#[from] ProviderError),
}
