//! Who we are at a registry, when the engine pulls for us.

use async_trait::async_trait;
use secrecy::SecretString;
use std::fmt::Debug;

/// What a registry is told. Printed, it shows no secret.
#[derive(Debug, Clone)]
pub struct RegistryCredentials {
    /// The registry as it was logged in to: `ghcr.io`, `127.0.0.1:5000`, `https://index.docker.io/v1/`.
    pub server: String,
    /// How.
    pub login: Login,
    /// Where they were found, for people: `/root/.docker/config.json`, `docker-credential-pass`.
    pub found_in: String,
}

/// A way to log in.
#[derive(Debug, Clone)]
pub enum Login {
    /// A name and a password (or a token in its place).
    Password {
        /// Who.
        user: String,
        /// Never logged.
        password: SecretString,
    },
    /// A refresh token, as some credential helpers give out under the name `<token>`.
    IdentityToken(SecretString),
}

/// Knows who we are at registries.
#[async_trait]
pub trait Credentials: Debug + Send + Sync {
    /// For the registry of this image. `None`: nobody in particular.
    async fn for_image(&self, reference: &str) -> Option<RegistryCredentials>;

    /// Where is looked, for people: `/root/.docker/config.json`.
    fn looked_in(&self) -> String;
}

/// Nobody in particular, everywhere.
#[derive(Debug, Clone, Copy, Default)]
pub struct Anonymous;

#[async_trait]
impl Credentials for Anonymous {
    async fn for_image(&self, _: &str) -> Option<RegistryCredentials> {
        None
    }

    fn looked_in(&self) -> String {
        String::new()
    }
}
