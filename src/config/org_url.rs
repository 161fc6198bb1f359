//! `org_url`: where runners register, and with it which GitHub is meant.

use super::leaf::{Leaf, Wrong};
use crate::model::Scope;
use serde_json::{Value as Json, json};
use std::net::IpAddr;

/// `https://github.com/acme`, `https://ghes.example.org/acme/web`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct OrgUrl {
    /// Scheme, host and port.
    pub(super) site: Site,
    /// The organization or repository.
    pub(super) scope: Scope,
}

/// `https://github.com/api`: where GitHub's API is. `None` for `auto`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ApiUrl(pub(super) Option<(Site, String)>);

/// An organization or repository, and the GitHub that it is at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OrgPlace {
    /// `https://github.com/acme`: as `org_url` has it.
    pub url: String,
    /// `https://github.com`: where its pages are.
    pub web_url: String,
    /// `https://api.github.com`: where its API is.
    pub api_url: String,
    /// The organization or repository.
    pub scope: Scope,
}

/// Reads what could stand as `org_url`; `acme` and `acme/web` are short for an address on github.com.
///
/// # Errors
/// It is none; what is wrong with it, and what would be right.
pub fn org_place(text: &str) -> Result<OrgPlace, String> {
    let text = text.trim().trim_end_matches('/');
    let full = if text.contains("://") {
        text.to_owned()
    } else {
        format!("https://github.com/{}", text.strip_prefix("github.com/").unwrap_or(text))
    };
    let parsed = OrgUrl::parse(&full).map_err(|wrong| {
        let says = format!("`{text}` {}", wrong.says());
        let hint = wrong.hint(true);
        if hint.is_empty() { says } else { format!("{says}; {hint}") }
    })?;
    if parsed.site.is_open_to_others() {
        return Err(format!("`{text}` has no TLS, and keys would travel there; write `https://`"));
    }
    Ok(OrgPlace { url: parsed.url(), web_url: parsed.site.text(), api_url: parsed.site.api_url(), scope: parsed.scope })
}

/// Scheme, host and port of a URL.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Site {
    tls: bool,
    /// With the port, in lower case.
    authority: String,
    /// Without the port.
    host: String,
}

impl Leaf for OrgUrl {
    fn parse(text: &str) -> Result<Self, Wrong> {
        let example = "write `https://github.com/ORGANIZATION` or `https://github.com/OWNER/REPOSITORY`";
        let says = "is not the address of an organization or repository";
        let Some((site, path)) = split(text)? else {
            let guess = Scope::try_from(text.to_owned()).map(|scope| format!("write `https://github.com/{scope}`"));
            let wrong = Wrong::new(says, example);
            return Err(guess.map_or_else(|_| Wrong::new(says, example), |guess| wrong.guess(guess)));
        };
        let parts: Vec<&str> = path.split('/').filter(|part| !part.is_empty()).collect();
        if site.host == "api.github.com" {
            return Err(Wrong::new("is an address of GitHub's API", example));
        }
        let scope = match parts.as_slice() {
            [] => return Err(Wrong::new("names no organization", example)),
            ["enterprises", ..] => {
                return Err(Wrong::new(
                    "is an enterprise; runners of a whole enterprise are not in this version yet",
                    "give each organization a pool of its own",
                ));
            }
            ["orgs" | "users" | "organizations", login, ..] => {
                let site = site.text();
                return Err(Wrong::new(says, example).guess(format!("write `{site}/{login}`")));
            }
            [login] => (*login).to_owned(),
            [owner, name] => format!("{owner}/{}", name.strip_suffix(".git").unwrap_or(name)),
            [owner, name, ..] => {
                let site = site.text();
                return Err(Wrong::new(says, example).guess(format!("write `{site}/{owner}/{name}`")));
            }
        };
        match Scope::try_from(scope) {
            // GitHub has no such names, and as a part of a path they would lead elsewhere.
            Ok(scope) if !scope.to_string().split('/').any(|part| part.chars().all(|c| c == '.')) => {
                Ok(Self { site, scope })
            }
            Ok(_) | Err(_) => Err(Wrong::new(says, example)),
        }
    }

    fn schema() -> Json {
        json!({ "type": "string", "examples": ["https://github.com/acme", "https://github.com/acme/web"] })
    }
}

impl OrgUrl {
    /// As an agent takes it.
    pub(super) fn url(&self) -> String {
        format!("{}/{}", self.site.text(), self.scope)
    }
}

impl Leaf for ApiUrl {
    fn parse(text: &str) -> Result<Self, Wrong> {
        if text == "auto" {
            return Ok(Self(None));
        }
        let says = "is not the address of GitHub's API";
        let hint = "write `auto`, or an address such as `https://ghes.example.org/api/v3`";
        let Some((site, path)) = split(text)? else { return Err(Wrong::new(says, hint)) };
        if path.contains("//") || path.chars().any(|c| !c.is_ascii_graphic()) {
            return Err(Wrong::new(says, hint));
        }
        if site.host == "github.com" {
            return Err(Wrong::new(says, "github.com's API is at `https://api.github.com`"));
        }
        let url = format!("{}{}", site.text(), path.trim_end_matches('/'));
        Ok(Self(Some((site, url))))
    }

    fn schema() -> Json {
        json!({ "type": "string", "pattern": r"^auto$|^https?://|\$\{", "examples": ["auto", "https://ghes.example.org/api/v3"] })
    }
}

impl Site {
    /// `https://host:port`.
    pub(super) fn text(&self) -> String {
        format!("{}://{}", if self.tls { "https" } else { "http" }, self.authority)
    }

    /// Where this GitHub has its API.
    pub(super) fn api_url(&self) -> String {
        let scheme = if self.tls { "https" } else { "http" };
        if self.host == "github.com" || self.host.ends_with(".ghe.com") {
            format!("{scheme}://api.{}", self.authority)
        } else {
            format!("{scheme}://{}/api/v3", self.authority)
        }
    }

    /// Whether what is sent there can be read on the way: no TLS, and a host that is not ours.
    pub(super) fn is_open_to_others(&self) -> bool {
        if self.tls {
            return false;
        }
        match self.host.trim_matches(['[', ']']).parse::<IpAddr>() {
            Ok(IpAddr::V4(ip)) => !(ip.is_loopback() || ip.is_private() || ip.is_link_local()),
            Ok(IpAddr::V6(ip)) => !(ip.is_loopback() || ip.is_unique_local() || ip.is_unicast_link_local()),
            // A name without a dot is resolved by the machine itself or by Docker.
            Err(_) => {
                let private = [".localhost", ".local", ".internal", ".test"].iter().any(|end| self.host.ends_with(end));
                self.host.contains('.') && !private
            }
        }
    }
}

/// Site and path; `None` where it is no URL of HTTP at all.
fn split(text: &str) -> Result<Option<(Site, String)>, Wrong> {
    let (tls, rest) = match (text.strip_prefix("https://"), text.strip_prefix("http://")) {
        (Some(rest), _) => (true, rest),
        (None, Some(rest)) => (false, rest),
        (None, None) => return Ok(None),
    };
    let (authority, path) = rest.find('/').map_or((rest, ""), |at| rest.split_at(at));
    if authority.contains('@') {
        return Err(Wrong::new("has a name or password in front of the host", "`github.auth` is the place for them"));
    }
    if path.contains(['?', '#', '%', '\\']) {
        return Err(Wrong::new("has more than a plain path behind the host", "cut it off at `?` or `#`"));
    }
    let authority = authority.to_ascii_lowercase();
    let parsed: http::uri::Authority = match authority.parse() {
        Ok(parsed) => parsed,
        Err(_) => return Err(Wrong::new("has no host that could be one", "")),
    };
    let host = parsed.host();
    let port_is_good = authority.len() == host.len() || parsed.port_u16().is_some_and(|port| port > 0);
    let good = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_' | ':' | '[' | ']');
    if host.is_empty() || !host.chars().all(good) || !port_is_good {
        return Err(Wrong::new("has no host that could be one", ""));
    }
    let authority = if tls { authority.strip_suffix(":443").unwrap_or(&authority) } else { &authority };
    let authority = if authority == "www.github.com" { "github.com" } else { authority };
    let host = if host == "www.github.com" { "github.com" } else { host };
    Ok(Some((Site { tls, authority: authority.to_owned(), host: host.to_owned() }, path.to_owned())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scope_and_api_follow_from_the_address() {
        for (text, scope, url, api) in [
            ("https://github.com/acme", "acme", "https://github.com/acme", "https://api.github.com"),
            ("https://www.github.com/Acme/", "Acme", "https://github.com/Acme", "https://api.github.com"),
            ("https://github.com/acme/web.git", "acme/web", "https://github.com/acme/web", "https://api.github.com"),
            ("https://Acme.ghe.com/o", "o", "https://acme.ghe.com/o", "https://api.acme.ghe.com"),
            (
                "https://git.acme.org:8443/o/r",
                "o/r",
                "https://git.acme.org:8443/o/r",
                "https://git.acme.org:8443/api/v3",
            ),
            ("http://127.0.0.1:4242/o", "o", "http://127.0.0.1:4242/o", "http://127.0.0.1:4242/api/v3"),
            ("http://[::1]:4242/o", "o", "http://[::1]:4242/o", "http://[::1]:4242/api/v3"),
        ] {
            let parsed = OrgUrl::parse(text).unwrap();
            assert_eq!((parsed.scope.to_string().as_str(), parsed.url().as_str()), (scope, url), "{text}");
            assert_eq!(parsed.site.api_url(), api, "{text}");
        }
    }

    #[test]
    fn a_place_may_be_short_and_is_told_what_is_wrong_with_it() {
        let place = org_place("acme/web/").unwrap();
        assert_eq!(
            (place.url.as_str(), place.api_url.as_str()),
            ("https://github.com/acme/web", "https://api.github.com")
        );
        let place = org_place("https://git.acme.org/o").unwrap();
        assert_eq!(
            (place.web_url.as_str(), place.api_url.as_str()),
            ("https://git.acme.org", "https://git.acme.org/api/v3")
        );
        assert!(org_place("http://git.acme.org/o").unwrap_err().contains("has no TLS"));
        assert!(org_place("https://github.com/enterprises/x").unwrap_err().contains("is an enterprise"));
        assert!(org_place("a b").is_err());
    }

    #[test]
    fn what_is_no_scope_is_refused_with_a_hint() {
        for (text, hint) in [
            ("acme", "write `https://github.com/acme`"),
            ("acme/web", "write `https://github.com/acme/web`"),
            ("https://github.com/orgs/acme/settings", "write `https://github.com/acme`"),
            ("https://github.com/acme/web/actions", "write `https://github.com/acme/web`"),
            ("https://github.com/enterprises/x", "give each organization a pool of its own"),
        ] {
            assert_eq!(OrgUrl::parse(text).unwrap_err().hint(true), hint, "{text}");
        }
        for text in [
            "",
            "https://",
            "https:///acme",
            "https://github.com",
            "https://u:p@github.com/a",
            "https://github.com/a?b",
            "https://github.com/a b",
            "https://github.com/../x",
            "ftp://github.com/a",
            "https://github.com:x/a",
            "https://github.com:0/a",
            "https://api.github.com/orgs/a",
            "https://[::1/a",
        ] {
            assert!(OrgUrl::parse(text).is_err(), "`{text}` was taken");
        }
    }

    #[test]
    fn plain_http_is_for_nearby_hosts() {
        let open = |text: &str| OrgUrl::parse(text).unwrap().site.is_open_to_others();
        for near in [
            "http://127.0.0.1/o",
            "http://10.1.2.3/o",
            "http://localhost:1/o",
            "http://ghes/o",
            "https://github.com/o",
            "http://[fd00::1]/o",
        ] {
            assert!(!open(near), "{near}");
        }
        for far in ["http://github.com/o", "http://8.8.8.8/o", "http://[2001:db8::1]/o", "http://ghes.acme.org/o"] {
            assert!(open(far), "{far}");
        }
    }

    #[test]
    fn the_api_has_no_slash_at_its_end() {
        let url = |text: &str| ApiUrl::parse(text).unwrap().0.map(|(_, url)| url);
        assert_eq!(url("auto"), None);
        assert_eq!(url("http://127.0.0.1:9/").as_deref(), Some("http://127.0.0.1:9"));
        assert_eq!(url("https://h.org/api/v3/").as_deref(), Some("https://h.org/api/v3"));
        for text in ["", "h.org", "https://github.com", "https://h.org//x", "https://h.org/a?b"] {
            assert!(ApiUrl::parse(text).is_err(), "`{text}` was taken");
        }
    }
}
