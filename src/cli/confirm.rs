//! Asks before that ends which runs. Where nobody can be asked the verb is refused, and says which flag says yes.

use super::WrongUse;
use anyhow::Context;
use std::io::{BufRead, IsTerminal, Write};

/// Where a question goes and where its answer comes from.
pub(super) struct Terminal<'a> {
    /// Whether a person sits at it.
    pub(super) attended: bool,
    /// The answer.
    pub(super) input: &'a mut dyn BufRead,
    /// The question.
    pub(super) output: &'a mut dyn Write,
}

/// Whether to go on. `question` says what ends, and of what: `Remove web-1 and web-2?`
///
/// # Errors
/// [`WrongUse`] where nobody sits at the terminal.
pub(super) fn confirm(question: &str, terminal: &mut Terminal<'_>) -> anyhow::Result<bool> {
    if !terminal.attended {
        let refused = format!("{question} Nobody can be asked here (no terminal), so nothing was done: say --yes");
        return Err(WrongUse(refused).into());
    }
    write!(terminal.output, "{question} [y/N] ").and_then(|()| terminal.output.flush()).context("asking")?;
    let mut answer = String::new();
    terminal.input.read_line(&mut answer).context("reading the answer")?;
    Ok(matches!(answer.trim().to_lowercase().as_str(), "y" | "yes"))
}

/// The same with the terminal that the program was started at; `yes` is `--yes`.
///
/// # Errors
/// As [`confirm`].
pub(super) fn ask(yes: bool, question: &str) -> anyhow::Result<bool> {
    if yes {
        return Ok(true);
    }
    let (input, mut output) = (std::io::stdin(), std::io::stderr());
    let attended = input.is_terminal() && output.is_terminal();
    // Nothing else goes on meanwhile: a blocking read holds nobody up, and Ctrl-C ends the program as it always does.
    confirm(question, &mut Terminal { attended, input: &mut input.lock(), output: &mut output })
}

/// `a`, `a and b`, `a, b and c`, `a, b, c and 7 more`.
pub(super) fn listed(names: &[impl AsRef<str>]) -> String {
    const SHOWN: usize = 4;
    let names: Vec<&str> = names.iter().map(AsRef::as_ref).collect();
    match names.as_slice() {
        [] => "nothing".to_owned(),
        [only] => (*only).to_owned(),
        [first @ .., last] if names.len() <= SHOWN => format!("{} and {last}", first.join(", ")),
        first => format!("{} and {} more", first[..SHOWN - 1].join(", "), first.len() - (SHOWN - 1)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(attended: bool, answer: &str) -> (anyhow::Result<bool>, String) {
        let (mut input, mut output) = (answer.as_bytes(), Vec::new());
        let result = confirm("Remove web-1?", &mut Terminal { attended, input: &mut input, output: &mut output });
        (result, String::from_utf8(output).unwrap())
    }

    #[test]
    fn only_a_yes_is_a_yes() {
        for (answer, want) in [("y\n", true), ("Yes\n", true), (" y", true), ("n\n", false), ("\n", false), ("", false)]
        {
            let (result, asked) = said(true, answer);
            assert_eq!(result.unwrap(), want, "{answer:?}");
            assert_eq!(asked, "Remove web-1? [y/N] ");
        }
    }

    #[test]
    fn nobody_to_ask_is_a_refusal_that_names_the_flag() {
        let (result, asked) = said(false, "y\n");
        let refused = result.unwrap_err();
        assert!(refused.is::<WrongUse>());
        assert_eq!(
            refused.to_string(),
            "Remove web-1? Nobody can be asked here (no terminal), so nothing was done: say --yes"
        );
        assert_eq!(asked, "");
    }

    #[test]
    fn long_lists_are_cut() {
        assert_eq!(listed(&["a"]), "a");
        assert_eq!(listed(&["a", "b"]), "a and b");
        assert_eq!(listed(&["a", "b", "c", "d"]), "a, b, c and d");
        assert_eq!(listed(&["a", "b", "c", "d", "e"]), "a, b, c and 2 more");
        assert_eq!(listed(&[""; 0]), "nothing");
    }
}
