//! `webhooks:`: who is told of what.

use super::{good, minimal_and, problems, told};
use runnerfleet::config::{Form, Notifications, Rate};
use runnerfleet::notify::event::Kind;
use secrecy::ExposeSecret;
use std::time::Duration;

fn read(webhooks: &str) -> Notifications {
    good(&minimal_and(webhooks)).config.notifications
}

fn faults(webhooks: &str) -> Vec<String> {
    problems(&minimal_and(webhooks)).iter().map(told).collect()
}

fn warnings(webhooks: &str) -> Vec<String> {
    good(&minimal_and(webhooks)).warnings.iter().map(told).collect()
}

/// A file of the tool before this one, with every key that it knew.
const OLD: &str = r##"
webhooks:
  enabled: true
  timeout: 10
  retry_count: 3
  retry_delay: 5
  slack:
    enabled: true
    webhook_url: "https://hooks.slack.com/services/T00000000/B00000000/XXXXXXXXXXXXXXXXXXXXXXXX"
    channel: "#ci"
    username: "GitHub Runner Bot"
    timeout: 10
    events: [runner_started, runner_error, build_started, build_completed, build_failed, update_available, update_applied]
    templates:
      default:
        title: "GitHub Runner Manager"
        text: "Event {event_type}"
        color: "#36a64f"
        use_attachment: true
        fields: []
      runner_started:
        title: "Runner {runner_id}"
        text: "{runner_name} ({techno} {techno_version}) with {labels}"
        fields: [{name: "Labels", value: "{labels}", short: true}]
      runner_error:
        title: "Runner Error"
        text: "An error occurred with runner *{runner_name}*"
        color: "#ff0000"
        fields: [{name: "Error", value: "```{error_message}```", short: false}]
      build_completed:
        title: "Build {id}"
        text: "{image_name} in {duration}, {image_size}, from {dockerfile}"
      update_available:
        title: "Update"
        text: "{image_name}: {current_version} -> {new_version}"
      update_applied:
        title: "Updated"
        text: "{old_version} -> {new_version} for {affected_runners} on {base_image}"
  discord:
    enabled: false
    webhook_url: "https://discord.com/api/webhooks/1/x"
    username: "Runner Bot"
    avatar_url: null
    events: []
    templates:
      runner_stopped: {title: "Stopped", description: "{runner_name} after {uptime}", color: 3066993, fields: [{name: a, value: b, inline: true}]}
  teams:
    enabled: false
    webhook_url: "https://example.invalid/teams"
    templates:
      runner_error:
        title: "Error"
        themeColor: "0076D7"
        sections: [{activityTitle: "{runner_name}", facts: [{name: Error, value: "{error_message}"}]}]
"##;

#[test]
fn a_file_of_the_tool_before_this_one_loads_unchanged() {
    let loaded = good(&minimal_and(OLD.trim_start()));
    let read = loaded.config.notifications;
    assert_eq!((read.retries, read.retry_delay), (3, Duration::from_secs(5)));
    let names: Vec<_> = read.recipients.iter().map(|recipient| (recipient.name.as_str(), recipient.enabled)).collect();
    assert_eq!(names, [("slack", true), ("discord", false), ("teams", false)]);
    let slack = &read.recipients[0];
    assert_eq!(slack.events.len(), 7);
    assert_eq!(slack.cards.own.len(), 5);
    assert!(slack.cards.default.is_some());
    assert_eq!(slack.cards.own[&Kind::RunnerError].color, Some(0x00FF_0000));
    assert!(
        matches!(&slack.form, Form::Slack { username, channel } if username == "GitHub Runner Bot" && channel.as_deref() == Some("#ci"))
    );
    assert_eq!(read.recipients[1].cards.own[&Kind::RunnerStopped].color, Some(3_066_993));
    let card = &read.recipients[2].cards.own[&Kind::RunnerError];
    assert_eq!((card.color, card.fields.as_ref().map(Vec::len)), (Some(0x0000_76D7), Some(1)));
    assert!(card.text.is_some());
    let warned: Vec<_> = loaded.warnings.iter().map(|warning| warning.key_path.as_str()).collect();
    let urls = ["webhooks.slack.webhook_url", "webhooks.discord.webhook_url", "webhooks.teams.webhook_url"];
    assert_eq!(warned, urls, "addresses are secrets");
}

#[test]
fn what_holds_where_the_file_is_silent() {
    assert!(read("").recipients.is_empty());
    let read = read(
        "webhooks: {slack: {webhook_url: '${WEBHOOK_SECRET}x'}}\n"
            .replace("${WEBHOOK_SECRET}x", "https://h/x")
            .as_str(),
    );
    assert_eq!(read.rate, Rate { per_minute: 20, digest_after: 5 });
    let slack = &read.recipients[0];
    assert!(slack.enabled);
    assert_eq!((slack.events.len(), slack.timeout), (Kind::ALL.len(), Duration::from_secs(10)));
    // The general timeout reaches whoever has none of its own.
    let read = self::read(
        "webhooks: {timeout: 3, retry_delay: 250ms, slack: {webhook_url: 'https://h/x'}, teams: {webhook_url: 'https://h/x', timeout: 1500ms}}\n",
    );
    let timeouts: Vec<_> = read.recipients.iter().map(|recipient| recipient.timeout.as_millis()).collect();
    assert_eq!((timeouts, read.retry_delay.as_millis()), (vec![3000, 1500], 250));
}

#[test]
fn generic_ones_are_a_list_with_names_secrets_and_headers() {
    let read = read(
        "notifications:\n  generic:\n    - {name: ops, url: 'https://ops.acme.org/hook', secret: '${WEBHOOK_SECRET}', headers: {X-Team: a, Authorization: 'Bearer ${GITHUB_TOKEN}'}, events: ['*']}\n    \
         - {name: local, url: 'http://127.0.0.1:9/x', secret: '${EMPTY}', events: [job_lost]}\n",
    );
    let Form::Generic { secret, headers } = &read.recipients[0].form else { panic!("generic") };
    assert_eq!(secret.as_ref().unwrap().expose_secret(), "hook-hunter2");
    let headers: Vec<_> = headers.iter().map(|(name, value)| (name.as_str(), value.expose_secret())).collect();
    assert_eq!(headers, [("X-Team", "a"), ("Authorization", "Bearer ghp_hunter2")]);
    assert!(matches!(&read.recipients[1].form, Form::Generic { secret: None, .. }));
    assert!(!format!("{read:?}").contains("hunter2"));
}

#[test]
fn placeholders_are_checked_against_the_event() {
    let with = |event: &str, text: &str| {
        format!("webhooks: {{slack: {{webhook_url: 'https://h/x', templates: {{{event}: {{text: '{text}'}}}}}}}}\n")
    };
    let at = "10:81 webhooks.slack.templates.runner_error.text";
    assert_eq!(
        faults(&with("runner_error", "{runer_name}")),
        [format!("{at}: `{{runer_name}}` is not known of `runner_error`; did you mean `{{runner_name}}`?")]
    );
    let list = &faults(&with("runner_error", "{nonsense}"))[0];
    assert!(list.contains("known are {event_type} {title}") && list.contains("{error_message}"), "{list}");
    assert!(faults(&with("pool_degraded", "{uptime}"))[0].contains("is not known of `pool_degraded`"));
    assert!(faults(&with("default", "{nonsense}"))[0].contains("is not known of any event"));
    assert_eq!(
        faults(&with("runner_eror", "x")),
        ["10:73 webhooks.slack.templates.runner_eror: is a template of no event; did you mean `runner_error`?"]
    );
    for text in ["{runner_name", "{}", "{a.b}", "{x.__class__}"] {
        assert_eq!(faults(&with("runner_error", text)).len(), 1, "{text}");
    }
    read(&with("default", "{uptime} {{literally}} {message}"));
}

#[test]
fn what_is_wrong_is_told() {
    for (text, expected) in [
        (
            "webhooks: {slack: {}}",
            "10:19 webhooks.slack.webhook_url: is missing; write `webhook_url: ${NAME}`, or `enabled: false`",
        ),
        (
            "webhooks: {slack: {webhook_url: ''}}",
            "10:33 webhooks.slack.webhook_url: is empty; give the address, or write `enabled: false`",
        ),
        (
            "webhooks: {teams: {webhook_url: 'http://h.org/x'}}",
            "10:33 webhooks.teams.webhook_url: would go there without TLS; use `https://`",
        ),
        (
            "webhooks: {teams: {webhook_url: 'h.org/x'}}",
            "10:33 webhooks.teams.webhook_url: is not the address of a webhook; write `https://host/path`",
        ),
        (
            "webhooks: {teams: {webhook_url: 'https://h/x', format: card}}",
            "10:56 webhooks.teams.format: `card` is not known; it is `adaptive_card` or `message_card`",
        ),
        ("webhooks: {timeout: 0}", "10:21 webhooks.timeout: is no time to wait for an answer; 10 is usual"),
        (
            "webhooks: {generic: [{name: slack, url: 'https://h/x'}]}",
            "10:29 webhooks.generic[0].name: is the name of another recipient already; give it a name of its own",
        ),
        (
            "webhooks: {slack: {enabled: false, events: [runner_eror]}}",
            "10:45 webhooks.slack.events[0]: `runner_eror` is no event; did you mean `runner_error`?",
        ),
        (
            "webhooks: {generic: [{url: 'https://h/x', headers: {Host: a}}]}",
            "10:59 webhooks.generic[0].headers.Host: is a header that the program sets itself; leave it out",
        ),
        (
            "webhooks: {slack: {enabled: false, templates: {default: {color: blue}}}}",
            "10:65 webhooks.slack.templates.default.color: `blue` is no colour; write it as in `\"#36a64f\"`",
        ),
    ] {
        assert_eq!(faults(&format!("{text}\n")), [expected], "{text}");
    }
    assert_eq!(
        faults("webhooks: {}\nnotifications: {}\n"),
        ["11:1 notifications: means the same as `webhooks` in line 10; keep one of them"]
    );
}

#[test]
fn what_should_be_known_is_warned_of() {
    let inline = "a secret stands in the file itself, for everybody who can read it; take it from a variable (`${NAME}`) or from a file (`file:/path`)";
    assert_eq!(
        warnings("webhooks: {generic: [{url: 'http://ops.acme.org/x'}]}\n"),
        [
            format!("10:28 webhooks.generic[0].url: {inline}"),
            "10:28 webhooks.generic[0].url: goes there without TLS, for everybody on the way to read; use `https://`"
                .to_owned(),
        ]
    );
    assert_eq!(warnings("webhooks: {slack: {enabled: false}}\n"), [""; 0], "one that is switched off needs no address");
    let said = warnings("webhooks: {slack: {webhook_url: 'https://h/x', events: []}}\n");
    assert!(said[1].contains("nothing will be sent there"), "{said:?}");
    let said = warnings("webhooks: {discord: {webhook_url: 'https://h/x', username: My Discord}}\n");
    assert!(said[1].contains("Discord refuses names"), "{said:?}");
}
