//! Whether GitHub knows us, and as whom.

use super::Client;
use super::auth::Identity;
use super::error::{Error, refusal};
use super::line::{Endpoint, Line, Payer, Request};
use http::StatusCode;
use jiff::SignedDuration;

impl Client {
    /// By how much this machine's clock is ahead of GitHub's; none where it does not tell the time. Asked without credentials:
    /// a clock that is wrong makes GitHub refuse them. Any answer will do, for each has its moment.
    pub async fn clock_ahead(&self) -> Result<Option<SignedDuration>, Error> {
        let request = Request::get(Endpoint::Ourselves, "meta".to_owned(), "ask GitHub for the time".to_owned());
        let answer = self.inner.line.ask_as_nobody(&request).await?;
        Ok(answer.date().map(|date| Line::now().duration_since(date)))
    }

    /// Whether the credentials are good. Says who we are, for a person.
    pub async fn check(&self) -> Result<String, Error> {
        match self.identity().as_ref() {
            Identity::App(_) => {
                let (app, _) = self.app().await?;
                let name = if app.slug.is_empty() { "without a name".to_owned() } else { app.slug };
                let owner = app.owner.map(|owner| format!(" of `{owner}`")).unwrap_or_default();
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
