//! Secrets: from a variable, from a file, or (with a warning) from the configuration itself.

use super::interpolate::interpolate;
use super::leaf::{Leaf, Wrong, text_schema};
use super::node::{Kind, Node};
use super::reading::{Reading, Scalar, Spot, shortened};
use super::section::Decode;
use secrecy::{ExposeSecret, SecretString};
use serde_json::{Value as Json, json};
use std::fs::Metadata;
use std::io::ErrorKind;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

/// Largest file with a secret. The largest real one is a chain of PEM blocks.
const LARGEST_FILE: u64 = 64 * 1024;

/// `${NAME}`, `file:/path`, or the secret itself.
#[derive(Debug, Clone)]
pub(super) struct Secret(pub(super) SecretString);

/// `redis://…`, which may carry a password.
#[derive(Debug, Clone)]
pub(super) struct RedisUrl(pub(super) SecretString);

/// What is in the file at a path (`token_file`).
#[derive(Debug, Clone)]
pub(super) struct SecretFile(pub(super) SecretString);

/// A path, from the configuration's folder.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct FilePath(pub(super) PathBuf);

/// Not empty, and usable nowhere.
const STAND_IN: &str = "given-later";

/// What stands for a secret that is not there yet, where that is no problem.
pub(super) fn stand_in() -> SecretString {
    SecretString::from(STAND_IN)
}

/// Whether it only stands for a secret that is not there yet ([`super::outline`]).
pub fn is_stand_in(secret: &SecretString) -> bool {
    secret.expose_secret() == STAND_IN
}

/// Whether the secret is one that may come later, and is not there now.
fn comes_later(node: &Node, reading: &Reading<'_>) -> bool {
    let super::node::Value::Scalar { text, .. } = &node.value else { return false };
    reading.is_forgiving() && interpolate(text, reading.env).is_err()
}

impl Decode for Secret {
    fn decode(node: &Node, spot: &Spot, reading: &mut Reading<'_>) -> Option<Self> {
        if comes_later(node, reading) {
            return Some(Self(stand_in()));
        }
        let scalar = secret_scalar(node, spot, reading)?;
        // In the file itself only: a variable that happens to start with `file:` is not followed.
        if scalar.written.starts_with("file:") {
            let path = scalar.text.strip_prefix("file:").unwrap_or(&scalar.text);
            return read_file(path, &scalar, spot, reading).map(Self);
        }
        if !scalar.from_environment {
            warn_of_inline(spot, reading);
        }
        checked(&scalar.text, &scalar.shown_secret(), spot, reading).map(Self)
    }

    fn schema() -> Json {
        json!({ "type": ["string", "number", "boolean"], "examples": ["${NAME}", "file:/run/secrets/name"] })
    }
}

/// A secret that may be empty; then there is none. `warn`: where it stands in the file itself, that is told.
#[expect(
    clippy::option_option,
    reason = "none at all was told as a problem; a secret that is empty is none, and no problem"
)]
pub(super) fn read_secret(
    node: &Node,
    spot: &Spot,
    reading: &mut Reading<'_>,
    warn: bool,
) -> Option<Option<SecretString>> {
    if comes_later(node, reading) {
        return Some(None);
    }
    let scalar = secret_scalar(node, spot, reading)?;
    if scalar.written.starts_with("file:") {
        let path = scalar.text.strip_prefix("file:").unwrap_or(&scalar.text);
        return read_file(path, &scalar, spot, reading).map(Some);
    }
    if scalar.text.trim().is_empty() {
        return Some(None);
    }
    if warn && !scalar.from_environment {
        warn_of_inline(spot, reading);
    }
    Some(Some(SecretString::from(scalar.text)))
}

impl Decode for RedisUrl {
    fn decode(node: &Node, spot: &Spot, reading: &mut Reading<'_>) -> Option<Self> {
        let scalar = secret_scalar(node, spot, reading)?;
        let url = if scalar.written.starts_with("file:") {
            read_file(scalar.text.strip_prefix("file:").unwrap_or(&scalar.text), &scalar, spot, reading)?
        } else {
            if scalar.text.contains('@') && !scalar.from_environment {
                warn_of_inline(spot, reading);
            }
            checked(&scalar.text, &scalar.shown_secret(), spot, reading)?
        };
        let text = url.expose_secret();
        let rest = text.strip_prefix("redis://").or_else(|| text.strip_prefix("rediss://"));
        let host = rest.and_then(|rest| rest.rsplit('@').next());
        if host.is_none_or(|host| host.is_empty() || host.starts_with(['/', ':']) || host.contains(char::is_whitespace))
        {
            reading.problem(
                spot,
                "is not the address of a Redis",
                "write `redis://host:6379/0`, or `rediss://…` for TLS; `redis://user:password@host:6379/0` with a password",
            );
            return None;
        }
        Some(Self(url))
    }

    fn schema() -> Json {
        json!({ "type": "string", "pattern": r"^rediss?://|^file:|\$\{" })
    }
}

impl Decode for SecretFile {
    fn decode(node: &Node, spot: &Spot, reading: &mut Reading<'_>) -> Option<Self> {
        if comes_later(node, reading) {
            return Some(Self(stand_in()));
        }
        let scalar = reading.scalar(node, spot, "the path of a file")?;
        if !looks_like_a_path(&scalar.written) {
            reading.hide(node);
        }
        if scalar.text.contains("PRIVATE KEY-----") || scalar.text.contains('\n') {
            reading.hide(node);
            reading.problem(spot, "holds a secret itself, not the path of a file", "leave the `_file` out of the key");
            return None;
        }
        read_file(scalar.text.strip_prefix("file:").unwrap_or(&scalar.text), &scalar, spot, reading).map(Self)
    }

    fn schema() -> Json {
        text_schema()
    }
}

impl Leaf for FilePath {
    fn parse(text: &str) -> Result<Self, Wrong> {
        match text {
            "" => Err(Wrong::new("is no path", "")),
            _ if text.contains('\0') => Err(Wrong::new("is no path", "")),
            _ if text.starts_with('~') => {
                Err(Wrong::new("starts with `~`, which only a shell understands", "write `${HOME}/…`"))
            }
            _ => Ok(Self(PathBuf::from(text))),
        }
    }

    fn schema() -> Json {
        text_schema()
    }
}

impl Scalar {
    /// How a message names a secret: not at all, unless it is a variable or a file.
    fn shown_secret(&self) -> String {
        if is_reference(&self.written) { self.shown() } else { "the secret".into() }
    }
}

/// The scalar of a secret. What the file says is never shown, except for references.
fn secret_scalar(node: &Node, spot: &Spot, reading: &mut Reading<'_>) -> Option<Scalar> {
    let reference = matches!(&node.value, super::node::Value::Scalar { kind: Kind::Text, text } if is_reference(text));
    if !reference {
        reading.hide(node);
    }
    reading.scalar(node, spot, "a secret (`${NAME}` or `file:/path`)")
}

/// Whether the text only says where the secret is: `${NAME}`, `file:/path`.
fn is_reference(written: &str) -> bool {
    let variable = written.strip_prefix("${").and_then(|rest| rest.strip_suffix('}'));
    variable.is_some_and(|name| name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_'))
        || written.strip_prefix("file:").is_some_and(|path| !path.contains(":-") && !path.contains('\n'))
}

/// `token_file: ghp_…` happens; such a text is not repeated.
fn looks_like_a_path(written: &str) -> bool {
    written.contains(['/', '.', '$']) && !written.contains('\n') && !written.contains("-----")
}

fn warn_of_inline(spot: &Spot, reading: &mut Reading<'_>) {
    reading.warning(
        spot,
        "a secret stands in the file itself, for everybody who can read it",
        "take it from a variable (`${NAME}`) or from a file (`file:/path`)",
    );
}

fn checked(text: &str, shown: &str, spot: &Spot, reading: &mut Reading<'_>) -> Option<SecretString> {
    if text.trim().is_empty() {
        if reading.is_forgiving() {
            return Some(stand_in());
        }
        reading.problem(spot, format!("{shown} is empty"), "");
        return None;
    }
    Some(SecretString::from(text))
}

/// The text of a file, without one newline at its end.
fn read_file(path: &str, scalar: &Scalar, spot: &Spot, reading: &mut Reading<'_>) -> Option<SecretString> {
    // The path as it was written: what a variable holds may be the secret itself, by mistake.
    let written = scalar.written.strip_prefix("file:").unwrap_or(&scalar.written);
    let shown =
        if looks_like_a_path(written) { format!("the file `{}`", shortened(written)) } else { "the file".into() };
    let text = match FilePath::parse(path) {
        Ok(FilePath(path)) => {
            let path = reading.resolve(&path.to_string_lossy());
            match read_small_text(&path) {
                Ok((text, metadata)) => {
                    reading.saw_secret_file(spot, &path, metadata.permissions().mode());
                    if metadata.permissions().mode() & 0o004 != 0 {
                        let hint = "`chmod o-r` takes that away";
                        reading.warning(spot, format!("{shown} can be read by every user of this machine"), hint);
                    }
                    text
                }
                Err(_) if reading.is_forgiving() => return Some(stand_in()),
                Err(why) => {
                    reading.problem(spot, format!("{shown} {why}"), "");
                    return None;
                }
            }
        }
        Err(wrong) => {
            reading.problem(spot, format!("{shown} is no path"), wrong.hint(false));
            return None;
        }
    };
    let text = text.strip_suffix('\n').map_or(text.as_str(), |text| text.strip_suffix('\r').unwrap_or(text));
    checked(text, &shown, spot, reading)
}

fn read_small_text(path: &Path) -> Result<(String, Metadata), String> {
    let why = |error: std::io::Error| match error.kind() {
        ErrorKind::NotFound => "is not there".to_owned(),
        ErrorKind::PermissionDenied => "may not be read".to_owned(),
        ErrorKind::InvalidData => "is not UTF-8".to_owned(),
        other => format!("cannot be read ({other})"),
    };
    let metadata = std::fs::metadata(path).map_err(why)?;
    if !metadata.is_file() {
        return Err("is no regular file".into());
    }
    if metadata.len() > LARGEST_FILE {
        return Err(format!("is larger than {} KiB", LARGEST_FILE / 1024));
    }
    Ok((std::fs::read_to_string(path).map_err(why)?, metadata))
}

/// A private key in the form that GitHub hands out.
pub(super) fn check_private_key(key: &SecretString, spot: &Spot, reading: &mut Reading<'_>) -> Option<SecretString> {
    // Variables often carry the line breaks as `\n`.
    let text = key.expose_secret();
    let text = if text.contains('\n') { text.to_owned() } else { text.replace("\\n", "\n") };
    let hint = "it is the `.pem` file that GitHub gives when a private key is made for the App";
    let label = text.split_once("-----BEGIN ").and_then(|(_, rest)| rest.split_once("-----")).map(|(label, _)| label);
    let wrong = match label {
        Some("RSA PRIVATE KEY" | "PRIVATE KEY") if text.contains("-----END ") => None,
        Some("RSA PRIVATE KEY" | "PRIVATE KEY") => Some("is cut off: the line `-----END …` is missing"),
        Some("ENCRYPTED PRIVATE KEY") => Some("is an encrypted key; the program has no way to ask for its password"),
        Some(_) => Some("is a PEM of another kind than an RSA private key"),
        None => Some("is not a private key (PEM)"),
    };
    match wrong {
        None => Some(SecretString::from(text)),
        Some(_) if reading.is_forgiving() => Some(stand_in()),
        Some(wrong) => {
            reading.problem(spot, wrong, hint);
            None
        }
    }
}

/// A personal access token. It travels in a header, where a line break would be a second header.
pub(super) fn check_token(token: &SecretString, spot: &Spot, reading: &mut Reading<'_>) -> Option<SecretString> {
    if token.expose_secret().chars().any(|c| c.is_whitespace() || !c.is_ascii_graphic()) {
        reading.problem(spot, "is not a token: it has blanks or other characters that no token has", "");
        return None;
    }
    Some(token.clone())
}
