//! Enrolled daemons: those whose word about trusted keys counts, known by their CA and name.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::config::user_file;
use crate::endpoint::{Authority, Endpoint};
use crate::failure::Failure;
use crate::files::{self, Existing};
use crate::places::Places;

/// A daemon whose CA and server name were recorded.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Enrolled {
    /// `https://host:port`.
    pub(crate) address: String,
    /// The CA of its certificate, PEM.
    pub(crate) ca: String,
}

#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct EnrolledFile {
    #[serde(default)]
    daemons: Vec<Enrolled>,
}

impl Enrolled {
    /// Host and port.
    pub(crate) fn authority(&self) -> Result<Authority, Failure> {
        match Endpoint::parse(&self.address)? {
            Endpoint::Https(authority) => Ok(authority),
            Endpoint::Unix(_) => Err(Failure::usage(
                format!("{} is no daemon on TCP", self.address),
                "a Unix socket needs no enrolment: the kernel says who serves it",
            )),
        }
    }
}

fn file(directory: &Path) -> PathBuf {
    directory.join("enrolled.toml")
}

/// The daemons this user is enrolled with.
pub(crate) fn enrolled(places: &Places) -> Result<Vec<Enrolled>, Failure> {
    places.configuration().map_or_else(|| Ok(Vec::new()), read)
}

/// Those that stand in `directory`; before a change, read them under its lock.
pub(crate) fn read(directory: &Path) -> Result<Vec<Enrolled>, Failure> {
    Ok(user_file::<EnrolledFile>(&file(directory))?.daemons)
}

/// Replaces them.
pub(crate) fn write(directory: &Path, daemons: Vec<Enrolled>) -> Result<(), Failure> {
    let body = toml::to_string(&EnrolledFile { daemons })
        .map_err(|error| Failure::other("write the enrolment", "this is a fault of trustctl").because(error))?;
    let text = format!("# Written by `trustctl enroll`: whose word about trusted keys counts.\n\n{body}");
    files::write(&file(directory), text.as_bytes(), 0o600, Existing::Replace)
        .map_err(|error| unwritten(directory, error))
}

/// What a directory that takes no change means.
pub(crate) fn unwritten(directory: &Path, error: std::io::Error) -> Failure {
    Failure::other(format!("write below {}", directory.display()), "is there space, and may you write there?")
        .because(error)
}
