//! The files that `pin add` and `release pin add` write: changed under one lock, replaced whole.

use std::path::Path;

use serde::Serialize;

use crate::failure::Failure;
use crate::files::{self, Existing, Lock};

/// Holds off every other change of the pins below `directory`.
pub(crate) fn locked(directory: &Path) -> Result<Lock, Failure> {
    Lock::of(directory).map_err(|error| {
        Failure::other(format!("open {}", directory.display()), "it has to be a directory of yours").because(error)
    })
}

/// Puts `pin` in the place of the one that is for the same, or at the end; answers what that did.
pub(crate) fn put<T: Clone + PartialEq>(
    pins: &mut Vec<T>,
    pin: &T,
    is_for_the_same: impl Fn(&T) -> bool,
) -> &'static str {
    match pins.iter_mut().find(|other| is_for_the_same(other)) {
        Some(other) if *other == *pin => "kept",
        Some(other) => {
            *other = pin.clone();
            "changed"
        }
        None => {
            pins.push(pin.clone());
            "added"
        }
    }
}

/// Replaces the file by `about`, a comment of one line, and the pins.
pub(crate) fn write(path: &Path, about: &str, pins: &impl Serialize) -> Result<(), Failure> {
    let body = toml::to_string(pins)
        .map_err(|error| Failure::other("write the pins", "this is a fault of trustctl").because(error))?;
    files::write(path, format!("# {about}\n\n{body}").as_bytes(), 0o600, Existing::Replace).map_err(|error| {
        Failure::other(format!("write {}", path.display()), "is there space, and may you write there?").because(error)
    })
}
