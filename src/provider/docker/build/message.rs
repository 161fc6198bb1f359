//! The lines of a build's answer.

use serde::Deserialize;

/// A line may carry a log of BuildKit's; one that is longer is none.
const LONGEST: usize = 16 << 20;

/// One line, as far as it is of use. Both builders speak so.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Message {
    /// `moby.buildkit.trace`, `moby.image.id`, or the id of a layer that is pulled.
    pub(super) id: Option<String>,
    /// Words of the older builder.
    pub(super) stream: Option<String>,
    /// Of a layer that is pulled.
    pub(super) status: Option<String>,
    /// Of a layer that is pulled.
    #[serde(rename = "progressDetail")]
    pub(super) detail: Option<Detail>,
    /// What went wrong.
    pub(super) error: Option<String>,
    /// The image's id, or BuildKit's trace in base64.
    pub(super) aux: Option<serde_json::Value>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Detail {
    pub(super) current: Option<i64>,
    pub(super) total: Option<i64>,
}

/// Pieces of any size, put together to lines.
#[derive(Debug, Default)]
pub(super) struct Lines {
    rest: Vec<u8>,
}

impl Lines {
    /// One more piece.
    pub(super) fn add(&mut self, piece: &[u8], hear: &mut dyn FnMut(Message)) {
        self.rest.extend_from_slice(piece);
        let mut start = 0;
        while let Some(length) = self.rest[start..].iter().position(|byte| *byte == b'\n') {
            read(&self.rest[start..start + length], hear);
            start += length + 1;
        }
        self.rest.drain(..start);
        if self.rest.len() > LONGEST {
            self.rest.clear();
        }
    }

    /// The last line may have no end.
    pub(super) fn end(&mut self, hear: &mut dyn FnMut(Message)) {
        read(&std::mem::take(&mut self.rest), hear);
    }
}

/// What is no message says nothing.
fn read(line: &[u8], hear: &mut dyn FnMut(Message)) {
    if let Ok(message) = serde_json::from_slice(line) {
        hear(message);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_become_lines() {
        let mut heard = Vec::new();
        let mut lines = Lines::default();
        for piece in ["{\"stre", "am\":\"a\\n\"}\r\n{\"error\":\"b\"}\n{", "\"status\":\"c\"}"] {
            lines.add(piece.as_bytes(), &mut |message| heard.push(message));
        }
        lines.end(&mut |message| heard.push(message));
        let told: Vec<_> = heard.into_iter().filter_map(|m| m.stream.or(m.error).or(m.status)).collect();
        assert_eq!(told, ["a\n", "b", "c"]);
    }
}
