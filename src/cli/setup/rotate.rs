//! Another secret or another key in place of the one that is used, while deliveries go on.
//!
//! What is done follows from the files: two secrets in theirs are an exchange that was begun. So it can be cut off anywhere and
//! begun again, and at no moment is the secret that GitHub signs with unknown here.

use super::save::in_file;
use super::talk::Talk;
use super::verify::{Seen, reload, reload_with, verify};
use super::{SetupArgs, WEBHOOK_SECRET};
use crate::cli::{WrongUse, complain, environment, load, say};
use crate::config::{self, Backend, Config, GitHubAuth};
use crate::credentials::fingerprint;
use crate::github::{Client, HookChange};
use crate::setup::granted::app_page;
use crate::setup::reference::{self, References};
use crate::setup::standing::Standing;
use crate::setup::{chance, files, key, secret_lines};
use anyhow::{Context, anyhow};
use secrecy::SecretString;
use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// The file with the configuration, both as it is read and as it stands.
fn read(path: &Path) -> anyhow::Result<(Config, Standing)> {
    let config = load(path, false).map_err(|_| WrongUse("the configuration must be in order first".to_owned()))?;
    let standing = Standing::read(path, &environment).map_err(|error| WrongUse(error.to_string()))?;
    Ok((config, standing.ok_or_else(|| WrongUse(format!("{} is not there", path.display())))?))
}

/// The App's issuer; exchanging is for Apps.
fn issuer(config: &Config) -> anyhow::Result<String> {
    match &config.github.auth {
        GitHubAuth::App { issuer, .. } => Ok(issuer.clone()),
        GitHubAuth::Token(_) => Err(WrongUse(
            "the configuration has a personal token and no App (github.auth): `runnerfleet setup` makes one".to_owned(),
        )
        .into()),
    }
}

/// `--rotate-secret`.
pub(super) async fn secret(path: &Path, args: &SetupArgs, talk: &Talk) -> anyhow::Result<ExitCode> {
    let (config, standing) = read(path)?;
    issuer(&config)?;
    let old = config.intake.secrets.clone();
    if old.is_empty() {
        return Err(WrongUse("there is no webhook secret to replace: `runnerfleet setup` makes one".to_owned()).into());
    }
    let client = Client::new(&config.github).context("preparing the GitHub client")?;
    // Before anything is changed: is it the App, and does GitHub answer?
    let hook = client.hook().await.context("looking at the App's webhook; nothing was changed")?;
    let url = hook.url.clone().unwrap_or_default();
    let file = standing.secrets_path();
    let on_disk = standing.secrets_on_disk()?;
    let is_begun = on_disk.len() > 1 || (!on_disk.is_empty() && standing.secrets_elsewhere);
    let new = match on_disk.first() {
        Some(newest) if is_begun => {
            talk.tell(&format!(
                "an exchange was begun: {} secrets are valid, the newest is {}; going on with it",
                old.len(),
                fingerprint(newest)
            ));
            newest.clone()
        }
        _ => begin(&file, &on_disk, talk)?,
    };
    // Both are valid from here on.
    let wanted = References { secrets_file: Some(standing.secrets_file.clone()), ..References::default() };
    refer(path, &wanted)?;
    reload_with(&config, &new).await?;
    if matches!(config.store.backend, Backend::Redis(_)) {
        other_hosts(&file, talk).await?;
    }
    let change = HookChange { secret: Some(new.clone()), ..HookChange::default() };
    client.set_hook(&change).await.with_context(|| {
        format!("telling GitHub of the new secret; both stay valid in {}, run it again", file.display())
    })?;
    talk.tell(&format!("GitHub signs with {} from now on", fingerprint(&new)));
    let both = secret_lines::with_first(&new, &old);
    let with_both = with_secrets(&config, both.clone());
    verify(&client, &with_both, &url, talk)
        .await
        .with_context(|| format!("both secrets stay valid in {}; mend it, then run it again", file.display()))?;
    talk.tell(&format!("deliveries that are signed with the old secret have {} s to arrive", args.overlap.as_secs()));
    tokio::time::sleep(args.overlap).await;
    // The old one goes.
    files::replace(&file, &secret_lines::write([&new]))?;
    refer(path, &References { secrets_there_alone: true, ..wanted })?;
    let with_new = with_secrets(&config, vec![new.clone()]);
    let alone = match reload_with(&config, &new).await {
        Ok(()) => verify(&client, &with_new, &url, talk).await,
        Err(error) => Err(error),
    };
    match alone {
        Ok(Seen::Arrived | Seen::NothingToSend) => {
            say("The webhook's secret is exchanged; the old one is valid nowhere any more.")?;
            Ok(ExitCode::SUCCESS)
        }
        Err(error) => {
            // Nothing may be refused because of us: back to both.
            files::replace(&file, &secret_lines::write(&both))?;
            reload(&config).await?;
            Err(error.context(
                "with the new secret alone deliveries are not taken, so both are valid again; run it again later",
            ))
        }
    }
}

/// The new secret, on disk before those that are valid already.
fn begin(file: &Path, on_disk: &[SecretString], talk: &Talk) -> anyhow::Result<SecretString> {
    let new = match environment(WEBHOOK_SECRET).filter(|secret| !secret.is_empty()).map(SecretString::from) {
        Some(secret) => {
            secret_lines::check(&secret).map_err(|why| WrongUse(format!("the value of {WEBHOOK_SECRET} {why}")))?;
            secret
        }
        None => chance::secret().context("making a secret")?,
    };
    files::replace(file, &secret_lines::write(&secret_lines::with_first(&new, on_disk)))?;
    talk.tell(&format!("wrote a new secret ({}) into {}, before the old one", fingerprint(&new), file.display()));
    Ok(new)
}

/// Several hosts may share one Redis, and each has files of its own.
async fn other_hosts(file: &Path, talk: &Talk) -> anyhow::Result<()> {
    let shown = file.display();
    if talk.is_attended() {
        let question = format!("Does every other host that receives deliveries have {shown} as it is now?");
        if !talk.yes(&question, "").await? {
            return Err(anyhow!("copy {shown} to them, then run it again: both secrets stay valid"));
        }
    } else {
        talk.tell(&format!("note: every other host that receives deliveries needs {shown} as well"));
    }
    Ok(())
}

fn with_secrets(config: &Config, secrets: Vec<SecretString>) -> Config {
    let mut config = config.clone();
    config.intake.secrets = secrets;
    config
}

/// Writes a reference, or says what to write.
fn refer(path: &Path, wanted: &References) -> anyhow::Result<()> {
    match in_file(path, wanted) {
        Ok(Some(backup)) => {
            complain(&format!("changed {}; the old text is in {}", path.display(), backup.display()));
            Ok(())
        }
        Ok(None) => Ok(()),
        Err(why) => Err(anyhow!(
            "{} is left as it is: {why}. Write there, in place of what is said of it now:\n\n{}{}\nthen run it again",
            path.display(),
            reference::by_hand(wanted),
            if wanted.secrets_there_alone { "(and no `intake.secrets`)\n" } else { "" }
        )),
    }
}

/// `--rotate-key`.
pub(super) async fn key(path: &Path, given: Option<&Path>, talk: &Talk) -> anyhow::Result<ExitCode> {
    let (config, standing) = read(path)?;
    let issuer = issuer(&config)?;
    let GitHubAuth::App { private_key: old, .. } = &config.github.auth else { return Ok(ExitCode::from(2)) };
    let page = page(&config, &standing).await;
    let (new, from) = match (given, environment(super::PRIVATE_KEY).filter(|key| !key.is_empty())) {
        (Some(file), _) => (from_file(file)?, Some(file.to_path_buf())),
        (None, Some(text)) => {
            let text = if text.contains('\n') { text } else { text.replace("\\n", "\n") };
            (SecretString::from(text), None)
        }
        (None, None) => {
            talk.tell(&format!(
                "GitHub lets only a person make a key: on {page}, under \"Private keys\", press \"Generate a private key\"; the \
                 browser saves a .pem file"
            ));
            let instead = "give that file: `runnerfleet setup --rotate-key FILE`";
            let file: PathBuf = talk
                .ask("The file", "", instead, |text| {
                    let file = PathBuf::from(text);
                    if file.is_file() { Ok(file) } else { Err(format!("{text} is not there")) }
                })
                .await?;
            (from_file(&file)?, Some(file))
        }
    };
    key::check(&new).map_err(|why| WrongUse(format!("the new key {why}")))?;
    let print = |pem: &SecretString| key::fingerprint(pem).unwrap_or_else(|| "unknown".to_owned());
    if key::fingerprint(&new).is_some() && key::fingerprint(&new) == key::fingerprint(old) {
        return Err(WrongUse(format!("this is the key that is used already ({})", print(old))).into());
    }
    // Tried before it takes the old one's place.
    let auth = GitHubAuth::App { issuer: issuer.clone(), private_key: new.clone(), installation: None };
    let client = Client::new(&config::GitHub { auth, ..config.github.clone() })
        .with_context(|| "reading the new key; the old one is still in use")?;
    let (facts, _) = client.app().await.map_err(|error| {
        if error.is_transient() {
            anyhow!("{error}; the old key is still in use")
        } else {
            anyhow!("GitHub does not take the new key for the App `{issuer}`: {error}; the old key is still in use")
        }
    })?;
    let file = standing.key_path();
    let noted = key::noted(&new, &facts.slug, facts.client_id.as_deref().unwrap_or(&issuer));
    files::replace(&file, &noted)?;
    refer(path, &References { key_file: Some(standing.written(&file)), ..References::default() })?;
    let serves = reload(&config).await?.is_some();
    let mut told = format!(
        "The App `{}` has another key in {}{}.\nDelete the old one on {page}: {}\n",
        facts.slug,
        file.display(),
        if serves { ", and `serve` works with it" } else { "" },
        print(old)
    );
    if let Some(from) = from.filter(|from| from.canonicalize().ok() != file.canonicalize().ok()) {
        // Writing to a string cannot fail.
        let _ = writeln!(told, "Delete {} as well: nobody needs it any more.", from.display());
    }
    say(&told)?;
    Ok(ExitCode::SUCCESS)
}

fn from_file(file: &Path) -> anyhow::Result<SecretString> {
    Ok(files::read(file)?.ok_or_else(|| WrongUse(format!("{} is not there", file.display())))?)
}

/// The App's settings page, as far as GitHub tells; its beginning otherwise.
async fn page(config: &Config, standing: &Standing) -> String {
    let web = standing.web_url();
    let fallback = format!("{web}/settings/apps");
    let Ok(client) = Client::new(&config.github) else { return fallback };
    match (client.app().await, client.installations().await) {
        (Ok((facts, _)), Ok(installations)) => app_page(&facts, &installations, &web),
        _ => fallback,
    }
}
