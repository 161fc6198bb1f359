//! GitHub's own OpenAPI description as the judge of requests and answers.
//!
//! It judges shapes, not sense. Formats are not checked (GitHub's own answers break them), fields that the description
//! does not know are fine in answers, and an error status that an operation does not list is held against GitHub's common
//! error shape: the description lists only some of them.

use jsonschema::Validator;
use serde_json::{Map, Value, json};
use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, LazyLock, Mutex};

static SUBSET: LazyLock<Description> = LazyLock::new(|| {
    let text = include_str!("../../fixtures/github-openapi-subset.json");
    Description::new(serde_json::from_str(text).expect("the fixture is JSON"))
});

/// The methods that an OpenAPI path can have.
const METHODS: [&str; 5] = ["get", "post", "put", "patch", "delete"];

struct Description {
    document: Value,
    validators: Mutex<HashMap<String, Arc<Validator>>>,
}

/// All operations: method in capitals, and path template.
pub fn operations() -> Vec<(String, String)> {
    let paths = SUBSET.document["paths"].as_object().expect("a description has paths");
    let methods = |path: &Value| METHODS.into_iter().filter(|method| path.get(method).is_some()).collect::<Vec<_>>();
    paths
        .iter()
        .flat_map(|(template, path)| methods(path).into_iter().map(|it| (it.to_uppercase(), template.clone())))
        .collect()
}

/// Whether GitHub would understand this request: path, query (without `?`) and body. `path` may be a template.
pub fn check_request(method: &str, path: &str, query: &str, body: Option<&Value>) -> Result<(), String> {
    let (template, operation) = SUBSET.operation(method, path)?;
    let place = format!("{method} {template}");
    let parameters = SUBSET.parameters(operation);
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        let schema = parameters
            .iter()
            .find(|it| it["in"] == "query" && it["name"] == name)
            .map(|it| &it["schema"])
            .ok_or_else(|| format!("{place}: no query parameter `{name}`"))?;
        SUBSET.check(&format!("{place} query {name}"), schema, &typed(SUBSET.resolve(schema), value))?;
    }
    for (wanted, given) in template.split('/').zip(path.split('/')).filter(|(wanted, given)| wanted != given) {
        let name = wanted.trim_matches(['{', '}']);
        let schema = parameters
            .iter()
            .find(|it| it["in"] == "path" && it["name"] == name)
            .map(|it| &it["schema"])
            .ok_or_else(|| format!("{place}: no path parameter `{name}`"))?;
        SUBSET.check(&format!("{place} path {name}"), schema, &typed(SUBSET.resolve(schema), given))?;
    }
    let wanted = SUBSET.resolve(&operation["requestBody"]);
    match (wanted.is_null(), body) {
        (true, None | Some(Value::Null)) => Ok(()),
        (true, Some(_)) => Err(format!("{place} takes no body")),
        (false, None | Some(Value::Null)) if wanted["required"] == true => Err(format!("{place} needs a body")),
        (false, None | Some(Value::Null)) => Ok(()),
        (false, Some(body)) => {
            SUBSET.check(&format!("{place} body"), &wanted["content"]["application/json"]["schema"], body)
        }
    }
}

/// Whether this could be GitHub's answer.
pub fn check_response(method: &str, path: &str, status: u16, body: Option<&Value>) -> Result<(), String> {
    let (template, operation) = SUBSET.operation(method, path)?;
    let place = format!("{method} {template} -> {status}");
    let listed = SUBSET.resolve(&operation["responses"][status.to_string()]);
    if listed.is_null() {
        if (200..400).contains(&status) && status != 304 {
            return Err(format!("{place}: not in GitHub's description"));
        }
        return match body {
            None => Ok(()),
            Some(body) => SUBSET.check("an error", &json!({ "$ref": "#/components/schemas/basic-error" }), body),
        };
    }
    let schema = &listed["content"]["application/json"]["schema"];
    match (schema.is_null(), body) {
        (true, None) | (false, Some(Value::Null)) => Ok(()),
        (true, Some(_)) => Err(format!("{place}: there should be no body")),
        // 304 and its like.
        (false, None) if status >= 300 => Ok(()),
        (false, None) => Err(format!("{place}: there should be a body")),
        (false, Some(body)) => SUBSET.check(&place, schema, body),
    }
}

impl Description {
    fn new(mut document: Value) -> Self {
        to_json_schema(&mut document);
        // GitHub's full description has it, with the answer of the organization's; the subset does not.
        let mut of_user = document["paths"]["/orgs/{org}/installation"].clone();
        of_user["get"]["parameters"] =
            json!([{ "name": "username", "in": "path", "required": true, "schema": { "type": "string" } }]);
        document["paths"]["/users/{username}/installation"] = of_user;
        // The list's own schema wants an account to be a user and an enterprise at once, which no answer of GitHub's is.
        document["paths"]["/app/installations"]["get"]["responses"]["200"]["content"]["application/json"]["schema"]["items"] =
            json!({ "$ref": "#/components/schemas/installation" });
        Self { document, validators: Mutex::new(HashMap::new()) }
    }

    /// The operation for a path; a path with fixed parts wins over one with variable parts.
    fn operation(&self, method: &str, path: &str) -> Result<(&str, &Value), String> {
        let paths = self.document["paths"].as_object().expect("a description has paths");
        let mut fitting: Vec<(&str, &Value)> = paths
            .iter()
            .filter(|(template, _)| fits(template, path))
            .filter_map(|(template, it)| it.get(method.to_lowercase()).map(|operation| (template.as_str(), operation)))
            .collect();
        fitting.sort_by_key(|(template, _)| template.matches('{').count());
        fitting.first().copied().ok_or_else(|| format!("{method} {path}: not in GitHub's description"))
    }

    fn parameters<'a>(&'a self, operation: &'a Value) -> Vec<&'a Value> {
        operation["parameters"].as_array().into_iter().flatten().map(|it| self.resolve(it)).collect()
    }

    /// Follows `$ref`.
    fn resolve<'a>(&'a self, value: &'a Value) -> &'a Value {
        match value["$ref"].as_str() {
            Some(reference) => {
                let pointer = reference.trim_start_matches('#');
                self.resolve(
                    self.document.pointer(pointer).expect("every reference of the description leads somewhere"),
                )
            }
            None => value,
        }
    }

    fn check(&self, place: &str, schema: &Value, value: &Value) -> Result<(), String> {
        let validator = self.validator(schema);
        let problems: Vec<String> = validator
            .iter_errors(value)
            .take(5)
            .map(|error| format!("  at `{}`: {}", error.instance_path(), cut(&error.to_string())))
            .collect();
        if problems.is_empty() { Ok(()) } else { Err(format!("{place}:\n{}", problems.join("\n"))) }
    }

    fn validator(&self, schema: &Value) -> Arc<Validator> {
        let key = schema.to_string();
        let mut known = self.validators.lock().unwrap();
        let make = || {
            let whole = json!({ "allOf": [schema], "components": self.document["components"] });
            Arc::new(jsonschema::draft7::new(&whole).expect("GitHub's schemas are schemas"))
        };
        Arc::clone(known.entry(key).or_insert_with(make))
    }
}

/// A problem begins with the value, which may be long; what is wrong with it stands at the end.
fn cut(problem: &str) -> String {
    let count = problem.chars().count();
    if count < 400 { problem.to_owned() } else { problem.chars().skip(count - 400).collect() }
}

fn fits(template: &str, path: &str) -> bool {
    let (mut wanted, mut given) = (template.split('/'), path.split('/'));
    loop {
        match (wanted.next(), given.next()) {
            (None, None) => return true,
            (Some(wanted), Some(given)) if wanted == given || (wanted.starts_with('{') && !given.is_empty()) => {}
            _ => return false,
        }
    }
}

/// A parameter's text as the type that its schema wants.
fn typed(schema: &Value, text: &str) -> Value {
    match schema["type"].as_str() {
        Some("integer" | "number") => text.parse::<i64>().map_or_else(|_| json!(text), |number| json!(number)),
        Some("boolean") => text.parse::<bool>().map_or_else(|_| json!(text), |truth| json!(truth)),
        _ => json!(text),
    }
}

/// OpenAPI 3.0 has `nullable` where JSON Schema has a type `null`.
fn to_json_schema(value: &mut Value) {
    match value {
        Value::Array(items) => items.iter_mut().for_each(to_json_schema),
        Value::Object(fields) => {
            // What an example says is no schema.
            fields.retain(|name, _| name != "example" && name != "examples");
            fields.values_mut().for_each(to_json_schema);
            if fields.get("nullable") == Some(&json!(true)) {
                fields.remove("nullable");
                allow_null(fields);
            }
        }
        _ => {}
    }
}

fn allow_null(schema: &mut Map<String, Value>) {
    if let Some(options) = schema.get_mut("enum").and_then(Value::as_array_mut) {
        options.push(Value::Null);
    }
    if let Some(kind) = schema.get("type").cloned() {
        schema.insert("type".into(), json!([kind, "null"]));
        return;
    }
    let rest: BTreeMap<String, Value> = std::mem::take(schema).into_iter().collect();
    schema.insert("anyOf".into(), json!([rest, { "type": "null" }]));
}

#[test]
fn the_judge_sees_what_is_wrong() {
    let jit = "/orgs/acme/actions/runners/generate-jitconfig";
    let good = json!({ "name": "a", "runner_group_id": 1, "labels": ["linux"] });
    check_request("POST", jit, "", Some(&good)).unwrap();
    for bad in [
        json!({ "name": "a", "runner_group_id": "one", "labels": ["linux"] }),
        json!({ "name": "a", "runner_group_id": 1, "labels": [] }),
        json!({ "name": "a", "labels": ["linux"] }),
    ] {
        check_request("POST", jit, "", Some(&bad)).unwrap_err();
    }
    check_request("GET", "/orgs/acme/actions/runners", "per_page=100&page=2&name=x", None).unwrap();
    check_request("GET", "/orgs/acme/actions/runners", "per_page=abc", None).unwrap_err();
    check_request("GET", "/orgs/acme/actions/runners", "colour=red", None).unwrap_err();
    check_request("GET", "/orgs/acme/actions/runners/x", "", None).unwrap_err();
    check_request("PUT", "/app", "", None).unwrap_err();
    let token = "/orgs/acme/actions/runners/registration-token";
    check_response("POST", token, 201, Some(&json!({ "tok": 1 }))).unwrap_err();
    check_response("POST", token, 201, Some(&json!({ "token": "A", "expires_at": "2026-01-01T00:00:00Z" }))).unwrap();
    check_response("POST", token, 200, None).unwrap_err();
    check_response("DELETE", "/orgs/acme/actions/runners/5", 204, None).unwrap();
    check_response("DELETE", "/orgs/acme/actions/runners/5", 404, Some(&json!({ "message": "Not Found" }))).unwrap();
    check_response("DELETE", "/orgs/acme/actions/runners/5", 404, Some(&json!({ "message": 5 }))).unwrap_err();
    assert_eq!(operations().len(), 47);
}
