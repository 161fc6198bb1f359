//! Routes about the App itself: who it is, where it is installed, its tokens.

use super::call::Call;
use crate::model::after;
use crate::simulation::github::answer::{Answer, Refusal};
use crate::simulation::github::auth::Caller;
use crate::simulation::github::budget::Resource;
use crate::simulation::github::model::{NarrowRefused, TokenWish};
use crate::simulation::github::{lock, payload};
use serde_json::{Map, Value, json};

pub(super) fn meta(_: &Call<'_>) -> Result<Answer, Refusal> {
    Ok(Answer::ok(json!({
        "verifiable_password_authentication": false,
        "hooks": ["127.0.0.0/8", "::1/128"],
        "web": ["127.0.0.0/8"],
        "api": ["127.0.0.0/8"],
        "actions": ["127.0.0.0/8"],
    })))
}

pub(super) fn rate_limit(call: &Call<'_>) -> Result<Answer, Refusal> {
    let who = call.caller.budget();
    let mut budgets = lock(&call.shared.budgets);
    let mut shown = |resource| {
        let standing = budgets.look(&who, resource, call.now);
        json!({
            "limit": standing.limit,
            "used": standing.used,
            "remaining": standing.remaining(),
            "reset": standing.reset.as_second(),
        })
    };
    let mut resources = Map::new();
    for resource in Resource::ALL {
        resources.insert(resource.word().into(), shown(resource));
    }
    let core = shown(Resource::Core);
    resources.insert("search".into(), core.clone());
    Ok(Answer::ok(json!({ "resources": resources, "rate": core })))
}

pub(super) fn app(call: &Call<'_>) -> Result<Answer, Refusal> {
    call.read(|model| {
        let owner = model.app_owner().ok_or_else(Refusal::not_found)?;
        let installed = model.owners.iter().filter(|owner| owner.installation.is_some()).count();
        Ok(Answer::ok(payload::app(&model.urls, &model.app, owner, installed)))
    })
}

pub(super) fn installations(call: &Call<'_>) -> Result<Answer, Refusal> {
    let all = call.read(|model| {
        model
            .owners
            .iter()
            .filter_map(|owner| owner.installation.as_ref().map(|it| (owner, it)))
            .map(|(owner, it)| payload::installation(&model.urls, &model.app, owner, it))
            .collect()
    });
    let (page, link) = call.page(all);
    Ok(Answer::ok(Value::Array(page)).with_header(link))
}

pub(super) fn installation(call: &Call<'_>) -> Result<Answer, Refusal> {
    let id = call.number("installation_id")?;
    call.read(|model| {
        let owner = model.installed(id).ok_or_else(Refusal::not_found)?;
        let it = owner.installation.as_ref().ok_or_else(Refusal::not_found)?;
        Ok(Answer::ok(payload::installation(&model.urls, &model.app, owner, it)))
    })
}

/// `/orgs/{org}/installation` and `/users/{username}/installation`.
pub(super) fn account_installation(call: &Call<'_>) -> Result<Answer, Refusal> {
    let login = call.path.get("org").or_else(|| call.path.get("username")).cloned().unwrap_or_default();
    call.read(|model| {
        let owner = model.owner(&login).ok_or_else(Refusal::not_found)?;
        let it = owner.installation.as_ref().ok_or_else(Refusal::not_found)?;
        Ok(Answer::ok(payload::installation(&model.urls, &model.app, owner, it)))
    })
}

pub(super) fn repository_installation(call: &Call<'_>) -> Result<Answer, Refusal> {
    call.read(|model| {
        let repo = model.repo(call.part("owner"), call.part("repo")).filter(|repo| model.has_app(repo));
        let owner = repo.and_then(|repo| model.owner(&repo.owner)).ok_or_else(Refusal::not_found)?;
        let it = owner.installation.as_ref().ok_or_else(Refusal::not_found)?;
        Ok(Answer::ok(payload::installation(&model.urls, &model.app, owner, it)))
    })
}

/// A token for an installation, narrowed as asked.
pub(super) fn access_token(call: &Call<'_>) -> Result<Answer, Refusal> {
    let id = call.number("installation_id")?;
    let wish = wish(&call.body)?;
    let minted = call.shared.change(|model, now| model.mint_installation_token(id, &wish, now));
    let (text, token) = minted.map_err(|refused| match refused {
        NarrowRefused::NotInstalled => Refusal::not_found(),
        NarrowRefused::Suspended => Refusal::new(403, "This installation has been suspended"),
        NarrowRefused::Permissions => {
            Refusal::new(422, "The permissions requested are not granted to this installation.")
        }
        NarrowRefused::Repositories => Refusal::new(
            422,
            "There is at least one repository that does not exist or is not accessible to the parent installation.",
        ),
    })?;
    let mut body = json!({
        "token": text,
        "expires_at": payload::moment(token.expires_at),
        "permissions": token.permissions,
        "repository_selection": if token.repositories.is_some() { "selected" } else { "all" },
    });
    if let Some(ids) = &token.repositories {
        body["repositories"] = call.read(|model| {
            model
                .repos
                .iter()
                .filter(|repo| ids.contains(&repo.id))
                .filter_map(|repo| model.owner(&repo.owner).map(|owner| payload::repository(&model.urls, repo, owner)))
                .collect()
        });
    }
    Ok(Answer::created(body))
}

/// What the body asks for, or what is wrong with it.
fn wish(body: &Value) -> Result<TokenWish, Refusal> {
    let invalid = |what: &str| Refusal::new(422, format!("Invalid request.\n\n`{what}` is not of the right type."));
    let mut wish = TokenWish::default();
    if let Some(permissions) = body.get("permissions") {
        wish.permissions = Some(serde_json::from_value(permissions.clone()).map_err(|_| invalid("permissions"))?);
    }
    if let Some(names) = body.get("repositories") {
        wish.repositories = Some(serde_json::from_value(names.clone()).map_err(|_| invalid("repositories"))?);
    }
    if let Some(ids) = body.get("repository_ids") {
        wish.repository_ids = Some(serde_json::from_value(ids.clone()).map_err(|_| invalid("repository_ids"))?);
    }
    Ok(wish)
}

/// The repositories that a token can see.
pub(super) fn repositories(call: &Call<'_>) -> Result<Answer, Refusal> {
    let all: Vec<Value> = call.read(|model| {
        model
            .repos
            .iter()
            .filter(|repo| match call.caller {
                Caller::Installation { account, repositories, .. } => {
                    repo.owner == *account
                        && model.has_app(repo)
                        && repositories.as_ref().is_none_or(|ids| ids.contains(&repo.id))
                }
                Caller::Person => true,
                Caller::App | Caller::Nobody => false,
            })
            .filter_map(|repo| model.owner(&repo.owner).map(|owner| payload::repository(&model.urls, repo, owner)))
            .collect()
    });
    let count = all.len();
    let (page, link) = call.page(all);
    Ok(Answer::ok(json!({ "total_count": count, "repositories": page })).with_header(link))
}

pub(super) fn revoke(call: &Call<'_>) -> Result<Answer, Refusal> {
    if let Caller::Installation { token, .. } = call.caller {
        call.shared.change(|model, _| model.revoke_installation_token(token));
    }
    Ok(Answer::no_content())
}

/// The end of the manifest flow: the code is the credential, and is good once.
pub(super) fn convert_manifest(call: &Call<'_>) -> Result<Answer, Refusal> {
    let offer = lock(&call.shared.manifests).remove(call.part("code")).ok_or_else(Refusal::not_found)?;
    if after(offer.made_at, call.read(|model| model.timings.manifest_code)) < call.now {
        return Err(Refusal::not_found());
    }
    let client_secret = call.shared.change(|model, _| model.seed.secret(40));
    let mut body = app(call)?.body.ok_or_else(Refusal::not_found)?;
    body["client_secret"] = json!(client_secret);
    body["webhook_secret"] = json!(offer.webhook_secret);
    body["pem"] = json!(offer.pem);
    Ok(Answer::created(body))
}
