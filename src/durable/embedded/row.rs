//! A row as it lies in the file: its version, since when it is over, its JSON.

use jiff::Timestamp;
use serde::de::DeserializeOwned;

/// The two numbers in front of the JSON let a row be compared and aged without reading the JSON.
const HEAD: usize = 16;

/// A row that was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Row {
    /// Its version.
    pub(crate) version: u64,
    /// Since when it is over and may age out, in microseconds; none while it is needed.
    pub(crate) over: Option<i64>,
    json: Vec<u8>,
}

impl Row {
    /// Splits the bytes of a row; a row too short to be one counts as one of version 0 that nobody can read.
    pub(crate) fn parse(bytes: &[u8]) -> Self {
        let (version, over) = Self::head(bytes);
        Self { version, over, json: bytes.get(HEAD..).unwrap_or_default().to_vec() }
    }

    /// The numbers alone.
    pub(crate) fn head(bytes: &[u8]) -> (u64, Option<i64>) {
        let number = |at: usize| bytes.get(at..at + 8).and_then(|part| <[u8; 8]>::try_from(part).ok());
        let version = number(0).map_or(0, u64::from_le_bytes);
        let over = number(8).map_or(i64::MIN, i64::from_le_bytes);
        (version, (over != i64::MIN).then_some(over))
    }

    /// The bytes of a row.
    pub(crate) fn encode(version: u64, over: Option<Timestamp>, json: &[u8]) -> Vec<u8> {
        let over = over.map_or(i64::MIN, Timestamp::as_microsecond);
        [&version.to_le_bytes()[..], &over.to_le_bytes()[..], json].concat()
    }

    /// What the JSON says.
    pub(crate) fn read<T: DeserializeOwned>(&self) -> Result<T, serde_json::Error> {
        serde_json::from_slice(&self.json)
    }
}
