//! `trustd check`: every fault of configuration, policy and files in one answer.

use std::path::Path;
use std::process::ExitCode;

use crate::assemble::policy_source;
use crate::authorize::Authorizer;
use crate::config::Config;

/// Prints every fault, one a line. Exit code 0 when there is none.
pub(crate) fn run(path: Option<&Path>) -> ExitCode {
    let faults = match path {
        None => vec!["no configuration: give --config FILE".to_owned()],
        Some(path) => match Config::load(path) {
            Err(faults) => faults.iter().map(ToString::to_string).collect(),
            Ok(config) => beyond(&config),
        },
    };
    if faults.is_empty() {
        println!("no faults");
        return ExitCode::SUCCESS;
    }
    for fault in &faults {
        eprintln!("{fault}");
    }
    eprintln!("trustd: {} faults; mend them all, docs/config.md has every key", faults.len());
    ExitCode::FAILURE
}

/// What the text alone does not show.
fn beyond(config: &Config) -> Vec<String> {
    let mut faults = Vec::new();
    if let Err(error) = Authorizer::load(policy_source(&config.policy)) {
        faults.extend(error.faults());
    }
    faults
}
