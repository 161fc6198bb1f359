//! A server that answers by script, remembers what it was asked, and holds each request against GitHub's OpenAPI
//! description.

use axum::body::{Body, to_bytes};
use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};
use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, LazyLock, Mutex};
use std::time::Duration;

static OPENAPI: LazyLock<Value> = LazyLock::new(|| {
    serde_json::from_str(include_str!("../../fixtures/github-openapi-subset.json")).expect("the fixture is JSON")
});

/// One answer of the script.
#[derive(Debug, Clone)]
pub(super) struct Reply {
    status: u16,
    headers: Vec<(String, String)>,
    body: String,
    delay: Duration,
}

impl Reply {
    pub(super) fn json(status: u16, body: &Value) -> Self {
        Self::text(status, &body.to_string())
    }

    pub(super) fn text(status: u16, body: &str) -> Self {
        Self { status, headers: Vec::new(), body: body.to_owned(), delay: Duration::ZERO }
    }

    pub(super) fn message(status: u16, message: &str) -> Self {
        Self::json(status, &json!({ "message": message, "documentation_url": "https://docs.github.com/rest" }))
    }

    pub(super) fn header(mut self, name: &str, value: impl Into<String>) -> Self {
        self.headers.push((name.to_owned(), value.into()));
        self
    }

    pub(super) fn after(mut self, delay: Duration) -> Self {
        self.delay = delay;
        self
    }
}

/// One request that came.
#[derive(Debug, Clone)]
pub(super) struct Asked {
    pub(super) query: String,
    pub(super) headers: HashMap<String, String>,
    pub(super) body: Value,
}

#[derive(Default)]
struct Script {
    base_path: String,
    replies: HashMap<String, VecDeque<Reply>>,
    asked: Vec<(String, Asked)>,
    faults: Vec<String>,
    under_way: usize,
    most_under_way: usize,
}

pub(super) struct Server {
    pub(super) url: String,
    script: Arc<Mutex<Script>>,
    task: tokio::task::JoinHandle<()>,
}

impl Server {
    pub(super) async fn start() -> Self {
        Self::start_below("").await
    }

    /// A server whose API has a path before it, as a GitHub Enterprise Server has.
    pub(super) async fn start_below(base_path: &str) -> Self {
        let script = Arc::new(Mutex::new(Script { base_path: base_path.to_owned(), ..Script::default() }));
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}{base_path}", listener.local_addr().unwrap());
        let app = axum::Router::new().fallback(answer).with_state(Arc::clone(&script));
        let task = tokio::spawn(async move { axum::serve(listener, app).await.unwrap() });
        Self { url, script, task }
    }

    /// What is answered at `route` (`GET /orgs/acme/installation`), in this order; the last one stays.
    pub(super) fn on(&self, route: &str, replies: impl IntoIterator<Item = Reply>) -> &Self {
        self.script.lock().unwrap().replies.insert(route.to_owned(), replies.into_iter().collect());
        self
    }

    /// What came to a route.
    pub(super) fn asked(&self, route: &str) -> Vec<Asked> {
        let script = self.script.lock().unwrap();
        script.asked.iter().filter(|(at, _)| at == route).map(|(_, asked)| asked.clone()).collect()
    }

    /// How many requests came at all.
    pub(super) fn count(&self) -> usize {
        self.script.lock().unwrap().asked.len()
    }

    /// How many were under way at once.
    pub(super) fn most_under_way(&self) -> usize {
        self.script.lock().unwrap().most_under_way
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
        if !std::thread::panicking() {
            let faults = std::mem::take(&mut self.script.lock().unwrap().faults);
            assert!(faults.is_empty(), "requests that GitHub's description does not have: {faults:#?}");
        }
    }
}

async fn answer(State(script): State<Arc<Mutex<Script>>>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let body = to_bytes(body, 1 << 20).await.unwrap();
    let body: Value = if body.is_empty() { Value::Null } else { serde_json::from_slice(&body).unwrap() };
    let headers = parts
        .headers
        .iter()
        .map(|(name, value)| (name.to_string(), value.to_str().unwrap_or_default().to_owned()))
        .collect();
    let asked = Asked { query: parts.uri.query().unwrap_or_default().to_owned(), headers, body };
    let reply = {
        let mut script = script.lock().unwrap();
        let path = parts.uri.path();
        let path = path.strip_prefix(&script.base_path).unwrap_or("outside the base path").to_owned();
        let route = format!("{} {path}", parts.method);
        let faults = faults(parts.method.as_str(), &path, &asked);
        script.faults.extend(faults.into_iter().map(|fault| format!("{route}: {fault}")));
        script.asked.push((route.clone(), asked));
        script.under_way += 1;
        script.most_under_way = script.most_under_way.max(script.under_way);
        match script.replies.get_mut(&route) {
            Some(replies) if replies.len() > 1 => replies.pop_front().unwrap(),
            Some(replies) => replies.front().cloned().unwrap_or_else(|| Reply::message(404, "Not Found")),
            None => Reply::message(404, "Not Found"),
        }
    };
    tokio::time::sleep(reply.delay).await;
    script.lock().unwrap().under_way -= 1;
    let mut response = Response::builder().status(reply.status);
    for (name, value) in &reply.headers {
        response = response.header(name, value);
    }
    response.body(Body::from(reply.body)).unwrap().into_response()
}

/// What GitHub's description does not have of a request.
fn faults(method: &str, path: &str, asked: &Asked) -> Vec<String> {
    let mut faults = Vec::new();
    for (header, wanted) in [("accept", "application/vnd.github+json"), ("x-github-api-version", "2022-11-28")] {
        if asked.headers.get(header).map(String::as_str) != Some(wanted) {
            faults.push(format!("{header} is not {wanted}"));
        }
    }
    if !asked.headers.get("user-agent").is_some_and(|agent| agent.starts_with("runnerfleet/")) {
        faults.push("no user-agent of ours".to_owned());
    }
    // Where GitHub redirects to after a renaming; no documented path.
    if path.starts_with("/repositories/") {
        return faults;
    }
    let Some(operation) = operation(method, path) else {
        faults.push("no such operation".to_owned());
        return faults;
    };
    let parameters: Vec<String> = operation["parameters"]
        .as_array()
        .into_iter()
        .flatten()
        .map(inline)
        .filter(|parameter| parameter["in"] == "query")
        .map(|parameter| parameter["name"].as_str().unwrap().to_owned())
        .collect();
    for pair in asked.query.split('&').filter(|pair| !pair.is_empty()) {
        let name = pair.split('=').next().unwrap_or_default();
        if !parameters.iter().any(|known| known == name) {
            faults.push(format!("no query parameter `{name}`"));
        }
    }
    let schema = inline(&operation["requestBody"]["content"]["application/json"]["schema"]);
    match (&asked.body, schema.is_null()) {
        (Value::Null, true) => {}
        (Value::Null, false) if operation["requestBody"]["required"] != true => {}
        (_, true) => faults.push("has a body, and should have none".to_owned()),
        (body, false) => {
            let validator = jsonschema::draft4::new(&schema).expect("the description's schema is valid");
            faults.extend(validator.iter_errors(body).map(|error| error.to_string()));
            let known = schema["properties"].as_object();
            for field in body.as_object().into_iter().flat_map(|fields| fields.keys()) {
                if !known.is_some_and(|known| known.contains_key(field)) {
                    faults.push(format!("no body field `{field}`"));
                }
            }
        }
    }
    faults
}

/// The operation whose path has the same segments, `{…}` standing for any; the one with the fewest of those.
fn operation(method: &str, path: &str) -> Option<&'static Value> {
    let matches = |template: &str| {
        let (template, path): (Vec<_>, Vec<_>) = (template.split('/').collect(), path.split('/').collect());
        template.len() == path.len()
            && template.iter().zip(&path).all(|(wanted, given)| wanted.starts_with('{') || wanted == given)
    };
    let paths = OPENAPI["paths"].as_object()?;
    let found = paths
        .iter()
        .filter(|(template, _)| matches(template))
        .min_by_key(|(template, _)| template.matches('{').count());
    found?.1.get(method.to_lowercase())
}

/// The schema with its references replaced by what they name and OpenAPI's `nullable` in JSON Schema's words.
fn inline(schema: &Value) -> Value {
    match schema {
        Value::Object(fields) => {
            if let Some(reference) = fields.get("$ref").and_then(Value::as_str) {
                return inline(
                    OPENAPI.pointer(reference.trim_start_matches('#')).expect("the reference leads somewhere"),
                );
            }
            let mut inlined: serde_json::Map<String, Value> =
                fields.iter().map(|(name, value)| (name.clone(), inline(value))).collect();
            if inlined.remove("nullable") == Some(Value::Bool(true)) {
                return json!({ "anyOf": [inlined, { "type": "null" }] });
            }
            Value::Object(inlined)
        }
        Value::Array(items) => items.iter().map(inline).collect(),
        other => other.clone(),
    }
}

#[test]
fn a_request_that_github_does_not_know_is_noticed() {
    let asked = |query: &str, body: Value| {
        let headers = [
            ("accept", "application/vnd.github+json"),
            ("x-github-api-version", "2022-11-28"),
            ("user-agent", "runnerfleet/1"),
        ];
        let headers = headers.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
        Asked { query: query.to_owned(), headers, body }
    };
    let jit = "/orgs/acme/actions/runners/generate-jitconfig";
    let good = json!({ "name": "a", "runner_group_id": 1, "labels": ["x"] });
    assert!(faults("POST", jit, &asked("", good.clone())).is_empty());
    for (field, value) in [("labels", json!([])), ("runner_group_id", json!("1")), ("group", json!(1))] {
        let mut bad = good.clone();
        bad[field] = value;
        assert_eq!(faults("POST", jit, &asked("", bad)).len(), 1, "{field}");
    }
    assert_eq!(faults("POST", jit, &asked("", json!({}))).len(), 3);
    assert_eq!(faults("POST", jit, &asked("", Value::Null)).len(), 1);
    assert_eq!(faults("GET", jit, &asked("", Value::Null)).len(), 1);
    assert_eq!(faults("GET", "/orgs/acme/actions/runners", &asked("size=1", Value::Null)).len(), 1);
    let mint = json!({ "permissions": { "administration": "own" } });
    assert_eq!(faults("POST", "/app/installations/7/access_tokens", &asked("", mint)).len(), 1);
}
