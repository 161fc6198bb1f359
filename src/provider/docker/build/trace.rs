//! BuildKit's progress (`moby.buildkit.v1.StatusResponse`), as far as it is of use. A field's number is all that counts.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use prost::Message;

/// News of one moment.
#[derive(Clone, PartialEq, Message)]
pub(super) struct Status {
    #[prost(message, repeated, tag = "1")]
    pub(super) vertexes: Vec<Vertex>,
    #[prost(message, repeated, tag = "2")]
    pub(super) statuses: Vec<VertexStatus>,
    #[prost(message, repeated, tag = "3")]
    pub(super) logs: Vec<VertexLog>,
}

/// A step, or something that the builder does for itself.
#[derive(Clone, PartialEq, Message)]
pub(super) struct Vertex {
    #[prost(string, tag = "1")]
    pub(super) digest: String,
    #[prost(string, tag = "3")]
    pub(super) name: String,
    #[prost(bool, tag = "4")]
    pub(super) cached: bool,
    #[prost(message, optional, tag = "5")]
    pub(super) started: Option<Moment>,
    #[prost(message, optional, tag = "6")]
    pub(super) completed: Option<Moment>,
    #[prost(string, tag = "7")]
    pub(super) error: String,
}

/// Bytes moved for a step.
#[derive(Clone, PartialEq, Message)]
pub(super) struct VertexStatus {
    #[prost(string, tag = "1")]
    pub(super) id: String,
    #[prost(string, tag = "2")]
    pub(super) vertex: String,
    #[prost(int64, tag = "4")]
    pub(super) current: i64,
    #[prost(int64, tag = "5")]
    pub(super) total: i64,
}

/// What a step printed.
#[derive(Clone, PartialEq, Message)]
pub(super) struct VertexLog {
    #[prost(string, tag = "1")]
    pub(super) vertex: String,
    #[prost(bytes = "vec", tag = "4")]
    pub(super) msg: Vec<u8>,
}

/// `google.protobuf.Timestamp`.
#[derive(Clone, Copy, PartialEq, Message)]
pub(super) struct Moment {
    #[prost(int64, tag = "1")]
    pub(super) seconds: i64,
    #[prost(int32, tag = "2")]
    pub(super) nanos: i32,
}

impl Moment {
    /// In milliseconds.
    pub(super) fn millis(self) -> i64 {
        self.seconds.saturating_mul(1000).saturating_add(i64::from(self.nanos) / 1_000_000)
    }
}

/// Of its form in a line of the answer.
pub(super) fn decode(text: &str) -> Option<Status> {
    Status::decode(STANDARD.decode(text).ok()?.as_slice()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_recorded_trace_is_read() {
        // Docker Engine 20.10.24, at the end of a step that failed.
        let text = "CvsBCkdzaGEyNTY6MWRlNDc5MWJmY2NhN2QxOTU3MGUyM2NkNDNlMjc5Yjg3MjcxYzQyMWZjZWUxZDBiYTVkZTgxMTU4MDE1MTIw\
                    NRJHc2hhMjU2OjllZmVkN2I0ZDliNmUzYjVjMjc4NWY2OGJkNGYzNjUxODdlZDIzNTU0OTRiYWRlM2UwN2NkMGNjODUwMTI0Yjga\
                    EFszLzNdIFJVTiBleGl0IDMqDAiB8I3YBhCp7cTYATIMCIHwjdgGEMCdoOACOjlleGVjdXRvciBmYWlsZWQgcnVubmluZyBbL2Jp\
                    bi9zaCAtYyBleGl0IDNdOiBleGl0IGNvZGU6IDM=";
        let status = decode(text).unwrap();
        let vertex = &status.vertexes[0];
        assert_eq!(vertex.name, "[3/3] RUN exit 3");
        assert_eq!(vertex.error, "executor failed running [/bin/sh -c exit 3]: exit code: 3");
        let took = vertex.completed.unwrap().millis() - vertex.started.unwrap().millis();
        assert_eq!((took, vertex.cached), (284, false));
        assert!(decode("no base64!").is_none() && decode("AAAA").is_none());
    }
}
