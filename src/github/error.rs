//! What can go wrong with a request, named by what the caller does about it.

use super::redact::redact;
use super::transport::Answer;
use crate::model::RunnerName;
use http::StatusCode;
use jiff::Timestamp;

/// Longest piece of GitHub's own words that we repeat. A proxy's error page would fill a screen otherwise.
const MESSAGE_MAX: usize = 400;

/// Clocks further apart than this make GitHub refuse our JWT: it is dated back by exactly this much.
const SKEW_MAX_SECS: i64 = 60;

/// Why GitHub was not asked, did not answer or refused. Secrets are cut out of every text.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// A runner of that name is registered: look it up by name, delete it, ask again.
    #[error("a runner named `{name}` is registered already")]
    NameTaken {
        /// The name.
        name: RunnerName,
    },
    /// The runner has a job; its registration stays.
    #[error("GitHub keeps the runner, since it has a job: {message}")]
    Busy {
        /// GitHub's words.
        message: String,
    },
    /// A limit is reached. Nothing is asked before `until`.
    #[error("cannot {what} before {until:.0}: GitHub's rate limit is reached")]
    RateLimited {
        /// From when on we may ask again.
        until: Timestamp,
        /// The operation, in words.
        what: String,
    },
    /// A permission is missing: a person must grant it.
    #[error("GitHub does not let us {what}: {message}{}", needs.as_ref().map(|needs| format!(" (needs {needs})")).unwrap_or_default())]
    Denied {
        /// The operation, in words.
        what: String,
        /// The permissions that it needs, where GitHub names them.
        needs: Option<String>,
        /// GitHub's words.
        message: String,
    },
    /// The thing is not there, or hidden from us: GitHub does not tell the two apart.
    #[error("cannot {what}: {message}")]
    NotFound {
        /// The operation, in words.
        what: String,
        /// GitHub's words, or ours.
        message: String,
    },
    /// The request as it is cannot be granted: asking again would not help.
    #[error("cannot {what}: {message}")]
    Invalid {
        /// The operation, in words.
        what: String,
        /// GitHub's words, or ours.
        message: String,
    },
    /// GitHub does not know us. The text says what to check.
    #[error("{0}")]
    Credentials(String),
    /// No answer, or none that can be read: the network, GitHub itself, or something between us.
    #[error("cannot {what}: GitHub is not available: {message}")]
    Unavailable {
        /// The operation, in words.
        what: String,
        /// What happened.
        message: String,
    },
}

impl Error {
    /// Whether the same call may succeed later, without anybody doing something about it.
    pub fn is_transient(&self) -> bool {
        match self {
            Self::RateLimited { .. } | Self::Unavailable { .. } | Self::Busy { .. } => true,
            Self::NameTaken { .. }
            | Self::Denied { .. }
            | Self::NotFound { .. }
            | Self::Invalid { .. }
            | Self::Credentials(_) => false,
        }
    }

    /// Whether GitHub did nothing of what was asked, for certain. After a lost answer nobody knows.
    pub fn is_refusal(&self) -> bool {
        match self {
            Self::RateLimited { .. }
            | Self::Denied { .. }
            | Self::NotFound { .. }
            | Self::Invalid { .. }
            | Self::Credentials(_) => true,
            Self::NameTaken { .. } | Self::Busy { .. } | Self::Unavailable { .. } => false,
        }
    }

    /// An answer that came and cannot be read. Never quotes it: it may hold a credential.
    pub(super) fn unreadable(what: &str, error: &serde_json::Error) -> Self {
        let message = format!("its answer cannot be read ({:?} error at column {})", error.classify(), error.column());
        Self::Unavailable { what: what.to_owned(), message }
    }
}

/// The error for an answer that is no success. `now` is our clock, for a 401 that comes of a wrong clock.
pub(super) fn refusal(answer: &Answer, what: &str, now: Timestamp) -> Error {
    let what = what.to_owned();
    let message = message(answer);
    match answer.status {
        StatusCode::UNAUTHORIZED => Error::Credentials(unknown_to_github(answer, &what, &message, now)),
        // What GitHub answers to a JWT whose issuer it does not know.
        StatusCode::NOT_FOUND if message.contains("Integration not found") => Error::Credentials(format!(
            "cannot {what}: GitHub knows no App with the configured client id or App id ({message})"
        )),
        StatusCode::FORBIDDEN => Error::Denied {
            what,
            needs: answer.header("x-accepted-github-permissions").filter(|needs| !needs.is_empty()).map(redact),
            message,
        },
        StatusCode::NOT_FOUND | StatusCode::GONE => Error::NotFound { what, message },
        status if status.is_client_error() || status.is_redirection() => {
            Error::Invalid { what, message: format!("GitHub refuses the request: {message}") }
        }
        status => Error::Unavailable { what, message: format!("{} ({message})", status.as_u16()) },
    }
}

/// What to check after a 401.
fn unknown_to_github(answer: &Answer, what: &str, message: &str, now: Timestamp) -> String {
    let skew = answer.date().map_or(0, |date| now.as_second().saturating_sub(date.as_second()));
    let check = if skew.abs() > SKEW_MAX_SECS {
        let direction = if skew > 0 { "ahead of" } else { "behind" };
        format!("this machine's clock is {} seconds {direction} GitHub's: set the clock", skew.abs())
    } else {
        "check that App id and private key belong together, and that key or token is not revoked or expired".to_owned()
    };
    format!("cannot {what}: GitHub does not accept our credentials ({message}); {check}")
}

/// GitHub's words in an answer, on one line, bounded and without secrets.
pub(super) fn message(answer: &Answer) -> String {
    let said = serde_json::from_slice::<serde_json::Value>(&answer.body).ok().and_then(|body| {
        let mut said = body.get("message")?.as_str()?.trim().to_owned();
        for detail in details(body.get("errors")) {
            if !said.contains(&detail) {
                said = format!("{said}: {detail}");
            }
        }
        Some(said)
    });
    let text = said.filter(|text| !text.is_empty()).unwrap_or_else(|| {
        // Not GitHub's own form, so perhaps a proxy's page; its status says more than its markup.
        answer.status.canonical_reason().unwrap_or("no reason given").to_owned()
    });
    redact(&one_line(&text))
}

/// `errors` is a text, a list of texts or a list of objects, by endpoint.
fn details(errors: Option<&serde_json::Value>) -> Vec<String> {
    let word = |value: &serde_json::Value| match value {
        serde_json::Value::String(text) => Some(text.clone()),
        serde_json::Value::Object(fields) => {
            let field = |name: &str| fields.get(name).and_then(serde_json::Value::as_str);
            field("message").map(str::to_owned).or_else(|| Some(format!("{} {}", field("field")?, field("code")?)))
        }
        _ => None,
    };
    match errors {
        Some(serde_json::Value::Array(list)) => list.iter().filter_map(word).collect(),
        Some(one) => word(one).into_iter().collect(),
        None => Vec::new(),
    }
}

/// Control characters become spaces: a foreign text must not forge a line in our log.
fn one_line(text: &str) -> String {
    let mut line: String =
        text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(MESSAGE_MAX).collect::<String>();
    if text.chars().nth(MESSAGE_MAX).is_some() {
        line.push('…');
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderMap;

    fn answer(status: u16, body: &str) -> Answer {
        Answer {
            status: StatusCode::from_u16(status).unwrap(),
            headers: HeaderMap::new(),
            body: body.to_owned().into_bytes().into(),
        }
    }

    #[test]
    fn a_message_holds_the_details_and_no_line_break() {
        let said = message(&answer(
            422,
            r#"{"message":"Validation Failed\nx","errors":["labels is empty",{"field":"name","code":"missing"}]}"#,
        ));
        assert_eq!(said, "Validation Failed x: labels is empty: name missing");
        assert_eq!(message(&answer(502, "<html>bad</html>")), "Bad Gateway");
        assert_eq!(message(&answer(422, r#"{"message":"no","errors":"why"}"#)), "no: why");
    }

    #[test]
    fn a_wrong_clock_is_named() {
        let mut skewed = answer(401, r#"{"message":"'Issued at' claim ('iat') must be in the past"}"#);
        skewed.headers.insert("date", "Sun, 06 Nov 1994 08:49:37 GMT".parse().unwrap());
        let now: Timestamp = "1994-11-06T08:54:37Z".parse().unwrap();
        let text = refusal(&skewed, "read the App", now).to_string();
        assert!(text.contains("300 seconds ahead of GitHub's"), "{text}");
    }
}
