//! What goes wrong with a registry, by what a person does about it.

use super::credentials::CredentialError;
use jiff::Timestamp;

/// Why a registry gave no answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RegistryError {
    /// There is no such image or tag.
    #[error("{registry} has no `{what}`; look for a slip in `base_image`")]
    NotFound {
        /// Which registry.
        registry: String,
        /// `acme/web:1`.
        what: String,
    },
    /// We may not see it.
    #[error("{registry} denies `{what}` to {who}{}: {}", said(answer), advice(*anonymous, registry))]
    Denied {
        /// Which registry.
        registry: String,
        /// `acme/web`.
        what: String,
        /// `alice (from /root/.docker/config.json)`.
        who: String,
        /// Whether no credentials were used.
        anonymous: bool,
        /// What the registry says; may be empty.
        answer: String,
    },
    /// We asked too often.
    #[error("{registry} answers no more questions for now{}", until_when(*until))]
    RateLimited {
        /// Which registry.
        registry: String,
        /// When it may be asked again, if it says so.
        until: Option<Timestamp>,
    },
    /// It does not answer, or not now.
    #[error("{registry} cannot be reached: {why}; try again later, and look at the network or proxy if it stays so")]
    Unavailable {
        /// Which registry.
        registry: String,
        /// What happened.
        why: String,
    },
    /// What it answers makes no sense.
    #[error("{registry} answers in a way that cannot be used: {why}; is it a registry of images?")]
    Invalid {
        /// Which registry.
        registry: String,
        /// What is wrong with it.
        why: String,
    },
    /// It wants to know who we are, and that cannot be found out.
    #[error("{registry} asks who we are: {error}")]
    Credentials {
        /// Which registry.
        registry: String,
        /// Why it cannot be found out.
        error: CredentialError,
    },
}

fn said(answer: &str) -> String {
    if answer.is_empty() { String::new() } else { format!(" (\"{answer}\")") }
}

fn advice(anonymous: bool, registry: &str) -> String {
    if anonymous {
        format!("it is private, or there is no such image; `docker login {registry}` gives credentials")
    } else {
        format!("the credentials are wrong or not enough; `docker login {registry}` gives others")
    }
}

fn until_when(until: Option<Timestamp>) -> String {
    until.map_or_else(|| "; try again later".to_owned(), |until| format!("; try again after {until:.0}"))
}
