//! The Docker provider on a real engine.

/// Images: pulled, and made from this machine's files.
mod images;
/// Made, started, handed its credential, ended, removed.
mod life;
/// Kept apart, and away from the host's metadata address.
mod networks;
/// The feed, also when the engine is away.
mod watching;
