//! `trustd` with `test-import`: its worker takes a key from a file, so that a test can look for what is left of it.
//! A program of its own, so that no build of the tests replaces the real one. Never installed.

use std::process::ExitCode;

fn main() -> ExitCode {
    trustd::trustd()
}
