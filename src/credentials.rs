//! Secrets and keys that change while `serve` runs: the configuration is read again, and what it now says of the webhook's
//! secrets and of who we are at GitHub is used from then on. Everything else in it takes effect at the next start.

use crate::config::{Config, GitHubAuth};
use crate::github::Client;
use crate::webhook::Secrets;
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::fmt::Write;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

/// The file is read again so often: a millisecond each time, and no watch that a rename or a mount could outwit.
const RHYTHM: Duration = Duration::from_secs(5);

/// Reads the configuration again.
pub type Reread = Arc<dyn Fn() -> Result<Config, String> + Send + Sync>;

/// What is valid now.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reloaded {
    /// A fingerprint of each secret that deliveries may be signed with, in the order of the configuration.
    pub secrets: Vec<String>,
    /// A fingerprint of the App's key, or of the personal token.
    pub key: String,
    /// Why what was there before stays.
    pub problem: Option<String>,
}

/// What changes while the program runs.
pub struct Live {
    reread: Reread,
    secrets: Arc<Secrets>,
    client: Client,
    used: Mutex<Used>,
}

struct Used {
    secrets: Vec<String>,
    key: String,
    problem: Option<String>,
}

/// The first digits of a secret's SHA-256: enough to tell two apart, and nothing to find one by.
pub fn fingerprint(secret: &SecretString) -> String {
    let hash = Sha256::digest(secret.expose_secret().as_bytes());
    hash.iter().take(4).fold(String::new(), |mut text, byte| {
        // Writing to a string cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

fn key_of(auth: &GitHubAuth) -> String {
    match auth {
        GitHubAuth::App { issuer, private_key, .. } => {
            // The same key for another App is something else.
            let both = format!("{issuer}\n{}", private_key.expose_secret().trim());
            fingerprint(&SecretString::from(both))
        }
        GitHubAuth::Token(token) => fingerprint(token),
    }
}

/// A fingerprint of each.
fn prints(secrets: &[SecretString]) -> Vec<String> {
    secrets.iter().map(fingerprint).collect()
}

impl Live {
    /// Begins with what the configuration says.
    pub fn new(config: &Config, reread: Reread, secrets: Arc<Secrets>, client: Client) -> Self {
        let used = Used { secrets: prints(&config.intake.secrets), key: key_of(&config.github.auth), problem: None };
        Self { reread, secrets, client, used: Mutex::new(used) }
    }

    /// Reads the configuration again, and takes over what is new. One that is in disorder changes nothing.
    pub fn reload(&self) -> Reloaded {
        let mut used = self.used.lock().unwrap_or_else(PoisonError::into_inner);
        let problem = match (self.reread)() {
            Ok(config) => self.take(&config, &mut used),
            Err(why) => Some(why),
        };
        if let Some(why) = problem.as_ref().filter(|why| used.problem.as_ref() != Some(*why)) {
            warn!("secrets and keys stay as they were, since the configuration cannot be used: {why}");
        }
        used.problem = problem;
        Reloaded { secrets: used.secrets.clone(), key: used.key.clone(), problem: used.problem.clone() }
    }

    fn take(&self, config: &Config, used: &mut Used) -> Option<String> {
        let secrets = prints(&config.intake.secrets);
        if secrets.is_empty() && !used.secrets.is_empty() {
            return Some("no webhook secret is left (intake.secrets, intake.secrets_file)".to_owned());
        }
        if secrets != used.secrets {
            info!("webhook secrets: {} valid now ({})", secrets.len(), secrets.join(", "));
            self.secrets.replace(config.intake.secrets.clone());
            used.secrets = secrets;
        }
        let key = key_of(&config.github.auth);
        if key != used.key {
            if let Err(error) = self.client.renew_credentials(&config.github.auth) {
                return Some(error.to_string());
            }
            info!("the key or token for GitHub was changed ({key})");
            used.key = key;
        }
        None
    }

    /// Looks again and again until `stop`.
    pub async fn follow(self: Arc<Self>, stop: CancellationToken) {
        let work = async {
            loop {
                tokio::time::sleep(RHYTHM).await;
                let live = self.clone();
                // A file on a slow disk holds nobody else up.
                let _ = tokio::task::spawn_blocking(move || live.reload()).await;
            }
        };
        tokio::select! {
            () = stop.cancelled() => {}
            () = work => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fingerprint_tells_apart_and_tells_nothing() {
        let print = fingerprint(&SecretString::from("It's a Secret to Everybody"));
        assert_eq!(print.len(), 8);
        assert_ne!(print, fingerprint(&SecretString::from("another")));
        let auth = |issuer: &str| GitHubAuth::App {
            issuer: issuer.to_owned(),
            private_key: SecretString::from("pem"),
            installation: None,
        };
        assert_ne!(key_of(&auth("a")), key_of(&auth("b")));
    }
}
