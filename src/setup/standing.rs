//! What the configuration says before it can be used: its pools and addresses, and how far it knows of an App.

use super::files::{self, FileError};
use crate::config::edit::keys::{self, NotHere};
use crate::config::{Config, GitHubAuth, IntakeMode, Problems, file, is_stand_in, outline};
use crate::model::Scope;
use secrecy::SecretString;
use std::path::{Path, PathBuf};

/// Where a key is written that has no place yet, from the configuration's folder.
pub const KEY_FILE: &str = "./secrets/github-app.pem";

/// Where the webhook's secrets are written.
pub const SECRETS_FILE: &str = "./secrets/webhook-secret";

/// The configuration as it stands.
#[derive(Debug)]
pub struct Standing {
    /// Its file.
    pub file: PathBuf,
    /// Its text.
    pub text: String,
    /// Whether it is on disk; otherwise it is what would be written.
    pub on_disk: bool,
    /// What it says, with something in place of secrets that are missing.
    pub config: Config,
    /// The App that it names.
    pub app: Option<Named>,
    /// The file of the App's key, as it is written, or as it would be.
    pub key_file: String,
    /// The file of the webhook's secrets, as it is written, or as it would be.
    pub secrets_file: String,
    /// Whether secrets stand in the file itself or in variables as well.
    pub secrets_elsewhere: bool,
}

/// An App that the configuration names.
#[derive(Debug, Clone)]
pub struct Named {
    /// Its client id or number.
    pub issuer: String,
    /// Its key; none where it is not there.
    pub key: Option<SecretString>,
}

/// Why it cannot be gone on with.
#[derive(Debug, thiserror::Error)]
pub enum StandingError {
    /// It is wrong in what has nothing to do with secrets.
    #[error("{0}")]
    Wrong(#[from] Problems),
    /// It is no YAML.
    #[error(transparent)]
    Broken(#[from] NotHere),
    /// A file that it names.
    #[error(transparent)]
    File(#[from] FileError),
}

impl Standing {
    /// Reads it from its text. `on_disk`: it is what the file has.
    ///
    /// # Errors
    /// It has problems beside missing secrets.
    pub fn of(
        file: &Path,
        text: String,
        on_disk: bool,
        env: &dyn Fn(&str) -> Option<String>,
    ) -> Result<Self, StandingError> {
        let absolute = std::path::absolute(file).unwrap_or_else(|_| file.to_path_buf());
        let folder = absolute.parent().unwrap_or(Path::new("/")).to_path_buf();
        let config = outline(&text, &file.display().to_string(), &folder, env)?.config;
        let app = match &config.github.auth {
            GitHubAuth::App { issuer, private_key, .. } if !issuer.is_empty() => {
                Some(Named { issuer: issuer.clone(), key: Some(private_key.clone()).filter(|key| !is_stand_in(key)) })
            }
            GitHubAuth::App { .. } | GitHubAuth::Token(_) => None,
        };
        let key_file = keys::value(&text, &["github", "auth", "app", "private_key_file"])?;
        let secrets_file = match keys::value(&text, &["intake", "secrets_file"])? {
            None => keys::value(&text, &["intake", "secret_file"])?,
            some => some,
        };
        Ok(Self {
            file: file.to_path_buf(),
            on_disk,
            app,
            // A path with variables is not ours to write to.
            key_file: key_file.filter(|path| !path.contains("${")).unwrap_or_else(|| KEY_FILE.to_owned()),
            secrets_file: secrets_file.filter(|path| !path.contains("${")).unwrap_or_else(|| SECRETS_FILE.to_owned()),
            secrets_elsewhere: keys::has(&text, &["intake", "secrets"])?,
            config,
            text,
        })
    }

    /// Reads the file; none where there is none.
    ///
    /// # Errors
    /// It cannot be read, or has problems beside missing secrets.
    pub fn read(path: &Path, env: &dyn Fn(&str) -> Option<String>) -> Result<Option<Self>, StandingError> {
        if !path.exists() {
            return Ok(None);
        }
        let text = file::text(path)?;
        Self::of(path, text, true, env).map(Some)
    }

    /// A path as the file has it, from the file's folder.
    pub fn resolved(&self, written: &str) -> PathBuf {
        self.config.folder.join(written.strip_prefix("./").unwrap_or(written))
    }

    /// A path as it is to be written.
    pub fn written(&self, path: &Path) -> String {
        match path.strip_prefix(&self.config.folder) {
            Ok(inside) => format!("./{}", inside.display()),
            Err(_) => path.display().to_string(),
        }
    }

    /// Where the App's key is, or would be.
    pub fn key_path(&self) -> PathBuf {
        self.resolved(&self.key_file)
    }

    /// Where the webhook's secrets are, or would be.
    pub fn secrets_path(&self) -> PathBuf {
        self.resolved(&self.secrets_file)
    }

    /// The secrets in that file.
    ///
    /// # Errors
    /// It cannot be read.
    pub fn secrets_on_disk(&self) -> Result<Vec<SecretString>, FileError> {
        Ok(files::read(&self.secrets_path())?.map(|text| super::secret_lines::read(&text)).unwrap_or_default())
    }

    /// All secrets that the configuration says, wherever they are.
    pub fn secrets(&self) -> Vec<SecretString> {
        self.config.intake.secrets.iter().filter(|secret| !is_stand_in(secret)).cloned().collect()
    }

    /// Whether GitHub has to reach a receiver here.
    pub fn needs_a_hook(&self) -> bool {
        self.has_jobs() && !self.pulls()
    }

    /// Where the hook delivers if nobody has to be reached: GitHub writes its log, which is read instead, only for a hook that is
    /// there, and that name leads nowhere.
    pub fn hook_to_nowhere(&self) -> Option<&'static str> {
        (self.has_jobs() && self.pulls()).then_some("https://runnerfleet.invalid/webhook")
    }

    fn has_jobs(&self) -> bool {
        self.config.ephemeral_pools().next().is_some()
    }

    fn pulls(&self) -> bool {
        self.config.intake.mode == IntakeMode::Pull
    }

    /// Where GitHub is to deliver, if the file says where it reaches this machine.
    pub fn hook_url(&self, public_url: &str) -> String {
        format!("{public_url}{}", self.config.intake.path)
    }

    /// Where runners register, each once.
    pub fn scopes(&self) -> Vec<Scope> {
        let mut scopes: Vec<Scope> = Vec::new();
        for pool in &self.config.pools {
            if !scopes.contains(&pool.scope) {
                scopes.push(pool.scope.clone());
            }
        }
        scopes
    }

    /// `https://github.com`: where GitHub's pages are.
    pub fn web_url(&self) -> String {
        let of =
            |pool: &crate::config::Pool| pool.scope_url.strip_suffix(&format!("/{}", pool.scope)).map(str::to_owned);
        self.config.pools.first().and_then(of).unwrap_or_else(|| "https://github.com".to_owned())
    }
}
