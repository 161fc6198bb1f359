//! The way of deliveries: where GitHub sends them, and what became of the last ones.

use super::catalogue::{Check, DELIVERIES, HOOK_FORM, HOOK_SECRET, HOOK_URL, REACHABLE};
use super::finding::{Finding, Seen};
use super::github::Asked;
use super::words::count;
use crate::config::{Config, IntakeMode};
use crate::github::{Delivery, HookConfig};
use std::collections::BTreeSet;

/// What was seen.
#[derive(Debug, Clone, PartialEq)]
pub struct WebhookFacts {
    /// The App's hook.
    pub hook: Asked<HookConfig>,
    /// GitHub's log, the newest first.
    pub deliveries: Asked<Vec<Delivery>>,
    /// What `http.public_url`/healthz answers from here: its status. Asked only where GitHub's log says nothing.
    pub from_here: Seen<u16>,
}

const ALL: [Check; 5] = [HOOK_URL, HOOK_SECRET, HOOK_FORM, DELIVERIES, REACHABLE];

/// Nobody looked.
pub fn not_looked(because: &str) -> Vec<Finding> {
    ALL.iter().map(|check| check.not_looked(because)).collect()
}

/// Why there is nothing to look at; none where there is.
pub fn needless(config: &Config) -> Option<&'static str> {
    let none = config.ephemeral_pools().next().is_none();
    none.then_some("no pool is made for jobs, so no deliveries are needed")
}

/// Where GitHub should deliver to, as far as the file says.
pub fn receiver(config: &Config) -> Option<String> {
    config.http.public_url.as_ref().map(|url| format!("{url}{}", config.intake.path))
}

/// What there is to say.
pub fn findings(config: &Config, facts: &WebhookFacts, is_served: bool) -> Vec<Finding> {
    if let Some(because) = needless(config) {
        return not_looked(because);
    }
    if config.intake.mode == IntakeMode::Pull {
        return pulled(facts);
    }
    let mut findings = match &facts.hook {
        Seen::Known(hook) => vec![url(config, hook), secret(hook), form(hook)],
        Seen::Failed(error) => {
            let says = format!("where the App's hook delivers to cannot be read: {error}");
            let first = HOOK_URL.unknown(says, "run this again once GitHub answers");
            let rest = [HOOK_SECRET, HOOK_FORM].map(|check| check.not_looked("the hook could not be read"));
            std::iter::once(first).chain(rest).collect()
        }
        Seen::NotLooked(because) => [HOOK_URL, HOOK_SECRET, HOOK_FORM].map(|check| check.not_looked(because)).into(),
    };
    findings.push(deliveries(facts));
    findings.push(reachable(config, facts, is_served));
    findings
}

/// With `intake: pull` nothing is received: GitHub's log is read, and GitHub writes one only for a hook that has an address.
fn pulled(facts: &WebhookFacts) -> Vec<Finding> {
    let because = "GitHub's log is read instead (intake.mode: pull)";
    let url = match &facts.hook {
        Seen::Known(HookConfig { url: Some(url), .. }) => HOOK_URL
            .ok(format!("GitHub delivers to {url}, and what comes of it is read in its log (intake.mode: pull)")),
        Seen::Known(HookConfig { url: None, .. }) => HOOK_URL.broken(
            "the App has no webhook, so GitHub writes no log of deliveries: with intake.mode: pull no job is heard of",
            "switch it on in the App's settings, \"General\", \"Webhook\", with any address",
        ),
        Seen::Failed(error) => HOOK_URL.unknown(
            format!("whether the App's hook is on cannot be read: {error}"),
            "run this again once GitHub answers",
        ),
        Seen::NotLooked(because) => HOOK_URL.not_looked(because),
    };
    let others = ALL.iter().filter(|check| check.id != HOOK_URL.id).map(|check| check.not_looked(because));
    std::iter::once(url).chain(others).collect()
}

fn url(config: &Config, hook: &HookConfig) -> Finding {
    let place = "in the App's settings, \"General\", \"Webhook\"";
    let expected = receiver(config);
    let shown = expected
        .clone()
        .unwrap_or_else(|| format!("the address of this receiver, which ends in {}", config.intake.path));
    let Some(url) = &hook.url else {
        return HOOK_URL
            .broken("the App has no webhook: no job is heard of", format!("switch it on {place}, with {shown}"));
    };
    match expected {
        Some(expected) if same(url, &expected) => HOOK_URL.ok(format!("GitHub delivers to {url}")),
        Some(expected) => HOOK_URL.broken(
            format!("GitHub delivers to {url}, and the configuration says {expected} (`http.public_url` and `intake.path`)"),
            format!("set the one {place}, or the other in the file"),
        ),
        None if !url.trim_end_matches('/').ends_with(config.intake.path.trim_end_matches('/')) => HOOK_URL.warning(
            format!("GitHub delivers to {url}, and `intake.path` is {}: only a proxy that changes paths can bring that here", config.intake.path),
            "let both have the same path, and write down in `http.public_url` where GitHub reaches this receiver",
        ),
        None => HOOK_URL.unknown(
            format!("GitHub delivers to {url}; whether that is this receiver the file does not say"),
            "set `http.public_url`: it is what this is held against",
        ),
    }
}

/// Without regard to the case of scheme and host, and to a slash at the end.
fn same(a: &str, b: &str) -> bool {
    let folded = |url: &str| {
        let url = url.trim_end_matches('/');
        let behind = url.find("://").map_or(0, |at| at + 3);
        let end = url[behind..].find('/').map_or(url.len(), |at| behind + at);
        format!("{}{}", url[..end].to_lowercase(), &url[end..])
    };
    folded(a) == folded(b)
}

fn secret(hook: &HookConfig) -> Finding {
    if hook.has_secret {
        return HOOK_SECRET
            .ok("deliveries are signed; whether with a secret of `intake.secrets` the log of deliveries shows");
    }
    HOOK_SECRET.broken(
        "the App's webhook has no secret: deliveries are not signed, and each is refused",
        "set the secret of `intake.secrets` in the App's settings, \"General\", \"Webhook secret\"",
    )
}

fn form(hook: &HookConfig) -> Finding {
    let place = "the App's settings, \"General\", \"Webhook\"";
    match hook.content_type.as_deref() {
        Some("form") => HOOK_FORM.broken(
            "GitHub sends deliveries as a form, and only JSON is taken",
            format!("choose `application/json` in {place}"),
        ),
        _ if hook.insecure_ssl => HOOK_FORM.warning(
            "GitHub takes any certificate for this receiver's (SSL verification is off)",
            format!("switch it on in {place}, once the receiver has a certificate that is known"),
        ),
        _ => HOOK_FORM.ok("GitHub sends JSON, and looks at the receiver's certificate"),
    }
}

/// What a failed delivery asks for.
fn what_to_do(failed: &Delivery) -> String {
    match failed.status_code {
        401 => "the secret in the App's settings is none of `intake.secrets`: set the same one in both places",
        403 => "it was refused by its sender's address: see `intake.source_allowlist` and `http.trusted_proxies`",
        404 | 405 => "the address leads to something else: compare its path with `intake.path`",
        413 => "it was too large for `intake.max_body`, or for a proxy before the receiver",
        502 | 504 => {
            "a proxy answered that has no receiver behind it: is `serve` running, and where does the proxy lead to?"
        }
        503 => "the receiver could not keep it: see whether its store answers, and `http.limits`",
        0 => {
            "GitHub did not get through to the address: see DNS, the firewall, the proxy or tunnel, and its certificate"
        }
        _ => "`runnerfleet deliveries --failed` shows more",
    }
    .to_owned()
}

fn deliveries(facts: &WebhookFacts) -> Finding {
    let log = match &facts.deliveries {
        Seen::Known(log) => log,
        Seen::Failed(error) => {
            return DELIVERIES
                .unknown(format!("GitHub's log of deliveries cannot be read: {error}"), "run this again later");
        }
        Seen::NotLooked(because) => return DELIVERIES.not_looked(because),
    };
    let Some(newest) = log.first() else {
        return DELIVERIES.unknown(
            "GitHub has delivered nothing in the last day",
            "let a job run; `runnerfleet deliveries` then shows what became of it",
        );
    };
    // What was sent again and came through then did not fail.
    let taken: BTreeSet<&str> = log.iter().filter(|it| it.ok()).map(|it| it.guid.as_str()).collect();
    let failed: Vec<&Delivery> = log.iter().filter(|it| !it.ok() && !taken.contains(it.guid.as_str())).collect();
    let many = count(log.len(), "delivery", "deliveries");
    let Some(last) = failed.first() else {
        return DELIVERIES.ok(format!("the last {many} came through; the newest at {:.0}", newest.delivered_at));
    };
    let said = format!("the last one that failed, at {:.0}: {}", last.delivered_at, last.status);
    let says = format!("{} of the last {many} failed; {said}", failed.len());
    let again = "`runnerfleet redeliver --failed --since 1h` has them sent again";
    let remedy = format!("{}; then {again}", what_to_do(last));
    if newest.ok() {
        DELIVERIES.warning(says, format!("{again}; {}", what_to_do(last)))
    } else {
        DELIVERIES.broken(says, remedy)
    }
}

fn reachable(config: &Config, facts: &WebhookFacts, is_served: bool) -> Finding {
    let newest = match &facts.deliveries {
        Seen::Known(log) => log.first(),
        Seen::Failed(_) | Seen::NotLooked(_) => None,
    };
    let start = if is_served { "" } else { "no `serve` runs here: start it, and then " };
    if let Some(newest) = newest {
        let at = format!("{:.0}", newest.delivered_at);
        return match newest.status_code {
            0 => REACHABLE.broken(
                format!("GitHub could not reach the receiver at {at}: {}", newest.status),
                format!("{start}see DNS, the firewall, the proxy or tunnel before it, and its certificate"),
            ),
            502 | 504 => REACHABLE.broken(
                format!("GitHub reached a proxy at {at}, which had no receiver behind it ({})", newest.status),
                format!("{start}see where the proxy leads to: `http.listen` is {}", config.http.listen),
            ),
            _ => REACHABLE.ok(format!("GitHub reached the receiver at {at}, by its own log")),
        };
    }
    let Some(public_url) = &config.http.public_url else {
        return REACHABLE.unknown(
            "GitHub's log has nothing to go by, and the file does not say where GitHub reaches the receiver",
            "set `http.public_url`, and let a job run",
        );
    };
    match &facts.from_here {
        Seen::Known(200) => REACHABLE.unknown(
            format!("{public_url}/healthz answers from this machine, which proves only that: from outside nobody has come through yet"),
            "let a job run; `runnerfleet deliveries` then shows whether GitHub came through",
        ),
        Seen::Known(status) => REACHABLE.warning(
            format!("{public_url}/healthz answers {status} from this machine: that is not this receiver"),
            format!("{start}see where that address leads to: `http.listen` is {}", config.http.listen),
        ),
        Seen::Failed(why) => REACHABLE.warning(
            format!("{public_url}/healthz cannot be reached from this machine ({why}); from outside it may be otherwise"),
            format!("{start}see DNS, the firewall, the proxy or tunnel, and its certificate"),
        ),
        Seen::NotLooked(because) => REACHABLE.not_looked(because),
    }
}

#[cfg(test)]
mod tests {
    use super::super::finding::Verdict::{self, Broken, NotLooked, Ok, Unknown, Warning};
    use super::*;
    use crate::github::Error;
    use std::path::Path;

    fn config(http: &str, nb: &str) -> Config {
        let text = format!(
            "version: 1\nrunners_defaults: {{ org_url: https://github.com/acme, base_image: 'runner:1' }}\n\
             runners: [{{ id: linux, labels: [linux]{nb} }}]\ngithub: {{ auth: {{ token: '${{TOKEN}}' }} }}\n\
             intake: {{ secrets: ['${{SECRET}}'] }}\n{http}"
        );
        let env = |name: &str| Some(format!("value-of-{name}"));
        crate::config::parse(&text, "fleet.yaml", Path::new("/etc/fleet"), &env, "here").unwrap().config
    }

    fn told() -> Config {
        config("http: { public_url: 'https://fleet.example' }\n", "")
    }

    fn hook() -> HookConfig {
        HookConfig {
            url: Some("https://fleet.example/webhook".to_owned()),
            content_type: Some("json".to_owned()),
            insecure_ssl: false,
            has_secret: true,
        }
    }

    fn delivery(id: u64, status_code: u16) -> Delivery {
        let status = match status_code {
            202 => "OK".to_owned(),
            0 => "failed to connect to host".to_owned(),
            other => format!("Invalid HTTP Response: {other}"),
        };
        Delivery {
            id,
            guid: format!("guid-{id}"),
            delivered_at: "2026-11-22T12:00:00Z".parse().unwrap(),
            redelivery: false,
            duration: 0.1,
            status,
            status_code,
            event: "workflow_job".to_owned(),
            action: None,
            installation_id: None,
            repository_id: None,
        }
    }

    fn facts(log: &[u16]) -> WebhookFacts {
        WebhookFacts {
            hook: Seen::Known(hook()),
            deliveries: Seen::Known((1..).zip(log).map(|(id, status)| delivery(id, *status)).collect()),
            from_here: Seen::NotLooked("GitHub's log says more".to_owned()),
        }
    }

    fn one(config: &Config, facts: &WebhookFacts, id: &str) -> Finding {
        let all = findings(config, facts, true);
        assert!(all.iter().all(|it| matches!(it.verdict, Ok | NotLooked) || it.remedy.is_some()), "{all:?}");
        all.into_iter().find(|finding| finding.id == id).unwrap_or_else(|| panic!("no {id}"))
    }

    fn verdict(facts: &WebhookFacts, id: &str) -> Verdict {
        one(&told(), facts, id).verdict
    }

    #[test]
    fn all_is_green() {
        let all = findings(&told(), &facts(&[202]), true);
        assert!(all.iter().all(|finding| finding.verdict == Ok) && all.len() == 5, "{all:?}");
    }

    #[test]
    fn a_fleet_without_jobs_needs_no_webhook() {
        let kept = config("", ", nb: 2");
        let all = findings(&kept, &facts(&[0]), true);
        assert!(all.iter().all(|finding| finding.verdict == NotLooked), "{all:?}");
    }

    #[test]
    fn the_hooks_address_in_each_colour() {
        let at = |url: Option<&str>| WebhookFacts {
            hook: Seen::Known(HookConfig { url: url.map(str::to_owned), ..hook() }),
            ..facts(&[202])
        };
        assert_eq!(verdict(&at(Some("https://Fleet.example/webhook/")), "webhook.url"), Ok);
        let other = one(&told(), &at(Some("https://old.example/webhook")), "webhook.url");
        assert_eq!(other.verdict, Broken);
        assert!(
            other.says.contains("https://old.example/webhook") && other.says.contains("https://fleet.example/webhook")
        );
        assert_eq!(verdict(&at(None), "webhook.url"), Broken);
        let untold = config("", "");
        assert_eq!(one(&untold, &at(Some("https://old.example/webhook")), "webhook.url").verdict, Unknown);
        assert_eq!(one(&untold, &at(Some("https://old.example/hooks")), "webhook.url").verdict, Warning);
        let failed = WebhookFacts { hook: Seen::Failed(Error::Credentials("no".to_owned())), ..facts(&[202]) };
        assert_eq!(verdict(&failed, "webhook.url"), Unknown);
        assert_eq!(verdict(&failed, "webhook.secret"), NotLooked);
    }

    #[test]
    fn secret_and_form_in_each_colour() {
        let with = |hook: HookConfig| WebhookFacts { hook: Seen::Known(hook), ..facts(&[202]) };
        assert_eq!(verdict(&with(HookConfig { has_secret: false, ..hook() }), "webhook.secret"), Broken);
        let form = HookConfig { content_type: Some("form".to_owned()), ..hook() };
        assert_eq!(verdict(&with(form), "webhook.form"), Broken);
        assert_eq!(verdict(&with(HookConfig { insecure_ssl: true, ..hook() }), "webhook.form"), Warning);
    }

    #[test]
    fn deliveries_in_each_colour() {
        assert_eq!(verdict(&facts(&[202, 202]), "webhook.deliveries"), Ok);
        assert_eq!(verdict(&facts(&[]), "webhook.deliveries"), Unknown);
        let healed = one(&told(), &facts(&[202, 503, 503]), "webhook.deliveries");
        assert_eq!(healed.verdict, Warning);
        assert!(healed.says.starts_with("2 of the last 3 deliveries failed"), "{healed:?}");
        let taken = delivery(1, 202);
        let first = Delivery { guid: taken.guid.clone(), ..delivery(2, 503) };
        let again = WebhookFacts { deliveries: Seen::Known(vec![taken, first]), ..facts(&[]) };
        assert_eq!(verdict(&again, "webhook.deliveries"), Ok, "it was sent again, and taken");
        let unsigned = one(&told(), &facts(&[401, 202]), "webhook.deliveries");
        assert_eq!(unsigned.verdict, Broken);
        assert!(unsigned.remedy.unwrap().contains("intake.secrets"));
        let away = WebhookFacts { deliveries: Seen::Failed(Error::Credentials("no".to_owned())), ..facts(&[]) };
        assert_eq!(verdict(&away, "webhook.deliveries"), Unknown);
    }

    #[test]
    fn the_way_to_the_receiver_in_each_colour() {
        let of = |log: &[u16]| verdict(&facts(log), "webhook.reachable");
        // A refusal is an answer: somebody was reached.
        assert_eq!([of(&[202]), of(&[401]), of(&[0, 202]), of(&[502])], [Ok, Ok, Broken, Broken]);
        let from_here = |seen: Seen<u16>| WebhookFacts { from_here: seen, ..facts(&[]) };
        let only_here = one(&told(), &from_here(Seen::Known(200)), "webhook.reachable");
        assert_eq!(only_here.verdict, Unknown);
        assert!(only_here.says.contains("proves only that"));
        assert_eq!(verdict(&from_here(Seen::Known(404)), "webhook.reachable"), Warning);
        assert_eq!(verdict(&from_here(Seen::Failed("refused".to_owned())), "webhook.reachable"), Warning);
        assert_eq!(one(&config("", ""), &facts(&[]), "webhook.reachable").verdict, Unknown);
        let stopped = findings(&told(), &facts(&[0]), false).pop().unwrap();
        assert!(stopped.remedy.unwrap().starts_with("no `serve` runs here: start it"));
    }

    #[test]
    fn what_is_pulled_needs_a_hook_with_any_address() {
        let mut config = config("", "");
        config.intake.mode = IntakeMode::Pull;
        let seen = |facts: &WebhookFacts| {
            let findings = findings(&config, facts, false);
            assert!(findings[1..].iter().all(|it| it.verdict == NotLooked && it.says.contains("pull")), "{findings:?}");
            findings[0].clone()
        };
        assert_eq!(seen(&facts(&[0])).verdict, Ok);
        let off = WebhookFacts { hook: Seen::Known(HookConfig { url: None, ..hook() }), ..facts(&[]) };
        assert_eq!(seen(&off).verdict, Broken);
        assert!(seen(&off).remedy.is_some_and(|remedy| remedy.contains("any address")));
        let away = WebhookFacts { hook: Seen::NotLooked("nobody asked".to_owned()), ..facts(&[]) };
        assert_eq!(seen(&away).verdict, NotLooked);
    }
}
