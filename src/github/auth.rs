//! Who we are: an App with its installations and their short-lived tokens, or the owner of a personal token.
//!
//! An installation token is narrowed to what it is for, minted once for all callers that want it, and renewed before it
//! lapses. Tokens are opaque: their form and length change (GitHub, April 2026).

use super::cache::{Cache, Kept};
use super::error::{Error, message, refusal};
use super::line::{Endpoint, Line, Payer, Repeat, Request};
use super::transport::Answer;
use crate::config::{self, GitHubAuth};
use crate::model::{Scope, after, age};
use http::{Method, StatusCode};
use jiff::Timestamp;
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};
use serde_json::json;
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

/// GitHub allows 10 minutes; one less leaves room for a clock that is a little ahead.
const JWT_LIFE_SECS: i64 = 9 * 60;

/// GitHub's advice: dated back, for clocks that are a little ahead.
const JWT_BACKDATED_SECS: i64 = 60;

/// How long a JWT is used again: signing takes about a millisecond, and GitHub's log of deliveries may be read every few seconds.
/// At the end of it as much of its life is left as any request may take.
const JWT_REUSED: Duration = Duration::from_secs(4 * 60);

/// A token with less than this left is renewed: no request that starts with it can outlive it.
const RENEW_BEFORE: Duration = Duration::from_secs(5 * 60);

/// An installation that was looked up within this time is not doubted because of a 403 or 404: most of them only mean
/// that the thing itself is not there.
const TRUSTED_FOR: Duration = Duration::from_secs(10 * 60);

/// What a token is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Purpose {
    /// Making, listing and deleting runners of a scope.
    Runners,
    /// Reading jobs of any repository of the account.
    Jobs,
    /// Seeing which repositories there are, and what is left of the limits.
    Metadata,
}

/// On whose behalf a request is made.
#[derive(Debug, Clone)]
pub(super) struct Acting {
    pub(super) scope: Scope,
    pub(super) purpose: Purpose,
    /// The installation that an event named. A hint: GitHub has sent those of other Apps.
    pub(super) hint: Option<u64>,
}

/// Who we are.
pub(super) enum Identity {
    /// An App.
    App(Box<App>),
    /// The owner of a personal token.
    Token(SecretString),
}

/// An App.
pub(super) struct App {
    issuer: String,
    key: EncodingKey,
    /// The latest JWT.
    signed: Mutex<Option<Signed>>,
    configured: Option<u64>,
    /// The App's number, once GitHub told it.
    number: OnceLock<u64>,
    installations: Cache<String, Installation>,
    tokens: Cache<TokenKey, SecretString>,
}

struct Signed {
    at: Timestamp,
    jwt: SecretString,
    /// A request went out with it.
    served: bool,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct TokenKey {
    account: String,
    /// `owner/name`, for a token that is narrowed to one repository.
    repository: Option<String>,
    purpose: Purpose,
}

#[derive(Debug, Clone, Copy)]
struct Installation {
    id: u64,
    /// When GitHub itself named it for this account; none for a configured one or a hint.
    looked_up: Option<Timestamp>,
}

#[derive(Serialize)]
struct Claims<'a> {
    iat: i64,
    exp: i64,
    iss: &'a str,
}

#[derive(Deserialize)]
struct InstallationAnswer {
    id: u64,
}

/// An answer of the two endpoints that give tokens out.
#[derive(Deserialize)]
pub(super) struct TokenAnswer {
    token: SecretString,
    expires_at: Timestamp,
}

impl TokenAnswer {
    /// Reads the answer. How long the token lives is counted by GitHub's clock, so that ours may be wrong.
    pub(super) fn read(answer: &Answer, what: &str, now: Timestamp) -> Result<Kept<SecretString>, Error> {
        let Self { token, expires_at } =
            serde_json::from_slice(&answer.body).map_err(|error| Error::unreadable(what, &error))?;
        let lives = expires_at.duration_since(answer.date().unwrap_or(now));
        let lives = Duration::try_from(lives).unwrap_or(Duration::ZERO);
        let valid_until = after(now, lives);
        let fresh_until = after(now, lives.saturating_sub(RENEW_BEFORE));
        Ok(Kept { value: token, fresh_until, valid_until })
    }
}

impl Acting {
    /// For runners of a scope.
    pub(super) fn runners(scope: &Scope) -> Self {
        Self { scope: scope.clone(), purpose: Purpose::Runners, hint: None }
    }

    fn account(&self) -> String {
        self.scope.account().to_lowercase()
    }

    fn key(&self) -> TokenKey {
        let repository = match (self.purpose, &self.scope) {
            (Purpose::Runners, Scope::Repository { .. }) => Some(self.scope.to_string().to_lowercase()),
            (Purpose::Runners, Scope::Organization(_)) | (Purpose::Jobs | Purpose::Metadata, _) => None,
        };
        TokenKey { account: self.account(), repository, purpose: self.purpose }
    }

    /// The least that will do: GitHub's docs, "Authentication requirements" of self-hosted runners.
    fn narrowed(&self) -> serde_json::Value {
        match (self.purpose, &self.scope) {
            (Purpose::Jobs, _) => json!({ "permissions": { "actions": "read" } }),
            (Purpose::Metadata, _) => json!({ "permissions": { "metadata": "read" } }),
            (Purpose::Runners, Scope::Organization(_)) => {
                json!({ "permissions": { "organization_self_hosted_runners": "write" } })
            }
            (Purpose::Runners, Scope::Repository { name, .. }) => {
                json!({ "repositories": [name], "permissions": { "administration": "write" } })
            }
        }
    }

    /// The permission in words that a person finds again in the App's settings.
    fn needs(&self) -> &'static str {
        match (self.purpose, &self.scope) {
            (Purpose::Jobs, _) => "actions=read",
            (Purpose::Metadata, _) => "metadata=read",
            (Purpose::Runners, Scope::Organization(_)) => "organization_self_hosted_runners=write",
            (Purpose::Runners, Scope::Repository { .. }) => "administration=write",
        }
    }
}

impl Identity {
    pub(super) fn new(auth: &GitHubAuth) -> Result<Self, Error> {
        match auth {
            config::GitHubAuth::App { issuer, private_key, installation } => {
                Ok(Self::App(Box::new(App::new(issuer, private_key, *installation)?)))
            }
            config::GitHubAuth::Token(token) if token.expose_secret().trim().is_empty() => {
                Err(Error::Credentials("the personal token is empty".to_owned()))
            }
            config::GitHubAuth::Token(token) => Ok(Self::Token(token.expose_secret().trim().to_owned().into())),
        }
    }

    /// Who pays for runners of that account.
    pub(super) fn payer(&self, account: &str) -> Payer {
        match self {
            Self::App(_) => Payer::Installation(account.to_lowercase()),
            Self::Token(_) => Payer::TokenOwner,
        }
    }

    /// Sends a request on behalf of an account. Repeats it once with a new token after a 401, and once if the
    /// installation turns out to be another one; neither had an effect before.
    pub(super) async fn ask(&self, line: &Line, acting: &Acting, request: &Request) -> Result<Answer, Error> {
        let app = match self {
            Self::Token(token) => return line.ask(request, &Payer::TokenOwner, token).await,
            Self::App(app) => app,
        };
        let payer = self.payer(acting.scope.account());
        let (mut renewed, mut doubted) = (false, false);
        loop {
            let token = app.token(line, acting).await?;
            let answer = line.ask(request, &payer, &token).await?;
            match answer.status {
                StatusCode::UNAUTHORIZED if !renewed => {
                    renewed = true;
                    app.tokens.forget(|_, held| held.expose_secret() == token.expose_secret());
                }
                StatusCode::FORBIDDEN | StatusCode::NOT_FOUND if !doubted => {
                    doubted = true;
                    if !app.is_another_installation(line, acting).await {
                        return Ok(answer);
                    }
                }
                _ => return Ok(answer),
            }
        }
    }
}

impl App {
    fn new(issuer: &str, private_key: &SecretString, configured: Option<u64>) -> Result<Self, Error> {
        let unfit = |why: String| Error::Credentials(format!("the App's private key cannot be used: {why}"));
        let pem = private_key.expose_secret();
        let key = EncodingKey::from_rsa_pem(pem.trim().as_bytes()).map_err(|_| {
            unfit("it is no RSA key in PEM (`-----BEGIN RSA PRIVATE KEY-----` …), as GitHub gives it out".to_owned())
        })?;
        let (installations, tokens) = (Cache::new(), Cache::new());
        let (issuer, signed, number) = (issuer.to_owned(), Mutex::new(None), OnceLock::new());
        let app = Self { issuer, key, signed, configured, number, installations, tokens };
        // The key's numbers are only looked at when it signs.
        *app.signed() = Some(app.sign(Line::now())?);
        Ok(app)
    }

    /// GitHub told the App's number: it never changes.
    pub(super) fn remember_number(&self, number: u64) {
        self.number.get_or_init(|| number);
    }

    pub(super) fn number(&self) -> Option<u64> {
        self.number.get().copied()
    }

    /// The JWT of this moment. True: it served before.
    fn jwt(&self, now: Timestamp) -> Result<(SecretString, bool), Error> {
        let mut signed = self.signed();
        let kept = signed.take().filter(|kept| kept.at <= now && age(now, kept.at) < JWT_REUSED);
        let kept = match kept {
            Some(kept) => kept,
            None => self.sign(now)?,
        };
        let (jwt, served_before) = (kept.jwt.clone(), kept.served);
        *signed = Some(Signed { served: true, ..kept });
        Ok((jwt, served_before))
    }

    fn signed(&self) -> MutexGuard<'_, Option<Signed>> {
        // Nothing can break while it is held.
        self.signed.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn sign(&self, now: Timestamp) -> Result<Signed, Error> {
        let claims = Claims {
            iat: now.as_second() - JWT_BACKDATED_SECS,
            exp: now.as_second() + JWT_LIFE_SECS,
            iss: &self.issuer,
        };
        jsonwebtoken::encode(&Header::new(Algorithm::RS256), &claims, &self.key)
            .map(|jwt| Signed { at: now, jwt: SecretString::from(jwt), served: false })
            .map_err(|error| Error::Credentials(format!("the App's private key does not sign: {error}")))
    }

    /// Sends a request as the App itself. A JWT that served before and is refused now (a clock was set right in between) is
    /// replaced at once.
    pub(super) async fn ask(&self, line: &Line, request: &Request) -> Result<Answer, Error> {
        let mut replaced = false;
        loop {
            let (jwt, served_before) = self.jwt(Line::now())?;
            let answer = line.ask(request, &Payer::App, &jwt).await?;
            if answer.status != StatusCode::UNAUTHORIZED {
                return Ok(answer);
            }
            *self.signed() = None;
            if replaced || !served_before {
                return Ok(answer);
            }
            replaced = true;
        }
    }

    /// Whether a token for runners of the scope is at hand, so that the App itself need not be asked.
    pub(super) fn has_token(&self, scope: &Scope) -> bool {
        let kept = self.tokens.peek(&Acting::runners(scope).key());
        kept.is_some_and(|kept| kept.fresh_until > Line::now())
    }

    /// Forgets its installation and its tokens.
    pub(super) fn forget_account(&self, account: &str) {
        let account = account.to_lowercase();
        self.tokens.forget(|key, _| key.account == account);
        self.installations.forget(|key, _| *key == account);
    }

    async fn token(&self, line: &Line, acting: &Acting) -> Result<SecretString, Error> {
        self.tokens.get(acting.key(), Line::now, async || self.mint(line, acting).await).await
    }

    async fn mint(&self, line: &Line, acting: &Acting) -> Result<Kept<SecretString>, Error> {
        let first = self.installation(line, acting).await?;
        let refused = match self.mint_for(line, acting, first.id).await {
            // 401 too: GitHub's words for an installation that is gone have changed over time.
            Err(error @ (Error::NotFound { .. } | Error::Denied { .. } | Error::Credentials(_))) => error,
            minted => return minted,
        };
        match self.look_up(line, acting).await {
            Ok(found) if found.id != first.id => self.mint_for(line, acting, found.id).await,
            // A 404 here says more than the one before: the App is not installed there.
            Err(error @ Error::NotFound { .. }) => Err(error),
            Ok(_) | Err(_) => Err(refused),
        }
    }

    async fn mint_for(&self, line: &Line, acting: &Acting, id: u64) -> Result<Kept<SecretString>, Error> {
        let what = format!("get an access token for `{}`", acting.scope);
        let request = Request {
            method: Method::POST,
            path: format!("app/installations/{id}/access_tokens"),
            body: Some(acting.narrowed().to_string().into()),
            etag: None,
            what: what.clone(),
            repeat: Repeat::OnceMore,
            endpoint: Endpoint::Installation,
        };
        let answer = self.ask(line, &request).await?;
        if answer.status.is_success() {
            return TokenAnswer::read(&answer, &what, Line::now());
        }
        if answer.status == StatusCode::UNPROCESSABLE_ENTITY {
            // The installation has not got the permission, or not the repository, that we narrow to.
            let needs = Some(acting.needs().to_owned());
            return Err(Error::Denied { what, needs, message: message(&answer) });
        }
        Err(refusal(&answer, &what, Line::now()))
    }

    async fn installation(&self, line: &Line, acting: &Acting) -> Result<Installation, Error> {
        if let Some(known) = self.installations.peek(&acting.account()) {
            return Ok(known.value);
        }
        match self.configured.or(acting.hint) {
            Some(id) => Ok(Installation { id, looked_up: None }),
            None => self.look_up(line, acting).await,
        }
    }

    /// Asks GitHub which installation is the account's, and remembers it.
    async fn look_up(&self, line: &Line, acting: &Acting) -> Result<Installation, Error> {
        let what = format!("find the App's installation on `{}`", acting.scope);
        let request =
            Request::get(Endpoint::Installation, format!("{}/installation", acting.scope.api_path()), what.clone());
        let answer = self.ask(line, &request).await?;
        if !answer.status.is_success() {
            return Err(match refusal(&answer, &what, Line::now()) {
                Error::NotFound { what, message } => {
                    Error::NotFound { what, message: format!("{message} (is the App installed there?)") }
                }
                other => other,
            });
        }
        let InstallationAnswer { id } =
            serde_json::from_slice(&answer.body).map_err(|error| Error::unreadable(&what, &error))?;
        let found = Installation { id, looked_up: Some(Line::now()) };
        let kept = Kept { value: found, fresh_until: Timestamp::MAX, valid_until: Timestamp::MAX };
        self.installations.put(acting.account(), kept);
        Ok(found)
    }

    /// After a 403 or 404: whether the account's installation is another one than we thought. If so, its tokens are
    /// forgotten. Asks GitHub at most once in [`TRUSTED_FOR`] for an account.
    async fn is_another_installation(&self, line: &Line, acting: &Acting) -> bool {
        let known = self.installations.peek(&acting.account()).map(|kept| kept.value);
        let trusted = known
            .and_then(|known| known.looked_up)
            .is_some_and(|looked_up| after(looked_up, TRUSTED_FOR) > Line::now());
        let Some(thought) = known.map(|known| known.id).or(self.configured).or(acting.hint).filter(|_| !trusted) else {
            return false;
        };
        match self.look_up(line, acting).await {
            Ok(found) if found.id != thought => {
                tracing::warn!(
                    account = acting.scope.account(),
                    "the App's installation is {}, not {thought}; going on with it",
                    found.id
                );
                let account = acting.account();
                self.tokens.forget(|key, _| key.account == account);
                true
            }
            Ok(_) | Err(_) => false,
        }
    }
}
