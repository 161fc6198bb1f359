//! What is asked of GitHub: the manifest of an App, and the pages on which a person makes, installs and changes it. Pure.
//!
//! GitHub docs, "Registering a GitHub App from a manifest".

use crate::model::Scope;
use crate::permissions::{self, EVENTS};
use serde_json::{Map, Value, json};
use std::collections::BTreeSet;

/// The manifest in the repository, which is an organization's.
const TEMPLATE: &str = include_str!("../../app-manifest.json");

/// GitHub's longest name of an App.
pub const LONGEST_NAME: usize = 34;

/// To whom an App belongs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Owner {
    /// An organization, by its login.
    Organization(String),
    /// Whoever is signed in at GitHub.
    Person,
}

/// An App that is to be made.
#[derive(Debug, Clone)]
pub struct Wanted {
    /// `https://github.com`, or an Enterprise Server.
    pub web_url: String,
    /// Whose it is to be.
    pub owner: Owner,
    /// Its name. GitHub lets the person change it.
    pub name: String,
    /// Where its hook delivers; none: it has no hook (jobs are asked for).
    pub hook: Option<String>,
    /// Where runners are to register.
    pub scopes: Vec<Scope>,
}

/// `runnerfleet-acme`, in GitHub's length.
pub fn default_name(account: &str) -> String {
    let name: String = format!("runnerfleet-{account}").chars().take(LONGEST_NAME).collect();
    name.trim_end_matches('-').to_owned()
}

/// The accounts of the scopes, each once.
pub fn accounts(scopes: &[Scope]) -> Vec<String> {
    let mut seen = BTreeSet::new();
    let new = |scope: &&Scope| seen.insert(scope.account().to_lowercase());
    scopes.iter().filter(new).map(|scope| scope.account().to_owned()).collect()
}

impl Wanted {
    /// The manifest. `redirect` is where GitHub sends the person back with the code.
    pub fn manifest(&self, redirect: &str) -> Value {
        let mut manifest: Map<String, Value> =
            serde_json::from_str(TEMPLATE).expect("the manifest in the repository is a JSON object");
        let needed = permissions::needed(&self.scopes);
        let permissions: Map<String, Value> =
            needed.iter().map(|needed| (needed.permission.to_owned(), json!(needed.level))).collect();
        manifest.insert("name".to_owned(), json!(self.name));
        manifest.insert("url".to_owned(), json!(self.homepage()));
        manifest.insert("redirect_url".to_owned(), json!(redirect));
        // A private App can be installed on its owner's account alone.
        manifest.insert("public".to_owned(), json!(accounts(&self.scopes).len() > 1));
        manifest.insert("default_permissions".to_owned(), Value::Object(permissions));
        if let Some(url) = &self.hook {
            manifest.insert("hook_attributes".to_owned(), json!({ "url": url, "active": true }));
            manifest.insert("default_events".to_owned(), json!(EVENTS));
        } else {
            manifest.remove("hook_attributes");
            // Without a hook nothing is delivered.
            manifest.remove("default_events");
        }
        Value::Object(manifest)
    }

    /// The page that takes the manifest, with what it is to give back.
    pub fn form_address(&self, state: &str) -> String {
        format!("{}?state={state}", self.form_page())
    }

    /// The page that takes the manifest.
    pub fn form_page(&self) -> String {
        let path = match &self.owner {
            Owner::Organization(login) => format!("organizations/{login}/settings/apps/new"),
            Owner::Person => "settings/apps/new".to_owned(),
        };
        format!("{}/{path}", self.web_url)
    }

    /// GitHub wants a homepage; the account's is one that is there.
    fn homepage(&self) -> String {
        match (&self.owner, self.scopes.first()) {
            (Owner::Organization(login), _) => format!("{}/{login}", self.web_url),
            (Owner::Person, Some(scope)) => format!("{}/{}", self.web_url, scope.account()),
            (Owner::Person, None) => self.web_url.clone(),
        }
    }
}

/// The App's settings page; `owner` is its organization, none for a person's.
pub fn settings_page(web_url: &str, owner: Option<&str>, slug: &str) -> String {
    match owner {
        Some(login) => format!("{web_url}/organizations/{login}/settings/apps/{slug}"),
        None => format!("{web_url}/settings/apps/{slug}"),
    }
}

/// Where it is installed. `html_url` is the App's page.
pub fn install_page(html_url: &str) -> String {
    format!("{}/installations/new", html_url.trim_end_matches('/'))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wanted(scopes: &[&str]) -> Wanted {
        Wanted {
            web_url: "https://github.com".to_owned(),
            owner: Owner::Organization("acme".to_owned()),
            name: default_name("acme"),
            hook: Some("https://ci.example.com/webhook".to_owned()),
            scopes: scopes.iter().map(|scope| Scope::try_from((*scope).to_owned()).unwrap()).collect(),
        }
    }

    #[test]
    fn the_manifest_is_made_for_the_choice() {
        let of_acme = wanted(&["acme"]).manifest("http://127.0.0.1:9/made");
        assert_eq!(
            of_acme,
            json!({
                "name": "runnerfleet-acme", "url": "https://github.com/acme", "public": false,
                "description": of_acme["description"], "redirect_url": "http://127.0.0.1:9/made",
                "hook_attributes": { "url": "https://ci.example.com/webhook", "active": true },
                "default_events": ["workflow_job"],
                "default_permissions": {
                    "actions": "read", "metadata": "read", "organization_self_hosted_runners": "write",
                },
            })
        );
        let of_a_repository = wanted(&["acme/web"]).manifest("");
        assert_eq!(
            of_a_repository["default_permissions"],
            json!({ "actions": "read", "metadata": "read", "administration": "write" })
        );
        let both = wanted(&["acme", "other/thing"]).manifest("");
        assert_eq!((both["default_permissions"].as_object().unwrap().len(), &both["public"]), (4, &json!(true)));
        let quiet = Wanted { hook: None, ..wanted(&["acme"]) }.manifest("");
        assert!(quiet.get("hook_attributes").is_none() && quiet.get("default_events").is_none());
    }

    #[test]
    fn the_pages_are_githubs() {
        let mut wanted = wanted(&["octo/tool"]);
        assert_eq!(wanted.form_address("s"), "https://github.com/organizations/acme/settings/apps/new?state=s");
        wanted.owner = Owner::Person;
        wanted.web_url = "https://git.acme.org".to_owned();
        assert_eq!(wanted.form_address("s"), "https://git.acme.org/settings/apps/new?state=s");
        assert_eq!(wanted.manifest("")["url"], "https://git.acme.org/octo");
        assert_eq!(
            settings_page("https://github.com", Some("acme"), "rf"),
            "https://github.com/organizations/acme/settings/apps/rf"
        );
        assert_eq!(install_page("https://github.com/apps/rf/"), "https://github.com/apps/rf/installations/new");
    }

    #[test]
    fn a_long_account_makes_no_name_that_github_refuses() {
        let name = default_name("an-organization-with-a-long-name-here");
        assert!(name.len() <= LONGEST_NAME && !name.ends_with('-'), "{name}");
    }
}
