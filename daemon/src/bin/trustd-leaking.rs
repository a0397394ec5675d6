//! `trustd` with `test-leak`: its worker keeps a copy of every key it opens. A test that looks for what is left of a
//! key must find it here, or it proves nothing elsewhere (D34). Never installed.

use std::process::ExitCode;

fn main() -> ExitCode {
    trustd::trustd()
}
