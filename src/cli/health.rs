//! `runnerfleet health`: whether the `serve` on this host is well. It needs no HTTP client, no certificate and no port, so that
//! it works in an image that holds nothing but the program.

use super::output::{Column, Printing, render};
use super::{complain, say};
use crate::admin::client::Client;
use crate::clock;
use crate::config::Config;
use anyhow::{Context, bail};
use clap::Args;
use serde::Serialize;
use std::process::ExitCode;
use std::time::Duration;

/// A `serve` that lives answers within milliseconds.
const ALIVE_WITHIN: Duration = Duration::from_secs(5);

#[derive(Debug, Args)]
pub(super) struct HealthArgs {
    /// Only whether `serve` answers; its parts are not asked.
    #[arg(long)]
    alive: bool,
    #[command(flatten)]
    pub(super) printing: Printing,
}

/// What one part said.
#[derive(Debug, Serialize)]
struct Row {
    part: String,
    ok: bool,
    said: String,
}

pub(super) async fn health(config: &Config, args: &HealthArgs) -> anyhow::Result<ExitCode> {
    let socket = &config.http.admin_socket;
    let Some(client) = Client::connect(socket).await else {
        bail!(
            "no `runnerfleet serve` answers at {} (http.admin.socket): it does not run, or runs with another configuration or as \
             another user",
            socket.display()
        );
    };
    if args.alive {
        client.alive(ALIVE_WITHIN).await.context("asking `runnerfleet serve` whether it lives")?;
        if !args.printing.quiet {
            say("`serve` answers")?;
        }
        return Ok(ExitCode::SUCCESS);
    }
    let parts = client.health().await.context("asking `runnerfleet serve` for its parts")?;
    let rows: Vec<Row> = parts
        .into_iter()
        .map(|(part, said)| Row { part, ok: said.is_ok(), said: said.unwrap_or_else(|why| why) })
        .collect();
    let columns = [
        Column { heading: "PART", narrow: true, text: |row: &Row, _| row.part.clone() },
        Column { heading: "OK", narrow: true, text: |row, _| if row.ok { "yes" } else { "no" }.to_owned() },
        Column { heading: "SAID", narrow: true, text: |row, _| row.said.clone() },
    ];
    if args.printing.quiet && args.printing.output.is_table() {
        for row in rows.iter().filter(|row| !row.ok) {
            complain(&format!("{}: {}", row.part, row.said));
        }
    } else {
        say(&render(args.printing.output, clock::now(), &rows, &columns)?)?;
    }
    Ok(if rows.iter().all(|row| row.ok) { ExitCode::SUCCESS } else { ExitCode::from(1) })
}
