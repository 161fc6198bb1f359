//! Registries of images: what a reference names, which tags there are, which image a tag stands for now, and which of
//! the tags is a newer version.
//!
//! The client speaks the part of the OCI distribution API that only reads. It is our own on top of reqwest: what we
//! need of it is three requests, and what we need to tell apart (a token server that is down is no wrong password;
//! until when a rate limit lasts) gets lost in the ready-made client that was tried.

mod client;
mod credentials;
mod error;
mod line;
mod reference;
mod token;
pub mod update;

pub use client::{Client, Manifest, Platform};
pub use credentials::{CredentialError, DockerLogins};
pub use error::RegistryError;
pub use reference::{InvalidReference, Reference};
