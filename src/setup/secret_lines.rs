//! The file with the webhook's secrets: one on each line, all of them valid, the newest first. Pure.

use secrecy::{ExposeSecret, SecretString};

/// The secrets of the file's text.
pub fn read(text: &SecretString) -> Vec<SecretString> {
    let lines = text.expose_secret().lines().map(str::trim).filter(|line| !line.is_empty());
    lines.map(SecretString::from).collect()
}

/// The file's text.
pub fn write<'a>(secrets: impl IntoIterator<Item = &'a SecretString>) -> SecretString {
    let mut text = String::new();
    for secret in secrets {
        text.push_str(secret.expose_secret());
        text.push('\n');
    }
    SecretString::from(text)
}

/// With `new` before the others; once where it is among them.
pub fn with_first(new: &SecretString, others: &[SecretString]) -> Vec<SecretString> {
    let different = others.iter().filter(|other| other.expose_secret() != new.expose_secret());
    std::iter::once(new).chain(different).cloned().collect()
}

/// What is wrong with a secret that somebody gives.
pub fn check(secret: &SecretString) -> Result<(), &'static str> {
    let text = secret.expose_secret();
    if text.trim() != text || text.is_empty() || text.chars().any(char::is_control) {
        return Err("has blanks or line breaks around it, or is empty");
    }
    if text.len() < 16 { Err("is shorter than 16 characters: it could be guessed") } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secret(text: &str) -> SecretString {
        SecretString::from(text)
    }

    fn shown(secrets: &[SecretString]) -> Vec<&str> {
        secrets.iter().map(ExposeSecret::expose_secret).collect()
    }

    #[test]
    fn what_is_written_is_read() {
        let both = with_first(&secret("new"), &read(&secret("old\r\n\n older\n")));
        assert_eq!(shown(&both), ["new", "old", "older"]);
        assert_eq!(shown(&with_first(&secret("old"), &both)), ["old", "new", "older"]);
        assert_eq!(write(&both).expose_secret(), "new\nold\nolder\n");
    }

    #[test]
    fn what_could_be_guessed_is_refused() {
        assert!(check(&secret("0123456789abcdef")).is_ok());
        for bad in ["", " 0123456789abcdef", "0123456789abcdef\n", "short"] {
            assert!(check(&secret(bad)).is_err(), "{bad:?}");
        }
    }
}
