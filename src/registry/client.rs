//! Three questions to a registry: which tags, which image behind a tag, for which machines.

use super::credentials::DockerLogins;
use super::error::RegistryError;
use super::line::{Answer, Line, Question};
use super::reference::Reference;
use reqwest::header::{HeaderMap, LINK};
use reqwest::{Method, Url};
use serde::Deserialize;
use sha2::{Digest, Sha256};

/// Every kind of manifest. Without them a registry answers with the oldest form, whose digest is another one.
const MANIFESTS: &str = "application/vnd.oci.image.index.v1+json, application/vnd.docker.distribution.manifest.list.v2+json, \
    application/vnd.oci.image.manifest.v1+json, application/vnd.docker.distribution.manifest.v2+json";
const LONGEST_MANIFEST: usize = 4 << 20;
/// One page of tags. Registries give fewer if they like.
const PAGE: usize = 1000;
const LONGEST_PAGE: usize = 8 << 20;
/// A repository with a million builds is not read to its end.
const MOST_PAGES: usize = 500;

/// Asks registries. It keeps tokens, so that one client asks for each only once.
#[derive(Debug)]
pub struct Client {
    line: Line,
    page: usize,
}

/// What a tag or digest stands for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Manifest {
    /// `sha256:…` of the manifest, or of the index where there is one: what `docker pull` shows.
    pub digest: String,
    /// For which machines there is an image; empty where it is a single image that does not say.
    pub platforms: Vec<Platform>,
}

/// A kind of machine.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Platform {
    /// `linux`.
    pub os: String,
    /// `amd64`.
    pub architecture: String,
}

#[derive(Deserialize)]
struct TagsPage {
    // A repository without tags may have `null` here.
    tags: Option<Vec<String>>,
}

#[derive(Deserialize)]
struct IndexOrImage {
    #[serde(default)]
    manifests: Vec<IndexEntry>,
}

#[derive(Deserialize)]
struct IndexEntry {
    platform: Option<Platform>,
}

impl Client {
    /// With these logins.
    ///
    /// # Errors
    /// TLS cannot be set up on this machine.
    pub fn new(logins: DockerLogins) -> Result<Self, reqwest::Error> {
        Ok(Self { line: Line::new(logins)?, page: PAGE })
    }

    /// Asks for so many tags at once.
    #[must_use]
    pub fn with_page_size(self, page: usize) -> Self {
        Self { page, ..self }
    }

    /// All tags of the image's repository, in the registry's order.
    ///
    /// # Errors
    /// See [`RegistryError`].
    pub async fn tags(&self, image: &Reference) -> Result<Vec<String>, RegistryError> {
        let what = image.repository();
        let mut url = address(image, "tags/list")?;
        url.query_pairs_mut().append_pair("n", &self.page.to_string());
        let mut tags: Vec<String> = Vec::new();
        for _ in 0..MOST_PAGES {
            let question = Question {
                image,
                what,
                method: Method::GET,
                url: url.clone(),
                accept: "application/json",
                longest: LONGEST_PAGE,
            };
            let answer = self.line.ask(&question).await?;
            let page: TagsPage = serde_json::from_slice(&answer.body)
                .map_err(|_| invalid(image, "its list of tags is not one".to_owned()))?;
            tags.extend(page.tags.unwrap_or_default());
            match next_page(image, &answer)? {
                Some(next) => url = next,
                None => return Ok(tags),
            }
        }
        Err(invalid(image, format!("its list of tags goes on after {MOST_PAGES} pages")))
    }

    /// The digest of what the tag (or `latest`) stands for now.
    ///
    /// # Errors
    /// See [`RegistryError`].
    pub async fn digest(&self, image: &Reference) -> Result<String, RegistryError> {
        let answer = self.manifest_as(image, Method::HEAD).await?;
        match digest_header(&answer.headers) {
            Some(digest) => Ok(digest),
            // Some registries tell it with the manifest only, or not at all.
            None => Ok(self.manifest(image).await?.digest),
        }
    }

    /// What the tag (or digest, or `latest`) stands for now.
    ///
    /// # Errors
    /// See [`RegistryError`].
    pub async fn manifest(&self, image: &Reference) -> Result<Manifest, RegistryError> {
        let answer = self.manifest_as(image, Method::GET).await?;
        let read: IndexOrImage =
            serde_json::from_slice(&answer.body).map_err(|_| invalid(image, "its manifest is not one".to_owned()))?;
        let known = |platform: &Platform| platform.os != "unknown";
        Ok(Manifest {
            // Of the bytes themselves: what is said in a header could be something else.
            digest: format!("sha256:{}", hex::encode(Sha256::digest(&answer.body))),
            platforms: read.manifests.into_iter().filter_map(|entry| entry.platform).filter(known).collect(),
        })
    }

    async fn manifest_as(&self, image: &Reference, method: Method) -> Result<Answer, RegistryError> {
        let (name, separator) = match (image.effective_tag(), image.digest()) {
            (Some(tag), _) => (tag, ':'),
            (None, digest) => (digest.unwrap_or("latest"), '@'),
        };
        let what = format!("{}{separator}{name}", image.repository());
        let url = address(image, &format!("manifests/{name}"))?;
        let question = Question { image, what: &what, method, url, accept: MANIFESTS, longest: LONGEST_MANIFEST };
        self.line.ask(&question).await
    }
}

/// Where this is asked.
fn address(image: &Reference, tail: &str) -> Result<Url, RegistryError> {
    let scheme = if image.is_on_loopback() { "http" } else { "https" };
    let text = format!("{scheme}://{}/v2/{}/{tail}", image.host(), image.repository());
    Url::parse(&text).map_err(|_| invalid(image, format!("{text} is no address")))
}

fn invalid(image: &Reference, why: String) -> RegistryError {
    RegistryError::Invalid { registry: image.registry().to_owned(), why }
}

fn digest_header(headers: &HeaderMap) -> Option<String> {
    let digest = headers.get("docker-content-digest")?.to_str().ok()?;
    let hex = digest.strip_prefix("sha256:")?;
    (hex.len() == 64 && hex.bytes().all(|byte| byte.is_ascii_hexdigit())).then(|| digest.to_owned())
}

/// Where the next page is: `Link: </v2/…>; rel="next"`. Only at the same registry.
fn next_page(image: &Reference, answer: &Answer) -> Result<Option<Url>, RegistryError> {
    for line in answer.headers.get_all(LINK).iter().filter_map(|line| line.to_str().ok()) {
        for link in line.split(',') {
            let Some((target, parameters)) = link.trim().strip_prefix('<').and_then(|link| link.split_once('>')) else {
                continue;
            };
            if !parameters.split(';').any(|it| matches!(it.trim(), "rel=\"next\"" | "rel=next")) {
                continue;
            }
            let next =
                answer.url.join(target).map_err(|_| invalid(image, "its next page has no address".to_owned()))?;
            if next.origin() != answer.url.origin() {
                return Err(invalid(
                    image,
                    format!("its next page is elsewhere, at {}", next.host_str().unwrap_or("?")),
                ));
            }
            return Ok(Some(next));
        }
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn next(url: &str, link: &'static str) -> Result<Option<String>, RegistryError> {
        let headers = HeaderMap::from_iter([(LINK, reqwest::header::HeaderValue::from_static(link))]);
        let answer = Answer { headers, body: bytes::Bytes::new(), url: url.parse().unwrap() };
        next_page(&"ghcr.io/a/b".parse().unwrap(), &answer).map(|next| next.map(String::from))
    }

    #[test]
    fn the_next_page_is_at_the_same_registry() {
        let here = "https://ghcr.io/v2/a/b/tags/list?n=2";
        assert_eq!(
            next(here, "</v2/a/b/tags/list?last=x%2Fy&n=2>; rel=\"next\"").unwrap().as_deref(),
            Some("https://ghcr.io/v2/a/b/tags/list?last=x%2Fy&n=2")
        );
        assert_eq!(
            next(here, "<https://ghcr.io/x>; rel=\"prev\", <?n=3>; rel=next").unwrap().as_deref(),
            Some("https://ghcr.io/v2/a/b/tags/list?n=3")
        );
        assert_eq!(next(here, "nonsense").unwrap(), None);
        assert!(matches!(next(here, "<http://evil.example/x>; rel=\"next\""), Err(RegistryError::Invalid { .. })));
    }
}
