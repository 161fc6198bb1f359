//! The way of a credential from standard input to the agent: a few lines of POSIX shell in front of its command.
//!
//! The shell reads one line, gives it to the one process that needs it, and becomes the command. Everything variable
//! arrives as an argument and is only ever expanded inside double quotes: no text of a configuration is read as shell.
//! Only builtins are needed, so that any image with `/bin/sh` will do; where there is a `sleep`, the wait for the credential has
//! an end.

use crate::model::RunnerName;
use crate::provider::StartCommand;

/// The container's exit code when standard input ended before a whole line was there: the manager died between start
/// and hand-over, or handed nothing over. Half a credential is never used.
pub const NO_CREDENTIAL: i64 = 64;

/// How many times [`PAUSE_SECS`] the shell waits for its line: two minutes, far beyond the slowest hand-over, which comes
/// with the engine's answer to the start. An engine that is killed between the start of a container and its own note of it
/// forgets the container, and standard input stays open: without an end the shell would wait until the machine restarts.
const PAUSES: u32 = 24;

/// A part of the wait. The last one may outlive it: nobody but the watch knows its number.
const PAUSE_SECS: u32 = 5;

/// Reads the line. The variable is unset first: one of that name in the image's environment would come exported, and
/// carry the credential to every child. The watch is ended by a signal that it cannot miss, before the command begins: later it
/// would end the agent.
const READ: &str = r#"unset credential
trap 'echo "runnerfleet: no credential arrived in time" >&2; exit 64' TERM
(
  while [ "$pauses" -gt 0 ]; do
    sleep "$pause" || exit
    pauses=$((pauses - 1))
  done
  kill "$$"
) </dev/null >/dev/null 2>&1 &
if ! IFS= read -r credential || [ -z "$credential" ]; then
  echo 'runnerfleet: no credential arrived on standard input' >&2
  exit 64
fi
kill -KILL "$!" 2>/dev/null
trap - TERM
unset pauses pause
"#;

/// `$@` is the command.
const JIT: &str = r#"ACTIONS_RUNNER_INPUT_JITCONFIG=$credential
unset credential
export ACTIONS_RUNNER_INPUT_JITCONFIG
exec "$@" </dev/null
"#;

/// `$1` to `$5` are url, name, labels, group and work folder; then comes the command. The token is in the environment
/// of `config.sh` alone, which runs in its folder and is over before the command starts.
const REGISTER: &str = r#"url=$1 name=$2 labels=$3 group=$4 work=$5
shift 5
folder=.
case $1 in */*) folder=${1%/*}/ ;; esac
(
  cd "$folder" || exit
  ACTIONS_RUNNER_INPUT_TOKEN=$credential
  unset credential
  export ACTIONS_RUNNER_INPUT_TOKEN
  set -- --unattended --ephemeral --disableupdate --no-default-labels --url "$url" --name "$name" --labels "$labels" --work "$work"
  if [ -n "$group" ]; then set -- "$@" --runnergroup "$group"; fi
  exec ./config.sh "$@"
) </dev/null || exit
unset credential url name labels group work folder
exec "$@" </dev/null
"#;

/// The arguments are those of `REGISTER`. An agent that has its registration (`.runner`) goes straight to its command: the
/// engine may start the container again while nobody is there to hand a credential over. One that lost it waits for a
/// credential that never comes, calm and offline, until it is made anew.
const KEEP: &str = r#"url=$1 name=$2 labels=$3 group=$4 work=$5
shift 5
folder=.
case $1 in */*) folder=${1%/*}/ ;; esac
if ! [ -f "$folder/.runner" ]; then
  unset credential
  if ! IFS= read -r credential || [ -z "$credential" ]; then
    echo 'runnerfleet: no credential arrived on standard input' >&2
    exit 64
  fi
  (
    cd "$folder" || exit
    ACTIONS_RUNNER_INPUT_TOKEN=$credential
    unset credential
    export ACTIONS_RUNNER_INPUT_TOKEN
    set -- --unattended --replace --disableupdate --no-default-labels --url "$url" --name "$name" --labels "$labels" --work "$work"
    if [ -n "$group" ]; then set -- "$@" --runnergroup "$group"; fi
    exec ./config.sh "$@"
  ) </dev/null || exit
fi
unset credential url name labels group work folder
exec "$@" </dev/null
"#;

/// Entrypoint and arguments of a container that starts this way.
pub(super) fn command(start: &StartCommand, runner: &RunnerName) -> (Vec<String>, Vec<String>) {
    waiting(start, runner, PAUSES, PAUSE_SECS)
}

fn waiting(start: &StartCommand, runner: &RunnerName, pauses: u32, pause: u32) -> (Vec<String>, Vec<String>) {
    let shell = |script: String| vec!["/bin/sh".to_owned(), "-c".to_owned(), script, "runnerfleet".to_owned()];
    let read = format!("pauses={pauses} pause={pause}\n{READ}");
    match start {
        StartCommand::Jit { command } => (shell(format!("{read}{JIT}")), command.clone()),
        StartCommand::Register { command, url, labels, group, work_dir }
        | StartCommand::Keep { command, url, labels, group, work_dir } => {
            let script = match start {
                StartCommand::Keep { .. } => KEEP.to_owned(),
                StartCommand::Jit { .. } | StartCommand::Register { .. } => format!("{read}{REGISTER}"),
            };
            let mut arguments = vec![
                url.clone(),
                runner.to_string(),
                labels.join(","),
                group.clone().unwrap_or_default(),
                work_dir.clone(),
            ];
            arguments.extend(command.iter().cloned());
            (shell(script), arguments)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;
    use std::os::unix::fs::PermissionsExt;
    use std::path::Path;
    use std::process::{Child, Command, Output, Stdio};

    fn run(start: &StartCommand, runner: &str, input: &str, env: &[(&str, &str)]) -> Output {
        let mut child = spawn(command(start, &RunnerName::new(runner)), env);
        child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
        child.wait_with_output().unwrap()
    }

    fn spawn((entrypoint, arguments): (Vec<String>, Vec<String>), env: &[(&str, &str)]) -> Child {
        Command::new(&entrypoint[0])
            .args(&entrypoint[1..])
            .args(arguments)
            .envs(env.iter().copied())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap()
    }

    fn script(folder: &Path, name: &str, text: &str) -> String {
        let path = folder.join(name);
        std::fs::write(&path, format!("#!/bin/sh\n{text}\n")).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
        path.to_str().unwrap().to_owned()
    }

    fn text(bytes: &[u8]) -> &str {
        std::str::from_utf8(bytes).unwrap()
    }

    #[test]
    fn a_jit_config_reaches_the_command_and_nothing_of_it_is_on_standard_input() {
        let show =
            r#"printf '%s|' "$ACTIONS_RUNNER_INPUT_JITCONFIG" "${credential-unset}" "$@"; read -r x || echo eof"#;
        let start =
            StartCommand::Jit { command: ["/bin/sh", "-c", show, "sh", "a b", "$(id)"].map(str::to_owned).to_vec() };
        let output = run(&start, "r", "eyJ9\\n $HOME =\nsecond line\n", &[("credential", "from the image")]);
        assert_eq!(text(&output.stdout), "eyJ9\\n $HOME =|unset|a b|$(id)|eof\n");
        assert!(output.status.success());
    }

    #[test]
    fn without_a_whole_line_nothing_runs() {
        let start = StartCommand::Jit { command: vec!["/bin/echo".to_owned(), "ran".to_owned()] };
        for input in ["", "\n", "half a credential"] {
            let output = run(&start, "r", input, &[]);
            assert_eq!(output.status.code().map(i64::from), Some(NO_CREDENTIAL), "{input:?}");
            assert_eq!(text(&output.stdout), "");
            assert!(text(&output.stderr).contains("no credential arrived"));
        }
    }

    #[test]
    fn a_line_that_never_comes_is_not_waited_for_for_ever() {
        let start = StartCommand::Jit { command: vec!["/bin/echo".to_owned(), "ran".to_owned()] };
        let mut child = spawn(waiting(&start, &RunnerName::new("r"), 2, 0), &[]);
        // Open until the end, as that of a container whose engine forgot it.
        let open = child.stdin.take();
        let output = child.wait_with_output().unwrap();
        drop(open);
        assert_eq!(output.status.code().map(i64::from), Some(NO_CREDENTIAL));
        assert_eq!(text(&output.stdout), "");
        assert!(text(&output.stderr).contains("no credential arrived in time"), "{}", text(&output.stderr));
    }

    #[test]
    fn the_watch_is_over_before_the_command_begins() {
        // The shell that became the command has no child but, for a moment, a pause.
        let show = r#"trap 'echo ended by the watch' TERM; sleep 2; echo "${pauses-none} ${pause-none}""#;
        let start = StartCommand::Jit { command: ["/bin/sh", "-c", show].map(str::to_owned).to_vec() };
        let mut child = spawn(waiting(&start, &RunnerName::new("r"), 1, 1), &[]);
        child.stdin.take().unwrap().write_all(b"AABB\n").unwrap();
        let output = child.wait_with_output().unwrap();
        assert_eq!((output.status.code(), text(&output.stdout)), (Some(0), "none none\n"));
    }

    #[test]
    fn a_token_is_known_to_config_sh_alone_and_no_text_is_read_as_shell() {
        let folder = tempfile::tempdir().unwrap();
        let hostile = "x'; touch owned; echo \"$(touch owned)`touch owned`\" $HOME *";
        script(
            folder.path(),
            "config.sh",
            r#"echo "token=$ACTIONS_RUNNER_INPUT_TOKEN in $PWD"; for a in "$@"; do echo "<$a>"; done"#,
        );
        let program =
            script(folder.path(), "run.sh", r#"echo "then ${ACTIONS_RUNNER_INPUT_TOKEN-none}"; env; echo "[$1]""#);
        let start = StartCommand::Register {
            command: vec![program, hostile.to_owned()],
            url: format!("https://github.com/{hostile}"),
            labels: vec!["linux".to_owned(), hostile.to_owned()],
            group: Some(hostile.to_owned()),
            work_dir: "_work".to_owned(),
        };
        let output = run(&start, "linux-7", "AABB\n", &[("HOSTILE", hostile)]);
        let (before, after) = text(&output.stdout).split_once("then none").unwrap();
        let real = folder.path().canonicalize().unwrap();
        assert_eq!(
            before,
            format!(
                "token=AABB in {}\n<--unattended>\n<--ephemeral>\n<--disableupdate>\n<--no-default-labels>\n<--url>\n<https://github.com/{hostile}>\n\
                 <--name>\n<linux-7>\n<--labels>\n<linux,{hostile}>\n<--work>\n<_work>\n<--runnergroup>\n<{hostile}>\n",
                real.display()
            )
        );
        assert!(!after.contains("AABB"), "{after}");
        assert!(after.ends_with(&format!("[{hostile}]\n")));
        assert!(!folder.path().join("owned").exists() && !Path::new("owned").exists());
    }

    #[test]
    fn a_kept_agent_registers_once_and_then_needs_no_credential() {
        let folder = tempfile::tempdir().unwrap();
        script(
            folder.path(),
            "config.sh",
            r#"echo "token=$ACTIONS_RUNNER_INPUT_TOKEN"; for a in "$@"; do echo "<$a>"; done; : > .runner"#,
        );
        let program =
            script(folder.path(), "run.sh", r#"echo "runs ${ACTIONS_RUNNER_INPUT_TOKEN-none} ${credential-none} $1""#);
        let start = StartCommand::Keep {
            command: vec![program, "$(id)".to_owned()],
            url: "https://github.com/acme".to_owned(),
            labels: vec!["linux".to_owned(), "x y".to_owned()],
            group: Some("a group".to_owned()),
            work_dir: "_work".to_owned(),
        };
        let nothing = run(&start, "web-1", "", &[]);
        assert_eq!((nothing.status.code().map(i64::from), text(&nothing.stdout)), (Some(NO_CREDENTIAL), ""));
        let first = run(&start, "web-1", "AABB\n", &[("credential", "from the image")]);
        assert_eq!(
            text(&first.stdout),
            "token=AABB\n<--unattended>\n<--replace>\n<--disableupdate>\n<--no-default-labels>\n<--url>\n<https://github.com/acme>\n\
             <--name>\n<web-1>\n<--labels>\n<linux,x y>\n<--work>\n<_work>\n<--runnergroup>\n<a group>\nruns none none $(id)\n"
        );
        let again = run(&start, "web-1", "", &[]);
        assert_eq!((again.status.code(), text(&again.stdout)), (Some(0), "runs none none $(id)\n"));
    }

    #[test]
    fn a_failed_registration_ends_it_with_its_code() {
        let folder = tempfile::tempdir().unwrap();
        script(folder.path(), "config.sh", r#"[ "$*" = "${*#*runnergroup}" ] && exit 3; exit 4"#);
        let start = StartCommand::Register {
            command: vec![script(folder.path(), "run.sh", "echo ran")],
            url: "https://github.com/acme".to_owned(),
            labels: vec!["linux".to_owned()],
            group: None,
            work_dir: "_work".to_owned(),
        };
        let output = run(&start, "r", "AABB\n", &[]);
        assert_eq!((output.status.code(), text(&output.stdout)), (Some(3), ""));
    }
}
