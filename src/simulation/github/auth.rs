//! Who asks, and what they may: the App by its JWT, an installation or a person by a token.

use super::answer::Refusal;
use super::model::Model;
use super::options::App;
use jiff::Timestamp;
use jsonwebtoken::{Algorithm, DecodingKey, Validation};
use secrecy::{ExposeSecret as _, SecretString};
use serde_json::Value;
use std::collections::BTreeMap;

/// GitHub takes no JWT that lives longer than this.
const JWT_AT_MOST_SECS: i64 = 600;

/// Who asks.
#[derive(Debug, Clone)]
pub(super) enum Caller {
    Nobody,
    App,
    Installation {
        id: u64,
        account: String,
        permissions: BTreeMap<String, String>,
        /// Ids that the token was narrowed to.
        repositories: Option<Vec<u64>>,
        token: String,
    },
    Person,
}

impl Caller {
    /// The owner of a rate-limit budget.
    pub(super) fn budget(&self) -> String {
        match self {
            Self::Nobody => "nobody".into(),
            Self::App => "app".into(),
            Self::Installation { id, .. } => format!("installation {id}"),
            Self::Person => "person".into(),
        }
    }
}

/// Reads the `Authorization` header.
pub(super) fn authenticate(
    header: Option<&str>,
    model: &Model,
    personal: Option<&SecretString>,
    now: Timestamp,
) -> Result<Caller, Refusal> {
    let Some(header) = header else { return Ok(Caller::Nobody) };
    let (scheme, token) = header.split_once(' ').ok_or_else(bad_credentials)?;
    let token = token.trim();
    if !(scheme.eq_ignore_ascii_case("bearer") || scheme.eq_ignore_ascii_case("token")) {
        return Err(bad_credentials());
    }
    if token.starts_with("eyJ") {
        // GitHub takes a JWT only as bearer.
        if !scheme.eq_ignore_ascii_case("bearer") {
            return Err(bad_credentials());
        }
        return check_jwt(token, &model.app, now).map(|()| Caller::App).map_err(|why| Refusal::new(401, why));
    }
    if personal.is_some_and(|personal| personal.expose_secret() == token) {
        return Ok(Caller::Person);
    }
    let known = model.installation_token(token, now).ok_or_else(bad_credentials)?;
    Ok(Caller::Installation {
        id: known.installation,
        account: known.account.clone(),
        permissions: known.permissions.clone(),
        repositories: known.repositories.clone(),
        token: token.to_owned(),
    })
}

fn bad_credentials() -> Refusal {
    Refusal::new(401, "Bad credentials")
}

/// The rules of an App's JWT (docs, "Generating a JSON Web Token (JWT) for a GitHub App").
fn check_jwt(token: &str, app: &App, now: Timestamp) -> Result<(), &'static str> {
    const UNREADABLE: &str = "A JSON web token could not be decoded";
    if !app.exists {
        return Err("'Issuer' claim ('iss') must be an Integer or the client ID of the GitHub App");
    }
    let mut validation = Validation::new(Algorithm::RS256);
    // The moments are held against this GitHub's clock below, with GitHub's words.
    validation.validate_exp = false;
    validation.required_spec_claims.clear();
    // An App may have several keys: one is made before the other is deleted.
    let claims = app
        .public_key_pem
        .split_inclusive("-----END PUBLIC KEY-----")
        .filter_map(|pem| DecodingKey::from_rsa_pem(pem.as_bytes()).ok())
        .find_map(|key| jsonwebtoken::decode::<Value>(token, &key, &validation).ok())
        .ok_or(UNREADABLE)?
        .claims;
    let issued_by = match claims.get("iss") {
        Some(Value::String(issuer)) => *issuer == app.client_id || *issuer == app.id.to_string(),
        Some(Value::Number(issuer)) => issuer.as_u64() == Some(app.id),
        _ => false,
    };
    if !issued_by {
        return Err("'Issuer' claim ('iss') must be an Integer or the client ID of the GitHub App");
    }
    let now = now.as_second();
    let expires = claims.get("exp").and_then(Value::as_i64).filter(|expires| *expires > now).ok_or(
        "'Expiration time' claim ('exp') must be a numeric value representing the future time at which the assertion expires",
    )?;
    if expires > now + JWT_AT_MOST_SECS {
        return Err("'Expiration time' claim ('exp') is too far in the future");
    }
    claims
        .get("iat")
        .and_then(Value::as_i64)
        .filter(|issued| *issued <= now)
        .ok_or("'Issued at' claim ('iat') must be an Integer representing the time that the assertion was issued")?;
    Ok(())
}
