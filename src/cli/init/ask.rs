//! The questions to a person at a terminal.

use super::languages::{self, names};
use super::{Auth, COUNT, Mode};
use std::io::{BufRead, ErrorKind, Result, Write};

/// What was answered so far.
#[derive(Debug, Clone)]
pub(super) struct Asked {
    pub(super) org: Option<String>,
    pub(super) mode: Option<Mode>,
    pub(super) count: Option<u32>,
    /// As they are written behind `--language`.
    pub(super) languages: Option<Vec<String>>,
    pub(super) auth: Option<Auth>,
    pub(super) client_id: Option<String>,
}

/// Asks for what is not known yet; a wrong answer is told, and asked for again.
///
/// # Errors
/// There is nobody to answer any more.
pub(super) fn ask(asked: &mut Asked, input: &mut dyn BufRead, output: &mut dyn Write) -> Result<()> {
    if asked.org.is_none() {
        let question = "Organization or repository at GitHub (acme, acme/web, or an address)";
        let org = until(question, "", input, output, |text| {
            if text.is_empty() || text.contains(char::is_whitespace) {
                return Err("one name, without blanks".to_owned());
            }
            Ok(text.to_owned())
        })?;
        asked.org = Some(org);
    }
    if asked.mode.is_none() {
        let question = "Runners that are kept (persistent), or one for each job (ephemeral; needs a webhook)";
        asked.mode =
            Some(until(question, "persistent", input, output, |text| match text.to_ascii_lowercase().as_str() {
                "persistent" | "p" => Ok(Mode::Persistent),
                "ephemeral" | "e" => Ok(Mode::Ephemeral),
                _ => Err("persistent or ephemeral".to_owned()),
            })?);
    }
    if asked.languages.is_none() {
        let question =
            format!("Languages that jobs need, as in `node php=8.3` ({}; empty: GitHub's own image)", names());
        asked.languages = Some(until(&question, "", input, output, |text| {
            let words = text.split([' ', ',']).filter(|word| !word.is_empty());
            let words: Vec<String> = words.map(str::to_owned).collect();
            languages::pick(&words).map(|_| words)
        })?);
    }
    if asked.count.is_none() {
        let question = match asked.mode {
            Some(Mode::Ephemeral) => "How many runners at the same time, at most, for each pool",
            Some(Mode::Persistent) | None => "How many runners for each pool",
        };
        asked.count = Some(until(question, &COUNT.to_string(), input, output, |text| match text.parse() {
            Ok(count @ 1..=1000) => Ok(count),
            _ => Err("a number from 1 to 1000".to_owned()),
        })?);
    }
    if asked.auth.is_none() {
        let question = "At GitHub: a personal access token (token), or a GitHub App (app)";
        asked.auth = Some(until(question, "token", input, output, |text| match text.to_ascii_lowercase().as_str() {
            "token" | "t" => Ok(Auth::Token),
            "app" | "a" => Ok(Auth::App),
            _ => Err("token or app".to_owned()),
        })?);
    }
    if asked.auth == Some(Auth::App) && asked.client_id.is_none() {
        asked.client_id = Some(until("The App's client id (its settings page shows it)", "", input, output, |text| {
            let good =
                !text.is_empty() && text.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-'));
            if good { Ok(text.to_owned()) } else { Err("as in Iv23liAbCdEf".to_owned()) }
        })?);
    }
    Ok(())
}

/// The same question until the answer is one; an empty answer is the default.
pub(in crate::cli) fn until<T>(
    question: &str,
    default: &str,
    input: &mut dyn BufRead,
    output: &mut dyn Write,
    take: impl Fn(&str) -> std::result::Result<T, String>,
) -> Result<T> {
    loop {
        if default.is_empty() {
            write!(output, "{question}: ")?;
        } else {
            write!(output, "{question} [{default}]: ")?;
        }
        output.flush()?;
        let mut line = String::new();
        if input.read_line(&mut line)? == 0 {
            writeln!(output)?;
            return Err(std::io::Error::new(ErrorKind::UnexpectedEof, "nobody answers; nothing is written"));
        }
        let text = line.trim();
        match take(if text.is_empty() { default } else { text }) {
            Ok(answer) => return Ok(answer),
            Err(why) => writeln!(output, "  {why}")?,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOTHING: Asked = Asked { org: None, mode: None, count: None, languages: None, auth: None, client_id: None };

    fn asked(mut known: Asked, answers: &str) -> (Result<Asked>, String) {
        let mut output = Vec::new();
        let result = ask(&mut known, &mut answers.as_bytes(), &mut output);
        (result.map(|()| known), String::from_utf8(output).unwrap())
    }

    #[test]
    fn empty_answers_are_the_defaults_and_wrong_ones_are_asked_again() {
        let (answers, shown) = asked(NOTHING, "\nacme\n\ncobol\nnode, php=8.3\n0\n\n\n");
        let answers = answers.unwrap();
        assert_eq!(
            (answers.org.as_deref(), answers.mode, answers.count),
            (Some("acme"), Some(Mode::Persistent), Some(2))
        );
        assert_eq!(answers.languages.unwrap(), ["node", "php=8.3"]);
        assert_eq!((answers.auth, answers.client_id), (Some(Auth::Token), None));
        assert_eq!(shown.matches("Organization or repository").count(), 2, "{shown}");
        assert!(shown.contains("there is no Dockerfile for `cobol`") && shown.contains("a number from 1"), "{shown}");
    }

    #[test]
    fn what_is_known_is_not_asked() {
        let known = Asked {
            org: Some("acme".into()),
            mode: Some(Mode::Ephemeral),
            count: Some(3),
            languages: Some(vec![]),
            ..NOTHING
        };
        let (answers, shown) = asked(known, "app\nIv 1\nIv1.a\n");
        assert_eq!(answers.unwrap().client_id.as_deref(), Some("Iv1.a"));
        assert!(!shown.contains("Organization") && !shown.contains("How many"), "{shown}");
    }

    #[test]
    fn an_end_of_input_is_no_answer() {
        let (answers, _) = asked(NOTHING, "acme\n");
        assert_eq!(answers.unwrap_err().to_string(), "nobody answers; nothing is written");
    }
}
