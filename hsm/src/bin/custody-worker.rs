//! The worker process alone, for the contract tests; in production it is a subcommand of `trustd`.

use std::process::ExitCode;

fn main() -> ExitCode {
    trust_hsm::worker::run()
}
