//! The command file, and the count of calls.

use std::fs::{self, File};
use std::io::{Seek as _, Write as _};
use std::path::PathBuf;
use std::time::Duration;

use cryptoki_sys::{CK_RV, CK_ULONG};

/// What a command does to a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Action {
    Abort,
    Corrupt,
    Delay(Duration),
    Hang,
    Length(CK_ULONG),
    Return(CK_RV),
    Segv,
    Swap,
}

/// Counts a call of the function and says what is to be done at it.
pub(super) fn due(name: &str) -> Vec<Action> {
    let count = count(name);
    commands(name, |when| match when.strip_prefix('/') {
        Some(every) => every.parse::<u64>().is_ok_and(|every| count.checked_rem(every) == Some(0)),
        None => when == "*" || when.parse::<u64>().is_ok_and(|when| when == count),
    })
}

/// What is to be done at a call that does not count.
pub(super) fn now(name: &str) -> Vec<Action> {
    commands(name, |when| when == "*")
}

fn commands(name: &str, is_due: impl Fn(&str) -> bool) -> Vec<Action> {
    let text = directory().and_then(|directory| fs::read_to_string(directory.join("commands")).ok());
    let read = |line: &str| {
        let mut words = line.split_whitespace();
        let is_ours = words.next() == Some(name) && words.next().is_some_and(&is_due);
        let (action, number) = (words.next()?, words.next());
        if is_ours { action_of(action, number) } else { None }
    };
    text.unwrap_or_default().lines().filter_map(read).collect()
}

fn action_of(action: &str, number: Option<&str>) -> Option<Action> {
    let number = number.and_then(|number| match number.strip_prefix("0x") {
        Some(digits) => u64::from_str_radix(digits, 16).ok(),
        None => number.parse().ok(),
    });
    Some(match (action, number) {
        ("abort", None) => Action::Abort,
        ("corrupt", None) => Action::Corrupt,
        ("delay", Some(milliseconds)) => Action::Delay(Duration::from_millis(milliseconds)),
        ("hang", None) => Action::Hang,
        ("length", Some(length)) => Action::Length(length),
        ("rv", Some(code)) => Action::Return(code),
        ("segv", None) => Action::Segv,
        ("swap", None) => Action::Swap,
        _ => return None,
    })
}

/// Appends a byte to the function's file; where that ends is the number of the call, also among several processes.
fn count(name: &str) -> u64 {
    let counted = || {
        let mut file = File::options().append(true).create(true).open(directory()?.join(name)).ok()?;
        file.write_all(b".").ok()?;
        file.stream_position().ok()
    };
    counted().unwrap_or(0)
}

pub(super) fn directory() -> Option<PathBuf> {
    std::env::var_os("FAULT_DIRECTORY").map(PathBuf::from)
}
