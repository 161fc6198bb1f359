//! The web pages on which an App is made and installed, as far as a person or a browser test clicks there. Plain forms.
//!
//! | page | elements |
//! | --- | --- |
//! | `POST /organizations/{org}/settings/apps/new?state=` with the field `manifest`, or `/settings/apps/new` | `#name`, `#create`; `#error` where the name is taken or the manifest is bad |
//! | after `#create` | a redirect to the manifest's `redirect_url` with `code` and `state` |
//! | `GET /apps/{slug}/installations/new` | `#account`, `#all`, `#selected`, `#install`; `#refused` where owners refuse |
//! | after `#install` | the manifest's `setup_url`, or a page with `#installed` |

use super::api::pairs;
use super::model::{Manifest, slug};
use super::options::AccountKind;
use super::{Shared, clock, lock};
use crate::simulation::keys;
use axum::Router;
use axum::body::Bytes;
use axum::extract::{Path, RawQuery, State};
use axum::response::{Html, IntoResponse, Response};
use axum::routing::{get, post};
use http::{StatusCode, header};
use secrecy::ExposeSecret as _;
use std::fmt::Write as _;
use std::sync::Arc;

pub(super) fn routes() -> Router<Arc<Shared>> {
    Router::new()
        .route("/settings/apps/new", post(of_a_person))
        .route("/organizations/{org}/settings/apps/new", post(of_an_organization))
        .route("/_pages/apps", post(create))
        .route("/apps/{slug}", get(app))
        .route("/apps/{slug}/installations/new", get(choose).post(install))
}

/// A manifest's code, and what it gives.
#[derive(Debug)]
pub(super) struct Offer {
    pub(super) pem: String,
    pub(super) webhook_secret: Option<String>,
    pub(super) made_at: jiff::Timestamp,
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

fn page(status: StatusCode, title: &str, body: &str) -> Response {
    let html = format!("<!doctype html><meta charset=\"utf-8\"><title>{0}</title><h1>{0}</h1>{body}", escaped(title));
    (status, Html(html)).into_response()
}

fn redirect(to: &str) -> Response {
    (StatusCode::FOUND, [(header::LOCATION, to.to_owned())]).into_response()
}

async fn of_a_person(State(shared): State<Arc<Shared>>, RawQuery(query): RawQuery, body: Bytes) -> Response {
    let first = lock(&shared.model).owners.iter().find(|it| it.kind == AccountKind::User).map(|it| it.login.clone());
    match first {
        Some(login) => confirm(&shared, &login, &query.unwrap_or_default(), &body),
        None => page(StatusCode::NOT_FOUND, "Page not found", ""),
    }
}

async fn of_an_organization(
    State(shared): State<Arc<Shared>>,
    Path(org): Path<String>,
    RawQuery(query): RawQuery,
    body: Bytes,
) -> Response {
    let known = lock(&shared.model).owner(&org).is_some_and(|it| it.kind == AccountKind::Organization);
    if known {
        confirm(&shared, &org, &query.unwrap_or_default(), &body)
    } else {
        page(StatusCode::NOT_FOUND, "Page not found", "")
    }
}

/// "Create GitHub App for …": the name can still be changed.
fn confirm(shared: &Shared, account: &str, query: &str, body: &[u8]) -> Response {
    let fields = pairs(&String::from_utf8_lossy(body));
    let manifest = fields.get("manifest").cloned().unwrap_or_default();
    let state = pairs(query).get("state").cloned().unwrap_or_default();
    match Manifest::read(&manifest) {
        Ok(read) => confirmation(shared, account, &manifest, &state, &read.name, None),
        Err(why) => page(
            StatusCode::UNPROCESSABLE_ENTITY,
            "Invalid GitHub App configuration",
            &format!("<p id=\"error\">{}</p>", escaped(&why)),
        ),
    }
}

fn confirmation(_: &Shared, account: &str, manifest: &str, state: &str, name: &str, error: Option<&str>) -> Response {
    let error = error.map(|error| format!("<p id=\"error\">{}</p>", escaped(error))).unwrap_or_default();
    let body = format!(
        "{error}<form method=\"post\" action=\"/_pages/apps\">\
         <input id=\"name\" name=\"name\" value=\"{}\">\
         <input type=\"hidden\" name=\"account\" value=\"{}\">\
         <input type=\"hidden\" name=\"state\" value=\"{}\">\
         <input type=\"hidden\" name=\"manifest\" value=\"{}\">\
         <button id=\"create\">Create GitHub App for {}</button></form>",
        escaped(name),
        escaped(account),
        escaped(state),
        escaped(manifest),
        escaped(account)
    );
    page(StatusCode::OK, "Create GitHub App", &body)
}

/// The App is made, and its hook greets its receiver.
async fn create(State(shared): State<Arc<Shared>>, body: Bytes) -> Response {
    let fields = pairs(&String::from_utf8_lossy(&body));
    let field = |name: &str| fields.get(name).cloned().unwrap_or_default();
    let (account, text, state, name) = (field("account"), field("manifest"), field("state"), field("name"));
    let Ok(manifest) = Manifest::read(&text) else { return page(StatusCode::BAD_REQUEST, "Bad request", "") };
    let error = if slug(&name).is_empty() || name.len() > 34 {
        Some("Name must be 1 to 34 characters long")
    } else if !lock(&shared.model).is_name_free(&name) {
        Some("Name is already taken")
    } else {
        None
    };
    if let Some(error) = error {
        return confirmation(&shared, &account, &text, &state, &name, Some(error));
    }
    let Ok(key) = keys::generate() else { return page(StatusCode::INTERNAL_SERVER_ERROR, "Error", "") };
    let manifest = Manifest { name, ..manifest };
    let (code, secret) = shared.change(|model, _| {
        model.make_app(&account, &manifest, key.public_pem.clone());
        (model.seed.text(40, "0123456789abcdef"), model.seed.secret(40))
    });
    let offer = Offer {
        pem: key.private_pem.expose_secret().to_owned(),
        webhook_secret: manifest.hook.as_ref().map(|_| secret.clone()),
        made_at: clock(),
    };
    lock(&shared.manifests).insert(code.clone(), offer);
    shared.new_hook(manifest.hook.clone().map(|url| (url, secret)));
    let Some(redirect_url) = &manifest.redirect else { return page(StatusCode::OK, "App created", "") };
    let join = if redirect_url.contains('?') { '&' } else { '?' };
    redirect(&format!("{redirect_url}{join}code={code}&state={}", encoded(&state)))
}

fn encoded(text: &str) -> String {
    let mut out = String::new();
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            out.push(char::from(byte));
        } else {
            // Writing to a string cannot fail.
            let _ = write!(out, "%{byte:02X}");
        }
    }
    out
}

async fn app(State(shared): State<Arc<Shared>>, Path(slug): Path<String>) -> Response {
    let known = {
        let model = lock(&shared.model);
        model.app.exists && model.app.slug == slug
    };
    if known {
        page(
            StatusCode::OK,
            &slug,
            &format!("<a id=\"to-install\" href=\"/apps/{slug}/installations/new\">Install</a>"),
        )
    } else {
        page(StatusCode::NOT_FOUND, "Page not found", "")
    }
}

async fn choose(State(shared): State<Arc<Shared>>, Path(slug): Path<String>) -> Response {
    let model = lock(&shared.model);
    if !model.app.exists || model.app.slug != slug {
        return page(StatusCode::NOT_FOUND, "Page not found", "");
    }
    let owner = model.app.owner.clone().unwrap_or_default();
    let mut accounts = String::new();
    for it in &model.owners {
        let chosen = if it.login.eq_ignore_ascii_case(&owner) { " selected" } else { "" };
        // Writing to a string cannot fail.
        let _ = write!(accounts, "<option{chosen}>{}</option>", escaped(&it.login));
    }
    let body = format!(
        "<form method=\"post\"><select id=\"account\" name=\"account\">{accounts}</select>\
         <label><input type=\"radio\" id=\"all\" name=\"which\" value=\"all\" checked>All repositories</label>\
         <label><input type=\"radio\" id=\"selected\" name=\"which\" value=\"selected\">Only selected</label>\
         <input id=\"repositories\" name=\"repositories\" value=\"\">\
         <button id=\"install\">Install</button></form>"
    );
    page(StatusCode::OK, &format!("Install {slug}"), &body)
}

async fn install(State(shared): State<Arc<Shared>>, Path(_): Path<String>, body: Bytes) -> Response {
    let fields = pairs(&String::from_utf8_lossy(&body));
    let account = fields.get("account").cloned().unwrap_or_default();
    let repositories = (fields.get("which").map(String::as_str) == Some("selected")).then(|| {
        let names = fields.get("repositories").cloned().unwrap_or_default();
        names.split(',').map(str::trim).filter(|name| !name.is_empty()).map(str::to_owned).collect()
    });
    if lock(&shared.model).owners_refuse {
        let words = "<p id=\"refused\">An owner of the organization has to approve this installation.</p>";
        return page(StatusCode::FORBIDDEN, "Installation requested", words);
    }
    let (id, setup) = shared.change(|model, _| (model.install(&account, repositories), model.app.setup_url.clone()));
    match (id, setup) {
        (None, _) => page(StatusCode::NOT_FOUND, "Page not found", ""),
        (Some(id), Some(url)) => redirect(&format!("{url}?installation_id={id}&setup_action=install")),
        (Some(_), None) => page(StatusCode::OK, "Okay, installed", "<p id=\"installed\">The App was installed.</p>"),
    }
}
