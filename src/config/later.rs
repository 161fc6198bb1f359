//! Keys that stand elsewhere, and keys that are planned: told as such, not as "unknown".

use super::node::{Node, Value};
use serde_json::Value as Json;

/// What is said of a key that comes with a later version.
pub(super) fn told(name: &str, value: &Node) -> (String, String) {
    let incoming = ["secret", "secrets", "secrets_file", "secret_file", "path", "max_body", "dedupe_ttl"];
    let hint = match name {
        "webhooks" if has_key(value, &incoming) => {
            "`webhooks` is for outgoing notifications; GitHub's deliveries are set up under `intake`"
        }
        "webhooks" | "notifications" => {
            "outgoing notifications come later; GitHub's deliveries are set up under `intake`"
        }
        "build_image" => "give a ready `image`",
        "enabled" => "comment the entry out",
        "autoscale" | "schedule" => "`scaling.min_idle` holds at all times",
        "concurrent_starts" => "set `hosts[0].concurrent_starts`",
        _ => "leave it out",
    };
    ("not in this version yet".to_owned(), hint.to_owned())
}

fn has_key(node: &Node, keys: &[&str]) -> bool {
    match &node.value {
        Value::Map(entries) => entries
            .iter()
            .any(|(key, _)| matches!(&key.value, Value::Scalar { text, .. } if keys.contains(&text.as_str()))),
        Value::Null | Value::Scalar { .. } | Value::List(_) => false,
    }
}

/// The sections that know a key of this name, other than the one at `here`.
pub(super) fn elsewhere(name: &str, here: &str) -> Option<String> {
    let mut places = Vec::new();
    collect(&super::schema::schema(), "", name, &mut places);
    let here = without_indexes(here);
    places.retain(|place| *place != here);
    if places.is_empty() || places.len() > 4 {
        return None;
    }
    let places: Vec<_> = places
        .iter()
        .map(|place| if place.is_empty() { "the top of the file".to_owned() } else { format!("`{place}`") })
        .collect();
    Some(places.join(" or "))
}

fn collect(schema: &Json, path: &str, name: &str, places: &mut Vec<String>) {
    if let Some(properties) = schema.get("properties").and_then(Json::as_object) {
        if properties.contains_key(name) {
            places.push(path.to_owned());
        }
        for (key, schema) in properties {
            let path = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
            collect(schema, &path, name, places);
        }
    }
    if let Some(items) = schema.get("items") {
        collect(items, &format!("{path}[]"), name, places);
    }
}

/// `runners[3].scaling` -> `runners[].scaling`.
fn without_indexes(path: &str) -> String {
    let mut text = String::with_capacity(path.len());
    for character in path.chars() {
        if !(character.is_ascii_digit() && text.ends_with('[')) {
            text.push(character);
        }
    }
    text
}
