//! `trustctl`: the thin client of trustd. It asks the daemon to sign and verifies by itself.

mod audit;
mod backup;
mod believed;
mod checkpoint;
mod command_line;
mod config;
mod confirm;
mod connect;
mod content_trust;
mod context;
mod endpoint;
mod engine;
mod enroll;
mod enrolled;
mod failure;
mod file_digest;
mod files;
mod hsm;
mod image;
mod key;
mod migrate;
mod output;
mod pin;
mod pin_file;
mod pinning;
mod places;
mod registry;
mod release;
mod release_pin;
mod repeat;
mod run;
mod sealing;
mod secret;
mod sign;
mod status;
mod time;
mod trust_data;
mod trust_owner;
mod trust_server;
mod tuf_client;
mod usage;
mod verify;

use std::process::ExitCode;

fn main() -> ExitCode {
    run::trustctl()
}
