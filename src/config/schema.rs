//! The JSON Schema of `runners_config.yaml`, for editors and for `config schema`.

use super::node::{Kind, Node, Value};
use super::section::{Key, Section};
use super::shape::File;
use serde_json::{Map, Value as Json, json};

/// JSON Schema, draft 2020-12. It comes from the same declarations as the reading itself.
pub fn schema() -> Json {
    let mut schema = section_schema::<File>();
    schema["$schema"] = json!("https://json-schema.org/draft/2020-12/schema");
    schema["title"] = json!("runners_config.yaml");
    // The form of today: a file without `version` is one of the former tool, which `config migrate` brings up to date.
    if let Some(required) = schema["required"].as_array_mut() {
        required.insert(0, json!("version"));
    }
    schema["properties"]["runners"]["items"]["allOf"] = rules_of_a_pool();
    schema
}

/// What the keys of a pool mean for each other.
fn rules_of_a_pool() -> Json {
    let is_mode = |mode: &str| json!({ "properties": { "mode": { "const": mode } }, "required": ["mode"] });
    let is_kept = json!({ "properties": { "nb": { "type": "integer", "minimum": 1 } }, "required": ["nb"] });
    json!([
        { "anyOf": [{ "required": ["id"] }, { "required": ["name"] }] },
        { "if": is_mode("persistent"), "then": { "required": ["nb"] } },
        { "if": is_mode("ephemeral"), "then": { "properties": { "nb": { "not": { "minimum": 1 } } } } },
        { "if": is_kept, "then": { "not": { "required": ["scaling"] } } },
        { "not": { "required": ["image", "build_image"] } },
    ])
}

/// The schema of a section.
pub(super) fn section_schema<S: Section>() -> Json {
    let (mut properties, mut required) = (Map::new(), Vec::new());
    S::properties(&mut properties, &mut required);
    let mut schema = json!({
        "type": ["object", "null"],
        "description": S::about(),
        "properties": properties,
        "additionalProperties": false,
    });
    if !required.is_empty() {
        schema["required"] = Json::Array(required);
        schema["type"] = json!("object");
    }
    schema
}

/// Adds one key to a schema's `properties`.
pub(super) fn add_property(properties: &mut Map<String, Json>, required: &mut Vec<Json>, key: &Key, schema: Json) {
    let mut schema = schema;
    let about = joined(key.about);
    if !about.is_empty() {
        schema["description"] = Json::String(about);
    }
    if let Some(default) = key.default.and_then(|text| super::node::parse(text).ok()) {
        schema["default"] = json_of(&default);
    }
    if let Some(alias) = key.alias {
        let mut same = schema.clone();
        same["description"] = Json::String(format!("The same as `{}`.", key.name));
        properties.insert(alias.to_owned(), same);
    }
    // One with two names is asked for by a rule of its section.
    if key.required && key.alias.is_none() {
        required.push(Json::from(key.name));
    }
    properties.insert(key.name.to_owned(), schema);
}

fn json_of(node: &Node) -> Json {
    match &node.value {
        Value::Null => Json::Null,
        Value::Scalar { kind: Kind::Text, text } => Json::from(text.as_str()),
        Value::Scalar { text, .. } => serde_json::from_str(text).unwrap_or_else(|_| Json::from(text.as_str())),
        Value::List(items) => items.iter().map(json_of).collect(),
        Value::Map(entries) => {
            let text = |node: &Node| match &node.value {
                Value::Scalar { text, .. } => text.clone(),
                Value::Null | Value::List(_) | Value::Map(_) => String::new(),
            };
            Json::Object(entries.iter().map(|(key, value)| (text(key), json_of(value))).collect())
        }
    }
}

/// Lines of a doc comment as one text.
pub(super) fn joined(lines: &[&str]) -> String {
    lines.iter().map(|line| line.trim()).collect::<Vec<_>>().join(" ").trim().to_owned()
}
