//! `runnerfleet config …`.

use super::{complain, environment, say};
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
    }
}

fn check(path: &Path, output: CheckOutput) -> anyhow::Result<ExitCode> {
    match (file::load(path, &environment), output) {
        (Ok(loaded), CheckOutput::Text) => {
            for warning in &loaded.warnings {
                complain(&format!("warning: {warning}"));
            }
            say(&format!("{} is right\n{}", path.display(), summary(&loaded.config)))?;
            Ok(ExitCode::SUCCESS)
        }
        (Ok(loaded), CheckOutput::Json) => {
            let answer = serde_json::json!({ "ok": true, "problems": [], "warnings": loaded.warnings });
            say(&serde_json::to_string_pretty(&answer)?)?;
            Ok(ExitCode::SUCCESS)
        }
        (Err(problems), CheckOutput::Text) => {
            complain(&problems.to_string());
            Ok(ExitCode::from(2))
        }
        (Err(problems), CheckOutput::Json) => {
            let answer = serde_json::json!({ "ok": false, "problems": problems, "warnings": [] });
            say(&serde_json::to_string_pretty(&answer)?)?;
            Ok(ExitCode::from(2))
        }
    }
}
