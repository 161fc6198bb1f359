//! Tables for people, JSON and YAML for programs.

use super::WrongUse;
use super::select;
use crate::config::Config;
use anyhow::Context;
use clap::{Args, ValueEnum};
use comfy_table::{ContentArrangement, Table, presets};
use jiff::Timestamp;
use serde::Serialize;
use std::time::Duration;

/// `--output`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Output {
    // What each means stands with the option: told here as well, it would make every help text twice as long.
    Table,
    Wide,
    Json,
    Yaml,
}

/// What every verb says about its printing.
#[derive(Debug, Args)]
pub(super) struct Printing {
    /// How to print; `wide` is a table with all columns.
    #[arg(short, long, value_enum, default_value = "table", value_name = "FORMAT")]
    pub(super) output: Output,
    /// Print less: what is shown, without its notes and headings; of what is done, errors alone.
    #[arg(short, long)]
    pub(super) quiet: bool,
}

/// What every verb that changes something says about that.
#[derive(Debug, Args)]
pub(super) struct Care {
    /// Only say what would be done.
    #[arg(long)]
    pub(super) dry_run: bool,
    /// Do not ask before what runs is ended.
    #[arg(short, long)]
    pub(super) yes: bool,
}

impl Output {
    /// Whether it is for people.
    pub(super) fn is_table(self) -> bool {
        matches!(self, Self::Table | Self::Wide)
    }
}

/// A column: its heading, whether it shows in the narrow table too, and its text.
pub(super) struct Column<T> {
    pub(super) heading: &'static str,
    pub(super) narrow: bool,
    pub(super) text: fn(&T, Timestamp) -> String,
}

/// The rows in the form that was asked for.
///
/// # Errors
/// A row cannot be written in that form.
pub(super) fn render<T: Serialize>(
    output: Output,
    now: Timestamp,
    rows: &[T],
    columns: &[Column<T>],
) -> anyhow::Result<String> {
    match output {
        Output::Json => serde_json::to_string_pretty(rows).context("writing JSON"),
        Output::Yaml => yaml(rows),
        Output::Table | Output::Wide => {
            let shown: Vec<_> = columns.iter().filter(|column| column.narrow || output == Output::Wide).collect();
            let mut table = Table::new();
            table.set_header(shown.iter().map(|column| column.heading));
            for row in rows {
                table.add_row(shown.iter().map(|column| (column.text)(row, now)));
            }
            Ok(plain(table))
        }
    }
}

/// A table without lines, at the left margin, without blanks at its right.
pub(super) fn plain(mut table: Table) -> String {
    table.load_style(presets::NOTHING).set_content_arrangement(ContentArrangement::Disabled);
    for column in table.column_iter_mut() {
        column.set_padding((0, 2));
    }
    table.to_string().lines().map(str::trim_end).collect::<Vec<_>>().join("\n")
}

/// `--pool` with a name that is in no row and not in the configuration is a slip of the pen.
///
/// # Errors
/// There is no such pool.
pub(super) fn known_pool<'a>(
    wanted: Option<&str>,
    configured: &'a [String],
    rows: impl IntoIterator<Item = Option<&'a str>>,
) -> Result<(), WrongUse> {
    wanted.map_or(Ok(()), |wanted| select::known_pool(wanted, configured, rows.into_iter().flatten()))
}

/// The names of the configuration's pools.
pub(super) fn pool_names(config: &Config) -> Vec<String> {
    config.pools.iter().map(|pool| pool.name.to_string()).collect()
}

/// YAML of anything.
///
/// # Errors
/// It cannot be written as YAML.
pub(super) fn yaml<T: Serialize + ?Sized>(value: &T) -> anyhow::Result<String> {
    serde_yaml::to_string(&serde_json::to_value(value)?).context("writing YAML")
}

/// `3s`, `4m 10s`, `2h 5m`, `3d 4h`.
pub(super) fn span(duration: Duration) -> String {
    let seconds = duration.as_secs();
    match seconds {
        0..60 => format!("{seconds}s"),
        60..3600 => format!("{}m {}s", seconds / 60, seconds % 60),
        3600..86400 => format!("{}h {}m", seconds / 3600, seconds % 3600 / 60),
        _ => format!("{}d {}h", seconds / 86400, seconds % 86400 / 3600),
    }
}

/// A dash for nothing.
pub(super) fn or_dash(text: Option<&str>) -> String {
    text.unwrap_or("-").to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_have_two_units_at_most() {
        let text = |seconds| span(Duration::from_secs(seconds));
        assert_eq!(
            [text(0), text(59), text(250), text(7500), text(273_600)],
            ["0s", "59s", "4m 10s", "2h 5m", "3d 4h"]
        );
    }
}
