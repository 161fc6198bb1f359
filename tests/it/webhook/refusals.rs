use super::{Answer, Delivery, Door, Payload, SECRET, SOON, sign};
use secrecy::SecretString;
use serde_json::{Value, json};
use std::fmt::Write as _;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

/// The caps of these tests are this small, so that sockets' buffers do not hide what is read.
const CAP: u64 = 64 * 1024;

fn secrets(texts: &[&str]) -> Vec<SecretString> {
    texts.iter().map(|text| SecretString::from(*text)).collect()
}

#[tokio::test]
async fn the_example_of_githubs_documentation_is_believed() {
    let door = Door::open_with(|config| config.intake.secrets = secrets(&["It's a Secret to Everybody"])).await;
    let signature = "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17";
    let example = Delivery::bytes("ping", b"Hello, World!".to_vec()).header("x-hub-signature-256", signature);
    door.deliver(&example).await.is(400, "refused", "the body is not JSON");
    let other = Delivery { body: b"Hello, World?".to_vec(), ..example };
    door.deliver(&other).await.is(401, "refused", "the signature does not match");
}

#[tokio::test]
async fn a_delivery_without_a_good_signature_is_refused_and_nothing_of_it_is_stored() {
    let door = Door::open().await;
    let good = Delivery::of(&Payload::job(1));
    let header = |value: &str| good.clone().header("x-hub-signature-256", value);
    let signature = good.headers["x-hub-signature-256"].clone();
    let digits = signature.strip_prefix("sha256=").unwrap();
    let unsigned = good.clone().without("x-hub-signature-256");
    for delivery in [unsigned.clone(), unsigned.header("x-hub-signature", "sha1=0000")] {
        door.deliver(&delivery).await.is(401, "refused", "the X-Hub-Signature-256 header is missing");
    }
    for bad in ["", "sha256", "sha256=", digits, &format!("sha1={digits}"), &signature[..70], &format!("{signature}0")]
    {
        door.deliver(&header(bad)).await.is(401, "refused", "is not `sha256=` and 64 hexadecimal digits");
    }
    let altered = Delivery { body: Payload::job(2).bytes(), ..good.clone() };
    let padded = Delivery { body: [&good.body[..], b" "].concat(), ..good.clone() };
    for delivery in [good.clone().signed_with("guess"), good.clone().signed_with(""), altered, padded] {
        let answer = door.deliver(&delivery).await;
        answer.is(401, "refused", "the signature does not match");
        assert!(!answer.why.contains(SECRET) && !answer.why.contains(digits), "{answer:?}");
    }
    assert_eq!(door.stored().await, []);
    // Nor was anything of it remembered as seen.
    door.deliver(&good).await.is(202, "queued", "");
    assert_eq!(door.stored().await.len(), 1);
}

#[tokio::test]
async fn while_secrets_are_rotated_both_are_good() {
    let door = Door::open_with(|config| config.intake.secrets = secrets(&["new", "old"])).await;
    for (id, secret) in [(1, "new"), (2, "old")] {
        door.deliver(&Delivery::of(&Payload::job(id)).signed_with(secret)).await.is(202, "queued", "");
    }
    door.deliver(&Delivery::of(&Payload::job(3)).signed_with("older")).await.is(401, "refused", "does not match");
    assert_eq!(door.stored().await.len(), 2);
}

#[tokio::test]
async fn the_signature_comes_before_everything_that_the_body_or_headers_say() {
    let door = Door::open().await;
    let unsigned = [
        Delivery::bytes("workflow_job", b"{".to_vec()),
        Delivery::bytes("star", b"{}".to_vec()),
        Delivery::bytes("ping", b"{}".to_vec()).header("content-type", "text/plain"),
        Delivery::bytes("ping", b"{}".to_vec()).without("x-github-event").without("x-github-delivery"),
    ];
    for delivery in unsigned {
        door.deliver(&delivery.signed_with("guess")).await.is(401, "refused", "the signature does not match");
    }
}

#[tokio::test]
async fn a_body_that_cannot_be_read_is_refused_with_the_reason() {
    let door = Door::open().await;
    let job = Payload::job(1);
    let whole = job.bytes();
    let deep = format!("{{\"later\":{}", "[".repeat(100_000)).into_bytes();
    for not_json in [&b""[..], b"workflow_job", b"payload=%7B%7D", &whole[..whole.len() - 1], b"\xff\xfe{}", &deep] {
        for event in ["workflow_job", "ping", "star"] {
            let answer = door.deliver(&Delivery::bytes(event, not_json.to_vec())).await;
            answer.is(400, "refused", "the body is not JSON");
        }
    }
    for no_job in [
        Payload::job(1).without("workflow_job"),
        Payload::job(1).without("repository"),
        Payload::job(1).without("action"),
        Payload::job(1).without("id"),
        Payload::job(1).job_field("id", json!("7")),
        Payload::job(1).job_field("id", json!(-7)),
        Payload::job(1).job_field("labels", json!("linux")),
        Payload::job(1).field("workflow_job", json!([])),
    ] {
        let answer = door.deliver(&Delivery::of(&no_job)).await;
        answer.is(400, "refused", "the body is not a workflow_job event as GitHub documents it");
    }
    for other in [json!(null), json!([]), json!(7), json!({})] {
        let answer = door.deliver(&Delivery::bytes("workflow_job", other.to_string().into_bytes())).await;
        answer.is(400, "refused", "not a workflow_job event");
    }
    assert_eq!(door.stored().await, []);
}

#[tokio::test]
async fn a_hook_that_sends_forms_is_told_how_to_change_that() {
    let door = Door::open().await;
    let form = Delivery::bytes("workflow_job", b"payload=%7B%22action%22%3A%22queued%22%7D".to_vec());
    let form = form.header("content-type", "application/x-www-form-urlencoded");
    let answer = door.deliver(&form).await;
    answer.is(415, "refused", "set its content type to application/json");
    assert!(answer.why.contains("\"Content type\""), "it names the setting: {answer:?}");
    let job = Delivery::of(&Payload::job(1));
    door.deliver(&job.clone().header("content-type", "text/plain")).await.is(415, "refused", "`text/plain`");
    door.deliver(&job.clone().without("content-type")).await.is(415, "refused", "not application/json");
    assert_eq!(door.stored().await, []);
    door.deliver(&job.header("content-type", "Application/JSON; charset=utf-8")).await.is(202, "queued", "");
}

#[tokio::test]
async fn a_delivery_without_githubs_headers_is_refused() {
    let door = Door::open().await;
    let job = Delivery::of(&Payload::job(1));
    for (name, told) in [("x-github-event", "X-GitHub-Event"), ("x-github-delivery", "X-GitHub-Delivery")] {
        let why = format!("the {told} header is missing");
        door.deliver(&job.clone().without(name)).await.is(400, "refused", &why);
    }
    door.deliver(&job.header("x-github-delivery", "")).await.is(400, "refused", "X-GitHub-Delivery");
    assert_eq!(door.stored().await, []);
}

#[tokio::test]
async fn other_methods_and_paths_lead_nowhere() {
    let door = Door::open_with(|config| config.intake.path = "/hooks/fleet".to_owned()).await;
    let code = async |method: reqwest::Method, path: &str| {
        let url = format!("http://{}{path}", door.addr);
        door.client.request(method, url).send().await.unwrap().status().as_u16()
    };
    assert_eq!(code(reqwest::Method::GET, "/hooks/fleet").await, 405);
    assert_eq!(code(reqwest::Method::POST, "/webhook").await, 404);
    assert_eq!(code(reqwest::Method::POST, "/").await, 404);
    assert_eq!(code(reqwest::Method::POST, "/hooks/fleet").await, 401);
}

#[tokio::test]
async fn a_body_as_large_as_the_cap_is_taken_and_one_byte_more_is_not() {
    let door = Door::open_with(|config| config.intake.max_body = CAP).await;
    let cap = usize::try_from(CAP).unwrap();
    let mut body = Payload::job(1).bytes();
    body.resize(cap, b' ');
    door.deliver(&Delivery::bytes("workflow_job", body.clone())).await.is(202, "queued", "");
    body.push(b' ');
    let answer = door.deliver(&Delivery::bytes("workflow_job", body)).await;
    answer.is(413, "refused", "the body is larger than intake.max_body (65536 bytes)");
    assert_eq!(door.stored().await.len(), 1);
}

#[tokio::test]
async fn a_body_that_declares_itself_too_large_is_refused_before_any_of_it_is_sent() {
    let door = Door::open_with(|config| config.intake.max_body = CAP).await;
    let mut stream = speak(&door, &format!("content-length: {}", CAP + 1)).await;
    answer(&mut stream).await.is(413, "refused", "larger than intake.max_body");
}

#[tokio::test]
async fn a_body_that_never_ends_is_refused_at_the_cap() {
    let door = Door::open_with(|config| config.intake.max_body = CAP).await;
    let (mut from, mut to) = speak(&door, "transfer-encoding: chunked").await.into_split();
    let sender = tokio::spawn(async move {
        let chunk = [b"1000\r\n", &[b' '; 0x1000][..], b"\r\n"].concat();
        let mut sent = 0_u64;
        // Ends when the receiver has closed the connection.
        while to.write_all(&chunk).await.is_ok() {
            sent += 0x1000;
        }
        sent
    });
    let mut told = [0; 12];
    timeout(SOON, from.read_exact(&mut told)).await.expect("it answers while the body still comes").unwrap();
    assert_eq!(&told, b"HTTP/1.1 413");
    let sent = timeout(SOON, sender).await.expect("it reads no further").unwrap();
    assert!(sent < 32 << 20, "{sent} bytes were taken of a body whose cap is {CAP}");
}

/// Opens a connection and sends the head of a delivery whose body is still to come.
pub(super) async fn speak(door: &Door, length: &str) -> TcpStream {
    let mut head = format!("POST /webhook HTTP/1.1\r\nhost: {}\r\n{length}\r\n", door.addr);
    for (name, value) in &Delivery::bytes("workflow_job", Vec::new()).headers {
        write!(head, "{name}: {value}\r\n").unwrap();
    }
    let mut stream = TcpStream::connect(door.addr).await.unwrap();
    stream.write_all(format!("{head}\r\n").as_bytes()).await.unwrap();
    stream
}

/// The one answer of a connection that the receiver then closes.
pub(super) async fn answer(stream: &mut TcpStream) -> Answer {
    let mut text = String::new();
    timeout(SOON, stream.read_to_string(&mut text)).await.expect("it answers and closes").unwrap();
    let (head, body) = text.split_once("\r\n\r\n").unwrap();
    let body: Value = serde_json::from_str(body).unwrap();
    let field = |name: &str| body[name].as_str().unwrap_or_default().to_owned();
    Answer { code: head[9..12].parse().unwrap(), status: field("status"), why: field("why") }
}

#[test]
fn the_tests_sign_as_github_does() {
    let signature = sign("It's a Secret to Everybody", b"Hello, World!");
    assert_eq!(signature, "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17");
}
