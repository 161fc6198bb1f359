//! Lists, and tables whose keys are the user's own.

use super::node::{Node, Value};
use super::reading::{Placed, Reading, Spot};
use super::section::{Decode, Entries};
use serde_json::{Value as Json, json};

/// A list, each item with its place.
#[derive(Debug, Clone, Default)]
pub(super) struct List<T>(pub(super) Vec<Placed<T>>);

impl<T: Decode> Decode for List<T> {
    fn decode(node: &Node, spot: &Spot, reading: &mut Reading<'_>) -> Option<Self> {
        let Value::List(items) = &node.value else {
            reading.wrong_shape(node, spot, "a list (`[a, b]`, or a line with `- ` for each)");
            return None;
        };
        let mut list = Vec::with_capacity(items.len());
        for (index, item) in items.iter().enumerate() {
            let spot = spot.item(index, item.place);
            list.push(T::decode(item, &spot, reading).map(|value| Placed { value, spot }));
        }
        list.into_iter().collect::<Option<_>>().map(Self)
    }

    fn schema() -> Json {
        json!({ "type": "array", "items": T::schema() })
    }
}

/// Names of the user's own, each with a value.
#[derive(Debug, Clone, Default)]
pub(super) struct Table<T>(pub(super) Vec<(String, Placed<T>)>);

impl<T: Decode> Decode for Table<T> {
    fn decode(node: &Node, spot: &Spot, reading: &mut Reading<'_>) -> Option<Self> {
        let entries = Entries::open(node, spot, reading)?;
        let mut table: Vec<Option<(String, Placed<T>)>> = Vec::new();
        for (name, key, value) in entries.take_all() {
            let shown = super::reading::shown_name(&name);
            if shown != name {
                reading.hide(key);
            }
            let spot = spot.key(&shown, value.place);
            if table.iter().flatten().any(|(known, _)| *known == name) {
                reading.hide(value);
                reading.problem(&Spot { place: key.place, ..spot }, "is given twice", "keep one of them");
                continue;
            }
            table.push(T::decode(value, &spot, reading).map(|value| (name, Placed { value, spot })));
        }
        table.into_iter().collect::<Option<_>>().map(Self)
    }

    fn schema() -> Json {
        json!({ "type": ["object", "null"], "additionalProperties": T::schema() })
    }

    /// Both, the more special one first.
    fn over(mut self, fallback: Self) -> Self {
        for (name, value) in fallback.0 {
            if !self.0.iter().any(|(known, _)| *known == name) {
                self.0.push((name, value));
            }
        }
        self
    }
}
