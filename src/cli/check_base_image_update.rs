//! `runnerfleet check-base-image-update`.

use super::output::{Column, Printing, render};
use super::{complain, environment, say};
use crate::clock;
use crate::config::Config;
use crate::provider::docker::Docker;
use crate::registry::{Client, DockerLogins};
use crate::update::{BaseImage, check};
use anyhow::Context;
use clap::Args;
use jiff::Timestamp;
use serde::Serialize;
use std::process::ExitCode;

/// There is an update, and nothing was done about it.
const UPDATE_AVAILABLE: u8 = 10;

#[derive(Debug, Args)]
pub(super) struct CheckArgs {
    #[command(flatten)]
    pub(super) printing: Printing,
}

/// A base image as it is printed.
#[derive(Debug, Serialize)]
struct Row<'a> {
    #[serde(flatten)]
    base: &'a BaseImage,
    /// What to go to; the same as `reference` where only the image behind the tag is another one.
    newest: Option<String>,
}

pub(super) async fn check_base_image_update(config: Config, args: CheckArgs) -> anyhow::Result<ExitCode> {
    let logins = DockerLogins::of_docker(&environment);
    let client = Client::new(logins.clone()).context("preparing to ask registries")?;
    let docker = Docker::connect(&config.docker, &config.instance, &config.host)?;
    let bases = check(&config, &client, &docker).await;
    tell(&bases, &args.printing)?;
    Ok(ExitCode::from(code(&bases)))
}

/// 1 where it is not known of one, since "none" would be a guess; 10 where there is one.
fn code(bases: &[BaseImage]) -> u8 {
    if bases.iter().any(|base| base.error.is_some()) {
        1
    } else if bases.iter().any(|base| base.update().is_some()) {
        UPDATE_AVAILABLE
    } else {
        0
    }
}

/// What there is; the reasons for what is not known go to standard error.
fn tell(bases: &[BaseImage], printing: &Printing) -> anyhow::Result<()> {
    let rows: Vec<Row<'_>> =
        bases.iter().map(|base| Row { base, newest: base.update().map(|update| update.to) }).collect();
    if rows.is_empty() && printing.output.is_table() {
        if !printing.quiet {
            complain("no pool has a `base_image`");
        }
        return Ok(());
    }
    let columns = [
        Column { heading: "BASE IMAGE", narrow: true, text: |row: &Row<'_>, _: Timestamp| row.base.reference.clone() },
        Column { heading: "NEWEST", narrow: true, text: |row, _| newest(row.base) },
        Column { heading: "POOLS", narrow: true, text: |row, _| pools(row.base) },
        Column { heading: "DIGEST", narrow: false, text: |row, _| row.base.newer_digest.clone().unwrap_or("-".into()) },
    ];
    say(&render(printing.output, clock::now(), &rows, &columns)?)?;
    for base in bases {
        if let Some(error) = &base.error {
            complain(&format!("error: {}: {error}", base.reference));
        }
        if let Some(note) = base.note.as_ref().filter(|_| !printing.quiet) {
            complain(&format!("note: {}: {note}", base.reference));
        }
    }
    Ok(())
}

/// In a few words.
fn newest(base: &BaseImage) -> String {
    match (&base.newer_tag, &base.newer_digest, &base.error, &base.note) {
        (Some(tag), ..) => format!("-> {tag}"),
        (None, Some(digest), ..) => format!("-> another image behind the tag ({})", short(digest)),
        (None, None, Some(_), _) => "not known".to_owned(),
        (None, None, None, Some(_)) => "-".to_owned(),
        (None, None, None, None) => "up to date".to_owned(),
    }
}

fn pools(base: &BaseImage) -> String {
    base.pools.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

/// As Docker shortens it.
fn short(digest: &str) -> &str {
    digest.get(.."sha256:".len() + 12).unwrap_or(digest)
}
