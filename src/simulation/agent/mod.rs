//! The stand-in agent: it starts, speaks, works and ends as GitHub's runner agent does, for a simulated GitHub. The
//! program carries it, so that an image for `demo` and for tests needs nothing but the program itself.
//!
//! Where it differs from the real agent (read in actions/runner 2.336.0), it says so: the protocol is ours, there are no
//! steps, and no update.

#![expect(
    clippy::disallowed_methods,
    reason = "the real agent is told what to do by its environment, and so is this one"
)]

mod configure;
mod connection;
mod job;
mod listen;
mod reaper;
mod worker;

pub use configure::ConfigArgs;
pub use job::Worker;
pub use listen::{Agent, Ended, Interrupt};

use clap::{Args, Subcommand};
use std::env;
use std::ffi::OsString;
use std::io::Write as _;
use std::path::PathBuf;
use std::sync::Arc;

/// `/home/runner/run.sh` of an image for the stand-in. The image has `/bin/sh` and the program, and little else.
pub const RUN_SH: &str = "#!/bin/sh
case \"$0\" in */*) cd \"${0%/*}\" || exit 1 ;; esac
exec /usr/local/bin/runnerfleet stand-in-agent run \"$@\"
";

/// `/home/runner/config.sh` of an image for the stand-in.
pub const CONFIG_SH: &str = "#!/bin/sh
case \"$0\" in */*) cd \"${0%/*}\" || exit 1 ;; esac
exec /usr/local/bin/runnerfleet stand-in-agent config \"$@\"
";

/// What the job's process is called, as with the real agent: `docker top` shows it.
pub const WORKER_NAME: &str = "/home/runner/bin/Runner.Worker";

/// The environment variable that carries a JIT config.
const JIT_VARIABLE: &str = "ACTIONS_RUNNER_INPUT_JITCONFIG";

/// The hidden verb `stand-in-agent`.
#[derive(Debug, Clone, Subcommand)]
pub enum AgentCommand {
    /// What `run.sh` does: wait for jobs and run them.
    Run(RunArgs),
    /// What `config.sh` does: register with a token.
    Config(ConfigArgs),
    /// The process of one job. The agent starts it; its job comes by standard input.
    Worker,
}

/// The arguments of `run.sh`.
#[derive(Debug, Clone, Default, Args)]
pub struct RunArgs {
    /// The JIT config; better given as `ACTIONS_RUNNER_INPUT_JITCONFIG`.
    #[arg(long, hide = true)]
    pub jitconfig: Option<String>,
}

/// Where the agent's lines go.
pub type Output = Arc<dyn Fn(&str) + Send + Sync>;

/// To standard output. A closed one is no reason to stop working.
pub fn to_stdout() -> Output {
    Arc::new(|line| {
        let mut out = std::io::stdout().lock();
        let _ = writeln!(out, "{line}").and_then(|()| out.flush());
    })
}

/// Runs the verb on a runtime of its own, with one thread: a runner's container has little memory to spare. Returns the
/// exit code.
pub fn main_blocking(command: AgentCommand) -> u8 {
    if matches!(command, AgentCommand::Worker) {
        return worker::main();
    }
    match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime.block_on(main(command)),
        Err(error) => {
            to_stdout()(&format!("An error occurred: {error}"));
            1
        }
    }
}

/// Runs the verb. Returns the exit code.
pub async fn main(command: AgentCommand) -> u8 {
    match command {
        AgentCommand::Worker => worker::main(),
        AgentCommand::Config(arguments) => {
            let root = env::current_dir().unwrap_or_else(|_| PathBuf::from("."));
            configure::run(&arguments, &root, &to_stdout()).await
        }
        AgentCommand::Run(arguments) => run(arguments).await,
    }
}

async fn run(arguments: RunArgs) -> u8 {
    let output = to_stdout();
    let program = match env::current_exe() {
        Ok(program) => program,
        Err(error) => {
            output(&format!("An error occurred: {error}"));
            return 1;
        }
    };
    let jit = arguments.jitconfig.or_else(|| env::var(JIT_VARIABLE).ok()).filter(|jit| !jit.is_empty());
    let mut agent = Agent::new(jit, Worker::Process { program, arguments: worker_arguments() });
    agent.root = env::current_dir().ok();
    agent.output = output;
    agent.verbose = env::var("ACTIONS_RUNNER_PRINT_LOG_TO_STDOUT").is_ok_and(|value| value == "1");
    agent.tells_deprecation =
        env::var("ACTIONS_RUNNER_RETURN_VERSION_DEPRECATED_EXIT_CODE").is_ok_and(|value| value == "1");
    if let Ok(version) = env::var("STAND_IN_AGENT_VERSION") {
        agent.version = version;
    }
    // Without this variable the real run.sh handles no signal: as PID 1 it does not even die of one.
    if env::var_os("RUNNER_MANUALLY_TRAP_SIG").is_some_and(|value| !value.is_empty()) {
        match listen::trap_signals() {
            Ok(stop) => agent.stop = stop,
            Err(error) => (agent.output)(&format!("An error occurred: {error}")),
        }
    }
    agent.run().await.exit_code()
}

/// How this program is told to be a worker. `STAND_IN_WORKER` replaces it (tests run the agent out of another program).
fn worker_arguments() -> Vec<OsString> {
    match env::var("STAND_IN_WORKER") {
        Ok(arguments) => arguments.split(' ').map(OsString::from).collect(),
        Err(_) => vec!["stand-in-agent".into(), "worker".into()],
    }
}
