//! What `runners_config.yaml` is to say of the App: where its key and the webhook's secrets are, never they themselves. Pure.

use crate::config::edit::keys::{self, NotHere, Wish};

/// What is to stand in the file. None: as it is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct References {
    /// The organization or repository, where the file has only a placeholder.
    pub org_url: Option<String>,
    /// The App's client id, or its number where it has none.
    pub issuer: Option<String>,
    /// The file with its key, as it is to be written.
    pub key_file: Option<String>,
    /// The file with the webhook's secrets.
    pub secrets_file: Option<String>,
    /// The secrets are in that file alone from now on.
    pub secrets_there_alone: bool,
    /// Where GitHub reaches the receiver.
    pub public_url: Option<String>,
}

const CLIENT_ID: &[&str] = &["github", "auth", "app", "client_id"];
const APP_ID: &[&str] = &["github", "auth", "app", "app_id"];
const KEY: &[&str] = &["github", "auth", "app", "private_key"];
const KEY_FILE: &[&str] = &["github", "auth", "app", "private_key_file"];
const TOKEN: &[&str] = &["github", "auth", "token"];
const TOKEN_FILE: &[&str] = &["github", "auth", "token_file"];
const SECRETS: &[&str] = &["intake", "secrets"];
const SECRETS_FILE: &[&str] = &["intake", "secrets_file"];
/// Its second name.
const SECRET_FILE: &[&str] = &["intake", "secret_file"];
const PUBLIC_URL: &[&str] = &["http", "public_url"];
const ORG_URL: &[&str] = &["runners_defaults", "org_url"];

/// The text with the references; the same text where it has them.
///
/// # Errors
/// It is written in a way in which a key cannot be set ([`by_hand`] says what to write then).
pub fn apply(text: &str, wanted: &References) -> Result<String, NotHere> {
    let mut wishes: Vec<(&[&str], Wish)> = Vec::new();
    let mut is = |path: &'static [&'static str], value: &Option<String>| -> Result<(), NotHere> {
        if let Some(value) = value
            && keys::value(text, path)?.as_ref() != Some(value)
        {
            wishes.push((path, Wish::Is(quoted(value))));
        }
        Ok(())
    };
    is(ORG_URL, &wanted.org_url)?;
    // An App is known by one of the two.
    let (issuer, other) = match &wanted.issuer {
        Some(number) if number.bytes().all(|byte| byte.is_ascii_digit()) => (APP_ID, CLIENT_ID),
        Some(_) | None => (CLIENT_ID, APP_ID),
    };
    is(issuer, &wanted.issuer)?;
    is(KEY_FILE, &wanted.key_file)?;
    let second_name = keys::has(text, SECRET_FILE)?;
    is(if second_name { SECRET_FILE } else { SECRETS_FILE }, &wanted.secrets_file)?;
    is(PUBLIC_URL, &wanted.public_url)?;
    let mut gone = |path: &'static [&'static str]| -> Result<(), NotHere> {
        if keys::has(text, path)? {
            wishes.push((path, Wish::Gone));
        }
        Ok(())
    };
    if wanted.issuer.is_some() {
        gone(other)?;
        gone(TOKEN)?;
        gone(TOKEN_FILE)?;
    }
    if wanted.key_file.is_some() {
        gone(KEY)?;
    }
    if wanted.secrets_there_alone {
        gone(SECRETS)?;
    }
    if wishes.is_empty() { Ok(text.to_owned()) } else { keys::set_keys(text, &wishes) }
}

/// A path or an address on one line of YAML.
fn quoted(value: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-' | '/');
    let begins = value.starts_with(|c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '/' | '_'));
    let is_address = value.starts_with("https://") && !value.contains([' ', '#']) && !value.ends_with(':');
    if (begins && value.chars().all(plain)) || is_address { value.to_owned() } else { format!("'{value}'") }
}

/// The lines that a person is to write, where [`apply`] cannot.
pub fn by_hand(wanted: &References) -> String {
    let mut text = String::new();
    let mut line = |indent: usize, key: &str, value: &str| {
        text.push_str(&" ".repeat(indent));
        text.push_str(key);
        text.push(':');
        if !value.is_empty() {
            text.push(' ');
            text.push_str(&quoted(value));
        }
        text.push('\n');
    };
    if let Some(url) = &wanted.org_url {
        line(0, "runners_defaults", "");
        line(2, "org_url", url);
    }
    if wanted.issuer.is_some() || wanted.key_file.is_some() {
        line(0, "github", "");
        line(2, "auth", "");
        line(4, "app", "");
        if let Some(issuer) = &wanted.issuer {
            let number = issuer.bytes().all(|byte| byte.is_ascii_digit());
            line(6, if number { "app_id" } else { "client_id" }, issuer);
        }
        if let Some(file) = &wanted.key_file {
            line(6, "private_key_file", file);
        }
    }
    if let Some(file) = &wanted.secrets_file {
        line(0, "intake", "");
        line(2, "secrets_file", file);
    }
    if let Some(url) = &wanted.public_url {
        line(0, "http", "");
        line(2, "public_url", url);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wanted() -> References {
        References {
            org_url: None,
            issuer: Some("Iv23liAbc".to_owned()),
            key_file: Some("./secrets/github-app.pem".to_owned()),
            secrets_file: Some("./secrets/webhook-secret".to_owned()),
            secrets_there_alone: true,
            public_url: Some("https://ci.example.com".to_owned()),
        }
    }

    #[test]
    fn references_come_in_and_what_they_replace_becomes_a_comment() {
        let text = "\
# ours
github:
  auth:
    token: ${GITHUB_TOKEN}  # mine
intake:
  secrets:
    - ${WEBHOOK_SECRET}
runners: [{id: a}]
";
        let new = apply(text, &wanted()).unwrap();
        assert_eq!(
            new,
            "\
# ours
github:
  auth:
    app:
      private_key_file: ./secrets/github-app.pem
      client_id: Iv23liAbc
    # token: ${GITHUB_TOKEN}  # mine
intake:
  secrets_file: ./secrets/webhook-secret
  # secrets:
    # - ${WEBHOOK_SECRET}
runners: [{id: a}]

http:
  public_url: https://ci.example.com
"
        );
        assert_eq!(apply(&new, &wanted()).unwrap(), new, "the second time nothing changes");
    }

    #[test]
    fn one_name_of_the_app_and_one_of_the_file_stay() {
        let text = "github:\n  auth:\n    app:\n      app_id: 5\nintake:\n  secret_file: ./s\n";
        let new = apply(text, &References { public_url: None, ..wanted() }).unwrap();
        assert!(new.contains("# app_id: 5") && new.contains("client_id: Iv23liAbc"), "{new}");
        assert!(new.contains("secret_file: ./secrets/webhook-secret") && !new.contains("secrets_file"), "{new}");
        let numbered = References { issuer: Some("77".to_owned()), ..References::default() };
        assert_eq!(
            apply("github:\n  auth:\n    app:\n      app_id: 5\n", &numbered).unwrap().trim().lines().last(),
            Some("      app_id: 77")
        );
    }

    #[test]
    fn what_cannot_be_set_is_to_be_written_by_hand() {
        assert!(apply("github: {auth: {token: x}}\n", &wanted()).is_err());
        let lines = by_hand(&References { org_url: Some("https://github.com/acme".to_owned()), ..wanted() });
        assert_eq!(apply(&lines, &wanted()).unwrap(), lines, "they say the same");
        assert!(lines.starts_with("runners_defaults:\n  org_url: https://github.com/acme\ngithub:\n"), "{lines}");
        let odd = References { key_file: Some("/a b/c: #.pem".to_owned()), ..References::default() };
        let text = apply("version: 1\n", &odd).unwrap();
        assert!(text.ends_with("private_key_file: '/a b/c: #.pem'\n"), "{text}");
    }
}
