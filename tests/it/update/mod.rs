//! Base images that are out of date: found, and put in place of the old ones.

/// From the old one to the new one, or back.
mod apply;
/// What there is that is newer.
mod check;
/// The file on disk: whole, locked, kept, as it was apart from the value.
mod file;
