//! The fourth step: where the App's webhook delivers, and that it is installed with all that is needed.

use super::SetupArgs;
use super::app::Known;
use super::place::Place;
use super::talk::Talk;
use crate::cli::output::span;
use crate::cli::progress::Progress;
use crate::config::Config;
use crate::github::{HookChange, Installation, Selection};
use crate::model::Scope;
use crate::setup::granted::{Lack, lacks};
use crate::setup::manifest::install_page;
use anyhow::{Context, bail};
use secrecy::SecretString;
use std::time::Duration;
use tokio::time::Instant;

/// How often GitHub is asked whether somebody installed it. Fifteen minutes of it are a tenth of the App's hourly requests.
const RHYTHM: Duration = Duration::from_secs(2);

/// Sees to it that the App's webhook delivers here.
///
/// # Errors
/// GitHub does not answer, or it delivers elsewhere and nobody says that this may be changed.
pub(super) async fn hook(
    place: &Place,
    known: &Known,
    config: &Config,
    args: &SetupArgs,
    talk: &Talk,
) -> anyhow::Result<()> {
    let there = known.client.hook().await.context("looking at the App's webhook")?;
    let wanted = place.hook_url().unwrap_or_default();
    let (mut change, mut told) = (HookChange::default(), Vec::new());
    if there.url.as_deref() != Some(wanted.as_str()) {
        told.push(match &there.url {
            Some(url) => format!("it delivers to {url}, not to {wanted}"),
            None => format!("it delivers nowhere yet, not to {wanted}"),
        });
        change.url = Some(wanted);
    }
    if there.content_type.as_deref().is_some_and(|kind| kind != "json") {
        told.push("it sends forms, not JSON".to_owned());
        change.json = true;
    }
    let ours: Option<&SecretString> = known.secret_to_set.as_ref().or(config.intake.secrets.first());
    if known.secret_to_set.is_some() {
        told.push("it is to get the secret that is here".to_owned());
    } else if !there.has_secret {
        told.push("it signs nothing: it has no secret".to_owned());
    }
    if known.secret_to_set.is_some() || !there.has_secret || args.set_webhook {
        change.secret = ours.cloned();
    }
    if there.insecure_ssl {
        talk.tell("note: the App's webhook takes any certificate (\"SSL verification\" on its page is off)");
    }
    if told.is_empty() && !args.set_webhook {
        return Ok(());
    }
    if !(known.is_fresh || args.set_webhook) {
        let what = told.join("; ");
        let instead = format!("the App's webhook is not as needed: {what}. --set-webhook sets it");
        if !talk.is_attended() {
            bail!("{instead}");
        }
        if !talk.yes(&format!("The App's webhook: {what}. Change it?"), &instead).await? {
            bail!("{instead}");
        }
    }
    known.client.set_hook(&change).await.context("setting the App's webhook")?;
    talk.tell("the App's webhook is set at GitHub");
    Ok(())
}

/// Waits until the App is installed on every account of the pools, and looks at what it was granted. False: something is in
/// the way, and was told.
///
/// # Errors
/// GitHub does not answer, or nobody installed it in time.
pub(super) async fn wait(place: &Place, known: &Known, within: Duration, talk: &Talk) -> anyhow::Result<bool> {
    let (scopes, web) = (place.standing.scopes(), place.standing.web_url());
    let until = Instant::now() + within;
    let mut progress = Progress::here(false);
    let mut asked = false;
    let (installations, found) = loop {
        let (facts, _) = known.client.app().await.context("waiting for the installation")?;
        let installations = known.client.installations().await.context("waiting for the installation")?;
        let found = lacks(&facts, &installations, &scopes, &web, place.hook_url().is_some());
        let open: Vec<&Lack> = found.iter().filter(|lack| lack.may_come()).collect();
        if open.is_empty() {
            progress.clear();
            break (installations, found);
        }
        if !asked {
            let page = install_page(&known.facts.html_url);
            talk.tell(&format!("Install the App (Ctrl-C ends this; the same command goes on):\n\n  {page}\n"));
            asked = true;
        }
        let names: Vec<String> = open.iter().map(ToString::to_string).collect();
        progress.tell("waiting", &names.join("; "));
        if Instant::now() >= until {
            progress.clear();
            bail!(
                "{} after {}. If GitHub said that an owner has to approve it, ask one: the request is on the organization's \
                 page \"GitHub Apps\". Then run `runnerfleet setup` again",
                names.join("; "),
                span(within)
            );
        }
        tokio::time::sleep(RHYTHM).await;
    };
    for lack in &found {
        talk.tell(&format!("error: {lack}"));
    }
    let not_given = not_given(known, &installations, &scopes).await?;
    for scope in &not_given {
        talk.tell(&format!(
            "error: the App was not given the repository {scope}, so none of its jobs is heard of: add it where the App is \
             installed ({})",
            page_of(&installations, scope)
        ));
    }
    if !found.is_empty() || !not_given.is_empty() {
        talk.tell("mend that, then run `runnerfleet setup` again");
        return Ok(false);
    }
    let accounts: Vec<&str> = scopes.iter().map(Scope::account).collect();
    talk.tell(&format!(
        "the App is installed on {}, with all permissions and events that are needed",
        accounts.join(", ")
    ));
    Ok(true)
}

fn page_of(installations: &[Installation], scope: &Scope) -> String {
    let there = installations.iter().find(|it| it.account.eq_ignore_ascii_case(scope.account()));
    there.map(|it| it.html_url.clone()).unwrap_or_default()
}

/// Repositories of pools that the App cannot see.
async fn not_given(known: &Known, installations: &[Installation], scopes: &[Scope]) -> anyhow::Result<Vec<Scope>> {
    let mut lacking = Vec::new();
    for scope in scopes {
        let Scope::Repository { .. } = scope else { continue };
        let there = installations.iter().find(|it| it.account.eq_ignore_ascii_case(scope.account()));
        if there.is_none_or(|it| it.selection == Selection::All || it.suspended_at.is_some()) {
            continue;
        }
        let given = known.client.repositories(scope.account()).await.context("looking at the App's repositories")?;
        if !given.iter().any(|it| it.full_name.as_str().eq_ignore_ascii_case(&scope.to_string())) {
            lacking.push(scope.clone());
        }
    }
    Ok(lacking)
}
