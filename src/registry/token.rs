//! How a registry wants to be told who we are (`WWW-Authenticate`), and the answer of a token server.

use secrecy::SecretString;
use serde::Deserialize;

/// What a registry asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Challenge {
    /// A name and a password with each request.
    Basic,
    /// A token from this server.
    Bearer { realm: String, service: Option<String> },
}

/// What a token server answers. No `Debug`.
#[derive(Deserialize)]
pub(super) struct TokenAnswer {
    token: Option<SecretString>,
    access_token: Option<SecretString>,
    expires_in: Option<u64>,
}

impl TokenAnswer {
    /// The token, and for how many seconds it is good.
    pub(super) fn token(self) -> Option<(SecretString, u64)> {
        // By the specification a token that says nothing is good for a minute.
        let seconds = self.expires_in.unwrap_or(60);
        self.token.or(self.access_token).map(|token| (token, seconds))
    }
}

/// The challenges of one `WWW-Authenticate` line; a token is preferred, since it lets less be seen.
pub(super) fn challenge<'h>(lines: impl Iterator<Item = &'h str>) -> Option<Challenge> {
    let mut basic = false;
    for line in lines {
        for (scheme, parameters) in schemes(line) {
            if scheme.eq_ignore_ascii_case("basic") {
                basic = true;
            }
            let value = |name: &str| {
                parameters.iter().find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value.clone())
            };
            if scheme.eq_ignore_ascii_case("bearer")
                && let Some(realm) = value("realm")
            {
                return Some(Challenge::Bearer { realm, service: value("service") });
            }
        }
    }
    basic.then_some(Challenge::Basic)
}

/// `Basic realm="a, b", Bearer realm=…` -> each scheme with its parameters.
fn schemes(line: &str) -> Vec<(String, Vec<(String, String)>)> {
    let mut found: Vec<(String, Vec<(String, String)>)> = Vec::new();
    let mut rest = line.trim_start_matches([' ', ',']);
    while !rest.is_empty() {
        let end = rest.find([' ', '=', ',']).unwrap_or(rest.len());
        let (word, behind) = rest.split_at(end);
        rest = if let Some(value) = behind.trim_start().strip_prefix('=') {
            let (value, behind) = unquoted(value.trim_start());
            if let Some((_, parameters)) = found.last_mut() {
                parameters.push((word.to_owned(), value));
            }
            behind
        } else {
            found.push((word.to_owned(), Vec::new()));
            behind
        };
        rest = rest.trim_start_matches([' ', ',']);
    }
    found
}

/// The value at the start, without its quotes, and what is behind it.
fn unquoted(text: &str) -> (String, &str) {
    let Some(inside) = text.strip_prefix('"') else {
        let end = text.find([' ', ',']).unwrap_or(text.len());
        return (text[..end].to_owned(), &text[end..]);
    };
    let mut value = String::new();
    let mut chars = inside.char_indices();
    while let Some((at, c)) = chars.next() {
        match c {
            '"' => return (value, &inside[at + 1..]),
            '\\' => value.extend(chars.next().map(|(_, c)| c)),
            c => value.push(c),
        }
    }
    (value, "")
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use secrecy::ExposeSecret;

    #[test]
    fn challenges_as_registries_write_them() {
        let bearer = |realm: &str, service: Option<&str>| {
            Some(Challenge::Bearer { realm: realm.to_owned(), service: service.map(str::to_owned) })
        };
        for (line, expected) in [
            (
                "Bearer realm=\"https://ghcr.io/token\",service=\"ghcr.io\",scope=\"repository:a/b:pull\"",
                bearer("https://ghcr.io/token", Some("ghcr.io")),
            ),
            ("bearer realm=\"https://a/t?x=1,2\"", bearer("https://a/t?x=1,2", None)),
            ("Basic realm=\"a, Bearer realm=b\"", Some(Challenge::Basic)),
            ("Basic realm=\"x\", Bearer realm = \"https://a\" , service=s", bearer("https://a", Some("s"))),
            ("Bearer realm=\"a\\\"b\"", bearer("a\"b", None)),
            ("Bearer service=\"s\"", None),
            ("Negotiate", None),
            ("", None),
            ("=,= ,\"", None),
        ] {
            assert_eq!(challenge([line].into_iter()), expected, "{line}");
        }
        assert_eq!(challenge(["Basic realm=a", "Bearer realm=b"].into_iter()), bearer("b", None));
    }

    #[test]
    fn both_names_of_a_token() {
        let read = |text: &str| serde_json::from_str::<TokenAnswer>(text).unwrap().token();
        let told = |text: &str| read(text).map(|(token, seconds)| (token.expose_secret().to_owned(), seconds));
        assert_eq!(told(r#"{"token": "a", "access_token": "b", "expires_in": 300}"#), Some(("a".into(), 300)));
        assert_eq!(told(r#"{"access_token": "b"}"#), Some(("b".into(), 60)));
        assert_eq!(told("{}"), None);
    }

    proptest! {
        #[test]
        fn no_header_makes_it_panic(line in "[ -~]{0,60}") {
            let _ = challenge([line.as_str()].into_iter());
        }
    }
}
