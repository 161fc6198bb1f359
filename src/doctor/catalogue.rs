//! Which checks there are. Their ids are for programs, and keep their meaning; docs/doctor.md shows this table.

use super::finding::Verdict;
use serde::Serialize;

/// A part of the whole; in this order they are looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Area {
    /// The file, and the files that it names.
    Config,
    /// Where events and state are kept.
    Store,
    /// The engine.
    Docker,
    /// GitHub's API, and what the App may do.
    #[serde(rename = "github")]
    GitHub,
    /// The way of deliveries.
    Webhook,
    /// What runs.
    Runners,
}

/// One thing that can be wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Check {
    /// `github.clock`.
    pub id: &'static str,
    /// Its part of the whole.
    pub area: Area,
    /// In a few words.
    pub title: &'static str,
    /// What is looked at.
    pub looks_at: &'static str,
    /// How bad it can be.
    pub worst: Verdict,
}

impl Area {
    /// All, in their order.
    pub const ALL: [Self; 6] = [Self::Config, Self::Store, Self::Docker, Self::GitHub, Self::Webhook, Self::Runners];

    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Config => "config",
            Self::Store => "store",
            Self::Docker => "docker",
            Self::GitHub => "github",
            Self::Webhook => "webhook",
            Self::Runners => "runners",
        }
    }
}

macro_rules! checks {
    ($($name:ident: $id:literal, $area:ident, $worst:ident, $title:literal, $looks_at:literal;)*) => {
        $(
            #[doc = $looks_at]
            pub const $name: Check =
                Check { id: $id, area: Area::$area, title: $title, looks_at: $looks_at, worst: Verdict::$worst };
        )*

        /// All of them, in their order.
        pub const CHECKS: &[Check] = &[$($name),*];
    };
}

checks! {
    FILE: "config.file", Config, Broken, "the configuration",
        "The file is there, can be read, and nothing in it is wrong.";
    WARNINGS: "config.warnings", Config, Warning, "its warnings",
        "What `config check` warns of.";
    SECRET_FILES: "config.secret_files", Config, Broken, "the files of secrets",
        "No other user of the machine can read the key, the secrets and the tokens in files.";
    CERTIFICATE: "config.certificate", Config, Broken, "the receiver's certificate",
        "`http.tls`: certificate and key fit together, the key is its owner's alone, and it has not lapsed.";
    STORE: "store.available", Store, Broken, "the store",
        "The embedded file is in order, or held by a running `serve`; Redis answers, is new enough, and takes writes.";
    DURABILITY: "store.durability", Store, Warning, "what survives a crash",
        "Redis keeps an append-only file, and its last writes went well; the embedded file is its owner's alone.";
    EVICTION: "store.eviction", Store, Broken, "what is thrown away",
        "Redis throws nothing away when its memory is full, and has some left.";
    STORE_DISK: "store.disk", Store, Broken, "disk space of the store",
        "There is room where the embedded file is.";
    ENGINE: "docker.engine", Docker, Broken, "the Docker engine",
        "It answers, and its version and API are new enough.";
    LIMITS: "docker.limits", Docker, Broken, "limits of containers",
        "The kernel keeps limits of memory, swap, processors and processes.";
    ENGINE_WARNINGS: "docker.warnings", Docker, Warning, "the engine's warnings",
        "What the engine itself warns of (`docker info`).";
    DISK: "docker.disk", Docker, Broken, "disk space",
        "More is free where images and containers are than `limits.disk_free_min`.";
    ROOM: "docker.room", Docker, Broken, "memory for runners",
        "One runner of each pool fits into the engine's memory.";
    IMAGES: "docker.images", Docker, Broken, "images",
        "The image of each pool is there, or can be fetched.";
    FIREWALL: "docker.metadata", Docker, Warning, "the metadata address",
        "Runners cannot reach the host's metadata address.";
    API: "github.api", GitHub, Broken, "GitHub's API",
        "GitHub answers at `github.api_url`.";
    CLOCK: "github.clock", GitHub, Broken, "the clock",
        "This machine's clock goes as GitHub's does.";
    CREDENTIALS: "github.credentials", GitHub, Broken, "the App",
        "App id (or client id) and private key belong together; the token is good.";
    RATE: "github.rate_limit", GitHub, Broken, "the rate limit",
        "What is left of GitHub's limits, of the App and of each account.";
    INSTALLATIONS: "github.installations", GitHub, Broken, "installations",
        "The App is installed on the account of each pool, and not suspended.";
    REPOSITORIES: "github.repositories", GitHub, Broken, "repositories",
        "Which repositories the App was given; those of pools are among them.";
    PERMISSIONS: "github.permissions", GitHub, Broken, "permissions",
        "What each account granted, against what its pools need.";
    EVENTS: "github.events", GitHub, Broken, "events",
        "The App subscribed to the events that are needed.";
    PUBLIC: "github.public_repositories", GitHub, Warning, "public repositories",
        "Whether jobs of public repositories are run: they are anybody's code.";
    HOOK_URL: "webhook.url", Webhook, Broken, "the webhook's address",
        "GitHub delivers to `http.public_url` and `intake.path`.";
    HOOK_SECRET: "webhook.secret", Webhook, Broken, "the webhook's secret",
        "Deliveries are signed.";
    HOOK_FORM: "webhook.form", Webhook, Broken, "the form of deliveries",
        "GitHub sends JSON, and looks at the receiver's certificate.";
    DELIVERIES: "webhook.deliveries", Webhook, Broken, "deliveries",
        "How many of the last deliveries failed, and how.";
    REACHABLE: "webhook.reachable", Webhook, Broken, "the way to the receiver",
        "GitHub reaches the receiver: its own log is the witness; without one, `/healthz` is asked from here.";
    SERVE: "runners.serve", Runners, Warning, "`serve`",
        "A `serve` runs here, and sees its parts.";
    AGENT: "runners.agent_version", Runners, Broken, "the agent's version",
        "The agent in each pool's image is new enough for GitHub.";
    GHOSTS: "runners.without_container", Runners, Warning, "runners without a container",
        "No runner of this fleet stands in GitHub's list with nothing behind it.";
    ORPHANS: "runners.without_registration", Runners, Warning, "containers without a registration",
        "No container of this fleet runs that GitHub does not know.";
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_their_area_s_and_no_one_else_s() {
        let mut ids: Vec<_> = CHECKS.iter().map(|check| check.id).collect();
        for check in CHECKS {
            assert_eq!(check.id.split('.').next(), Some(check.area.name()), "{}", check.id);
            assert_eq!(serde_json::to_value(check.area).unwrap(), check.area.name());
            assert!(check.looks_at.ends_with('.'), "{}", check.id);
        }
        assert!(CHECKS.is_sorted_by_key(|check| check.area), "in the order in which they are looked at");
        assert!(CHECKS.is_sorted_by(|a, b| Area::ALL.iter().position(|area| *area == a.area)
            <= Area::ALL.iter().position(|area| *area == b.area)));
        ids.sort_unstable();
        ids.dedup();
        assert_eq!(ids.len(), CHECKS.len());
    }

    #[test]
    fn the_docs_show_all_of_them_and_no_other() {
        let docs = include_str!("../../docs/doctor.md");
        let rows = CHECKS.iter().map(|check| {
            let worst = match check.worst {
                Verdict::Broken => "✗",
                Verdict::Warning => "!",
                Verdict::Unknown => "?",
                Verdict::Ok | Verdict::NotLooked => "",
            };
            format!("| `{}` | {} | {worst} |", check.id, check.looks_at)
        });
        let shown: Vec<&str> = docs.lines().filter(|line| line.starts_with("| `") && line.contains('.')).collect();
        let shown: Vec<&str> = shown
            .into_iter()
            .filter(|line| Area::ALL.iter().any(|area| line.starts_with(&format!("| `{}.", area.name()))))
            .collect();
        let rows: Vec<String> = rows.collect();
        assert_eq!(shown, rows, "docs/doctor.md; it should have\n{}", rows.join("\n"));
    }
}
