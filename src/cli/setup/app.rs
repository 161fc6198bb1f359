//! The second step: the App. One that is named or whose key is here is gone on with; else a person makes one at GitHub.

use super::place::{Place, owner};
use super::talk::Talk;
use super::{INTERRUPTED, PRIVATE_KEY, SetupArgs, WEBHOOK_SECRET, name};
use crate::cli::{WrongUse, environment, say};
use crate::config::{self, GitHubAuth};
use crate::github::{AppFacts, Client, Error, NewApp, convert_manifest};
use crate::setup::desk::{Answer, Desk, Open, Visit};
use crate::setup::manifest::{LONGEST_NAME, Wanted, install_page};
use crate::setup::reference::{self, References};
use crate::setup::{chance, files, key, secret_lines};
use anyhow::{Context, anyhow, bail};
use secrecy::{ExposeSecret, SecretString};
use std::path::PathBuf;
use std::process::Stdio;
use tokio::time::Instant;

/// The App, known to GitHub, and where its key is.
pub(super) struct Known {
    pub(super) client: Client,
    pub(super) facts: AppFacts,
    /// As the configuration is to name it.
    pub(super) issuer: String,
    /// The file of its key, as the configuration is to have it; none where the key is elsewhere and stays there.
    pub(super) key_file: Option<String>,
    /// A secret that GitHub must be told of.
    pub(super) secret_to_set: Option<SecretString>,
    /// Nobody works with it yet: it may be changed without a question.
    pub(super) is_fresh: bool,
    /// The secrets are in their file, and nowhere else.
    pub(super) secrets_moved: bool,
    /// Open until the end, for whoever loads the last page again.
    pub(super) pages: Option<Open>,
}

/// An App that is not to be made, and its key.
struct Found {
    issuer: String,
    key: SecretString,
    /// Where its key goes, or is.
    home: KeyHome,
    is_fresh: bool,
}

enum KeyHome {
    /// As the configuration says already, in whatever way.
    AsConfigured,
    /// In a file, as the configuration is to name it.
    File(String),
    /// It is to be written.
    ToWrite,
}

/// Goes on with the App that is there, or has one made. None: a person is needed, and was told so.
///
/// # Errors
/// GitHub is away or does not know the App, or what is to be kept cannot be written.
pub(super) async fn find_or_make(place: &Place, args: &SetupArgs, talk: &Talk) -> anyhow::Result<Option<Known>> {
    if !args.new_app
        && let Some(found) = find(place, args, talk)?
        && let Some(known) = go_on(place, found, args, talk).await?
    {
        return Ok(Some(known));
    }
    if args.non_interactive {
        needs_a_person(place, args, talk).await?;
        return Ok(None);
    }
    make(place, args, talk).await.map(Some)
}

/// Which App is meant, without asking GitHub.
fn find(place: &Place, args: &SetupArgs, talk: &Talk) -> anyhow::Result<Option<Found>> {
    let standing = &place.standing;
    let on_disk = files::read(&standing.key_path())?;
    let noted = on_disk.as_ref().and_then(key::noted_issuer).map(str::to_owned);
    let named = standing.app.as_ref().map(|app| app.issuer.clone());
    let issuer = args.client_id.clone().or(named).or(noted.clone());
    let checked = |what: &str, pem: SecretString| match key::check(&pem) {
        Ok(()) => Ok(pem),
        Err(why) => Err(WrongUse(format!("{what} {why}"))),
    };
    let given = match (&args.key_file, environment(PRIVATE_KEY).filter(|key| !key.is_empty())) {
        (Some(file), _) => {
            let shown = file.display().to_string();
            let pem = files::read(file)?.ok_or_else(|| WrongUse(format!("--key-file: {shown} is not there")))?;
            let absolute = std::path::absolute(file).unwrap_or_else(|_| file.clone());
            Some((checked(&shown, pem)?, KeyHome::File(standing.written(&absolute))))
        }
        (None, Some(text)) => {
            // Variables often carry the line breaks as `\n`.
            let text = if text.contains('\n') { text } else { text.replace("\\n", "\n") };
            Some((checked(&format!("the value of {PRIVATE_KEY}"), SecretString::from(text))?, KeyHome::ToWrite))
        }
        (None, None) => None,
    };
    if let Some((key, home)) = given {
        let Some(issuer) = issuer else {
            return Err(WrongUse("whose key is it? Give the App's client id with --client-id".to_owned()).into());
        };
        return Ok(Some(Found { issuer, key, home, is_fresh: false }));
    }
    let Some(issuer) = issuer else { return Ok(None) };
    let of_the_file = standing.app.as_ref().filter(|app| app.issuer == issuer).and_then(|app| app.key.clone());
    if let Some(key) = of_the_file {
        return Ok(Some(Found { issuer, key, home: KeyHome::AsConfigured, is_fresh: false }));
    }
    let file = standing.written(&standing.key_path());
    match on_disk {
        Some(key) if key::check(&key).is_ok() => {
            // Cut off between the key and the configuration.
            let is_fresh = noted.as_ref() == Some(&issuer);
            if is_fresh {
                talk.tell(&format!("an earlier setup came as far as the key of `{issuer}` in {file}: going on from there"));
            }
            Ok(Some(Found { issuer, key, home: KeyHome::File(file), is_fresh }))
        }
        Some(_) | None => Err(WrongUse(format!(
            "the App `{issuer}` is named, and its key is not in {file}: put it there, give it with --key-file, or make another \
             App with --new-app"
        ))
        .into()),
    }
}

/// Asks GitHub whether it is that App, and keeps what is new. None where the person wants another one.
async fn go_on(place: &Place, found: Found, args: &SetupArgs, talk: &Talk) -> anyhow::Result<Option<Known>> {
    let standing = &place.standing;
    let client = client(place, &found.issuer, &found.key)?;
    let facts = match client.app().await {
        Ok((facts, _)) => facts,
        Err(error) => return Err(unknown(&found.issuer, &error)),
    };
    let already = matches!(found.home, KeyHome::AsConfigured);
    if already && talk.is_attended() {
        let question = format!(
            "{} names the App `{}` already. Go on with it (no: make another)?",
            standing.file.display(),
            facts.slug
        );
        if !talk.yes(&question, "").await? {
            return Ok(None);
        }
    } else {
        talk.tell(&format!("the App `{}` exists ({}): going on with it", facts.slug, found.issuer));
    }
    let key_file = match found.home {
        KeyHome::AsConfigured => None,
        KeyHome::File(file) => Some(file),
        KeyHome::ToWrite => Some(write_given_key(place, &facts, &found, talk).await?),
    };
    let issuer = facts.client_id.clone().unwrap_or(found.issuer);
    let mut known = Known {
        client,
        facts,
        issuer,
        key_file,
        secret_to_set: None,
        is_fresh: found.is_fresh,
        secrets_moved: false,
        pages: None,
    };
    if standing.needs_a_hook() {
        known.secret_to_set = keep_secret(place, args, known.is_fresh, talk).await?;
        known.secrets_moved = known.secret_to_set.is_some() && standing.secrets().is_empty();
    }
    Ok(Some(known))
}

/// Writes the key of the variable. One that is there and another is asked about.
async fn write_given_key(place: &Place, facts: &AppFacts, found: &Found, talk: &Talk) -> anyhow::Result<String> {
    let path = place.standing.key_path();
    let noted = key::noted(&found.key, &facts.slug, facts.client_id.as_deref().unwrap_or(&found.issuer));
    match files::read(&path)? {
        None => files::put_new(&path, &noted)?,
        Some(there) if key::fingerprint(&there).is_some() && key::fingerprint(&there) == key::fingerprint(&noted) => {}
        Some(_) => {
            let instead = format!(
                "{} holds another key, which is not written over: `--rotate-key` exchanges it, or move it away",
                path.display()
            );
            if !talk.yes(&format!("{} holds another key. Write over it?", path.display()), &instead).await? {
                bail!("{instead}");
            }
            files::replace(&path, &noted)?;
        }
    }
    Ok(place.standing.written(&path))
}

/// Sees to it that there is a secret here. One that is new, GitHub must be told of.
async fn keep_secret(
    place: &Place,
    args: &SetupArgs,
    is_fresh: bool,
    talk: &Talk,
) -> anyhow::Result<Option<SecretString>> {
    let standing = &place.standing;
    let on_disk = standing.secrets_on_disk()?;
    let secret = match environment(WEBHOOK_SECRET).filter(|secret| !secret.is_empty()).map(SecretString::from) {
        Some(secret) => {
            secret_lines::check(&secret).map_err(|why| WrongUse(format!("the value of {WEBHOOK_SECRET} {why}")))?;
            if standing.secrets().iter().any(|there| there.expose_secret() == secret.expose_secret()) {
                return Ok(args.set_webhook.then_some(secret));
            }
            secret
        }
        None if !standing.secrets().is_empty() => return Ok(None),
        // Written, and cut off before the configuration named it.
        None if !on_disk.is_empty() => return Ok(on_disk.first().cloned()),
        None => {
            let consent = is_fresh || args.set_webhook;
            let instead = format!(
                "no webhook secret is here: give the App's in the variable {WEBHOOK_SECRET}, or let a new one be set with \
                 --set-webhook"
            );
            if !consent
                && !talk.yes("No webhook secret is here. Make a new one and set it at GitHub?", &instead).await?
            {
                bail!("{instead}");
            }
            chance::secret().context("making a secret")?
        }
    };
    let all = secret_lines::with_first(&secret, &on_disk);
    files::replace(&standing.secrets_path(), &secret_lines::write(&all))?;
    talk.tell(&format!("wrote {}", standing.secrets_path().display()));
    Ok(Some(secret))
}

/// What GitHub's refusal means here.
fn unknown(issuer: &str, error: &Error) -> anyhow::Error {
    if error.is_transient() {
        return anyhow!("{error}; nothing was changed, run the same command again when GitHub answers");
    }
    anyhow!(
        "GitHub does not know the App `{issuer}` with this key: {error}. Another key of the same App: `runnerfleet setup \
         --rotate-key FILE`; another App: `runnerfleet setup --new-app`"
    )
}

/// A client that is this App.
fn client(place: &Place, issuer: &str, key: &SecretString) -> anyhow::Result<Client> {
    let auth = GitHubAuth::App { issuer: issuer.to_owned(), private_key: key.clone(), installation: None };
    let github = config::GitHub { auth, ..place.standing.config.github.clone() };
    Client::new(&github).context("preparing the GitHub client")
}

async fn wanted(place: &Place, args: &SetupArgs, talk: &Talk) -> anyhow::Result<Wanted> {
    let name = name(args, &place.account);
    if name.is_empty() || name.chars().count() > LONGEST_NAME {
        return Err(WrongUse(format!("--name: an App's name has 1 to {LONGEST_NAME} characters")).into());
    }
    Ok(Wanted {
        web_url: place.standing.web_url(),
        owner: owner(place, args, talk).await?,
        name,
        hook: place.hook_url(),
        scopes: place.standing.scopes(),
    })
}

/// Without a person no App can be made: that is GitHub's rule.
async fn needs_a_person(place: &Place, args: &SetupArgs, talk: &Talk) -> anyhow::Result<()> {
    let wanted = wanted(place, args, talk).await?;
    let manifest = wanted.manifest(&format!("http://127.0.0.1:{}/made", args.port));
    let shown = serde_json::json!({ "page": wanted.form_page(), "manifest": manifest });
    say(&serde_json::to_string_pretty(&shown).context("writing the manifest")?)?;
    talk.tell(&format!(
        "error: there is no App yet, and GitHub lets only a person make one: run `runnerfleet setup` without --non-interactive, \
         where a browser can come; or make one on that page with what the manifest says, then give --client-id, its key \
         (--key-file or {PRIVATE_KEY}) and its webhook's secret ({WEBHOOK_SECRET})"
    ));
    Ok(())
}

/// Sends a person to GitHub, and takes the App that they bring back.
async fn make(place: &Place, args: &SetupArgs, talk: &Talk) -> anyhow::Result<Known> {
    let standing = &place.standing;
    // Before anybody is sent anywhere: GitHub shows key and secret once.
    files::check_writable(&standing.key_path()).context("there would be no place for the App's key")?;
    if standing.needs_a_hook() {
        files::check_writable(&standing.secrets_path()).context("there would be no place for the webhook's secret")?;
    }
    let trial = References { issuer: Some("Iv1".to_owned()), key_file: Some("x".to_owned()), ..References::default() };
    if let Err(error) = reference::apply(&standing.text, &trial) {
        talk.tell(&format!(
            "note: {} cannot be changed in place ({error}): at the end you get the lines to write there by hand",
            standing.file.display()
        ));
    }
    let wanted = wanted(place, args, talk).await?;
    let desk = Desk::bind(args.port).await?;
    let manifest = wanted.manifest(&desk.redirect_url());
    let (form, address, port) = (wanted.form_address(desk.state()), desk.address(), desk.port());
    let mut open = desk.open(&form, &manifest);
    talk.tell(&format!(
        "Open this page in a browser; it takes you to GitHub, where you press \"Create GitHub App\":\n\n  {address}\n\n\
         It answers on this machine alone. From another one: ssh -L {port}:127.0.0.1:{port} USER@THIS-MACHINE\n\
         (GitHub says 404: `{}` is no organization, or you do not own it; --personal is for your own account)",
        place.account
    ));
    if !args.no_browser {
        open_browser(&address);
    }
    let until = Instant::now() + args.wait;
    loop {
        let visit = tokio::time::timeout_at(until, open.visit()).await;
        match visit {
            Err(_) => bail!(
                "nobody came back from GitHub within {}; nothing was made here, run the same command again",
                crate::cli::output::span(args.wait)
            ),
            Ok(None) => bail!("the page on loopback broke; run the same command again"),
            Ok(Some(Visit::WrongState)) => talk.tell(
                "somebody came back from GitHub with a state that is not ours; ignored. Begin at the address above, not at an older one",
            ),
            Ok(Some(Visit::Came { code, answer })) => {
                talk.begin_critical();
                let exchanged = convert_manifest(&standing.config.github.api_url, code.expose_secret()).await;
                let kept = exchanged.map(|made| keep(place, made));
                let interrupted = talk.end_critical();
                match kept {
                    Ok(kept) => {
                        let told = match &kept {
                            Ok((known, _)) => Answer::Made {
                                name: known.facts.name.clone(),
                                install: install_page(&known.facts.html_url),
                                account: place.account.clone(),
                            },
                            Err(error) => Answer::Failed(format!("{error:#}")),
                        };
                        // Who closed the window reads it in the terminal.
                        let _ = answer.send(told);
                        if kept.is_err() || interrupted {
                            open.close().await;
                            let (_, wrote) = kept?;
                            tell_written(&wrote, talk);
                            bail!("{}", INTERRUPTED.trim());
                        }
                        let (known, wrote) = kept?;
                        talk.tell(&format!("GitHub made the App `{}` (client id {})", known.facts.slug, known.issuer));
                        tell_written(&wrote, talk);
                        return Ok(Known { pages: Some(open), ..known });
                    }
                    Err(error) => {
                        let why = no_app(&error, &wanted);
                        talk.tell(&why);
                        let _ = answer.send(Answer::Failed(why));
                    }
                }
            }
        }
    }
}

fn tell_written(paths: &[PathBuf], talk: &Talk) {
    for path in paths {
        talk.tell(&format!("wrote {}", path.display()));
    }
}

/// Why there is no App after all.
fn no_app(error: &Error, wanted: &Wanted) -> String {
    match error {
        Error::NotFound { .. } => format!(
            "GitHub gives nothing for the code: {error}. If GitHub made the App all the same, its key cannot be had this way any \
             more: delete it ({}), or make a key on its page and run `runnerfleet setup --client-id … --key-file …`. To make \
             another: begin again at the address above",
            wanted.form_page().trim_end_matches("/new")
        ),
        error if error.is_transient() => {
            format!("{error}. The code may be good still: load the page in the browser again in a moment")
        }
        error => format!("{error}. Begin again at the address above"),
    }
}

/// Writes down what GitHub shows only once: the key first, then the secret. Says what was written.
fn keep(place: &Place, made: NewApp) -> anyhow::Result<(Known, Vec<PathBuf>)> {
    let standing = &place.standing;
    let NewApp { facts, private_key, webhook_secret } = made;
    let issuer = facts.client_id.clone().unwrap_or_else(|| facts.id.to_string());
    let path = files::free_name(&standing.key_path());
    files::put_new(&path, &key::noted(&private_key, &facts.slug, &issuer)).map_err(|error| {
        anyhow!(
            "{error}; GitHub made the App `{}` and shows its key only once: mend that, make another key on its page ({}), and run \
             `runnerfleet setup --client-id {issuer} --key-file …`",
            facts.slug,
            facts.html_url
        )
    })?;
    let client = client(place, &issuer, &private_key)?;
    let mut known = Known {
        client,
        key_file: Some(standing.written(&path)),
        facts,
        issuer,
        secret_to_set: None,
        is_fresh: true,
        secrets_moved: false,
        pages: None,
    };
    let mut wrote = vec![path];
    if standing.needs_a_hook() {
        let secret = if let Some(secret) = webhook_secret {
            secret
        } else {
            let new = chance::secret().context("making a secret")?;
            known.secret_to_set = Some(new.clone());
            new
        };
        let all = secret_lines::with_first(&secret, &standing.secrets_on_disk()?);
        files::replace(&standing.secrets_path(), &secret_lines::write(&all))?;
        wrote.push(standing.secrets_path());
        known.secrets_moved = true;
    }
    Ok((known, wrote))
}

/// Only where there is a desktop; what comes of it is the browser's.
fn open_browser(address: &str) {
    let shown = ["DISPLAY", "WAYLAND_DISPLAY"].iter().any(|name| environment(name).is_some_and(|it| !it.is_empty()));
    if shown && environment("SSH_CONNECTION").is_none() {
        let mut command = tokio::process::Command::new("xdg-open");
        let quiet = command.arg(address).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        // Without it the person opens the printed address.
        let _ = quiet.spawn();
    }
}
