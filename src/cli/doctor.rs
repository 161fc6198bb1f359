//! Everything that can be wrong, looked at one after the other.

use super::output::{Column, Output, Printing, or_dash, render};
use super::progress::{Form, Progress};
use super::{environment, say};
use crate::clock;
use crate::config::file;
use crate::doctor::look::{News, examine};
use crate::doctor::{Area, Finding, NOT_LOOKED, Verdict};
use clap::Args;
use std::io::IsTerminal;
use std::path::Path;
use std::process::ExitCode;

/// The exit code where nothing is broken, and yet not all is in order; only with `--strict`.
const NOT_ALL_WELL: u8 = 3;

#[derive(Debug, Args)]
pub(super) struct DoctorArgs {
    /// Not content with less than all in order: exit code 3 where something is warned of, or cannot be told.
    #[arg(long)]
    strict: bool,
    #[command(flatten)]
    pub(super) printing: Printing,
}

const COLUMNS: &[Column<Finding>] = &[
    Column { heading: "", narrow: true, text: |row, _| row.verdict.sign().to_owned() },
    Column { heading: "CHECK", narrow: true, text: |row, _| row.id.to_owned() },
    Column { heading: "ABOUT", narrow: true, text: |row, _| or_dash(row.about.as_deref()) },
    Column { heading: "SAYS", narrow: true, text: |row, _| row.says.clone() },
    Column { heading: "REMEDY", narrow: true, text: |row, _| or_dash(row.remedy.as_deref()) },
];

/// `runnerfleet doctor`. A configuration that cannot be used is a finding like others.
pub(super) async fn doctor(path: &Path, args: &DoctorArgs) -> anyhow::Result<ExitCode> {
    let Printing { output, quiet } = args.printing;
    let loaded = file::load(path, &environment);
    // What is being looked at is for whoever waits before a terminal; in a log the lines themselves are enough.
    let mut progress =
        if std::io::stderr().is_terminal() { Progress::here(quiet) } else { Progress::new(Form::Nothing) };
    let colours = std::io::stdout().is_terminal() && environment("NO_COLOR").is_none_or(|text| text.is_empty());
    let mut failed = None;
    let findings = examine(&loaded, &mut |news| match news {
        News::Looking(area, what) => progress.tell(area.name(), what),
        News::Done(area, findings) => {
            progress.clear();
            if output == Output::Table && failed.is_none() {
                failed = told(area, findings, quiet, colours).map(|text| say(&text)).and_then(Result::err);
            }
        }
    })
    .await;
    progress.clear();
    if let Some(error) = failed {
        return Err(error);
    }
    let shown: Vec<Finding> =
        findings.iter().filter(|finding| !(quiet && finding.verdict == Verdict::Ok)).cloned().collect();
    match output {
        Output::Table if quiet => {}
        Output::Table => say(&format!("\n{}", summary(&findings)))?,
        Output::Wide | Output::Json | Output::Yaml => say(&render(output, clock::now(), &shown, COLUMNS)?)?,
    }
    Ok(ExitCode::from(exit_code(&findings, args.strict)))
}

/// By severity.
fn exit_code(findings: &[Finding], strict: bool) -> u8 {
    match findings.iter().map(|finding| finding.verdict).max() {
        Some(Verdict::Broken) => 1,
        Some(Verdict::Warning | Verdict::Unknown) if strict => NOT_ALL_WELL,
        Some(Verdict::Ok | Verdict::NotLooked | Verdict::Unknown | Verdict::Warning) | None => 0,
    }
}

/// An area's lines under its name; none where all of them are in order and only the rest is wanted.
fn told(area: Area, findings: &[Finding], quiet: bool, colours: bool) -> Option<String> {
    let shown: Vec<&Finding> = findings.iter().filter(|finding| !(quiet && finding.verdict == Verdict::Ok)).collect();
    if shown.is_empty() {
        return None;
    }
    let mut lines = vec![area.name().to_owned()];
    for together in shown.chunk_by(|a, b| reason(a).is_some() && reason(a) == reason(b)) {
        let sign = sign(together[0].verdict, colours);
        if let (Some(because), true) = (reason(together[0]), together.len() > 1) {
            let titles: Vec<&str> =
                together.iter().map(|finding| finding.says.split(": ").next().unwrap_or_default()).collect();
            lines.push(format!("  {sign} {}{NOT_LOOKED}{because}", titles.join(", ")));
            continue;
        }
        lines.push(format!("  {sign} {}", together[0].says));
        lines.extend(together[0].remedy.iter().map(|remedy| format!("      → {remedy}")));
    }
    Some(lines.join("\n"))
}

/// Why nobody looked. Checks that follow each other and were not made for the same reason share a line.
fn reason(finding: &Finding) -> Option<&str> {
    match finding.verdict {
        Verdict::NotLooked => finding.says.split_once(NOT_LOOKED).map(|(_, because)| because),
        Verdict::Ok | Verdict::Unknown | Verdict::Warning | Verdict::Broken => None,
    }
}

fn sign(verdict: Verdict, colours: bool) -> String {
    // Green, grey, and so on: the signs differ without them too.
    let colour = match verdict {
        Verdict::Ok => "32",
        Verdict::NotLooked => "90",
        Verdict::Unknown => "36",
        Verdict::Warning => "33",
        Verdict::Broken => "31",
    };
    if colours { format!("\x1b[{colour}m{}\x1b[0m", verdict.sign()) } else { verdict.sign().to_owned() }
}

/// `2 broken, 1 warning; 20 in order`.
fn summary(findings: &[Finding]) -> String {
    let many = |verdict: Verdict| findings.iter().filter(|finding| finding.verdict == verdict).count();
    let words = [
        (many(Verdict::Broken), "broken"),
        (many(Verdict::Warning), "to be looked after"),
        (many(Verdict::Unknown), "not known"),
        (many(Verdict::NotLooked), "not looked at"),
        (many(Verdict::Ok), "in order"),
    ];
    let words: Vec<String> =
        words.iter().filter(|(many, _)| *many > 0).map(|(many, what)| format!("{many} {what}")).collect();
    words.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::catalogue::{CLOCK, ENGINE, IMAGES, RATE};

    fn findings() -> Vec<Finding> {
        vec![
            ENGINE.ok("the engine answers"),
            IMAGES.not_looked("nobody asked"),
            RATE.unknown("the limit is not known", "run this again"),
            CLOCK.warning("the clock is late", "set it"),
            CLOCK.broken("the clock is very late", "set it at once"),
        ]
    }

    #[test]
    fn the_exit_code_is_the_worst() {
        let all = findings();
        let code = |many: usize, strict| exit_code(&all[..many], strict);
        assert_eq!([code(0, false), code(1, true), code(2, true)], [0, 0, 0]);
        assert_eq!([code(3, false), code(4, false), code(5, false)], [0, 0, 1]);
        assert_eq!([code(3, true), code(4, true), code(5, true)], [3, 3, 1]);
    }

    #[test]
    fn a_line_has_its_sign_and_its_remedy_below() {
        let text = told(Area::GitHub, &findings(), false, false).unwrap();
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines[..3], ["github", "  ✓ the engine answers", "  – images: not looked at, because nobody asked"]);
        assert_eq!(lines[7..], ["  ✗ the clock is very late", "      → set it at once"]);
        assert!(!told(Area::GitHub, &findings(), true, false).unwrap().contains('✓'));
        let same = [IMAGES.not_looked("it is away"), RATE.not_looked("it is away"), CLOCK.not_looked("it is late")];
        let text = told(Area::GitHub, &same, false, false).unwrap();
        assert_eq!(
            text.lines().skip(1).collect::<Vec<_>>(),
            [
                "  – images, the rate limit: not looked at, because it is away",
                "  – the clock: not looked at, because it is late"
            ]
        );
        assert_eq!(told(Area::GitHub, &findings()[..1], true, false), None);
        assert!(told(Area::GitHub, &findings(), false, true).unwrap().contains("\x1b[31m✗\x1b[0m"));
        assert_eq!(summary(&findings()), "1 broken, 1 to be looked after, 1 not known, 1 not looked at, 1 in order");
    }
}
