//! A container's output, as it comes.

use super::Docker;
use crate::model::ContainerId;
use crate::provider::{LogQuery, LogStream, ProviderError};
use bollard::query_parameters::LogsOptions;
use futures_util::StreamExt;
use std::sync::Arc;

impl Docker {
    pub(super) async fn output(&self, id: &ContainerId, query: &LogQuery) -> Result<Option<LogStream>, ProviderError> {
        if self.inspect_ours(id).await?.is_none() {
            return Ok(None);
        }
        let options = LogsOptions {
            follow: query.follow,
            stdout: true,
            stderr: true,
            // The engine counts whole seconds: a line too many is better than one that is missing.
            since: query.since.map_or(0, |since| i32::try_from(since.as_second()).unwrap_or(i32::MAX)),
            tail: query.tail.map_or_else(|| "all".to_owned(), |lines| lines.to_string()),
            ..Default::default()
        };
        let client = self.connection.client().await?;
        let connection = Arc::clone(&self.connection);
        let pieces = client.logs(id.as_str(), Some(options)).map(move |piece| match piece {
            Ok(piece) => Ok(piece.into_bytes()),
            Err(error) => Err(ProviderError::from(connection.failure(error))),
        });
        Ok(Some(pieces.boxed()))
    }
}
