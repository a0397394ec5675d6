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
    Hold(Duration),
    Length(CK_ULONG),
    Lose,
    Rv(CK_RV),
    Segv,
    Shout,
    Swap,
}

/// Counts a call of the function and says what is to be done at it.
pub(super) fn due(name: &str) -> Vec<Action> {
    let number = count(name);
    let actions = commands(name, |when| match (when.strip_prefix('/'), when.strip_prefix('~')) {
        (Some(every), _) => every.parse::<u64>().is_ok_and(|every| number.checked_rem(every) == Some(0)),
        (_, Some(random)) => is_drawn(random, name, number),
        _ => when == "*" || when.parse::<u64>().is_ok_and(|when| when == number),
    });
    // A length is made up where nothing is counted; see `made_up`.
    actions.iter().filter(|action| !matches!(action, Action::Length(_))).for_each(|action| done(name, *action));
    actions
}

/// The length to make up at a call that asks for it, and does not count.
pub(super) fn made_up(name: &str) -> Option<CK_ULONG> {
    let actions = commands(name, |when| when == "*");
    let made_up = actions.into_iter().find(|action| matches!(action, Action::Length(_)))?;
    done(name, made_up);
    if let Action::Length(length) = made_up { Some(length) } else { None }
}

/// Counts something that is done to a call: a test sees by it that its command came true.
fn done(name: &str, action: Action) {
    let word = format!("{action:?}").to_ascii_lowercase();
    let word = word.split('(').next().unwrap_or_default();
    count(&format!("{name}.{word}"));
}

/// `N@SEED`: whether this call is among one in N that are drawn by chance, the same calls for the same seed.
fn is_drawn(random: &str, name: &str, number: u64) -> bool {
    let Some((every, seed)) = random.split_once('@') else { return false };
    let (Ok(every), Ok(seed)) = (every.parse::<u64>(), seed.parse::<u64>()) else { return false };
    let named = name.bytes().fold(seed, |mixed, byte| mix(mixed ^ u64::from(byte)));
    mix(named.wrapping_add(number)).checked_rem(every) == Some(0)
}

/// One step of SplitMix64.
fn mix(value: u64) -> u64 {
    let value = value.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    value ^ (value >> 31)
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
        ("hold", Some(milliseconds)) => Action::Hold(Duration::from_millis(milliseconds)),
        ("length", Some(length)) => Action::Length(length),
        ("lose", None) => Action::Lose,
        ("rv", Some(code)) => Action::Rv(code),
        ("segv", None) => Action::Segv,
        ("shout", None) => Action::Shout,
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
