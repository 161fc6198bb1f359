//! `runnerfleet config …`.

use super::{complain, environment, say};
use crate::config::migrate::{self, MigrateError};
use crate::config::{file, schema, summary};
use clap::{Subcommand, ValueEnum};
use std::path::Path;
use std::process::ExitCode;

#[derive(Debug, Subcommand)]
pub(super) enum ConfigVerb {
    /// Tell every problem of the file, each with its place and what would be right. Exit code 2 when there is one.
    #[command(after_help = "Example:\n  runnerfleet config check --config /etc/runnerfleet/runners_config.yaml")]
    Check {
        /// How to print the answer.
        #[arg(short, long, value_enum, default_value = "text", value_name = "FORMAT")]
        output: CheckOutput,
    },
    /// Print the JSON Schema of the file, for editors.
    #[command(after_help = "Example:\n  runnerfleet config schema > runners_config.schema.json")]
    Schema,
    /// Print a file of the former tool in today's form. Comments, order and meaning stay.
    #[command(
        after_help = "Examples:\n  runnerfleet config migrate | diff runners_config.yaml -\n  runnerfleet config migrate --write"
    )]
    Migrate {
        /// Write it, instead of printing it; the old text is kept beside it, with `.bak` behind its name.
        #[arg(long)]
        write: bool,
    },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum CheckOutput {
    Text,
    Json,
}

pub(super) fn run(path: &Path, verb: &ConfigVerb) -> anyhow::Result<ExitCode> {
    match verb {
        ConfigVerb::Schema => {
            say(&serde_json::to_string_pretty(&schema())?)?;
            Ok(ExitCode::SUCCESS)
        }
        ConfigVerb::Check { output } => check(path, *output),
        ConfigVerb::Migrate { write: false } => preview(path),
        ConfigVerb::Migrate { write: true } => write(path),
    }
}

fn check(path: &Path, output: CheckOutput) -> anyhow::Result<ExitCode> {
    match (file::load(path, &environment), output) {
        (Ok(loaded), CheckOutput::Text) => {
            for warning in &loaded.warnings {
                complain(&format!("warning: {warning}"));
            }
            for note in &loaded.notes {
                complain(&format!("note: {note}"));
            }
            say(&format!("{} is right\n{}", path.display(), summary(&loaded.config)))?;
            Ok(ExitCode::SUCCESS)
        }
        (Ok(loaded), CheckOutput::Json) => {
            let answer = serde_json::json!({
                "ok": true, "problems": [], "warnings": loaded.warnings, "notes": loaded.notes,
            });
            say(&serde_json::to_string_pretty(&answer)?)?;
            Ok(ExitCode::SUCCESS)
        }
        (Err(problems), CheckOutput::Text) => {
            complain(&problems.to_string());
            Ok(ExitCode::from(2))
        }
        (Err(problems), CheckOutput::Json) => {
            let answer = serde_json::json!({ "ok": false, "problems": problems, "warnings": [], "notes": [] });
            say(&serde_json::to_string_pretty(&answer)?)?;
            Ok(ExitCode::from(2))
        }
    }
}

/// What would be written.
fn preview(path: &Path) -> anyhow::Result<ExitCode> {
    match migrate::preview(path, &environment) {
        Ok((text, is_new)) => {
            if !is_new {
                complain(&format!("note: {} has today's form already", path.display()));
            }
            say(&text)?;
            Ok(ExitCode::SUCCESS)
        }
        Err(problems) => {
            complain(&problems.to_string());
            Ok(ExitCode::from(2))
        }
    }
}

fn write(path: &Path) -> anyhow::Result<ExitCode> {
    match migrate::write(path, &environment) {
        Ok(Some(backup)) => {
            say(&format!("{} has today's form now; the old text is in {}", path.display(), backup.display()))?;
            Ok(ExitCode::SUCCESS)
        }
        Ok(None) => {
            say(&format!("{} has today's form already", path.display()))?;
            Ok(ExitCode::SUCCESS)
        }
        Err(MigrateError::Problems(problems)) => {
            complain(&problems.to_string());
            Ok(ExitCode::from(2))
        }
        Err(MigrateError::Edit(error)) => Err(error.into()),
    }
}
