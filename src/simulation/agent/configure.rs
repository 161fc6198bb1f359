//! What `config.sh` does: it registers with a token, and writes the two files with which `run.sh` starts.

use super::Output;
use super::connection::{Configured, register};
use crate::simulation::protocol::{CredentialsFile, Register, RunnerFile};
use clap::Args;
use std::io;
use std::path::Path;

/// The arguments of `config.sh`, as far as they matter here. Each can come as `ACTIONS_RUNNER_INPUT_<NAME>` as well.
#[derive(Debug, Clone, Args)]
#[expect(clippy::struct_excessive_bools, reason = "they are the real one's flags")]
pub struct ConfigArgs {
    /// Ask nothing; the stand-in never asks.
    #[arg(long, env = "ACTIONS_RUNNER_INPUT_UNATTENDED")]
    pub unattended: bool,
    /// `https://github.com/acme` or `https://github.com/acme/web`.
    #[arg(long, env = "ACTIONS_RUNNER_INPUT_URL")]
    pub url: String,
    /// The registration token.
    #[arg(long, env = "ACTIONS_RUNNER_INPUT_TOKEN", hide_env_values = true)]
    pub token: String,
    /// The runner's name; the host's name where none.
    #[arg(long, env = "ACTIONS_RUNNER_INPUT_NAME")]
    pub name: Option<String>,
    /// The runner group's name.
    #[arg(long, env = "ACTIONS_RUNNER_INPUT_RUNNERGROUP")]
    pub runnergroup: Option<String>,
    /// Labels, with commas between them.
    #[arg(long, env = "ACTIONS_RUNNER_INPUT_LABELS", value_delimiter = ',')]
    pub labels: Vec<String>,
    /// Leave out `self-hosted`, the system and the architecture, which the agent adds by itself.
    #[arg(long, env = "ACTIONS_RUNNER_INPUT_NO_DEFAULT_LABELS")]
    pub no_default_labels: bool,
    /// The folder for jobs.
    #[arg(long, env = "ACTIONS_RUNNER_INPUT_WORK", default_value = "_work")]
    pub work: String,
    /// Take the place of a runner of this name.
    #[arg(long, env = "ACTIONS_RUNNER_INPUT_REPLACE")]
    pub replace: bool,
    /// One job only.
    #[arg(long, env = "ACTIONS_RUNNER_INPUT_EPHEMERAL")]
    pub ephemeral: bool,
    /// No update of the agent; the stand-in has none.
    #[arg(long, env = "ACTIONS_RUNNER_INPUT_DISABLEUPDATE")]
    pub disableupdate: bool,
}

/// Registers. Returns the exit code: 0, or 1 as the real one has it for whatever goes wrong.
pub(super) async fn run(arguments: &ConfigArgs, root: &Path, output: &Output) -> u8 {
    match configure(arguments, root, output).await {
        Ok(()) => 0,
        Err(why) => {
            output(&why);
            1
        }
    }
}

async fn configure(arguments: &ConfigArgs, root: &Path, output: &Output) -> Result<(), String> {
    if root.join(".runner").exists() {
        return Err("Cannot configure the runner because it is already configured. To reconfigure the runner, run 'config.cmd remove' or './config.sh remove' first.".into());
    }
    let server =
        server_of(&arguments.url).ok_or_else(|| format!("An error occurred: `{}` is no URL", arguments.url))?;
    let name = arguments.name.clone().or_else(host_name).unwrap_or_else(|| "runner".into());
    let mut labels: Vec<String> = arguments.labels.iter().map(|label| label.trim().to_owned()).collect();
    labels.retain(|label| !label.is_empty());
    if !arguments.no_default_labels {
        let machine = if cfg!(target_arch = "aarch64") { "ARM64" } else { "X64" };
        labels.extend(["self-hosted", "Linux", machine].map(str::to_owned));
    }
    let wish = Register {
        url: arguments.url.clone(),
        token: arguments.token.clone(),
        name: name.clone(),
        labels,
        group: arguments.runnergroup.clone().filter(|group| !group.is_empty()),
        ephemeral: arguments.ephemeral,
        replace: arguments.replace,
        work_folder: arguments.work.clone(),
    };
    let answer = register(&server, &wish).await.map_err(|away| format!("An error occurred: {away}"))?;
    let files = match answer {
        Configured::Done(files) => files,
        Configured::Refused => {
            return Err(format!("Http response code: NotFound from 'POST {server}/actions/runner-registration'"));
        }
        Configured::NotFound(what) => {
            return Err(match &wish.group {
                Some(group) if what.contains("group") => {
                    format!("Could not find any self-hosted runner group named \"{group}\".")
                }
                _ => format!("An error occurred: {what}"),
            });
        }
        Configured::NameTaken => return Err(format!("A runner exists with the same name {name}.")),
    };
    output("\n√ Connected to GitHub\n");
    output("√ Runner successfully added");
    write_files(root, &files.runner, &files.credentials).map_err(|error| format!("An error occurred: {error}"))?;
    output("√ Settings Saved.\n");
    Ok(())
}

/// The server of a registration URL: everything before the path.
fn server_of(url: &str) -> Option<String> {
    let (scheme, rest) = url.split_once("://")?;
    let host = rest.split('/').next().filter(|host| !host.is_empty())?;
    Some(format!("{scheme}://{host}"))
}

fn host_name() -> Option<String> {
    std::fs::read_to_string("/proc/sys/kernel/hostname").ok().map(|name| name.trim().to_owned())
}

/// Writes the two files of a registration.
pub(super) fn write_files(root: &Path, runner: &RunnerFile, credentials: &CredentialsFile) -> io::Result<()> {
    std::fs::write(root.join(".runner"), serde_json::to_vec(runner)?)?;
    std::fs::write(root.join(".credentials"), serde_json::to_vec(credentials)?)
}

/// Reads them; none where the agent is not configured.
pub(super) fn read_files(root: &Path) -> Option<(RunnerFile, CredentialsFile)> {
    let read = |name| std::fs::read(root.join(name)).ok();
    Some((serde_json::from_slice(&read(".runner")?).ok()?, serde_json::from_slice(&read(".credentials")?).ok()?))
}

/// Removes them, as the real agent does after the one job of an ephemeral runner.
pub(super) fn remove_files(root: &Path) {
    for name in [".runner", ".credentials"] {
        // They may never have been there: then that is what was wanted.
        let _ = std::fs::remove_file(root.join(name));
    }
}

#[cfg(test)]
mod tests {
    use super::server_of;

    #[test]
    fn the_server_is_what_stands_before_the_path() {
        assert_eq!(server_of("http://127.0.0.1:9/acme/web").as_deref(), Some("http://127.0.0.1:9"));
        assert_eq!(server_of("https://github.com").as_deref(), Some("https://github.com"));
        assert_eq!(server_of("acme"), None);
        assert_eq!(server_of("http:///acme"), None);
    }
}
