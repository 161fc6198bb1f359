//! Looks, area by area, and has each told of. Nothing is changed: no file, no row, no image, no network is made, and no lock
//! is held. Each look has a bound, so that the whole comes to an end whatever is away.

mod engine;
mod github;
mod receiver;
mod store;

use super::config::CertificateFacts;
use super::runners::{RunnersFacts, Serve};
use super::store::StoreFacts;
use super::webhook::WebhookFacts;
use super::{Area, Finding, Seen};
use super::{config, docker, github as of_github, runners, store as of_store, webhook};
use crate::admin;
use crate::clock;
use crate::config::{Config, Loaded, Problems, certificate};
use crate::github::Client;
use std::future::Future;
use std::path::Path;
use std::time::Duration;

/// One question to GitHub, with what the client itself tries again.
const GITHUB: Duration = Duration::from_secs(20);

/// One question to the engine.
const ENGINE: Duration = Duration::from_secs(20);

/// The store, a file that has to be read as a whole included.
const STORE: Duration = Duration::from_secs(20);

/// `serve` answers from memory.
const SERVE: Duration = Duration::from_secs(10);

/// Why nothing that needs the configuration is looked at.
const NO_CONFIG: &str = "the configuration cannot be used";

/// What is told while it goes on.
#[derive(Debug)]
pub enum News<'a> {
    /// This is being looked at.
    Looking(Area, &'static str),
    /// An area is done.
    Done(Area, &'a [Finding]),
}

/// All areas, one after the other.
pub async fn examine(loaded: &Result<Loaded, Problems>, tell: &mut (dyn FnMut(News<'_>) + Send)) -> Vec<Finding> {
    let config = loaded.as_ref().ok().map(|loaded| &loaded.config);
    let mut all = Vec::new();
    let mut done = |area: Area, findings: Vec<Finding>, tell: &mut (dyn FnMut(News<'_>) + Send)| {
        tell(News::Done(area, &findings));
        all.extend(findings);
    };

    tell(News::Looking(Area::Config, "reading the files that the configuration names"));
    let certificate = match config {
        Some(config) => read_certificate(config).await,
        None => None,
    };
    done(Area::Config, config::findings(loaded, certificate.as_ref(), clock::now()), tell);

    tell(News::Looking(Area::Store, "looking at the store"));
    let serve = match config {
        Some(config) => ask_serve(&config.http.admin_socket).await,
        None => Serve::NotLooked(NO_CONFIG.to_owned()),
    };
    let store = match config {
        Some(config) => store::look(config).await,
        None => StoreFacts::NotLooked(NO_CONFIG.to_owned()),
    };
    done(Area::Store, of_store::findings(&store, serve.runs()), tell);

    tell(News::Looking(Area::Docker, "asking the engine"));
    let (engine, containers) = engine::look(config).await;
    done(Area::Docker, docker::findings(config, &engine), tell);

    let Some(config) = config else {
        done(Area::GitHub, of_github::not_looked(NO_CONFIG), tell);
        done(Area::Webhook, webhook::not_looked(NO_CONFIG), tell);
        done(Area::Runners, runners::not_looked(NO_CONFIG), tell);
        return all;
    };

    tell(News::Looking(Area::GitHub, "asking GitHub who we are, and what it lets us do"));
    let client = Client::new(&config.github);
    let github = Box::pin(github::look(config, client.as_ref())).await;
    let known = github::is_known(&github);
    done(Area::GitHub, of_github::findings(config, &github, clock::now()), tell);

    tell(News::Looking(Area::Webhook, "reading GitHub's log of deliveries"));
    let hook = Box::pin(look_at_the_hook(config, client.as_ref().ok(), &known)).await;
    done(Area::Webhook, webhook::findings(config, &hook, serve.runs()), tell);

    tell(News::Looking(Area::Runners, "reading GitHub's list of runners"));
    let (registrations, newest_agents) = Box::pin(github::runners(config, client.as_ref().ok(), &known)).await;
    let facts = RunnersFacts { serve, registrations, containers, newest_agents };
    done(Area::Runners, runners::findings(config, &facts, clock::now()), tell);
    all
}

/// The files of `http.tls`.
async fn read_certificate(config: &Config) -> Option<CertificateFacts> {
    let tls = config.http.tls.clone()?;
    let files = tls.clone();
    let read = tokio::task::spawn_blocking(move || certificate::read(&files)).await;
    let (lapses, key_is_open) = match read {
        Ok(Ok(pair)) => (Ok(pair.not_after), pair.key_is_open),
        Ok(Err(error)) => (Err(error.to_string()), false),
        Err(error) => (Err(error.to_string()), false),
    };
    Some(CertificateFacts { cert: tls.cert, key: tls.key, lapses, key_is_open })
}

/// What the `serve` of this machine knows.
async fn ask_serve(socket: &Path) -> Serve {
    let ask = async {
        match admin::client::Client::connect(socket).await {
            None => Serve::NotThere,
            Some(client) => match client.overview().await {
                Ok(overview) => Serve::Runs(Box::new(overview)),
                Err(error) => Serve::Silent(error.to_string()),
            },
        }
    };
    tokio::time::timeout(SERVE, ask).await.unwrap_or_else(|_| Serve::Silent(too_slow(SERVE)))
}

async fn look_at_the_hook(config: &Config, client: Option<&Client>, known: &Result<(), String>) -> WebhookFacts {
    if let Some(because) = webhook::needless(config) {
        let because = || because.to_owned();
        return WebhookFacts {
            hook: Seen::NotLooked(because()),
            deliveries: Seen::NotLooked(because()),
            from_here: Seen::NotLooked(because()),
        };
    }
    let (hook, deliveries) = github::hook(config, client, known).await;
    let says_nothing = deliveries.known().is_none_or(Vec::is_empty);
    let from_here = match &config.http.public_url {
        Some(url) if says_nothing => receiver::ask(url).await.into(),
        Some(_) => Seen::NotLooked("GitHub's log says more".to_owned()),
        None => {
            Seen::NotLooked("the file does not say where GitHub reaches the receiver (`http.public_url`)".to_owned())
        }
    };
    WebhookFacts { hook, deliveries, from_here }
}

/// An answer, or none within the bound.
async fn within<T>(bound: Duration, ask: impl Future<Output = Result<T, String>>) -> Result<T, String> {
    tokio::time::timeout(bound, ask).await.unwrap_or_else(|_| Err(too_slow(bound)))
}

fn too_slow(bound: Duration) -> String {
    format!("no answer within {} seconds", bound.as_secs())
}
