//! How GitHub's events come here, and how often GitHub is asked about them.

use super::{KEY, MINIMAL, good, minimal_and, problems, told};
use runnerfleet::config::{self, Config, IntakeMode};
use std::time::Duration;

const APP: &str = "github: {auth: {app: {client_id: Iv23, private_key: '${APP_KEY}'}}}\n";

/// The minimal file as an App, with this for its `intake`.
fn with(intake: &str) -> String {
    let at = MINIMAL.find("intake:").unwrap();
    format!("{}{intake}\n{APP}", &MINIMAL[..at])
}

fn parsed(text: &str) -> Config {
    assert!(KEY.contains("PRIVATE KEY"));
    good(text).config
}

fn problems_of(text: &str) -> String {
    problems(text).iter().map(told).collect::<Vec<_>>().join("\n")
}

#[test]
fn what_holds_without_a_word() {
    let seconds = |secs| Some(Duration::from_secs(secs));
    let app = parsed(&format!("{MINIMAL}{APP}"));
    assert_eq!(app.intake.mode, IntakeMode::Webhook);
    assert_eq!((app.github.poll_deliveries, app.github.poll_jobs), (seconds(60), seconds(120)));
    let token = parsed(MINIMAL);
    assert_eq!(token.github.poll_deliveries, None, "only an App has a log");
    assert_eq!(token.github.poll_jobs, seconds(120));
}

#[test]
fn pull_is_said_in_a_word_or_in_the_section_and_needs_no_secret() {
    for intake in ["intake: pull", "intake: {mode: pull}", "intake:\n  mode: pull\n  dedupe_ttl: 72h"] {
        let config = parsed(&with(intake));
        assert_eq!((config.intake.mode, config.intake.secrets.len()), (IntakeMode::Pull, 0), "{intake}");
        assert_eq!(config.github.poll_deliveries, Some(Duration::from_secs(5)));
        let summary = config::summary(&config);
        assert!(summary.contains("events are read from GitHub's log every 5 s; no secret is needed"), "{summary}");
    }
    // Both words are in the schema.
    super::fuzz::assert_fits_schema(&with("intake: pull"));
    let told = problems_of(&with("intake: webhook"));
    assert!(told.contains("intake.secrets: without a secret anybody could send deliveries"), "{told}");
}

#[test]
fn rhythms() {
    let with_poll = |poll: &str| with("intake: pull").replace("github: {", &format!("github: {{poll: {{{poll}}}, "));
    let config = parsed(&with_poll("deliveries: 20s, jobs: off"));
    assert_eq!(config.github.poll_deliveries, Some(Duration::from_secs(20)));
    assert_eq!(config.github.poll_jobs, None);
    let off = with_poll("deliveries: off").replace("intake: pull", "intake: {secrets: ['${WEBHOOK_SECRET}']}");
    assert_eq!(parsed(&off).github.poll_deliveries, None);
}

#[test]
fn what_is_wrong_is_told() {
    let with_poll = |poll: &str| with("intake: pull").replace("github: {", &format!("github: {{poll: {{{poll}}}, "));
    for (text, told) in [
        (with_poll("deliveries: off"), "github.poll.deliveries: with `intake.mode: pull` no event would ever come"),
        (with_poll("deliveries: 500ms"), "github.poll.deliveries: `500ms` is too often; `1s` is the least"),
        (with_poll("jobs: never"), "github.poll.jobs: `never` is not a time"),
        (with("intake: {mode: poll}"), "intake.mode: `poll` is not known; did you mean `pull`?"),
        (with("intake: hunter2"), "intake: expected a section with keys, found a text"),
        (
            with("intake: pull").replace(APP, ""),
            "intake: only a GitHub App has a log of deliveries that can be read, and `github.auth` has a token",
        ),
        (minimal_and("github: {redelivery: {enabled: true}}\n"), "github.redelivery: unknown key"),
    ] {
        let problems = problems_of(&text);
        assert!(problems.contains(told), "{text}:\n{problems}");
        assert!(!problems.contains("hunter2"), "perhaps a secret: {problems}");
    }
}
