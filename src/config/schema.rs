//! The JSON Schema of `runners_config.yaml`, for editors and for `config schema`.

use super::section::section_schema;
use super::shape::File;
use serde_json::{Value as Json, json};

/// JSON Schema, draft 2020-12. It comes from the same declarations as the reading itself.
pub fn schema() -> Json {
    let mut schema = section_schema::<File>();
    schema["$schema"] = json!("https://json-schema.org/draft/2020-12/schema");
    schema["title"] = json!("runners_config.yaml");
    schema
}
