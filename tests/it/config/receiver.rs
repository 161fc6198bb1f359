//! The receiver's own keys: its bounds, its proxies, its certificate, its senders.

use super::{MINIMAL, good, minimal_and, problems, told};
use runnerfleet::config::{Config, HttpLimits, Sources};
use std::time::Duration;

fn parsed(text: &str) -> Config {
    good(text).config
}

fn problems_of(text: &str) -> String {
    problems(text).iter().map(told).collect::<Vec<_>>().join("\n")
}

fn with_sources(sources: &str) -> String {
    MINIMAL.replace("intake:\n", &format!("intake:\n  source_allowlist: {sources}\n"))
}

#[test]
fn what_holds_without_a_word() {
    let config = parsed(&minimal_and(""));
    let seconds = Duration::from_secs;
    let limits = HttpLimits {
        connections: 2048,
        connections_per_address: 2048,
        header_timeout: seconds(10),
        body_timeout: seconds(20),
    };
    assert_eq!(config.http.limits, limits, "it listens on the loopback: only a proxy comes there");
    assert_eq!((config.http.tls, config.http.trusted_proxies), (None, Vec::new()));
    assert_eq!(config.intake.sources, Sources::Anywhere);
    let open = parsed(&minimal_and("http: {listen: '0.0.0.0:8080', limits: {connections: 10}}\n"));
    assert_eq!((open.http.limits.connections, open.http.limits.connections_per_address), (10, 3));
}

#[test]
fn all_that_can_be_said() {
    let more = "http: {trusted_proxies: [10.0.0.0/8, '::1'], limits: {connections: 100, connections_per_address: 7, \
                header_timeout: 3s, body_timeout: 4s}}\n";
    let config = parsed(&minimal_and(more));
    let proxies: Vec<_> = config.http.trusted_proxies.iter().map(ToString::to_string).collect();
    assert_eq!(proxies, ["10.0.0.0/8", "::1/128"]);
    assert_eq!((config.http.limits.connections, config.http.limits.connections_per_address), (100, 7));
    assert_eq!(config.http.limits.header_timeout, Duration::from_secs(3));
    assert_eq!(config.http.limits.body_timeout, Duration::from_secs(4));
}

#[test]
fn what_is_wrong_is_told() {
    for (more, told) in [
        ("http: {trusted_proxies: [10.0.0.1/8]}", "did you mean `10.0.0.0/8`?"),
        ("http: {trusted_proxies: 10.0.0.0/8}", "expected a list"),
        ("http: {trusted_proxies: [proxy.example.org]}", "`proxy.example.org` is not a network"),
        ("http: {limits: {connections: 0}}", "`0` is too small; 1 is the least"),
        ("http: {limits: {header_timeout: 0s}}", "http.limits.header_timeout"),
        ("http: {tls: {cert: a.pem}}", "http.tls.key: is missing"),
        (
            "http: {tls: {cert: /nowhere/a.pem, key: /nowhere/b.pem}}",
            "http.tls.cert: the file /nowhere/a.pem is not there",
        ),
    ] {
        let problems = problems_of(&minimal_and(&format!("{more}\n")));
        assert!(problems.contains(told), "{more}:\n{problems}");
    }
}

#[test]
fn sources() {
    assert_eq!(parsed(&with_sources("off")).intake.sources, Sources::Anywhere);
    assert_eq!(parsed(&with_sources("github-meta")).intake.sources, Sources::GitHubMeta);
    let networks = ["192.0.2.0/24", "2001:db8::7/128"].map(|text| text.parse().unwrap()).to_vec();
    assert_eq!(parsed(&with_sources("[192.0.2.0/24, '2001:db8::7']")).intake.sources, Sources::Networks(networks));
    for (sources, told) in [
        ("[]", "intake.source_allowlist: would refuse everybody"),
        ("github", "`github` is not known; it is `off` or `github-meta`"),
        ("[github-meta]", "intake.source_allowlist[0]: `github-meta` is not a network"),
    ] {
        let problems = problems_of(&with_sources(sources));
        assert!(problems.contains(told), "{sources}:\n{problems}");
    }
    let enterprise = with_sources("github-meta").replace("https://github.com/acme", "https://github.example.org/acme");
    assert!(problems_of(&enterprise).contains("a GitHub Enterprise Server does not tell from where its hooks come"));
}

#[test]
fn everybody_as_a_proxy_is_warned_of() {
    let loaded = good(&minimal_and("http: {trusted_proxies: ['0.0.0.0/0']}\n"));
    let warnings: Vec<_> = loaded.warnings.iter().map(told).collect();
    assert!(warnings.concat().contains("whoever reaches the receiver can claim any address"), "{warnings:?}");
}
