//! `runnerfleet init`: from an empty folder to a file that `deploy` or `serve` can work with.

pub(in crate::cli) mod ask;
mod languages;
mod text;

use super::{complain, say};
use crate::config::edit::{EditError, rewrite};
use crate::config::{Problem, Problems, parse};
use crate::setup::standing::SECRETS_FILE;
use anyhow::Context;
use ask::Asked;
use clap::{Args, ValueEnum};
use languages::{Language, Picked};
use std::io::{ErrorKind, IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// Runners of each pool, where nobody says how many.
const COUNT: u32 = 2;
/// What stands for the organization until somebody puts theirs there.
pub(in crate::cli) const SOMEBODY: &str = "https://github.com/your-organization";

#[derive(Debug, Args)]
pub(super) struct InitArgs {
    /// Where the runners register: an organization or a repository, as an address, or as `acme` or `acme/web` on github.com.
    #[arg(long, value_name = "URL")]
    org: Option<String>,
    /// Whether runners are kept (`persistent`) or made for one job each (`ephemeral`, which needs a webhook of GitHub's).
    #[arg(long, value_enum)]
    mode: Option<Mode>,
    /// How many runners of each pool are kept, or at most made.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1000))]
    count: Option<u32>,
    /// A language that jobs need: a pool with an image that is made here, out of `dockerfiles/LANGUAGE`, which is written as
    /// well. Can be given several times.
    #[arg(long, value_name = "LANGUAGE[=VERSION]")]
    language: Vec<String>,
    /// The version of the one language.
    #[arg(long, value_name = "VERSION", requires = "language")]
    language_version: Option<String>,
    /// The name of the one pool.
    #[arg(long, value_name = "NAME")]
    pool: Option<String>,
    /// Who the program is at GitHub: a personal access token (from GITHUB_TOKEN), or a GitHub App.
    #[arg(long, value_enum)]
    auth: Option<Auth>,
    /// The App's client id, as its settings page shows it.
    #[arg(long, value_name = "ID")]
    client_id: Option<String>,
    /// Ask nothing: what is not given gets its default.
    #[arg(long)]
    defaults: bool,
    /// Write over a file that is there. Its old text is kept beside it, with `.bak` behind its name.
    #[arg(long)]
    force: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Mode {
    Persistent,
    Ephemeral,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Auth {
    Token,
    App,
}

/// The text of a file for an App that is still to be made: one pool for jobs at this organization or repository.
pub(super) fn for_app(org_url: &str) -> String {
    text::config(&Answers {
        org: org_url.to_owned(),
        mode: Mode::Ephemeral,
        count: COUNT,
        languages: Vec::new(),
        pool: None,
        client_id: Some("given-later".to_owned()),
        secrets_file: Some(SECRETS_FILE),
    })
}

/// All that the file depends on.
#[derive(Debug, Clone)]
struct Answers {
    /// The address of the organization or repository.
    org: String,
    mode: Mode,
    count: u32,
    /// Empty: one pool with the base image itself.
    languages: Vec<Picked>,
    /// The name of the only pool, if it was given one.
    pool: Option<String>,
    /// The App's client id; none: a token.
    client_id: Option<String>,
    /// The file with the webhook's secrets; none: a variable.
    secrets_file: Option<&'static str>,
}

pub(super) fn init(path: &Path, args: InitArgs) -> anyhow::Result<ExitCode> {
    if path.exists() && !args.force {
        complain(&format!("error: {} is there already; --force writes over it", path.display()));
        return Ok(ExitCode::from(2));
    }
    let force = args.force;
    let answers = match answers(args) {
        Ok(answers) => answers,
        Err(Refusal::Use(why)) => {
            complain(&format!("error: {why}"));
            return Ok(ExitCode::from(2));
        }
        Err(Refusal::Io(error)) => return Err(error.into()),
    };
    let config = text::config(&answers);
    if let Err(problems) = check(&config, path) {
        complain(&format!("error: the answers make no configuration; nothing is written\n{problems}"));
        return Ok(ExitCode::from(2));
    }
    let folder = path.parent().unwrap_or(Path::new(""));
    let mut told = vec![put(path, &config, force)?];
    for language in languages_once(&answers.languages) {
        told.push(put(&folder.join(language.dockerfile_path()), language.dockerfile(), force)?);
    }
    told.push(text::what_next(&answers, path));
    say(&told.join("\n"))?;
    Ok(ExitCode::SUCCESS)
}

fn languages_once(picked: &[Picked]) -> Vec<Language> {
    let mut once: Vec<Language> = Vec::new();
    for picked in picked {
        if !once.contains(&picked.language) {
            once.push(picked.language);
        }
    }
    once
}

/// Why nothing is written.
#[derive(Debug)]
enum Refusal {
    /// Wrong or missing flags.
    Use(String),
    /// The terminal went away.
    Io(std::io::Error),
}

impl From<std::io::Error> for Refusal {
    fn from(error: std::io::Error) -> Self {
        Self::Io(error)
    }
}

/// From the flags, from the person at the terminal, or the defaults.
fn answers(args: InitArgs) -> Result<Answers, Refusal> {
    let mut asked = Asked {
        org: args.org,
        mode: args.mode,
        count: args.count,
        languages: if args.language.is_empty() { None } else { Some(args.language) },
        auth: args.auth.or_else(|| args.client_id.is_some().then_some(Auth::App)),
        client_id: args.client_id,
    };
    let terminal = std::io::stdin().is_terminal() && std::io::stderr().is_terminal();
    if terminal && !args.defaults {
        ask::ask(&mut asked, &mut std::io::stdin().lock(), &mut std::io::stderr())?;
    } else if !args.defaults {
        let missing: Vec<&str> = [("--org", asked.org.is_none()), ("--mode", asked.mode.is_none())]
            .into_iter()
            .filter_map(|(flag, missing)| missing.then_some(flag))
            .collect();
        if !missing.is_empty() {
            let flags = missing.join(" and ");
            let why = format!("there is no terminal to ask on: give {flags}, or --defaults for what is not given");
            return Err(Refusal::Use(why));
        }
    }
    complete(asked, args.language_version, args.pool).map_err(Refusal::Use)
}

fn complete(asked: Asked, version: Option<String>, pool: Option<String>) -> Result<Answers, String> {
    let written = asked.languages.unwrap_or_default();
    let mut languages = languages::pick(&written)?;
    if let Some(version) = version {
        match languages.as_mut_slice() {
            [only] if !written[0].contains('=') => *only = only.language.picked(Some(&version))?,
            _ => return Err("--language-version is for one language; write --language NAME=VERSION for each".into()),
        }
    }
    if pool.is_some() && languages.len() > 1 {
        return Err("--pool names one pool, and each language has one of its own; leave it out".into());
    }
    let client_id = match asked.auth {
        Some(Auth::Token) if asked.client_id.is_some() => {
            return Err("--client-id is for --auth app".into());
        }
        Some(Auth::App) if asked.client_id.is_none() => {
            return Err("--auth app needs --client-id: the App's settings page shows it".into());
        }
        _ => asked.client_id,
    };
    Ok(Answers {
        org: asked.org.map_or_else(|| SOMEBODY.to_owned(), |org| address(&org)),
        mode: asked.mode.unwrap_or(Mode::Persistent),
        count: asked.count.unwrap_or(COUNT),
        languages,
        pool,
        client_id,
        secrets_file: None,
    })
}

/// `acme` is short for `https://github.com/acme`.
fn address(org: &str) -> String {
    let org = org.trim().trim_end_matches('/');
    if org.contains("://") {
        return org.to_owned();
    }
    let path = org.strip_prefix("github.com/").unwrap_or(org);
    format!("https://github.com/{path}")
}

/// Holds what would be written against what is read. What only comes later (the App's key) may be missing.
fn check(config: &str, path: &Path) -> Result<(), String> {
    let name = path.display().to_string();
    let absolute = std::path::absolute(path).unwrap_or_else(|_| path.to_path_buf());
    let folder = absolute.parent().unwrap_or(Path::new("/"));
    let anything = |_: &str| Some("given-later".to_owned());
    let later = |problem: &&Problem| problem.key_path == "github.auth.app.private_key_file";
    match parse(config, &name, folder, &anything, "host") {
        Err(problems) if problems.iter().any(|problem| !later(&problem)) => Err(told(&problems)),
        Ok(_) | Err(_) => Ok(()),
    }
}

fn told(problems: &Problems) -> String {
    let lines: Vec<String> = problems
        .iter()
        .map(|problem| {
            let hint = problem.hint.as_ref().map(|hint| format!("; {hint}")).unwrap_or_default();
            format!("  {}: {}{hint}", problem.key_path, problem.message)
        })
        .collect();
    lines.join("\n")
}

/// Writes a file, and says so. One that is there is left alone, unless it is to be written over.
fn put(path: &Path, text: &str, force: bool) -> anyhow::Result<String> {
    let shown = path.display();
    match std::fs::read(path) {
        Ok(there) if there == text.as_bytes() => return Ok(format!("{shown} is there already")),
        Ok(_) if !force => return Ok(format!("{shown} is there already, and is kept as it is")),
        Ok(_) => {
            let backup: Option<PathBuf> = rewrite(path, |_| Ok::<_, EditError>(Some(text.to_owned())))?;
            let kept = backup.map(|backup| format!("; the old text is in {}", backup.display())).unwrap_or_default();
            return Ok(format!("wrote {shown}{kept}"));
        }
        Err(error) if error.kind() == ErrorKind::NotFound => {}
        Err(error) => return Err(error).with_context(|| format!("reading {shown}")),
    }
    if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
        std::fs::create_dir_all(folder).with_context(|| format!("making the folder {}", folder.display()))?;
    }
    // Not over one that somebody else writes at this moment.
    let mut file = std::fs::File::create_new(path).with_context(|| format!("writing {shown}"))?;
    file.write_all(text.as_bytes()).and_then(|()| file.sync_all()).with_context(|| format!("writing {shown}"))?;
    Ok(format!("wrote {shown}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::setup::standing::KEY_FILE;

    fn asked() -> Asked {
        Asked { org: Some("acme".into()), mode: None, count: None, languages: None, auth: None, client_id: None }
    }

    #[test]
    fn short_names_become_addresses() {
        for (short, long) in [
            ("acme", "https://github.com/acme"),
            ("acme/web/", "https://github.com/acme/web"),
            ("github.com/acme", "https://github.com/acme"),
            ("https://ghes.acme.org/o", "https://ghes.acme.org/o"),
        ] {
            assert_eq!(address(short), long);
        }
    }

    #[test]
    fn flags_that_do_not_fit_are_told() {
        let with = |languages: &[&str], version: Option<&str>, pool: Option<&str>| {
            let languages = Some(languages.iter().map(|text| (*text).to_owned()).collect());
            complete(Asked { languages, ..asked() }, version.map(str::to_owned), pool.map(str::to_owned))
        };
        assert!(with(&["node", "php"], Some("8.3"), None).unwrap_err().contains("one language"));
        assert!(with(&["node=22.20.0"], Some("22.20.0"), None).unwrap_err().contains("one language"));
        assert!(with(&["node", "php"], None, Some("x")).unwrap_err().contains("--pool"));
        assert!(complete(Asked { auth: Some(Auth::App), ..asked() }, None, None).unwrap_err().contains("--client-id"));
        let wrong = Asked { auth: Some(Auth::Token), client_id: Some("x".into()), ..asked() };
        assert!(complete(wrong, None, None).unwrap_err().contains("--auth app"));
        let answers = complete(asked(), None, None).unwrap();
        assert_eq!(
            (answers.mode, answers.count, answers.org.as_str()),
            (Mode::Persistent, 2, "https://github.com/acme")
        );
    }

    #[test]
    fn every_combination_of_answers_makes_a_file_without_warnings() {
        let all: Vec<String> = Language::all().map(|language| language.name().to_owned()).collect();
        let choices = [vec![], vec!["node".to_owned()], vec!["php=8.3".to_owned(), "php=8.4".to_owned()], all];
        for languages in choices {
            for mode in [Mode::Persistent, Mode::Ephemeral] {
                for client_id in [None, Some("Iv23liAbCdEf".to_owned())] {
                    for org in ["acme", "acme/web"] {
                        let asked = Asked {
                            org: Some(org.into()),
                            mode: Some(mode),
                            count: Some(1),
                            languages: Some(languages.clone()),
                            auth: None,
                            client_id: client_id.clone(),
                        };
                        let answers = complete(asked, None, None).unwrap();
                        let folder = tempfile::tempdir().unwrap();
                        for language in languages_once(&answers.languages) {
                            put(&folder.path().join(language.dockerfile_path()), language.dockerfile(), false).unwrap();
                        }
                        put(
                            &folder.path().join(KEY_FILE),
                            "-----BEGIN RSA PRIVATE KEY-----\nx\n-----END RSA PRIVATE KEY-----\n",
                            false,
                        )
                        .unwrap();
                        let key = std::os::unix::fs::PermissionsExt::from_mode(0o600);
                        std::fs::set_permissions(folder.path().join(KEY_FILE), key).unwrap();
                        let text = text::config(&answers);
                        let env = |_: &str| Some("a-secret".to_owned());
                        let loaded = parse(&text, "c.yaml", folder.path(), &env, "h")
                            .unwrap_or_else(|problems| panic!("{problems}\n{text}"));
                        assert_eq!((loaded.warnings, loaded.notes), (vec![], vec![]), "{text}");
                        let config = loaded.config;
                        assert_eq!(config.pools.len(), answers.languages.len().max(1));
                        assert_eq!(config.persistent_pools().count() > 0, mode == Mode::Persistent);
                        assert!(config.pools.iter().all(|pool| pool.build.is_some() != answers.languages.is_empty()));
                        assert!(check(&text, &folder.path().join("c.yaml")).is_ok());
                    }
                }
            }
        }
    }
}
