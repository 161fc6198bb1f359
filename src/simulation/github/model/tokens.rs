//! Tokens: of installations, and for the registration of runners.

use super::Model;
use crate::model::{Scope, after};
use jiff::Timestamp;
use std::collections::{BTreeMap, HashMap};

/// Expired tokens are swept when there are this many.
const SWEEP_AT: usize = 1000;

/// What an installation token may do.
#[derive(Debug, Clone)]
pub(crate) struct InstallationToken {
    pub(crate) installation: u64,
    pub(crate) account: String,
    pub(crate) permissions: BTreeMap<String, String>,
    /// Ids of the repositories that it was narrowed to.
    pub(crate) repositories: Option<Vec<u64>>,
    pub(crate) expires_at: Timestamp,
}

/// What a runner token is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum TokenKind {
    Registration,
    Removal,
}

/// All tokens that were given out.
#[derive(Debug, Default)]
pub(super) struct Tokens {
    installation: HashMap<String, InstallationToken>,
    runner: HashMap<String, (TokenKind, Scope, Timestamp)>,
}

/// What a token is asked for.
#[derive(Debug, Clone, Default)]
pub(crate) struct TokenWish {
    pub(crate) permissions: Option<BTreeMap<String, String>>,
    pub(crate) repositories: Option<Vec<String>>,
    pub(crate) repository_ids: Option<Vec<u64>>,
}

/// Why it is not given.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum NarrowRefused {
    NotInstalled,
    Suspended,
    Permissions,
    Repositories,
}

impl Model {
    /// A token for an installation, narrowed as asked; never wider than the installation.
    pub(crate) fn mint_installation_token(
        &mut self,
        installation: u64,
        wish: &TokenWish,
        now: Timestamp,
    ) -> Result<(String, InstallationToken), NarrowRefused> {
        let owner = self.installed(installation).ok_or(NarrowRefused::NotInstalled)?;
        let login = owner.login.clone();
        let granted = owner.installation.clone().ok_or(NarrowRefused::NotInstalled)?;
        if granted.suspended {
            return Err(NarrowRefused::Suspended);
        }
        let mut permissions = granted.permissions.clone();
        if let Some(wanted) = &wish.permissions {
            let covered = |(name, level): (&String, &String)| {
                granted.permissions.get(name).is_some_and(|has| rank(has) >= rank(level) && rank(level) > 0)
            };
            if !wanted.iter().all(covered) {
                return Err(NarrowRefused::Permissions);
            }
            permissions.clone_from(wanted);
            // Every App has this one.
            permissions.entry("metadata".into()).or_insert_with(|| "read".into());
        }
        let mut repositories = None;
        if wish.repositories.is_some() || wish.repository_ids.is_some() {
            let mut ids = Vec::new();
            for name in wish.repositories.iter().flatten() {
                let repo = self.repo(&login, name).filter(|repo| self.has_app(repo));
                ids.push(repo.ok_or(NarrowRefused::Repositories)?.id);
            }
            for id in wish.repository_ids.iter().flatten() {
                let repo = self.repos.iter().find(|repo| repo.id == *id && repo.owner == login && self.has_app(repo));
                ids.push(repo.ok_or(NarrowRefused::Repositories)?.id);
            }
            repositories = Some(ids);
        }
        let token = InstallationToken {
            installation,
            account: login,
            permissions,
            repositories,
            expires_at: after(now, self.timings.installation_token),
        };
        // The long form that GitHub gives since 2026: `ghs_<app>_<jwt>`, about 520 characters with dots.
        let text =
            format!("ghs_{}_{}.{}.{}", self.app.id, self.seed.secret(60), self.seed.secret(230), self.seed.secret(215));
        if self.tokens.installation.len() >= SWEEP_AT {
            self.tokens.installation.retain(|_, token| token.expires_at > now);
        }
        self.tokens.installation.insert(text.clone(), token.clone());
        Ok((text, token))
    }

    pub(crate) fn installation_token(&self, text: &str, now: Timestamp) -> Option<&InstallationToken> {
        self.tokens.installation.get(text).filter(|token| token.expires_at > now)
    }

    pub(crate) fn revoke_installation_token(&mut self, text: &str) {
        self.tokens.installation.remove(text);
    }

    /// Revokes the tokens of one installation.
    pub(crate) fn revoke_tokens_of(&mut self, installation: u64) {
        self.tokens.installation.retain(|_, token| token.installation != installation);
    }

    /// Revokes every installation token: what happens when an owner uninstalls and installs again.
    pub(crate) fn revoke_all_installation_tokens(&mut self) {
        self.tokens.installation.clear();
    }

    /// A token with which agents register or are removed; good for many of them until it lapses.
    pub(crate) fn mint_runner_token(&mut self, kind: TokenKind, scope: Scope, now: Timestamp) -> (String, Timestamp) {
        let text = format!("A{}", self.seed.text(28, "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567"));
        let expires_at = after(now, self.timings.registration_token);
        if self.tokens.runner.len() >= SWEEP_AT {
            self.tokens.runner.retain(|_, (_, _, expires_at)| *expires_at > now);
        }
        self.tokens.runner.insert(text.clone(), (kind, scope, expires_at));
        (text, expires_at)
    }

    /// The scope that a registration token is for, while it lives.
    pub(crate) fn registration_scope(&self, token: &str, now: Timestamp) -> Option<&Scope> {
        match self.tokens.runner.get(token) {
            Some((TokenKind::Registration, scope, expires_at)) if *expires_at > now => Some(scope),
            _ => None,
        }
    }
}

/// How much a level allows.
pub(crate) fn rank(level: &str) -> u8 {
    match level {
        "read" => 1,
        "write" => 2,
        "admin" => 3,
        _ => 0,
    }
}
