//! Who we are at registries: Docker's own `config.json`, and the credential helpers that it names.

use super::reference::Reference;
use crate::provider::{Credentials, Login, RegistryCredentials};
use async_trait::async_trait;
use base64::Engine;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use secrecy::SecretString;
use serde::Deserialize;
use std::collections::HashMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::process::Command;
use tracing::warn;

/// A helper may ask a cloud for a token; one that waits for a person at a window waits for ever.
const HELPER_TIMEOUT: Duration = Duration::from_secs(30);
/// What a helper may say.
const LONGEST_ANSWER: u64 = 1 << 20;
/// Under this name a helper gives out a refresh token.
const TOKEN_USER: &str = "<token>";
/// How Docker's own registry is called in Docker's files.
const DOCKER_HUB: &str = "https://index.docker.io/v1/";

/// The logins of `docker login`.
#[derive(Debug, Clone)]
pub struct DockerLogins {
    /// With `config.json`; none where no folder is known.
    folder: Option<PathBuf>,
    /// Where helpers are looked for.
    path: OsString,
}

/// Why it cannot be found out who we are.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CredentialError {
    /// The file cannot be used.
    #[error("{} {why}", file.display())]
    File {
        /// Which file.
        file: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// The helper cannot be used.
    #[error("the credential helper `{helper}`, named in {}, {why}", file.display())]
    Helper {
        /// `docker-credential-pass`.
        helper: String,
        /// Which file names it.
        file: PathBuf,
        /// What is wrong with it. Never what it gave out.
        why: String,
    },
}

/// What we read of `config.json`. No `Debug`: it holds secrets.
#[derive(Default, Deserialize)]
#[serde(default)]
struct ConfigFile {
    auths: HashMap<String, Auth>,
    #[serde(rename = "credHelpers")]
    helpers: HashMap<String, String>,
    #[serde(rename = "credsStore")]
    store: Option<String>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Auth {
    #[serde(rename = "auth")]
    both: Option<SecretString>,
    username: Option<String>,
    password: Option<SecretString>,
    #[serde(rename = "identitytoken")]
    identity_token: Option<SecretString>,
}

/// What a helper answers.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct HelperAnswer {
    #[serde(default)]
    username: String,
    secret: SecretString,
}

impl DockerLogins {
    /// Where Docker's own command looks: `$DOCKER_CONFIG`, else `~/.docker`.
    pub fn of_docker(env: &dyn Fn(&str) -> Option<String>) -> Self {
        let set = |name: &str| env(name).filter(|value| !value.is_empty());
        let folder = set("DOCKER_CONFIG").map(PathBuf::from);
        let folder = folder.or_else(|| set("HOME").map(|home| Path::new(&home).join(".docker")));
        Self { folder, path: env("PATH").unwrap_or_default().into() }
    }

    /// What we are at this registry (`ghcr.io`, `docker.io`); nothing where nobody logged in.
    ///
    /// # Errors
    /// The file or a helper that it names cannot be used.
    pub async fn login(&self, registry: &str) -> Result<Option<RegistryCredentials>, CredentialError> {
        let Some(file) = self.file() else { return Ok(None) };
        let Some(config) = read(&file)? else { return Ok(None) };
        let server = if registry == "docker.io" { DOCKER_HUB } else { registry };
        let helper = named(&config.helpers, registry).or(config.store.as_ref()).filter(|name| !name.is_empty());
        if let Some(helper) = helper
            && let Some(found) = self.ask(helper, server, &file).await?
        {
            return Ok(Some(found));
        }
        let Some(auth) = named(&config.auths, registry) else { return Ok(None) };
        let login = auth.login().map_err(|why| CredentialError::File {
            file: file.clone(),
            why: format!("has an entry for {registry} that {why}; `docker login {registry}` writes a new one"),
        })?;
        let found_in = file.display().to_string();
        Ok(login.map(|login| RegistryCredentials { server: server.to_owned(), login, found_in }))
    }

    fn file(&self) -> Option<PathBuf> {
        self.folder.as_ref().map(|folder| folder.join("config.json"))
    }

    /// Asks a helper, by Docker's protocol: the server by standard input, the answer in JSON.
    async fn ask(&self, name: &str, server: &str, file: &Path) -> Result<Option<RegistryCredentials>, CredentialError> {
        let helper = format!("docker-credential-{name}");
        let failed = |why: String| CredentialError::Helper { helper: helper.clone(), file: file.to_path_buf(), why };
        if !name.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-')) {
            return Err(failed("is no name of a program".to_owned()));
        }
        let program = std::env::split_paths(&self.path).map(|folder| folder.join(&helper)).find(|path| path.is_file());
        let Some(program) = program else {
            return Err(failed("is not in any folder of PATH; install it, or take it out of the file".to_owned()));
        };
        let answer = tokio::time::timeout(HELPER_TIMEOUT, talk(&program, server)).await;
        let (success, output, complaint) = match answer {
            Ok(Ok(answer)) => answer,
            Ok(Err(error)) => return Err(failed(format!("cannot be run: {error}"))),
            Err(_) => {
                return Err(failed(format!("gave no answer within {} seconds", HELPER_TIMEOUT.as_secs())));
            }
        };
        if !success {
            // By the protocol this is how a helper says that nobody logged in; any other words are a failure.
            let said = String::from_utf8_lossy(&output);
            if said.contains("credentials not found") {
                return Ok(None);
            }
            let words = if said.trim().is_empty() { String::from_utf8_lossy(&complaint) } else { said };
            return Err(failed(format!("failed: {}", one_line(&words))));
        }
        // The parser's own words could repeat a piece of the answer.
        let answer: HelperAnswer = serde_json::from_slice(&output)
            .map_err(|_| failed("answers with something that is not JSON with a `Secret`".to_owned()))?;
        let login = if answer.username == TOKEN_USER {
            Login::IdentityToken(answer.secret)
        } else {
            Login::Password { user: answer.username, password: answer.secret }
        };
        Ok(Some(RegistryCredentials { server: server.to_owned(), login, found_in: helper }))
    }
}

#[async_trait]
impl Credentials for DockerLogins {
    async fn for_image(&self, reference: &str) -> Option<RegistryCredentials> {
        let reference: Reference = reference.parse().ok()?;
        match self.login(reference.registry()).await {
            Ok(found) => found,
            // Most images are for everybody: the registry decides, and says so where this one is not.
            Err(error) => {
                warn!("pulling without credentials from {}: {error}", reference.registry());
                None
            }
        }
    }

    fn looked_in(&self) -> String {
        self.file()
            .map_or_else(|| "no file (neither DOCKER_CONFIG nor HOME is set)".into(), |f| f.display().to_string())
    }
}

/// The file; none where there is none.
fn read(file: &Path) -> Result<Option<ConfigFile>, CredentialError> {
    let wrong = |why: String| CredentialError::File { file: file.to_path_buf(), why };
    match std::fs::read(file) {
        // Line and column alone: the parser's words could repeat what is there.
        Ok(bytes) => match serde_json::from_slice(&bytes) {
            Ok(config) => Ok(Some(config)),
            Err(error) => Err(wrong(format!(
                "is not what Docker writes there (line {}, column {})",
                error.line(),
                error.column()
            ))),
        },
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(wrong(format!("cannot be read: {error}"))),
    }
}

/// The entry for a registry, under whichever of its names it was written.
fn named<'m, T>(entries: &'m HashMap<String, T>, registry: &str) -> Option<&'m T> {
    let server = if registry == "docker.io" { DOCKER_HUB } else { registry };
    entries.get(server).or_else(|| {
        let mut names: Vec<&String> = entries.keys().filter(|name| host(name) == host(server)).collect();
        // Of several spellings always the same one.
        names.sort_unstable();
        names.first().and_then(|name| entries.get(*name))
    })
}

/// `https://ghcr.io/v2/` -> `ghcr.io`.
fn host(name: &str) -> &str {
    let name = name.strip_prefix("https://").or_else(|| name.strip_prefix("http://")).unwrap_or(name);
    match name.split('/').next().unwrap_or_default() {
        "docker.io" | "registry-1.docker.io" => "index.docker.io",
        host => host,
    }
}

impl Auth {
    fn login(&self) -> Result<Option<Login>, &'static str> {
        use secrecy::ExposeSecret;
        let given = |secret: &Option<SecretString>| secret.clone().filter(|secret| !secret.expose_secret().is_empty());
        if let Some(token) = given(&self.identity_token) {
            return Ok(Some(Login::IdentityToken(token)));
        }
        if let Some(auth) = given(&self.both) {
            // Some tools leave the padding out.
            let relaxed = GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent);
            let bytes = GeneralPurpose::new(&STANDARD, relaxed).decode(auth.expose_secret().trim());
            let text = bytes.ok().and_then(|bytes| String::from_utf8(bytes).ok()).ok_or("is not Base64")?;
            let (user, password) = text.split_once(':').ok_or("has no password")?;
            let password = SecretString::from(password.trim_end_matches('\0'));
            return Ok(Some(Login::Password { user: user.to_owned(), password }));
        }
        match (&self.username, given(&self.password)) {
            (Some(user), Some(password)) => Ok(Some(Login::Password { user: user.clone(), password })),
            // An entry that only says that a helper knows more.
            _ => Ok(None),
        }
    }
}

/// Runs the helper: whether it says that it went well, what it answers, and what it complains of.
async fn talk(program: &Path, server: &str) -> std::io::Result<(bool, Vec<u8>, Vec<u8>)> {
    let mut child = Command::new(program)
        .arg("get")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()?;
    let (mut output, mut complaint) = (Vec::new(), Vec::new());
    let (input, stdout, stderr) = (child.stdin.take(), child.stdout.take(), child.stderr.take());
    let ask = async {
        if let Some(mut input) = input {
            // One that knows its answer without reading has closed its end; that is no failure.
            let _ = input.write_all(format!("{server}\n").as_bytes()).await;
        }
    };
    let listen = async {
        if let Some(stdout) = stdout {
            stdout.take(LONGEST_ANSWER).read_to_end(&mut output).await?;
        }
        std::io::Result::Ok(())
    };
    let overhear = async {
        if let Some(stderr) = stderr {
            stderr.take(LONGEST_ANSWER).read_to_end(&mut complaint).await?;
        }
        std::io::Result::Ok(())
    };
    let ((), heard, overheard) = tokio::join!(ask, listen, overhear);
    heard.and(overheard)?;
    Ok((child.wait().await?.success(), output, complaint))
}

/// At most 200 characters, on one line.
fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ").chars().take(200).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use secrecy::ExposeSecret;
    use std::os::unix::fs::PermissionsExt;

    /// A folder with a `config.json`, and helpers.
    fn logins(config: &str, helpers: &[(&str, &str)]) -> (tempfile::TempDir, DockerLogins) {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("config.json"), config).unwrap();
        for (name, script) in helpers {
            let path = folder.path().join(format!("docker-credential-{name}"));
            std::fs::write(&path, format!("#!/bin/sh\n{script}\n")).unwrap();
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
        }
        let home = folder.path().display().to_string();
        let env = |name: &str| match name {
            "DOCKER_CONFIG" => Some(home.clone()),
            "PATH" => Some(format!("/nowhere:{home}")),
            _ => None,
        };
        let logins = DockerLogins::of_docker(&env);
        (folder, logins)
    }

    /// `user:password`, `token:…`, `-`, or the error.
    async fn told(logins: &DockerLogins, registry: &str) -> String {
        match logins.login(registry).await {
            Ok(None) => "-".to_owned(),
            Ok(Some(found)) => match found.login {
                Login::Password { user, password } => format!("{user}:{}", password.expose_secret()),
                Login::IdentityToken(token) => format!("token:{}", token.expose_secret()),
            },
            Err(error) => error.to_string(),
        }
    }

    #[tokio::test]
    async fn logins_of_the_file() {
        // alice:pw:1, with and without padding; bob:b.
        let (_folder, logins) = logins(
            r#"{"auths": {
                "ghcr.io": {"auth": "YWxpY2U6cHc6MQ=="}, "https://index.docker.io/v1/": {"auth": "Ym9iOmI"},
                "https://quay.io/v2/": {"username": "carol", "password": "c"}, "acr.example": {"identitytoken": "t", "auth": "eDp5"},
                "empty.example": {}, "bad.example": {"auth": "%%%"}, "localhost:5000": {"auth": "eDp5"}}, "unknown": 1}"#,
            &[],
        );
        for (registry, expected) in [
            ("ghcr.io", "alice:pw:1"),
            ("docker.io", "bob:b"),
            ("quay.io", "carol:c"),
            ("acr.example", "token:t"),
            ("empty.example", "-"),
            ("localhost:5000", "x:y"),
            ("localhost:5001", "-"),
            ("ghcr.io.example", "-"),
        ] {
            assert_eq!(told(&logins, registry).await, expected, "{registry}");
        }
        let bad = told(&logins, "bad.example").await;
        assert!(bad.contains("bad.example that is not Base64; `docker login bad.example` writes a new one"), "{bad}");
        assert!(!format!("{:?}", logins.login("ghcr.io").await).contains("pw:1"));
        let found = logins.for_image("alpine").await.unwrap();
        assert_eq!(found.server, "https://index.docker.io/v1/");
        assert!(found.found_in.ends_with("/config.json"));
    }

    #[tokio::test]
    async fn logins_of_helpers() {
        let (_folder, logins) = logins(
            r#"{"credsStore": "all", "credHelpers": {"ghcr.io": "one", "away.example": "away", "loud.example": "loud",
                "odd.example": "odd", "path.example": "../x", "acr.example": "acr"}, "auths": {"kept.example": {"auth": "eDp5"}}}"#,
            &[
                ("one", r#"read s; [ "$1" = get ] && echo "{\"Username\": \"alice\", \"Secret\": \"for $s\"}""#),
                ("acr", r#"echo '{"Username": "<token>", "Secret": "r"}'"#),
                ("all", "echo 'credentials not found in native keychain'; exit 1"),
                ("loud", "echo 'the keychain is locked' >&2; exit 1"),
                ("odd", "echo hunter2"),
            ],
        );
        assert_eq!(told(&logins, "ghcr.io").await, "alice:for ghcr.io");
        assert_eq!(told(&logins, "acr.example").await, "token:r");
        assert_eq!(told(&logins, "other.example").await, "-");
        assert_eq!(told(&logins, "kept.example").await, "x:y");
        for (registry, expected) in [
            ("away.example", "`docker-credential-away`, named in "),
            ("away.example", "is not in any folder of PATH"),
            ("loud.example", "failed: the keychain is locked"),
            ("odd.example", "answers with something that is not JSON"),
            ("path.example", "is no name of a program"),
        ] {
            let said = told(&logins, registry).await;
            assert!(said.contains(expected) && !said.contains("hunter2"), "{said}");
        }
        // For a pull that is a warning, not the end.
        assert!(logins.for_image("loud.example/a:1").await.is_none());
    }

    #[tokio::test]
    async fn no_file_no_login() {
        assert_eq!(told(&DockerLogins::of_docker(&|_| None), "ghcr.io").await, "-");
        let (folder, logins) = logins("{\"auths\": [\"hunter2\"]}", &[]);
        let said = told(&logins, "ghcr.io").await;
        assert!(
            said.contains("config.json is not what Docker writes there (line 1") && !said.contains("hunter2"),
            "{said}"
        );
        std::fs::remove_file(folder.path().join("config.json")).unwrap();
        assert_eq!(told(&logins, "ghcr.io").await, "-");
        let home = |name: &str| (name == "HOME").then(|| "/home/x".to_owned());
        assert_eq!(DockerLogins::of_docker(&home).looked_in(), "/home/x/.docker/config.json");
    }
}
