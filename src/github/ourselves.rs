//! Whether GitHub knows us, and as whom.

use super::Client;
use super::auth::Identity;
use super::error::{Error, refusal};
use super::line::{Endpoint, Line, Payer, Request};
use http::StatusCode;
use serde::Deserialize;

#[derive(Deserialize)]
struct AppAnswer {
    id: u64,
    slug: Option<String>,
    name: Option<String>,
    owner: Option<OwnerAnswer>,
}

#[derive(Deserialize)]
struct OwnerAnswer {
    login: Option<String>,
    /// Enterprises have no login.
    slug: Option<String>,
}

impl Client {
    /// Whether the credentials are good. Says who we are, for a person.
    pub async fn check(&self) -> Result<String, Error> {
        match &self.inner.identity {
            Identity::App(app) => {
                let request = Request::get(Endpoint::Ourselves, "app".to_owned(), "read the App".to_owned());
                let answer = app.ask(&self.inner.line, &request).await?;
                if !answer.status.is_success() {
                    return Err(refusal(&answer, &request.what, Line::now()));
                }
                let app: AppAnswer =
                    serde_json::from_slice(&answer.body).map_err(|error| Error::unreadable(&request.what, &error))?;
                let name = app.slug.or(app.name).unwrap_or_else(|| "without a name".to_owned());
                let owner = app.owner.and_then(|owner| owner.login.or(owner.slug));
                let owner = owner.map(|owner| format!(" of `{owner}`")).unwrap_or_default();
                Ok(format!("GitHub App `{name}` (App id {}){owner}", app.id))
            }
            Identity::Token(token) => {
                // Works with every kind of token, and counts against no limit.
                let request = Request::get(Endpoint::Ourselves, "rate_limit".to_owned(), "check the token".to_owned());
                let answer = self.inner.line.ask(&request, &Payer::TokenOwner, token).await?;
                // A GitHub Enterprise Server without limits says 404, after it has looked at the token.
                if !answer.status.is_success() && answer.status != StatusCode::NOT_FOUND {
                    return Err(refusal(&answer, &request.what, Line::now()));
                }
                let scopes = answer.header("x-oauth-scopes").filter(|scopes| !scopes.is_empty());
                let scopes = scopes.map(|scopes| format!(" with the scopes {scopes}")).unwrap_or_default();
                Ok(format!("the owner of a personal token{scopes}"))
            }
        }
    }
}
