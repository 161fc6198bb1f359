//! The App's life: made from a manifest, installed, suspended, given more or less, taken off.

use super::super::options::{App, Installation};
use super::super::payload;
use super::{Announcement, Model, Owner};
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// What a manifest asks for, as far as this GitHub looks.
#[derive(Debug, Clone)]
pub(crate) struct Manifest {
    pub(crate) name: String,
    pub(crate) permissions: BTreeMap<String, String>,
    pub(crate) events: Vec<String>,
    pub(crate) hook: Option<String>,
    pub(crate) redirect: Option<String>,
    pub(crate) setup: Option<String>,
}

impl Manifest {
    /// Reads it; what GitHub would say of a bad one.
    pub(crate) fn read(text: &str) -> Result<Self, String> {
        const LEVELS: [&str; 3] = ["read", "write", "admin"];
        let manifest: Value = serde_json::from_str(text).map_err(|_| "the manifest is not valid JSON".to_owned())?;
        let word = |value: &Value| value.as_str().map(str::to_owned);
        let address = |value: &Value, what: &str| match value {
            Value::Null => Ok(None),
            Value::String(url) if url.starts_with("https://") || url.starts_with("http://") => Ok(Some(url.clone())),
            _ => Err(format!("\"{what}\" must be a valid URL")),
        };
        if address(&manifest["url"], "url")?.is_none() {
            return Err("\"url\" wasn't supplied".to_owned());
        }
        let hook = address(&manifest["hook_attributes"]["url"], "hook_attributes.url")?;
        if !manifest["hook_attributes"].is_null() && hook.is_none() {
            return Err("Hook url cannot be blank".to_owned());
        }
        let permissions: BTreeMap<String, String> = match &manifest["default_permissions"] {
            Value::Null => BTreeMap::new(),
            given => serde_json::from_value(given.clone()).map_err(|_| "Default permissions are invalid".to_owned())?,
        };
        if let Some((name, _)) = permissions.iter().find(|(_, level)| !LEVELS.contains(&level.as_str())) {
            return Err(format!("Default permission records permission \"{name}\" is invalid"));
        }
        let events: Vec<String> = match &manifest["default_events"] {
            Value::Null => Vec::new(),
            given => serde_json::from_value(given.clone()).map_err(|_| "Default events are invalid".to_owned())?,
        };
        if events.iter().any(|event| event == "workflow_job") && !permissions.contains_key("actions") {
            return Err("Default events unsupported: workflow_job".to_owned());
        }
        Ok(Self {
            name: word(&manifest["name"]).unwrap_or_default(),
            permissions,
            events,
            hook,
            redirect: address(&manifest["redirect_url"], "redirect_url")?,
            setup: address(&manifest["setup_url"], "setup_url")?,
        })
    }
}

/// The form of a name in addresses.
pub(crate) fn slug(name: &str) -> String {
    let dashed: String = name.to_lowercase().chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '-' }).collect();
    dashed.trim_matches('-').to_owned()
}

impl Model {
    /// Makes the App of an account. The App that was before is no more (this GitHub has one).
    pub(crate) fn make_app(&mut self, owner: &str, manifest: &Manifest, public_key_pem: String) {
        let client = self.seed.text(14, "ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnpqrstuvwxyz23456789");
        self.app = App {
            id: self.app.id + 1,
            client_id: format!("Iv23li{client}"),
            slug: slug(&manifest.name),
            name: manifest.name.clone(),
            owner: Some(owner.to_owned()),
            public_key_pem,
            permissions: manifest.permissions.clone(),
            events: manifest.events.clone(),
            setup_url: manifest.setup.clone(),
            exists: true,
        };
        for owner in &mut self.owners {
            owner.installation = None;
        }
        self.revoke_all_installation_tokens();
    }

    /// Whether an App of that name can be made.
    pub(crate) fn is_name_free(&self, name: &str) -> bool {
        let slug = slug(name);
        let taken = self.app.exists && self.app.slug == slug;
        !taken && !self.taken_names.contains(&slug)
    }

    /// Installs the App on an account, with what the owner grants; its id. None where there is no such account or App.
    pub(crate) fn install(&mut self, login: &str, repositories: Option<Vec<String>>) -> Option<u64> {
        if !self.app.exists {
            return None;
        }
        let mut permissions = self.app.permissions.clone();
        permissions.entry("metadata".to_owned()).or_insert_with(|| "read".to_owned());
        if let Some(granted) = &self.grants {
            permissions.retain(|name, _| granted.contains(name));
        }
        self.last_installation += 1;
        let id = self.last_installation;
        let owner = self.owner_mut(login)?;
        owner.installation = Some(Installation { id, permissions, repositories, suspended: false });
        self.tell_installation(login, "created");
        Some(id)
    }

    /// Takes the App off an account. False where it was not there.
    pub(crate) fn uninstall(&mut self, login: &str) -> bool {
        let Some(id) = self.owner(login).and_then(|owner| owner.installation.as_ref()).map(|it| it.id) else {
            return false;
        };
        // Told while it is still known what it was.
        self.tell_installation(login, "deleted");
        if let Some(owner) = self.owner_mut(login) {
            owner.installation = None;
        }
        self.revoke_tokens_of(id);
        true
    }

    /// Suspends it, or lets it go on.
    pub(crate) fn suspend(&mut self, login: &str, suspended: bool) {
        let Some(installation) = self.owner_mut(login).and_then(|owner| owner.installation.as_mut()) else { return };
        if installation.suspended == suspended {
            return;
        }
        installation.suspended = suspended;
        let id = installation.id;
        self.tell_installation(login, if suspended { "suspend" } else { "unsuspend" });
        if suspended {
            self.revoke_tokens_of(id);
        }
    }

    /// Changes what an account granted.
    pub(crate) fn grant(&mut self, login: &str, permissions: BTreeMap<String, String>) {
        let Some(installation) = self.owner_mut(login).and_then(|owner| owner.installation.as_mut()) else { return };
        installation.permissions = permissions;
        self.tell_installation(login, "new_permissions_accepted");
    }

    /// Changes which repositories it was given; all where none are named.
    pub(crate) fn choose(&mut self, login: &str, repositories: Option<Vec<String>>) {
        let before = self.given(login);
        let Some(installation) = self.owner_mut(login).and_then(|owner| owner.installation.as_mut()) else { return };
        installation.repositories = repositories;
        let after = self.given(login);
        let added: Vec<Value> = after.iter().filter(|it| !before.contains(it)).cloned().collect();
        let removed: Vec<Value> = before.iter().filter(|it| !after.contains(it)).cloned().collect();
        for (action, changed) in [("added", &added), ("removed", &removed)] {
            if changed.is_empty() {
                continue;
            }
            let Some(owner) = self.owner(login) else { return };
            let Some(it) = &owner.installation else { return };
            let none: Vec<Value> = Vec::new();
            let (added, removed) = if action == "added" { (changed, &none) } else { (&none, changed) };
            let payload = json!({
                "action": action,
                "installation": payload::installation(&self.urls, &self.app, owner, it),
                "repository_selection": if it.repositories.is_some() { "selected" } else { "all" },
                "repositories_added": added,
                "repositories_removed": removed,
                "requester": null,
                "sender": payload::sender(&self.urls),
            });
            let id = it.id;
            self.outbox.push(Announcement {
                event: "installation_repositories",
                action: Some(action.to_owned()),
                installation: Some(id),
                repository: None,
                payload,
            });
        }
    }

    /// The repositories that it has there, in the short form of events.
    fn given(&self, login: &str) -> Vec<Value> {
        let mine = self.repos.iter().filter(|repo| repo.owner.eq_ignore_ascii_case(login) && self.has_app(repo));
        mine.map(payload::short_repository).collect()
    }

    fn tell_installation(&mut self, login: &str, action: &str) {
        let Some(owner) = self.owner(login) else { return };
        let Some(it) = &owner.installation else { return };
        let mut payload = json!({
            "action": action,
            "installation": payload::installation(&self.urls, &self.app, owner, it),
            "repositories": self.given(login),
            "sender": payload::sender(&self.urls),
        });
        if action == "created" {
            payload["requester"] = Value::Null;
        }
        let id = it.id;
        self.outbox.push(Announcement {
            event: "installation",
            action: Some(action.to_owned()),
            installation: Some(id),
            repository: None,
            payload,
        });
    }

    /// The App's owner, to show it.
    pub(in crate::simulation::github) fn app_owner(&self) -> Option<&Owner> {
        match &self.app.owner {
            Some(login) => self.owner(login),
            None => self.owners.first(),
        }
    }
}
