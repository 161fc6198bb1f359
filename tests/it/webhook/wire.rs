use super::{Answer, Delivery, SOON};
use serde_json::Value;
use std::fmt::Write as _;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::time::timeout;

/// The head of a request as a hook would send it, for a body of this length.
pub(super) fn head(delivery: &Delivery, length: usize, more: &str) -> String {
    let mut head = format!("POST /webhook HTTP/1.1\r\nhost: fleet\r\ncontent-length: {length}\r\n{more}");
    for (name, value) in &delivery.headers {
        write!(head, "{name}: {value}\r\n").unwrap();
    }
    format!("{head}\r\n")
}

/// The whole request; `more` are further header lines.
pub(super) fn request(delivery: &Delivery, more: &str) -> Vec<u8> {
    [head(delivery, delivery.body.len(), more).as_bytes(), &delivery.body].concat()
}

/// Sends what is given, and reads one answer.
pub(super) async fn ask<S: AsyncRead + AsyncWrite + Unpin>(stream: &mut S, request: &[u8]) -> Answer {
    stream.write_all(request).await.unwrap();
    answer(stream).await
}

/// One answer; the connection may stay.
pub(super) async fn answer<S: AsyncRead + Unpin>(stream: &mut S) -> Answer {
    let answer = timeout(SOON, try_answer(stream)).await.expect("it answers");
    answer.expect("it answers before it closes").1
}

/// One answer with its head, or none where the connection ends without.
pub(super) async fn try_answer<S: AsyncRead + Unpin>(stream: &mut S) -> Option<(String, Answer)> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.ok()?);
    }
    let head = String::from_utf8(head).unwrap().to_lowercase();
    let length = head.split_once("content-length: ").map_or("0", |(_, rest)| rest.split("\r\n").next().unwrap());
    let mut body = vec![0; length.parse().unwrap()];
    stream.read_exact(&mut body).await.ok()?;
    let body: Value = serde_json::from_slice(&body).unwrap_or_default();
    let text = |name: &str| body[name].as_str().unwrap_or_default().to_owned();
    let code = head[9..12].parse().unwrap();
    Some((head, Answer { code, status: text("status"), why: text("why") }))
}

/// Waits until the other side has closed, and hands back what it said before.
pub(super) async fn closed<S: AsyncRead + Unpin>(stream: &mut S) -> Vec<u8> {
    let mut said = Vec::new();
    // A reset is an end too.
    let _ = timeout(SOON, stream.read_to_end(&mut said)).await.expect("it is closed");
    said
}
