//! The receiver, asked from this machine where GitHub is said to reach it.

use reqwest::redirect::Policy;
use std::error::Error as _;
use std::time::Duration;

/// GitHub itself waits for ten seconds.
const PATIENCE: Duration = Duration::from_secs(10);

/// The status of `/healthz` there, or why there is none.
pub(super) async fn ask(public_url: &str) -> Result<u16, String> {
    let url = format!("{public_url}/healthz");
    let mut builder = reqwest::Client::builder();
    if url.starts_with("http://") {
        // Without TLS no certificates are needed; a small image has none, and looking for some would fail.
        builder = builder.tls_certs_only(std::iter::empty());
    }
    let client = builder
        .redirect(Policy::none())
        .timeout(PATIENCE)
        .user_agent(concat!("runnerfleet/", env!("CARGO_PKG_VERSION")))
        .build()
        .map_err(|error| format!("no client could be made: {error}"))?;
    match client.get(url).send().await {
        Ok(answer) => Ok(answer.status().as_u16()),
        Err(error) if error.is_timeout() => Err(super::too_slow(PATIENCE)),
        Err(error) => {
            let mut text = error.to_string();
            let mut source = error.source();
            while let Some(cause) = source {
                // The innermost cause says it best.
                text = cause.to_string();
                source = cause.source();
            }
            Err(text)
        }
    }
}
