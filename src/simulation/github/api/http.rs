//! Between HTTP and our own types: answers out, queries in.

use crate::simulation::github::answer::Answer;
use axum::body::Body;
use axum::response::Response;
use http::{HeaderName, HeaderValue, StatusCode, header};
use jiff::Timestamp;
use jiff::fmt::rfc2822;
use serde_json::Value;
use std::collections::BTreeMap;

/// An answer as a response.
pub(super) fn respond(answer: Answer) -> Response {
    let text = answer.body.as_ref().map(|body| match body {
        // Only a fault's body is a bare text: not every error that a proxy sends is JSON.
        Value::String(text) => (text.clone(), "text/html"),
        json => (json.to_string(), "application/json; charset=utf-8"),
    });
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::from_u16(answer.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let headers = response.headers_mut();
    for (name, value) in answer.headers {
        if let (Ok(name), Ok(value)) = (HeaderName::try_from(name), HeaderValue::try_from(value)) {
            headers.append(name, value);
        }
    }
    headers.insert("x-github-media-type", HeaderValue::from_static("github.v3; format=json"));
    headers.insert("x-github-api-version-selected", HeaderValue::from_static("2022-11-28"));
    if let Some((text, kind)) = text {
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
        *response.body_mut() = Body::from(text);
    }
    response
}

/// A moment as headers have it.
pub(super) fn http_date(moment: Timestamp) -> Option<HeaderValue> {
    let text = rfc2822::DateTimePrinter::new().timestamp_to_rfc9110_string(&moment).ok()?;
    HeaderValue::try_from(text).ok()
}

/// A query as pairs.
pub(in crate::simulation::github) fn pairs(query: &str) -> BTreeMap<String, String> {
    query
        .split('&')
        .filter(|pair| !pair.is_empty())
        .map(|pair| pair.split_once('=').unwrap_or((pair, "")))
        .map(|(name, value)| (decode(name), decode(value)))
        .collect()
}

/// Undoes percent-encoding; what is not valid stays as it is.
pub(super) fn decode(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let raw = text.as_bytes();
    let mut at = 0;
    while let Some(byte) = raw.get(at) {
        let code = raw.get(at + 1..at + 3).and_then(|it| std::str::from_utf8(it).ok());
        match (byte, code.and_then(|it| u8::from_str_radix(it, 16).ok())) {
            (b'%', Some(value)) => {
                bytes.push(value);
                at += 3;
            }
            (b'+', _) => {
                bytes.push(b' ');
                at += 1;
            }
            _ => {
                bytes.push(*byte);
                at += 1;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn queries_are_decoded() {
        let query = pairs("name=a%2Db+c&per_page=5&flag&bad=%zz");
        assert_eq!(query["name"], "a-b c");
        assert_eq!(query["per_page"], "5");
        assert_eq!(query["flag"], "");
        assert_eq!(query["bad"], "%zz");
    }
}
