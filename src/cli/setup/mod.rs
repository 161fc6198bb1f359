//! `runnerfleet setup`: the conversation from nothing to an App that is made, installed and heard of; and the exchange of its
//! webhook's secret or its key. Each step looks first what is there already, so that it can be run again at any point.

mod app;
mod installed;
mod place;
mod rotate;
mod save;
mod talk;
mod verify;

use super::serve::Signals;
use super::times::duration;
use super::{complain, load, say};
use crate::config::Config;
use crate::setup::manifest::default_name;
use app::Known;
use clap::Args;
use place::Place;
use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;
use talk::Talk;

/// The variable with the key itself: a key is no argument, which every user of the machine could read.
const PRIVATE_KEY: &str = "RUNNERFLEET_SETUP_PRIVATE_KEY";

/// The variable with the webhook's secret.
const WEBHOOK_SECRET: &str = "RUNNERFLEET_SETUP_WEBHOOK_SECRET";

const INTERRUPTED: &str = "\ninterrupted; what is done stays done. The same command goes on from there";

#[derive(Debug, Args)]
#[expect(clippy::struct_excessive_bools, reason = "each is a flag of the command line")]
pub(super) struct SetupArgs {
    /// The organization, as an address or as `acme` on github.com; of a personal account one of its repositories (`octo/tool`).
    #[arg(long, env = "RUNNERFLEET_SETUP_ORG", value_name = "URL")]
    org: Option<String>,
    /// Where GitHub reaches this machine, as in `https://ci.example.com`; the webhook's path comes behind it.
    #[arg(long, env = "RUNNERFLEET_SETUP_URL", value_name = "URL")]
    url: Option<String>,
    /// The App's name, which must be free in all of GitHub; `runnerfleet-ORGANIZATION` by default.
    #[arg(long, value_name = "NAME")]
    name: Option<String>,
    /// The App belongs to whoever is signed in at GitHub, and to no organization.
    #[arg(long)]
    personal: bool,
    /// The port of the page on this machine's loopback; 0 is any.
    #[arg(long, value_name = "PORT", default_value_t = 8976)]
    port: u16,
    /// Open no browser, only print the page's address.
    #[arg(long)]
    no_browser: bool,
    /// How long a person at GitHub is waited for, each time.
    #[arg(long, value_name = "TIME", value_parser = duration, default_value = "15m")]
    wait: Duration,
    /// An App that exists: its client id or number. Its key: --key-file, or the variable RUNNERFLEET_SETUP_PRIVATE_KEY.
    #[arg(long, env = "RUNNERFLEET_SETUP_CLIENT_ID", value_name = "ID")]
    client_id: Option<String>,
    /// The file with its key. It is used where it is, and not copied.
    #[arg(long, env = "RUNNERFLEET_SETUP_PRIVATE_KEY_FILE", value_name = "FILE")]
    key_file: Option<PathBuf>,
    /// Make another App, though the configuration names one.
    #[arg(long)]
    new_app: bool,
    /// Set the App's webhook at GitHub (address, content type, secret) to what is needed, without a question.
    #[arg(long)]
    set_webhook: bool,
    /// Ask nothing and wait for no browser: for automation, with an App that exists.
    #[arg(long)]
    non_interactive: bool,
    /// Replace the webhook's secret; both are valid meanwhile. The variable RUNNERFLEET_SETUP_WEBHOOK_SECRET can hold the new one.
    #[arg(long, conflicts_with_all = ["rotate_key", "new_app"])]
    rotate_secret: bool,
    /// Replace the App's key by the one in FILE, which you made and downloaded on the App's page.
    #[arg(long, value_name = "FILE", num_args = 0..=1, conflicts_with = "new_app")]
    #[expect(clippy::option_option, reason = "clap's form of a flag with an optional value")]
    rotate_key: Option<Option<PathBuf>>,
    /// With --rotate-secret: how long both secrets stay valid once GitHub has the new one.
    #[arg(long, value_name = "TIME", value_parser = duration, default_value = "30s")]
    overlap: Duration,
}

/// `runnerfleet setup`.
pub(super) async fn setup(path: &Path, args: SetupArgs) -> anyhow::Result<ExitCode> {
    let talk = Talk::new(args.non_interactive);
    let mut signals = Signals::new()?;
    let conversation = conversation(path, &args, &talk);
    tokio::pin!(conversation);
    loop {
        tokio::select! {
            done = &mut conversation => return done,
            () = signals.next() => {
                if !talk.puts_off() {
                    complain(INTERRUPTED);
                    return Ok(ExitCode::from(1));
                }
                complain("\na moment: GitHub is giving the key, which it does only once");
            }
        }
    }
}

async fn conversation(path: &Path, args: &SetupArgs, talk: &Talk) -> anyhow::Result<ExitCode> {
    if args.rotate_secret {
        return rotate::secret(path, args, talk).await;
    }
    if let Some(file) = &args.rotate_key {
        return rotate::key(path, file.as_deref(), talk).await;
    }
    let place = place::ask(path, args, talk).await?;
    let Some(mut known) = app::find_or_make(&place, args, talk).await? else { return Ok(ExitCode::from(1)) };
    let pages = known.pages.take();
    let done = with_app(path, args, talk, &place, &known).await;
    if let Some(pages) = pages {
        // However it ended, the person in the browser sees what became of the App.
        pages.close().await;
    }
    done
}

/// What is left once there is an App: the configuration that names it, its installation, its deliveries.
async fn with_app(
    path: &Path,
    args: &SetupArgs,
    talk: &Talk,
    place: &Place,
    known: &Known,
) -> anyhow::Result<ExitCode> {
    if !save::references(place, known, talk)? {
        return Ok(ExitCode::from(1));
    }
    // As `serve` will read it.
    let config = match load(path, false) {
        Ok(config) => config,
        Err(code) => {
            complain("the App is there; mend these, and run `runnerfleet setup` again to go on");
            return Ok(code);
        }
    };
    if place.standing.needs_a_hook() {
        installed::hook(place, known, &config, args, talk).await?;
    }
    if !installed::wait(place, known, args.wait, talk).await? {
        return Ok(ExitCode::from(1));
    }
    if place.standing.needs_a_hook() {
        let url = place.hook_url().unwrap_or_default();
        let seen = verify::verify(&known.client, &config, &url, talk).await?;
        if let verify::Seen::NothingToSend = seen {
            talk.tell("GitHub's log of deliveries is empty, so nothing could be sent again: the next job shows it");
        }
    }
    say(&what_next(path, &config))?;
    Ok(ExitCode::SUCCESS)
}

/// What a person does now.
fn what_next(path: &Path, config: &Config) -> String {
    let flag =
        if path == Path::new("runners_config.yaml") { String::new() } else { format!(" --config {}", path.display()) };
    let mut text = "The App is made, installed and heard of. Next:\n".to_owned();
    for (verb, about) in [("config check", "what runs where"), ("serve", "receive jobs and run them")] {
        // Writing to a string cannot fail.
        let _ = writeln!(text, "  {:<40} {about}", format!("runnerfleet{flag} {verb}"));
    }
    if let Some(pool) = config.pools.first() {
        let mut labels: Vec<String> = pool.labels.iter().map(ToString::to_string).collect();
        // As everybody writes it.
        labels.sort_by_key(|label| label != "self-hosted");
        let _ = writeln!(text, "In a workflow of {}: `runs-on: [{}]`", pool.scope, labels.join(", "));
    }
    text
}

/// The name that the App is to get.
fn name(args: &SetupArgs, account: &str) -> String {
    args.name.clone().unwrap_or_else(|| default_name(account))
}
