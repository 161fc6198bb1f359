use super::{Answer, Delivery, Door, Payload, SOON, sign};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use reqwest::header::{HeaderName, HeaderValue};
use runnerfleet::queue::QueuedEvent;
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::runtime::Runtime;

/// The headers that the receiver looks at.
const HEADERS: [&str; 6] = [
    "content-type",
    "x-github-hook-id",
    "x-github-event",
    "x-github-delivery",
    "x-hub-signature-256",
    "content-encoding",
];

/// Values near those that mean something, and any other that HTTP allows.
fn some_value() -> impl Strategy<Value = Vec<u8>> {
    let near = prop::sample::select(vec![
        "application/json",
        "application/json; charset",
        "application/x-www-form-urlencoded",
        "workflow_job",
        "ping",
        "push",
        "sha256=",
        "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17",
        "",
    ]);
    prop_oneof![
        near.prop_map(|text| text.as_bytes().to_vec()),
        prop::collection::vec(prop_oneof![0x20..0x7f_u8, 0x80..0xff_u8], 0..80),
    ]
}

/// JSON of any shape, not too deep.
fn some_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        ".{0,12}".prop_map(Value::from),
        prop::sample::select(vec!["queued", "completed", "waiting", "linux", "acme/web", "/", "2021-09-13T02:21:13Z"])
            .prop_map(Value::from),
    ];
    leaf.prop_recursive(3, 12, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::btree_map("[a-z_]{1,8}", inner, 0..4).prop_map(|map| map.into_iter().collect()),
        ]
    })
}

/// A real payload in which some fields are something else, or missing.
fn some_payload() -> impl Strategy<Value = Vec<u8>> {
    let fields = Payload::job(1).without("steps").value().clone();
    let names = |object: &Value| -> Vec<String> { object.as_object().unwrap().keys().cloned().collect() };
    let name = prop::sample::select([names(&fields), names(&fields["workflow_job"])].concat());
    let change = (name, prop::option::of(some_json()));
    prop::collection::vec(change, 0..4).prop_map(|changes| {
        let mut payload = Payload::job(1).without("steps");
        for (name, value) in changes {
            let of_the_job = payload.value().get(&name).is_none() && payload.value()["workflow_job"].is_object();
            payload = match value {
                None => payload.without(&name),
                Some(value) if of_the_job => payload.job_field(&name, value),
                Some(value) => payload.field(&name, value),
            };
        }
        payload.bytes()
    })
}

fn some_body() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        prop::collection::vec(any::<u8>(), 0..2000),
        some_json().prop_map(|json| json.to_string().into_bytes()),
        some_payload(),
        (some_payload(), any::<prop::sample::Index>(), any::<u8>()).prop_map(|(mut body, place, byte)| {
            let place = place.index(body.len());
            body[place] = byte;
            body
        }),
    ]
}

/// Runs a property on one door. The cases run one after another; the door stays open.
fn holds<T: std::fmt::Debug>(
    cases: u32,
    cases_of: &impl Strategy<Value = T>,
    test: &impl AsyncFn(&Door, T) -> Result<(), TestCaseError>,
) {
    let runtime = Runtime::new().unwrap();
    let door = runtime.block_on(Door::open());
    let config = Config { cases, failure_persistence: None, ..Config::default() };
    TestRunner::new(config).run(cases_of, |case| runtime.block_on(test(&door, case))).unwrap();
    runtime.block_on(async {
        let whole = Delivery::of(&Payload::job(u64::MAX));
        door.deliver(&whole).await.is(202, "queued", "");
    });
}

fn is_an_answer(answer: &Answer) -> Result<(), TestCaseError> {
    prop_assert!(matches!(answer.code, 200..=299 | 400..=499), "{:?}", answer);
    prop_assert!(!answer.status.is_empty(), "every answer is ours: {:?}", answer);
    Ok(())
}

#[test]
fn any_headers_and_any_body_get_an_answer() {
    let headers = prop::collection::vec((prop::sample::select(HEADERS.to_vec()), some_value()), 0..8);
    holds(400, &(headers, some_body()), &async |door: &Door, (headers, body)| {
        let mut request = door.client.post(format!("http://{}/webhook", door.addr)).body(body);
        for (name, value) in headers {
            request = request.header(HeaderName::from_static(name), HeaderValue::from_bytes(&value).unwrap());
        }
        let answer = request.send().await.map_err(|error| TestCaseError::fail(error.to_string()))?;
        let code = answer.status().as_u16();
        let body: Value = answer.json().await.map_err(|error| TestCaseError::fail(error.to_string()))?;
        is_an_answer(&Answer { code, status: body["status"].as_str().unwrap_or_default().into(), why: String::new() })
    });
}

#[test]
fn any_body_that_is_signed_gets_an_answer_and_what_was_queued_can_be_read_again() {
    let event = prop::sample::select(vec!["workflow_job", "workflow_job", "workflow_job", "ping", "workflow_run"]);
    let guid = "[ -~]{1,60}";
    holds(400, &(event, guid, some_body()), &async |door: &Door, (event, guid, body)| {
        let signature = sign(super::SECRET, &body);
        let delivery = Delivery::bytes(event, body).header("x-github-delivery", guid.trim().to_owned() + "!");
        prop_assert_eq!(&delivery.headers["x-hub-signature-256"], &signature);
        let answer = door.deliver(&delivery).await;
        is_an_answer(&answer)?;
        prop_assert_ne!(answer.code, 401);
        let stored: Vec<QueuedEvent> = door.stored().await;
        prop_assert_eq!(stored.len(), usize::from(answer.code == 202));
        Ok(())
    });
}

#[test]
fn bytes_that_are_no_http_harm_nobody() {
    let bytes = prop_oneof![
        prop::collection::vec(any::<u8>(), 1..500),
        prop::collection::vec(any::<u8>(), 0..200).prop_map(|tail| [b"POST /webhook HTTP/1.1\r\n", &tail[..]].concat()),
    ];
    holds(200, &bytes, &async |door: &Door, bytes| {
        let mut stream = tokio::net::TcpStream::connect(door.addr).await.unwrap();
        // The receiver may have closed it already.
        let _ = stream.write_all(&bytes).await;
        let _ = stream.shutdown().await;
        let mut told = Vec::new();
        let _ = tokio::time::timeout(SOON, stream.read_to_end(&mut told))
            .await
            .map_err(|_| TestCaseError::fail("the connection stays open"))?;
        let fine = told.is_empty() || told.starts_with(b"HTTP/1.1 4") || told.starts_with(b"HTTP/1.0 4");
        prop_assert!(fine, "{}", String::from_utf8_lossy(&told));
        Ok(())
    });
}
