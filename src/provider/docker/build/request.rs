//! `POST /build`. bollard has it, but without its BuildKit features (a session over gRPC, a second TLS provider) its types
//! refuse BuildKit's answers. So another of its requests, one that gives bytes back, is turned into this one on its way
//! out: address, connection and errors stay bollard's.

use super::super::connection::Failure;
use super::{BuildRequest, Builder, Docker};
use bytes::Bytes;
use futures_util::{Stream, StreamExt};
use http::{HeaderValue, Method, header};
use std::fmt::Write as _;
use std::sync::{Mutex, PoisonError};

impl Docker {
    /// Sends context and question, and hands every piece of the answer over.
    pub(super) async fn request_build<S>(
        &self,
        request: &BuildRequest,
        context: S,
        hear: &mut (dyn FnMut(&[u8]) + Send),
    ) -> Result<(), Failure>
    where
        S: Stream<Item = std::io::Result<Bytes>> + Send + 'static,
    {
        let client = self.connection.client().await?;
        let target = format!("/v{}/build?{}", client.client_version(), query(request));
        let body = Mutex::new(Some(bollard::body_try_stream(context)));
        let client = client.with_request_modifier(move |request| {
            let (mut parts, empty) = request.into_parts();
            let mut uri = parts.uri.clone().into_parts();
            uri.path_and_query = target.parse().ok();
            if let Ok(uri) = http::Uri::from_parts(uri) {
                parts.uri = uri;
            }
            parts.method = Method::POST;
            parts.headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/x-tar"));
            let body = body.lock().unwrap_or_else(PoisonError::into_inner).take();
            http::Request::from_parts(parts, body.unwrap_or(empty))
        });
        let mut answer = std::pin::pin!(client.export_image("build"));
        while let Some(piece) = answer.next().await {
            hear(&piece.map_err(|error| self.connection.failure(error))?);
        }
        Ok(())
    }
}

/// What is asked for, behind the `?`.
fn query(request: &BuildRequest) -> String {
    let json = |map| serde_json::to_string(map).unwrap_or_default();
    let mut pairs = vec![
        ("dockerfile", request.dockerfile.clone()),
        ("buildargs", json(&request.args)),
        ("labels", json(&request.labels)),
        // Containers of the older builder's steps go, also of one that failed.
        ("rm", "1".to_owned()),
        ("forcerm", "1".to_owned()),
    ];
    if request.no_cache {
        pairs.push(("nocache", "1".to_owned()));
    }
    pairs.push(("version", if request.builder == Builder::BuildKit { "2" } else { "1" }.to_owned()));
    let pairs: Vec<_> = pairs.into_iter().map(|(key, value)| format!("{key}={}", escaped(&value))).collect();
    pairs.join("&")
}

fn escaped(text: &str) -> String {
    text.bytes().fold(String::with_capacity(text.len()), |mut escaped, byte| {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b'~' | b'/') {
            escaped.push(char::from(byte));
        } else {
            // Writing to a string never fails.
            let _ = write!(escaped, "%{byte:02X}");
        }
        escaped
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signs_of_all_kinds_arrive() {
        let map = |key: &str, value: &str| std::collections::BTreeMap::from([(key.to_owned(), value.to_owned())]);
        let request = BuildRequest {
            dockerfile: "sub/Docker file".to_owned(),
            args: map("A", "ü&1"),
            labels: map("b", "c"),
            no_cache: true,
            builder: Builder::BuildKit,
        };
        assert_eq!(
            query(&request),
            "dockerfile=sub/Docker%20file&buildargs=%7B%22A%22%3A%22%C3%BC%261%22%7D&labels=%7B%22b%22%3A%22c%22%7D\
             &rm=1&forcerm=1&nocache=1&version=2"
        );
    }
}
