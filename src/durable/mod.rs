//! What queue and store stand on: one file, or one Redis.
//!
//! Owns the file and its writer, and the connections to Redis. Knows no rule of the queue or of the store: those stand
//! in `queue::embedded`, `queue::redis`, `store::embedded` and `store::redis`, the only callers.

pub mod embedded;
pub mod redis;
