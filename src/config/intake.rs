//! The section `intake`, or its mode alone: `intake: pull`.

use super::node::{Node, Value};
use super::reading::{Placed, Reading, Spot};
use super::section::{Decode, Entries, Field, Key, Section, Slot, decode_section};
use super::shape::{Intake, IntakeMode};
use serde_json::{Value as Json, json};

/// See the file's head.
#[derive(Debug, Clone)]
pub(super) struct IntakeOrMode(pub(super) Intake);

impl Slot for IntakeOrMode {
    fn take(entries: &mut Entries<'_>, key: &Key, reading: &mut Reading<'_>) -> Self {
        let Some((node, spot)) = entries.take(key, reading) else {
            return Self::blank(&entries.spot().clone(), key, false);
        };
        if !is_mode(node) {
            return Self(decode_section(node, &spot, reading));
        }
        let mode = match IntakeMode::decode(node, &spot, reading) {
            Some(value) => Field::Good(Placed { value, spot: spot.clone() }),
            None => Field::Bad,
        };
        Self(Intake { mode, given: true, ..Intake::blank_at(&spot, false) })
    }

    fn blank(spot: &Spot, key: &Key, bad: bool) -> Self {
        Self(Intake::blank(spot, key, bad))
    }

    fn over(self, fallback: Self) -> Self {
        Self(Slot::over(self.0, fallback.0))
    }

    fn built_in(key: &Key) -> Self {
        Self(Intake::built_in(key))
    }

    fn schema() -> Json {
        let mut schema = <Intake as Slot>::schema();
        schema["type"] = json!(["object", "null", "string"]);
        schema["if"] = json!({ "type": "string" });
        schema["then"] = json!({ "enum": ["webhook", "pull"] });
        schema
    }
}

/// Any other text is no mode; perhaps it is a secret, so it is told of as something that is no section.
fn is_mode(node: &Node) -> bool {
    matches!(&node.value, Value::Scalar { text, .. } if text == "webhook" || text == "pull")
}
