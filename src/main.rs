//! The `runnerfleet` program: arguments in, exit code out.

use std::process::ExitCode;

fn main() -> ExitCode {
    runnerfleet::cli::main()
}
