//! `trustctl release verify DIR`: everything in the directory, against keys that the user has; no daemon is asked.

use std::path::{Path, PathBuf};

use serde::Serialize;
use trust::format::release::manifest;

use super::judge::{self, Keys, Problem};
use super::listing::Listing;
use super::{digests, pinned};
use crate::command_line::release::ReleaseVerify;
use crate::context::Context;
use crate::failure::Failure;
use crate::files;
use crate::output::{Paint, Shown};

/// So many faults are named; the rest is counted.
const NAMED_MAX: usize = 20;

/// A release that is what its manifest says.
#[derive(Debug, Serialize)]
struct VerifiedRelease {
    directory: PathBuf,
    #[serde(skip_serializing_if = "Option::is_none")]
    version: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    source_revision: Option<String>,
    files: Vec<String>,
    /// The forms that the manifest names, all of them there and good.
    forms: Vec<&'static str>,
    signatures: usize,
}

impl Shown for VerifiedRelease {
    fn text(&self, paint: Paint) -> String {
        let version = self.version.as_ref().map(|version| format!(" {version}")).unwrap_or_default();
        let revision = self.source_revision.as_ref().map(|revision| format!(", source {revision}")).unwrap_or_default();
        let why = format!("{} signatures and lists: {}{revision}", self.signatures, self.forms.join(" "));
        let what = format!("{}{version}, {} files", self.directory.display(), self.files.len());
        format!("{} {}  {}", paint.good("verified"), crate::failure::printable(&what), paint.faint(&why))
    }
}

/// Runs `trustctl release verify`.
pub(crate) fn verify(context: &Context, arguments: &ReleaseVerify) -> Result<(), Failure> {
    let keys = match &arguments.of {
        Some(name) => pinned::keys(&context.config.release_pins, name)?,
        None => Keys {
            statement: pinned::read_keys(&arguments.public_key)?,
            blob: pinned::read_keys(&arguments.blob_public_key)?,
        },
    };
    let directory = arguments.directory.as_path();
    let listing = Listing::of(directory)?;
    let bundle = read_manifest(directory, &listing)?;
    let manifest = judge::manifest(&keys, &bundle).map_err(|why| {
        Failure::refused(
            format!("{} is not verified: {} does not count", directory.display(), manifest::NAME),
            "get the release again from whoever made it, and make sure the public key is theirs",
        )
        .because(why)
    })?;
    let release = &manifest.release;
    if let Some(asked) = &arguments.version
        && release.version() != Some(asked)
    {
        let found = release.version().unwrap_or("none");
        return Err(Failure::refused(
            format!("{} is not version {asked}: its manifest says {found}", directory.display()),
            "get that version from whoever made it",
        ));
    }
    let mut present = listing.files.clone();
    // What is not of the release need not be read to be refused.
    present.retain(|name, _| release.files().iter().any(|file| file.name() == name));
    let found = digests::of_all(context, &present)?;
    let signature = |name: &str, bytes_max: usize| read_signature(&directory.join(name), bytes_max);
    let mut problems = judge::judge(&manifest, &keys, &found, &listing.signatures, &signature);
    let extra = listing.files.keys().filter(|name| !present.contains_key(*name)).map(|name| name.as_str().to_owned());
    let extra = extra.chain(listing.others.iter().cloned());
    problems.extend(extra.map(|name| Problem::new(name, "is not of this release")));
    problems.sort();
    if !problems.is_empty() {
        return Err(not_verified(directory, &problems));
    }
    context.output.show(&VerifiedRelease {
        directory: directory.to_path_buf(),
        version: release.version().map(str::to_owned),
        source_revision: release.source_revision().map(str::to_owned),
        files: release.files().iter().map(|file| file.name().to_string()).collect(),
        forms: manifest.forms.iter().map(|form| form.name()).collect(),
        signatures: listing.signatures.len(),
    })
}

fn read_manifest(directory: &Path, listing: &Listing) -> Result<Vec<u8>, Failure> {
    let refused = |why: String| {
        Failure::refused(
            format!("{} is not verified: {} {why}", directory.display(), manifest::NAME),
            "get the release again from whoever made it; a release without manifest is not one of trustd",
        )
    };
    if !listing.signatures.contains(manifest::NAME) {
        return Err(refused("is missing".to_owned()));
    }
    read_signature(&directory.join(manifest::NAME), manifest::BUNDLE_BYTES_MAX).map_err(refused)
}

fn read_signature(path: &Path, bytes_max: usize) -> Result<Vec<u8>, String> {
    match files::read(path, u64::try_from(bytes_max).unwrap_or(u64::MAX)) {
        Ok(Some((bytes, _))) => Ok(bytes),
        Ok(None) => Err("is missing".to_owned()),
        Err(error) => Err(format!("cannot be read: {error}")),
    }
}

fn not_verified(directory: &Path, problems: &[Problem]) -> Failure {
    let mut words: Vec<String> =
        problems.iter().take(NAMED_MAX).map(|problem| format!("{} {}", problem.file, problem.problem)).collect();
    if let Some(more @ 1..) = problems.len().checked_sub(NAMED_MAX) {
        words.push(format!("and {more} more"));
    }
    Failure::refused(
        format!("{} is not verified: {}", directory.display(), words.join("; ")),
        "get the release again from whoever made it; what is not of it does not belong into its directory",
    )
}
