//! Targets, as files of a directory: fetched in parts, held against what is signed, and only then given their names.

use std::fs::File;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use trust::format::tuf::Digester;
use trust::format::tuf::standard::{Target, file_name};

use super::remote::Remote;
use crate::failure::Failure;
use crate::files::{Draft, Existing, private_directory};
use crate::output::Output;

/// Bytes read at a time.
const CHUNK: usize = 256 * 1024;
const MODE: u32 = 0o644;

/// Where targets are put, and where they come from.
#[derive(Debug)]
pub(super) struct Downloads<'a> {
    pub(super) remote: &'a Remote,
    pub(super) directory: &'a Path,
    /// Whether targets are named by their hashes (TUF 1.0 §6.2).
    pub(super) by_hash: bool,
    pub(super) output: Output,
}

/// A target that is there.
#[derive(Debug)]
pub(super) struct Downloaded {
    /// Where.
    pub(super) file: PathBuf,
    /// Whether it was there before.
    pub(super) was_there: bool,
}

impl Downloads<'_> {
    /// Gets what is signed under a path, unless it is there already.
    pub(super) async fn get(&self, path: &str, target: &Target) -> Result<Downloaded, Failure> {
        let name = remote_name(path, target, self.by_hash)?;
        let file = self.directory.join(file_name(path));
        private_directory(self.directory).map_err(|error| unwritten(self.directory, error))?;
        if is_there(&file, target) {
            return Ok(Downloaded { file, was_there: true });
        }
        let incoming = self.remote.begin(&name, target.length_bytes()).await?;
        let mut incoming = incoming.ok_or_else(|| {
            Failure::refused(format!("the repository has no {name}"), "is --target-base-url the place of its targets?")
        })?;
        let mut draft = Draft::of(&file, MODE).map_err(|error| unwritten(&file, error))?;
        let mut digester = Digester::default();
        let bar = self.output.progress(target.length_bytes(), path);
        while let Some(part) = incoming.part().await? {
            digester.take(&part);
            draft.append(&part).map_err(|error| unwritten(&file, error))?;
            bar.set_position(digester.length_bytes());
        }
        bar.finish_and_clear();
        if !target.is_that(digester) {
            return Err(Failure::refused(
                format!("what the repository sends for {path} is not what is signed"),
                "nothing was kept of it; whoever answers for the repository has to say what happened",
            ));
        }
        draft.keep(Existing::Replace).map_err(|error| unwritten(&file, error))?;
        Ok(Downloaded { file, was_there: false })
    }
}

/// The path of a target as a URL has it, each part escaped; before the last part its hash, where targets are so named.
fn remote_name(path: &str, target: &Target, by_hash: bool) -> Result<String, Failure> {
    let mut parts: Vec<String> = path.split('/').map(file_name).collect();
    if parts.iter().any(|part| matches!(part.as_str(), "" | "." | "..")) {
        return Err(Failure::refused(
            format!("{path} is no path of a file"),
            "a part of it is empty, `.` or `..`, which means another path in a URL",
        ));
    }
    if by_hash && let Some(last) = parts.last_mut() {
        let hashes = target.hashes();
        let sha256 = hashes.sha256().map(|hash| hash.to_hex());
        let hash = sha256.or_else(|| hashes.sha512().map(hex::encode)).unwrap_or_default();
        *last = format!("{hash}.{last}");
    }
    Ok(parts.join("/"))
}

/// Whether the file is the one that is signed: it need not come again.
fn is_there(file: &Path, target: &Target) -> bool {
    let read = || -> std::io::Result<bool> {
        if !std::fs::symlink_metadata(file)?.is_file() {
            return Ok(false);
        }
        let mut file = File::open(file)?.take(target.length_bytes().saturating_add(1));
        let (mut digester, mut chunk) = (Digester::default(), vec![0; CHUNK]);
        loop {
            let count = file.read(&mut chunk)?;
            match chunk.get(..count) {
                Some(part) if count > 0 => digester.take(part),
                _ => return Ok(target.is_that(digester)),
            }
        }
    };
    read().unwrap_or(false)
}

fn unwritten(place: &Path, error: std::io::Error) -> Failure {
    Failure::other(
        format!("write {}", place.display()),
        "is there room, may you write there, is the name not too long?",
    )
    .because(error)
}
