//! What a container leaves: exit code, OOM flag, and the last lines of its output without secrets.

use super::Docker;
use super::connection::LOOK_UP;
use crate::model::{ContainerId, Evidence};
use crate::provider::ProviderError;
use bollard::query_parameters::LogsOptions;
use futures_util::StreamExt;

/// So many lines are asked for.
const LINES: &str = "50";
/// So many bytes are kept: enough for a stack trace, small enough to live in the store's row.
const KEPT: usize = 8 * 1024;
/// So many bytes of the engine's answer are held: a job can write lines of any length.
const HELD: usize = 256 * 1024;
/// Letters and digits of base64 in one piece; keys and JIT configs are longer, paths and hashes are not.
const BLOB: usize = 200;

/// What stands in a secret's place.
const CUT: &str = "[cut]";

impl Docker {
    pub(super) async fn find_evidence(&self, id: &ContainerId) -> Result<Option<Evidence>, ProviderError> {
        let Some(found) = self.inspect_ours(id).await? else { return Ok(None) };
        let state = found.state.unwrap_or_default();
        let ended =
            state.running != Some(true) && state.started_at.as_deref().is_some_and(|at| !at.starts_with("0001-"));
        let output = match self.last_output(id).await {
            Ok(output) => output,
            Err(failure) if failure.is(404) => return Ok(None),
            // Somebody removes it at this moment ("dead or marked for removal"): its words are gone, its end is known.
            Err(failure) if failure.is(409) => Vec::new(),
            Err(failure) => return Err(failure.into()),
        };
        Ok(Some(Evidence {
            exit_code: if ended { state.exit_code } else { None },
            oom_killed: state.oom_killed.unwrap_or(false),
            // A container that never ran has no output, but the engine's words for why.
            last_output: match state.error {
                Some(error) if output.is_empty() => tidy(error.as_bytes()),
                _ => tidy(&output),
            },
        }))
    }

    async fn last_output(&self, id: &ContainerId) -> Result<Vec<u8>, super::connection::Failure> {
        let options = LogsOptions { stdout: true, stderr: true, tail: LINES.to_owned(), ..Default::default() };
        self.connection
            .call(LOOK_UP, |docker| async move {
                let mut stream = std::pin::pin!(docker.logs(id.as_str(), Some(options)));
                let mut held = Held::default();
                while let Some(piece) = stream.next().await {
                    held.add(piece?.as_ref());
                }
                Ok(held.bytes)
            })
            .await
    }
}

/// The end of an output of any length.
#[derive(Default)]
struct Held {
    bytes: Vec<u8>,
    /// What was let go ended inside a word, whose rest may be half a secret that nobody would know for one.
    inside_word: bool,
}

impl Held {
    fn add(&mut self, piece: &[u8]) {
        self.bytes.extend_from_slice(piece);
        let surplus = self.bytes.len().saturating_sub(HELD);
        if surplus > 0 {
            self.bytes.drain(..surplus);
            self.inside_word = true;
        }
        if self.inside_word {
            let end = self.bytes.iter().position(|byte| !is_token_sign(char::from(*byte)));
            self.inside_word = end.is_none();
            self.bytes.drain(..end.unwrap_or(self.bytes.len()));
        }
    }
}

/// Text that can be shown: no secrets, no signs that command a terminal, not longer than what is kept.
pub(super) fn tidy(output: &[u8]) -> String {
    let text = String::from_utf8_lossy(output);
    let plain: String = strip_escapes(&text).chars().filter(|c| !c.is_control() || matches!(c, '\n' | '\t')).collect();
    let clean = redact(plain.trim_end());
    let mut start = clean.len().saturating_sub(KEPT);
    while !clean.is_char_boundary(start) {
        start += 1;
    }
    clean[start..].to_owned()
}

/// Without colours and cursor movements (`ESC [ … letter`); a lone escape falls to the caller.
fn strip_escapes(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("\u{1b}[") {
        plain.push_str(before);
        let end = after.find(|c: char| ('@'..='~').contains(&c)).map_or(after.len(), |end| end + 1);
        rest = &after[end..];
    }
    plain.push_str(rest);
    plain
}

/// Cuts out GitHub's tokens and long runs of base64. The agent masks what it knows to be secret; this is for what it
/// does not know.
fn redact(text: &str) -> String {
    let mut clean = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(start) = rest.find(is_token_sign) {
        let (before, from) = rest.split_at(start);
        clean.push_str(before);
        let (word, after) = from.split_at(from.find(|c| !is_token_sign(c)).unwrap_or(from.len()));
        match secret_in(word) {
            Some(at) => {
                clean.push_str(&word[..at]);
                clean.push_str(CUT);
            }
            None => clean.push_str(word),
        }
        rest = after;
    }
    clean.push_str(rest);
    clean
}

/// Signs of base64 (both alphabets), of GitHub's tokens, and of JWTs.
fn is_token_sign(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.' | '+' | '/' | '=')
}

/// Where in this word a secret starts, if it has one: `gh?_…`, `github_pat_…`, or the whole of a long word.
fn secret_in(word: &str) -> Option<usize> {
    let bytes = word.as_bytes();
    let short = (0..bytes.len().saturating_sub(4))
        .find(|at| bytes[*at..].starts_with(b"gh") && bytes[at + 2].is_ascii_lowercase() && bytes[at + 3] == b'_');
    let found = [short, word.find("github_pat_")].into_iter().flatten().min();
    if found.is_none() && word.len() > BLOB { Some(0) } else { found }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_cut_and_the_rest_stays() {
        let blob = "QUJD+/".repeat(60);
        for (text, expected) in [
            ("token ghs_16C7e42F292c6912E7 used", "token [cut] used".to_owned()),
            ("https://x:ghp_abc@github.com/a/b", "https://x:[cut]@github.com/a/b".to_owned()),
            ("TOKEN=github_pat_11AA_bb\nnext", "TOKEN=[cut]\nnext".to_owned()),
            ("ghs_1_eyJh.bcd.e-f", "[cut]".to_owned()),
            ("ghosts are fine, /home/gh/_work too: gh_", "ghosts are fine, /home/gh/_work too: gh_".to_owned()),
            (&format!("key: \"{blob}==\""), "key: \"[cut]\"".to_owned()),
            ("e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855", String::new()),
            ("", String::new()),
        ] {
            let expected = if expected.is_empty() { text.to_owned() } else { expected };
            assert_eq!(redact(text), expected);
        }
    }

    #[test]
    fn a_job_cannot_command_the_reader_s_terminal() {
        assert_eq!(tidy(b"\x1b[31mred\x1b[0m\tx\x07\x1b]0;title\r\nnext\xff\n"), "red\tx]0;title\nnext\u{fffd}");
    }

    #[test]
    fn half_a_word_is_let_go() {
        let mut held = Held::default();
        held.add("x".repeat(HELD + 1).as_bytes());
        held.add(b"rest-of-a-secret");
        held.add(b"-and-more then\n");
        held.add("word ".repeat(10).as_bytes());
        assert_eq!(held.bytes, format!(" then\n{}", "word ".repeat(10)).into_bytes());
    }

    #[test]
    fn the_end_is_kept() {
        let text = "é\n".repeat(KEPT);
        let kept = tidy(text.as_bytes());
        assert!(kept.len() <= KEPT && kept.len() > KEPT - 4);
        assert!(kept.ends_with('é'));
    }
}
