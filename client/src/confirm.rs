//! Asking a person before something that cannot be undone.

use std::io::Write as _;

use crate::failure::{Failure, printable};
use crate::output::Output;

/// Longest answer that is read, in bytes.
const ANSWER_BYTES_MAX: u64 = 1024;

/// Has the name of the thing typed again. A script, which has no terminal, has said what it wants already.
pub(crate) fn confirmed(warning: &str, name: &str) -> Result<(), Failure> {
    if !Output::asks() {
        return Ok(());
    }
    let mut stderr = std::io::stderr().lock();
    let asked = write!(stderr, "{}\nType the key's name to go on: ", printable(warning)).and_then(|()| stderr.flush());
    let mut answer = String::new();
    let read = asked.and_then(|()| {
        use std::io::{BufRead as _, Read as _};
        std::io::stdin().lock().take(ANSWER_BYTES_MAX).read_line(&mut answer)
    });
    match read {
        Ok(_) if answer.trim() == name => Ok(()),
        Ok(_) => Err(Failure::usage("not confirmed; nothing was changed", format!("type {name}, or add --yes"))),
        Err(error) => Err(Failure::other("ask for confirmation", "add --yes").because(error)),
    }
}
