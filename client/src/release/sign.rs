//! `trustctl release sign`: one batch for each key, then everything is written, or nothing.

use std::path::PathBuf;

use serde::Serialize;
use trust::format::release::{FILES_MAX, FileName, Label, Release, ReleaseFile, manifest};
use trust_proto::v1;
use trust_proto::words::Word as _;

use super::answer::{Answer, Files, unfit};
use super::judge::{self, Keys};
use super::listing::{Listing, belongs};
use super::{digests, placing};
use crate::command_line::release::ReleaseSign;
use crate::connect::Daemon;
use crate::context::Context;
use crate::failure::Failure;
use crate::files::Existing;
use crate::output::{Paint, Shown};
use crate::repeat::{idempotency_key, until_answered};

/// The longest name of a file: with the longest ending it has to fit the 255 bytes of a directory's entry.
const NAME_BYTES_MAX: usize = 240;

/// What was signed, and what was written.
#[derive(Debug, Serialize)]
struct SignedRelease {
    directory: PathBuf,
    #[serde(skip_serializing_if = "Option::is_none")]
    version: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    source_revision: Option<String>,
    files: Vec<SignedFile>,
    signatures: Vec<String>,
    /// Signatures of before that were not made anew.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    removed: Vec<String>,
    keys: Vec<SignedBy>,
}

#[derive(Debug, Serialize)]
struct SignedFile {
    name: String,
    size: u64,
    sha256: String,
}

#[derive(Debug, Serialize)]
struct SignedBy {
    key: String,
    key_id: String,
    key_version: u32,
    log_origin: String,
    /// The leaves of its intents.
    leaves: Vec<u64>,
}

impl Shown for SignedRelease {
    fn text(&self, paint: Paint) -> String {
        let version = self.version.as_ref().map(|version| format!(" {version}")).unwrap_or_default();
        let mut lines = vec![format!(
            "signed {}{version}: {} files, {} signatures and lists",
            paint.strong(&self.directory.display().to_string()),
            self.files.len(),
            self.signatures.len()
        )];
        lines.extend(self.keys.iter().map(|by| {
            let leaves: Vec<String> = by.leaves.iter().map(u64::to_string).collect();
            let place = format!("{} version {}, {} leaf {}", by.key, by.key_version, by.log_origin, leaves.join(", "));
            format!("  {}", paint.faint(&place))
        }));
        if !self.removed.is_empty() {
            lines.push(format!("  removed {}", paint.faint(&self.removed.join(" "))));
        }
        lines.join("\n")
    }
}

/// Runs `trustctl release sign`.
pub(crate) async fn sign(context: &Context, arguments: &ReleaseSign) -> Result<(), Failure> {
    let label = |text: &Option<String>| text.as_deref().map(Label::parse).transpose();
    let (version, source_revision) = (label(&arguments.version)?, label(&arguments.source_revision)?);
    let listing = Listing::to_sign(&arguments.paths)?;
    let existing = if arguments.force { Existing::Replace } else { Existing::Keep };
    check_names(&listing, existing)?;
    let found = digests::of_all(context, &listing.files)?;
    let files = found.iter().map(|(name, digests)| ReleaseFile::new(name.clone(), digests.clone()));
    let release = Release::new(files.collect::<Result<_, _>>()?, version, source_revision)?;
    let daemon = context.daemon().await?;
    // First: the manifest says in which forms it signed.
    let blob = match &arguments.blob_key {
        Some(name) => Some(ask_blob(&daemon, name, &release).await?),
        None => None,
    };
    let release = release.with_blob_forms(blob.as_ref().map(Answer::forms).transpose()?.unwrap_or_default())?;
    let statement = ask_statement(&daemon, &arguments.key, &release).await?;
    let mut output = statement.statement_files(&release)?;
    let mut keys = Keys { statement: vec![statement.key.clone()], ..Keys::default() };
    let mut by = vec![signed_by(&arguments.key, &statement)];
    if let (Some(name), Some(blob)) = (&arguments.blob_key, &blob) {
        output.append(&mut blob.blob_files(&release)?);
        keys.blob.push(blob.key.clone());
        by.push(signed_by(name, blob));
    }
    check_answer(&release, &found, &keys, &output)?;
    placing::write(&listing.directory, &output, existing)?;
    let removed = remove_stale(&listing, &output)?;
    context.output.show(&SignedRelease {
        directory: listing.directory,
        version: release.version().map(str::to_owned),
        source_revision: release.source_revision().map(str::to_owned),
        files: release.files().iter().map(shown).collect(),
        signatures: output.into_keys().collect(),
        removed,
        keys: by,
    })
}

/// Before anything is signed: what would keep it from being written, or make it fail when it is verified.
fn check_names(listing: &Listing, existing: Existing) -> Result<(), Failure> {
    let place = |name: &str| listing.directory.join(name).display().to_string();
    if listing.files.is_empty() || listing.files.len() > FILES_MAX {
        return Err(Failure::usage(
            format!("{} holds {} files", listing.directory.display(), listing.files.len()),
            format!("a release has 1 to {FILES_MAX} files; pack some of them together"),
        ));
    }
    if let Some(long) = listing.files.keys().find(|name| name.as_str().len() > NAME_BYTES_MAX) {
        return Err(Failure::usage(
            format!("the name {long} is too long to have signatures beside it"),
            format!("a name has at most {NAME_BYTES_MAX} bytes"),
        ));
    }
    if let Some(stray) = listing.signatures.iter().find(|name| !belongs(name, &listing.files)) {
        return Err(Failure::usage(
            format!("{} has the name of a signature, and there is no such file", place(stray)),
            "move it away",
        ));
    }
    match (existing, listing.signatures.first()) {
        (Existing::Keep, Some(taken)) => Err(Failure::usage(
            format!("{} is there already; nothing was signed", place(taken)),
            "move it away, or add --force",
        )),
        _ => Ok(()),
    }
}

async fn ask_statement(daemon: &Daemon, key: &str, release: &Release) -> Result<Answer, Failure> {
    let files = release.files().iter().map(|file| v1::ReleaseFile {
        name: file.name().to_string(),
        size: file.digests().size_bytes,
        sha256: file.digests().sha256.as_bytes().to_vec().into(),
        sha512: file.digests().sha512.to_vec().into(),
        blake2b512: file.digests().blake2b512.to_vec().into(),
    });
    let wire = v1::Release {
        files: files.collect(),
        version: release.version().unwrap_or_default().to_owned(),
        source_revision: release.source_revision().unwrap_or_default().to_owned(),
        blob_forms: release.blob_forms().unwrap_or_default().iter().map(|form| form.to_wire()).collect(),
    };
    let items = v1::sign_batch_request::Items::Release(wire);
    // The whole is an item, too.
    ask(daemon, key, items, release.files().len().saturating_add(1)).await
}

async fn ask_blob(daemon: &Daemon, key: &str, release: &Release) -> Result<Answer, Failure> {
    let statements = release.files().iter().map(|file| {
        let blob = v1::BlobStatement {
            sha256: file.digests().sha256.as_bytes().to_vec().into(),
            name: file.name().to_string(),
            size: file.digests().size_bytes,
        };
        v1::Statement { kind: Some(v1::statement::Kind::Blob(blob)) }
    });
    let items = v1::sign_batch_request::Items::Statements(v1::StatementList { statements: statements.collect() });
    ask(daemon, key, items, release.files().len()).await
}

async fn ask(
    daemon: &Daemon,
    key: &str,
    items: v1::sign_batch_request::Items,
    count: usize,
) -> Result<Answer, Failure> {
    let idempotency_key = idempotency_key()?;
    let request = v1::SignBatchRequest { key: key.to_owned(), items: Some(items), forms: Vec::new(), idempotency_key };
    Answer::read(until_answered(async || daemon.signing().sign_batch(request.clone()).await).await?, count)
}

/// What does not verify here verifies nowhere: the answer is judged as a release of somebody else.
fn check_answer(release: &Release, found: &digests::Found, keys: &Keys, output: &Files) -> Result<(), Failure> {
    let Some(bundle) = output.get(manifest::NAME) else {
        return Err(Failure::refused(
            "the key leaves no manifest, and without one nobody could tell that a file is missing; nothing was written",
            "use a key of purpose release-statement that was made without --forms, or with manifest among them",
        ));
    };
    let manifest = judge::manifest(keys, bundle).map_err(|why| unfit().because(why))?;
    let read = |name: &str, _: usize| output.get(name).cloned().ok_or_else(|| "is missing".to_owned());
    let problems = judge::judge(&manifest, keys, found, &output.keys().cloned().collect(), &read);
    if manifest.release == *release && problems.is_empty() { Ok(()) } else { Err(unfit()) }
}

/// With --force, signatures of these files that were not made anew are of something else.
fn remove_stale(listing: &Listing, output: &Files) -> Result<Vec<String>, Failure> {
    let stale: Vec<String> = listing.signatures.iter().filter(|name| !output.contains_key(*name)).cloned().collect();
    for name in &stale {
        let path = listing.directory.join(name);
        std::fs::remove_file(&path).map_err(|error| {
            Failure::other(format!("remove {}, which is not of this release", path.display()), "remove it")
                .because(error)
        })?;
    }
    Ok(stale)
}

fn shown(file: &ReleaseFile) -> SignedFile {
    let name: &FileName = file.name();
    SignedFile { name: name.to_string(), size: file.digests().size_bytes, sha256: file.digests().sha256.to_string() }
}

fn signed_by(key: &str, answer: &Answer) -> SignedBy {
    let receipt = &answer.receipt;
    SignedBy {
        key: key.to_owned(),
        key_id: receipt.key_id.clone(),
        key_version: receipt.key_version,
        log_origin: receipt.log_origin.clone(),
        leaves: [receipt.leaf].into_iter().chain(answer.second_leaf).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A directory with these files, all of them empty.
    fn directory(names: &[&str]) -> tempfile::TempDir {
        let directory = tempfile::tempdir().unwrap();
        for name in names {
            std::fs::write(directory.path().join(name), "").unwrap();
        }
        directory
    }

    fn checked(names: &[&str], existing: Existing) -> Result<(), Failure> {
        check_names(&Listing::to_sign(&[directory(names).path().to_owned()])?, existing)
    }

    #[test]
    fn whatever_has_the_name_of_a_signature_stops_everything_before_the_daemon_is_asked() {
        for taken in
            ["a.sig", "a.sshsig", "a.minisig", "a.sigstore.json", "SHA256SUMS", "SHA256SUMS.sig", manifest::NAME]
        {
            let failure = checked(&["a", taken], Existing::Keep).unwrap_err();

            assert_eq!(failure.exit().code(), 2);
            assert!(failure.what().contains(taken) && failure.remedy().contains("--force"), "{failure:?}");
            checked(&["a", taken], Existing::Replace).unwrap();
        }
        checked(&["a"], Existing::Keep).unwrap();
    }

    #[test]
    fn a_signature_of_no_file_is_not_overlooked_even_with_force() {
        let failure = checked(&["a", "b.sig"], Existing::Replace).unwrap_err();

        assert!(failure.what().contains("b.sig"), "{failure:?}");
    }

    #[test]
    fn nothing_is_no_release() {
        assert!(checked(&[], Existing::Keep).unwrap_err().what().contains("0 files"));
        assert!(checked(&["a.sig"], Existing::Replace).is_err());
    }

    #[test]
    fn a_name_that_leaves_no_room_for_an_ending_is_refused() {
        checked(&[&"a".repeat(NAME_BYTES_MAX)], Existing::Keep).unwrap();
        assert!(checked(&[&"a".repeat(NAME_BYTES_MAX + 1)], Existing::Keep).is_err());
    }
}
