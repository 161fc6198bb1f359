//! Each form as it arrives, held against what was written down, and against what the receiving side demands.

use super::config;
use crate::support::told::{Told, recipient};
use aws_lc_rs::hmac;
use runnerfleet::config::Form;
use runnerfleet::notify::event::Kind;
use runnerfleet::notify::try_out;
use secrecy::SecretString;
use serde_json::{Map, Value, json};

/// What arrives for each kind of event, with the moment taken out.
async fn arrived(form: Form) -> Map<String, Value> {
    let told = Told::start().await;
    let config = config(vec![recipient("x", &told.url(), form)]);
    let mut bodies = Map::new();
    for kind in Kind::ALL {
        try_out(&config, &config.notifications.recipients[0], *kind).send().await.unwrap();
        let got = told.got().pop().unwrap();
        assert_eq!(got.path, "/services/T0000000/verysecretpath");
        assert_eq!(got.header("content-type"), "application/json");
        assert!(got.header("user-agent").starts_with("runnerfleet/"));
        let mut body = got.json();
        without_moment(&mut body);
        bodies.insert(kind.name().to_owned(), body);
    }
    bodies
}

fn without_moment(body: &mut Value) {
    for path in ["/timestamp", "/embeds/0/timestamp"] {
        if let Some(at) = body.pointer_mut(path) {
            assert!(at.as_str().unwrap().parse::<jiff::Timestamp>().is_ok(), "{at}");
            *at = json!("2026-11-23T12:00:00Z");
        }
    }
    if let Some(at) = body.pointer_mut("/attachments/0/ts") {
        assert!(at.is_i64());
        *at = json!(1_795_435_200);
    }
}

/// Held against `tests/fixtures/notify`. `UPDATE_GOLDEN=1` writes it anew, to be read before it is committed.
async fn golden(name: &str, form: Form) -> Map<String, Value> {
    let bodies = arrived(form).await;
    let path =
        std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/notify").join(format!("{name}.json"));
    let text = serde_json::to_string_pretty(&bodies).unwrap() + "\n";
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, &text).unwrap();
    }
    let expected = std::fs::read_to_string(&path).unwrap_or_default();
    assert_eq!(text, expected, "{}", path.display());
    bodies
}

#[tokio::test]
async fn slack() {
    let bodies = golden("slack", Form::Slack { username: "bot".into(), channel: Some("#ci".into()) }).await;
    for body in bodies.values() {
        assert!(body["text"].is_string(), "Slack refuses a message without text: {body}");
        let keys: Vec<_> = body["attachments"][0].as_object().unwrap().keys().cloned().collect();
        assert!(keys.iter().all(|key| {
            ["color", "fallback", "text", "fields", "footer", "ts", "mrkdwn_in"].contains(&key.as_str())
        }));
    }
}

#[tokio::test]
async fn discord() {
    let form = Form::Discord { username: "bot".into(), avatar_url: Some("https://acme.org/bot.png".into()) };
    for body in golden("discord", form).await.values() {
        assert_eq!(body["allowed_mentions"], json!({ "parse": [] }));
        assert_eq!(body["avatar_url"], "https://acme.org/bot.png");
        assert!(body["embeds"][0]["color"].as_u64().unwrap() <= 0x00FF_FFFF);
    }
}

/// The shape that Microsoft documents for a message to a workflow, and of an Adaptive Card 1.4, as far as it is used.
#[tokio::test]
async fn teams() {
    let schema = include_str!("../../fixtures/notify/teams.schema.json");
    let schema = serde_json::from_str(schema).unwrap();
    let validator = jsonschema::validator_for(&schema).unwrap();
    for (kind, body) in golden("teams", Form::Teams { message_card: false }).await {
        let wrong: Vec<_> = validator.iter_errors(&body).map(|error| error.to_string()).collect();
        assert!(wrong.is_empty(), "{kind}: {wrong:?}\n{body:#}");
    }
}

#[tokio::test]
async fn teams_of_old() {
    for body in golden("message_card", Form::Teams { message_card: true }).await.values() {
        assert_eq!(
            (&body["@type"], &body["@context"]),
            (&json!("MessageCard"), &json!("https://schema.org/extensions"))
        );
        assert!(body["summary"].is_string() && body["themeColor"].as_str().unwrap().len() == 6);
    }
}

#[tokio::test]
async fn generic_is_json_with_three_keys() {
    let form = Form::Generic { secret: None, headers: Vec::new() };
    for (kind, body) in golden("generic", form).await {
        let keys: Vec<_> = body.as_object().unwrap().keys().cloned().collect();
        assert_eq!(keys, ["data", "event_type", "timestamp"]);
        assert_eq!(body["event_type"], kind);
    }
}

#[tokio::test]
async fn generic_is_signed_over_the_raw_body() {
    let told = Told::start().await;
    let headers = vec![
        ("X-Team".to_owned(), SecretString::from("infra")),
        ("Authorization".to_owned(), SecretString::from("Bearer t")),
    ];
    let form = Form::Generic { secret: Some(SecretString::from("a secret")), headers };
    let config = config(vec![recipient("ops", &told.url(), form)]);
    try_out(&config, &config.notifications.recipients[0], Kind::JobLost).send().await.unwrap();
    let got = told.got().remove(0);
    assert_eq!((got.header("x-team"), got.header("authorization")), ("infra", "Bearer t"));
    assert_eq!(got.header("x-runnerfleet-event"), "job_lost");
    assert_eq!(got.header("x-runnerfleet-delivery").len(), 32);
    // Another library than the program's own.
    let signature = got.header("x-runnerfleet-signature-256").strip_prefix("sha256=").expect("its form");
    let key = hmac::Key::new(hmac::HMAC_SHA256, b"a secret");
    hmac::verify(&key, &got.body, &hex::decode(signature).unwrap()).expect("it is right");
    let other = hmac::Key::new(hmac::HMAC_SHA256, b"another");
    assert!(hmac::verify(&other, &got.body, &hex::decode(signature).unwrap()).is_err());
}
