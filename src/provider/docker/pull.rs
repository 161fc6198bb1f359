//! Images pulled from their registries, as whoever [`Credentials`](crate::provider::Credentials) say we are.

use super::Docker;
use super::connection::Failure;
use crate::provider::{Login, ProviderError, RegistryCredentials};
use bollard::auth::DockerCredentials;
use bollard::models::CreateImageInfo;
use bollard::query_parameters::CreateImageOptions;
use futures_util::TryStreamExt;
use secrecy::ExposeSecret;
use std::collections::HashMap;
use std::time::Duration;
use tracing::info;

/// A cold pull of the official image (about 500 MB) over a slow line; longer, and the pool's own deadline has passed.
const PULL: Duration = Duration::from_secs(15 * 60);

/// The registry of references that name none.
const DOCKER_HUB: &str = "docker.io";

/// How far a pull is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PullNews {
    /// What is done: `Downloading`, `Extracting`, …
    pub text: String,
    /// Of all layers whose size is known so far.
    pub percent: Option<u8>,
}

impl Docker {
    /// Pulls an image.
    pub(super) async fn pull(&self, image: &str) -> Result<(), ProviderError> {
        self.pull_image(image, &mut |_| {}).await
    }

    /// Pulls an image, and tells how far it is.
    ///
    /// # Errors
    /// [`ProviderError::ImageMissing`] where registry or engine refuse, with what can be done about it.
    pub async fn pull_image(&self, image: &str, news: &mut (dyn FnMut(PullNews) + Send)) -> Result<(), ProviderError> {
        let known = self.credentials.for_image(image).await;
        info!("pulling `{image}`");
        // Without a tag the engine would pull every tag that there is.
        let from_image = if has_tag(image) { image.to_owned() } else { format!("{image}:latest") };
        let options = CreateImageOptions { from_image: Some(from_image), ..Default::default() };
        let client = self.connection.client().await?;
        let mut layers = Layers::default();
        let progress = client.create_image(Some(options), None, known.as_ref().map(header)).try_for_each(|info| {
            if let Some(told) = layers.hear(info) {
                news(told);
            }
            std::future::ready(Ok(()))
        });
        let why = match tokio::time::timeout(PULL, progress).await {
            Ok(Ok(())) => return Ok(()),
            Ok(Err(error)) => match self.connection.failure(error) {
                Failure::Answer { message, .. } => {
                    refusal(&message, registry_of(image), known.as_ref(), &self.credentials.looked_in())
                }
                failure => return Err(failure.into()),
            },
            Err(_) => format!("the pull took longer than {} minutes", PULL.as_secs() / 60),
        };
        Err(ProviderError::ImageMissing { image: image.to_owned(), why })
    }
}

/// The registry of an image, as `docker login` calls it.
pub fn registry_of(reference: &str) -> &str {
    match reference.split_once('/') {
        Some((host, _)) if host.contains(['.', ':']) || host == "localhost" => host,
        _ => DOCKER_HUB,
    }
}

/// For bollard, which makes `X-Registry-Auth` of it.
fn header(known: &RegistryCredentials) -> DockerCredentials {
    let mut header = DockerCredentials { serveraddress: Some(known.server.clone()), ..Default::default() };
    match &known.login {
        Login::Password { user, password } => {
            header.username = Some(user.clone());
            header.password = Some(password.expose_secret().to_owned());
        }
        Login::IdentityToken(token) => header.identitytoken = Some(token.expose_secret().to_owned()),
    }
    header
}

/// What was refused, who asked, and what to do.
fn refusal(said: &str, registry: &str, known: Option<&RegistryCredentials>, looked_in: &str) -> String {
    let who = match (known, looked_in) {
        (Some(RegistryCredentials { login: Login::Password { user, .. }, found_in, .. }), _) => {
            format!("asked as `{user}` (from {found_in})")
        }
        (Some(RegistryCredentials { login: Login::IdentityToken(_), found_in, .. }), _) => {
            format!("asked with a token from {found_in}")
        }
        (None, "") => "asked without credentials".to_owned(),
        (None, place) => format!("asked without credentials: {place} has none for it"),
    };
    let lower = said.to_lowercase();
    let words = ["unauthorized", "authentication", "no basic auth", "denied", "forbidden", "401", "403"];
    let login = if registry == DOCKER_HUB { "docker login".to_owned() } else { format!("docker login {registry}") };
    let hint = match known {
        _ if !words.iter().any(|word| lower.contains(word)) => String::new(),
        Some(_) => format!("; `{login}` renews them, if this account may read the image"),
        None => format!("; `{login}` on this host stores them"),
    };
    format!("registry {registry} said: {said} ({who}{hint})")
}

/// The layers of a pull under way: so many bytes of so many.
#[derive(Default)]
struct Layers {
    sizes: HashMap<(String, bool), (u64, u64)>,
    told: Option<PullNews>,
}

impl Layers {
    /// News, where something changed that a reader would see.
    fn hear(&mut self, info: CreateImageInfo) -> Option<PullNews> {
        let text = info.status?;
        let bytes = |count: Option<i64>| count.and_then(|count| u64::try_from(count).ok());
        if let (Some(id), Some(detail)) = (info.id, info.progress_detail)
            && let (Some(current), Some(total)) = (bytes(detail.current), bytes(detail.total))
            && total > 0
        {
            self.sizes.insert((id, text == "Extracting"), (current.min(total), total));
        }
        let (current, total) =
            self.sizes.values().fold((0, 0), |(current, total), size| (current + size.0, total + size.1));
        let percent = (total > 0).then(|| u8::try_from(current * 100 / total).unwrap_or(100));
        let news = PullNews { text, percent };
        (self.told.as_ref() != Some(&news)).then(|| {
            self.told = Some(news.clone());
            news
        })
    }
}

/// Whether a reference names a tag or digest. A colon before the last slash belongs to the registry's port.
pub(super) fn has_tag(image: &str) -> bool {
    image.contains('@') || image.rsplit('/').next().is_some_and(|last| last.contains(':'))
}

#[cfg(test)]
mod tests {
    use super::*;
    use bollard::models::ProgressDetail;
    use secrecy::SecretString;

    #[test]
    fn a_port_is_no_tag() {
        assert!(has_tag("alpine:3") && has_tag("localhost:5000/a/b:1") && has_tag("a/b@sha256:00"));
        assert!(!has_tag("alpine") && !has_tag("localhost:5000/a/b"));
    }

    #[test]
    fn a_reference_names_its_registry() {
        for (reference, registry) in [
            ("ghcr.io/actions/actions-runner:2.336.0", "ghcr.io"),
            ("localhost/a:1", "localhost"),
            ("127.0.0.1:5000/a/b", "127.0.0.1:5000"),
            ("acme/agent:1", "docker.io"),
            ("alpine", "docker.io"),
        ] {
            assert_eq!(registry_of(reference), registry, "{reference}");
        }
    }

    #[test]
    fn a_refusal_says_who_asked_and_what_to_do() {
        let place = "/root/.docker/config.json";
        assert_eq!(
            refusal("unauthorized", "ghcr.io", None, place),
            "registry ghcr.io said: unauthorized (asked without credentials: /root/.docker/config.json has none for it; \
             `docker login ghcr.io` on this host stores them)"
        );
        let known = RegistryCredentials {
            server: "ghcr.io".to_owned(),
            login: Login::Password { user: "alice".to_owned(), password: SecretString::from("pw123") },
            found_in: place.to_owned(),
        };
        let said = refusal("denied", "ghcr.io", Some(&known), place);
        assert!(
            said.contains("asked as `alice` (from /root/.docker/config.json); `docker login ghcr.io` renews"),
            "{said}"
        );
        assert!(!said.contains("pw123") && !format!("{known:?}").contains("pw123"));
        let said = refusal("manifest unknown", "docker.io", None, "");
        assert_eq!(said, "registry docker.io said: manifest unknown (asked without credentials)");
    }

    #[test]
    fn percent_is_of_all_layers() {
        let mut layers = Layers::default();
        let info = |id: &str, current, total| CreateImageInfo {
            id: Some(id.to_owned()),
            status: Some("Downloading".to_owned()),
            progress_detail: Some(ProgressDetail { current: Some(current), total: Some(total) }),
            ..Default::default()
        };
        assert_eq!(layers.hear(info("a", 50, 100)).unwrap().percent, Some(50));
        assert_eq!(layers.hear(info("b", 0, 100)).unwrap().percent, Some(25));
        assert_eq!(layers.hear(info("b", 0, 100)), None, "nothing new");
    }
}
