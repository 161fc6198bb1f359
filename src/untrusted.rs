//! The readings of what lies in stores, by name: a door for the fuzz targets in `fuzz/` and the test that runs the same checks.
//!
//! What comes from further away is public already: [`crate::webhook::signature::verify`], [`crate::webhook::payload::parse`],
//! [`crate::config::parse`], [`crate::provider::docker::labels::read`].

use crate::durable::embedded::Row;
use crate::model::{Job, Runner};
use crate::queue::{self, Received};
use crate::store::{self, StoreChange, Version, Versioned};
use jiff::Timestamp;
use serde::de::DeserializeOwned;

/// What Redis answers to `XREADGROUP`, as its bytes on the wire: the events in it. None where the bytes are no answer.
pub fn redis_events(answer: &[u8]) -> Option<Vec<Received>> {
    queue::redis::events_of(answer)
}

/// A job's row as the scripts keep it in Redis.
pub fn redis_job(row: &str) -> Option<Versioned<Job>> {
    store::redis::readable("job", "fuzzed", row)
}

/// A runner's row as the scripts keep it in Redis.
pub fn redis_runner(row: &str) -> Option<Versioned<Runner>> {
    store::redis::readable("runner", "fuzzed", row)
}

/// A word on the channel of changes.
pub fn redis_change(payload: &[u8]) -> Option<StoreChange> {
    store::redis::change_of(payload)
}

/// What a row of the embedded file says.
#[derive(Debug)]
pub struct EmbeddedRow<T> {
    /// Its version.
    pub version: Version,
    /// Since when it may age out, in microseconds.
    pub over: Option<i64>,
    /// The row, or why it is none.
    pub row: Result<T, serde_json::Error>,
}

/// A row as it lies in the embedded file.
pub fn embedded_row<T: DeserializeOwned>(bytes: &[u8]) -> EmbeddedRow<T> {
    let row = Row::parse(bytes);
    EmbeddedRow { version: row.version, over: row.over, row: row.read() }
}

/// The bytes of such a row.
pub fn embedded_bytes(version: Version, over: Option<Timestamp>, json: &[u8]) -> Vec<u8> {
    Row::encode(version, over, json)
}
