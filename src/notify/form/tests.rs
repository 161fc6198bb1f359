use super::*;
use crate::config::Form;
use crate::model::{HostId, InstanceId, PoolName, RunnerName};
use crate::notify::event::RunnerFacts;
use crate::notify::template::{CardField, Cards};
use std::collections::BTreeSet;
use std::time::Duration;

fn notice(event: Event) -> Notice {
    Notice {
        id: "0".repeat(32),
        at: "2026-11-23T12:00:00.125Z".parse().unwrap(),
        instance: InstanceId::new("prod-1"),
        host: HostId::new("big"),
        news: News::One(event),
    }
}

fn recipient(form: Form) -> Recipient {
    Recipient {
        name: "x".into(),
        enabled: true,
        url: None,
        timeout: Duration::from_secs(1),
        events: BTreeSet::new(),
        cards: Cards::default(),
        form,
    }
}

fn slack() -> Recipient {
    recipient(Form::Slack { username: "bot".into(), channel: None })
}

fn discord() -> Recipient {
    recipient(Form::Discord { username: "bot".into(), avatar_url: None })
}

fn teams(message_card: bool) -> Recipient {
    recipient(Form::Teams { message_card })
}

fn json_of(recipient: &Recipient, notice: &Notice) -> Value {
    serde_json::from_slice(&payload(recipient, notice).body).expect("a body is JSON")
}

fn template(text: &str) -> Template {
    Template::parse(text).unwrap()
}

fn hostile(error: &str) -> Event {
    Event::RunnerError {
        runner: RunnerFacts::bare(&RunnerName::new("web-1"), &PoolName::new("web"), "image"),
        operation: "run".into(),
        error: error.into(),
    }
}

fn with_card(mut recipient: Recipient, text: &str) -> Recipient {
    let field = CardField { name: template("Error"), value: template("```{error_message}```"), short: false };
    let card = Card {
        title: Some(template("*{runner_name}*")),
        text: Some(template(text)),
        color: Some(0x00FF_0000),
        use_attachment: true,
        fields: Some(vec![field]),
    };
    recipient.cards.own.insert(Kind::RunnerError, card);
    recipient
}

#[test]
fn every_built_in_sentence_is_a_template_of_known_names() {
    for kind in Kind::ALL {
        let sentence = Template::parse(kind.text()).unwrap();
        for name in sentence.names() {
            assert!(kind.fields().contains(&name), "{kind}: {name}");
        }
        let said = message(&Event::sample(*kind));
        assert!(!said.contains(['{', '}']), "{said}");
    }
}

#[test]
fn nothing_of_a_value_is_taken_for_a_mark() {
    let event = hostile("<!channel> & <@U1> *bold* [x](http://evil) `code` ```fence``` @everyone");
    let body = json_of(&with_card(slack(), "{error_message}"), &notice(event.clone()));
    let text = body["attachments"][0]["text"].as_str().unwrap();
    assert!(text.starts_with("&lt;!channel&gt; &amp; &lt;@U1&gt;"), "{text}");
    let value = body["attachments"][0]["fields"][0]["value"].as_str().unwrap();
    assert_eq!(value.matches("```").count(), 2, "the fence is the template's: {value}");

    let body = json_of(&with_card(discord(), "{error_message}"), &notice(event.clone()));
    assert_eq!(body["allowed_mentions"], serde_json::json!({ "parse": [] }));
    let text = body["embeds"][0]["description"].as_str().unwrap();
    assert!(text.contains("\\*bold\\* \\[x\\]\\(http://evil\\)"), "{text}");
    let value = body["embeds"][0]["fields"][0]["value"].as_str().unwrap();
    assert_eq!(value.matches("```").count(), 2, "{value}");
    assert!(value.contains("*bold*"), "code shows what it is: {value}");

    let body = json_of(&with_card(teams(false), "{error_message}"), &notice(event.clone()));
    let text = body["attachments"][0]["content"]["body"][1]["text"].as_str().unwrap();
    assert!(text.contains("\\*bold\\* \\[x\\](http://evil)"), "{text}");
    let body = json_of(&with_card(teams(true), "{error_message}"), &notice(event));
    let text = body["text"].as_str().unwrap();
    assert!(text.starts_with("&lt;!channel&gt; &amp; "), "{text}");
}

#[test]
fn the_limits_of_each_form_hold() {
    let long = "é😀x".repeat(20_000);
    let mut recipient = with_card(discord(), "{error_message}{error_message}");
    let card = recipient.cards.own.get_mut(&Kind::RunnerError).unwrap();
    let field = CardField { name: template("{error_message}"), value: template("{error_message}"), short: true };
    card.fields = Some(vec![field; 40]);
    card.title = Some(template("{error_message}"));
    let notice = notice(hostile(&long));
    let units = |value: &Value| value.as_str().map_or(0, |text| text.encode_utf16().count());
    let body = json_of(&recipient, &notice);
    let embed = &body["embeds"][0];
    let fields = embed["fields"].as_array().cloned().unwrap_or_default();
    assert!(units(&embed["title"]) <= 256 && units(&embed["description"]) <= 4096 && fields.len() <= 25);
    assert!(fields.iter().all(|field| units(&field["name"]) <= 256 && units(&field["value"]) <= 1024));
    let all = units(&embed["title"])
        + units(&embed["description"])
        + units(&embed["footer"]["text"])
        + fields.iter().map(|field| units(&field["name"]) + units(&field["value"])).sum::<usize>();
    assert!(all <= 6000, "{all}");
    assert!(embed["description"].as_str().unwrap().ends_with('…'));

    for message_card in [false, true] {
        recipient.form = Form::Teams { message_card };
        assert!(payload(&recipient, &notice).body.len() <= 28 * 1024);
    }
    recipient.form = Form::Slack { username: "b".into(), channel: None };
    assert!(payload(&recipient, &notice).body.len() <= 256 * 1024);
}

#[test]
fn empty_texts_are_left_out_where_they_would_be_refused() {
    let mut recipient = with_card(discord(), "");
    let card = recipient.cards.own.get_mut(&Kind::RunnerError).unwrap();
    card.title = Some(template(""));
    card.fields = Some(vec![CardField { name: template(""), value: template(" "), short: true }]);
    let embed = &json_of(&recipient, &notice(hostile("x")))["embeds"][0];
    assert!(embed.get("title").is_none() && embed.get("description").is_none());
    assert_eq!((&embed["fields"][0]["name"], &embed["fields"][0]["value"]), (&"-".into(), &"-".into()));
}

#[test]
fn a_digest_says_how_many_and_names_the_first() {
    let many = News::Many { kind: Kind::RunnerError, count: 9995, first: vec![hostile("one"), hostile("two")] };
    let notice = Notice { news: many, ..notice(hostile("x")) };
    let body = json_of(&slack(), &notice);
    assert_eq!(body["text"], "Runner failed: 9995 times");
    let text = body["attachments"][0]["text"].as_str().unwrap();
    assert!(text.contains("web-1") && text.ends_with("… and 9993 more"), "{text}");
    let generic = recipient(Form::Generic { secret: None, headers: Vec::new() });
    let body = json_of(&generic, &notice);
    assert_eq!((&body["data"]["count"], body["data"]["events"].as_array().unwrap().len()), (&Value::from(9995), 2));
}

#[test]
fn slack_without_a_block_is_plain_text() {
    let mut recipient = with_card(slack(), "It failed");
    recipient.cards.own.get_mut(&Kind::RunnerError).unwrap().use_attachment = false;
    let body = json_of(&recipient, &notice(hostile("boom")));
    assert_eq!(body, serde_json::json!({ "text": "**web-1**\nIt failed\n*Error*: ```boom```", "username": "bot" }));
}

#[test]
fn a_default_template_may_name_what_only_some_events_have() {
    let mut recipient = slack();
    let card = Card { text: Some(template("{event_type} {runner_name} {new_version}: {message}")), ..Card::default() };
    recipient.cards.default = Some(Card { use_attachment: true, ..card });
    let body = json_of(&recipient, &notice(Event::sample(Kind::UpdateAvailable)));
    let text = body["attachments"][0]["text"].as_str().unwrap();
    assert!(text.starts_with("update_available - 2.336.0: Base image ghcr.io/"), "{text}");
}
