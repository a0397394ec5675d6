//! Whether a directory is the release that its manifest says: pure, over names, digests and whatever reads signatures.
//!
//! Every signature that lies there has to be valid, every form that the manifest names, of the blob key too, has to be
//! there for every file: what somebody took away is missed.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;
use trust::format::blob::{self, NotVerified};
use trust::format::bundle::{Bundle, Content};
use trust::format::release::manifest::{self, Manifest};
use trust::format::release::minisig::{self, Minisig};
use trust::format::release::sshsig::{self, Sshsig};
use trust::format::release::{FileDigests, FileName, ReleaseFile, sums};
use trust::{Digest, Form, Malformed, PublicKey, Signable, verify};

/// Where the signatures of the list go.
pub(super) const SUMS_SIG: &str = "SHA256SUMS.sig";
/// Where the list's bundle goes.
pub(super) const SUMS_BUNDLE: &str = "SHA256SUMS.sigstore.json";
/// What belongs to the release as a whole.
pub(super) const WHOLE: [&str; 4] = [manifest::NAME, sums::NAME, SUMS_SIG, SUMS_BUNDLE];
/// What lies beside each file, by the form that it is.
pub(super) const ENDINGS: [(Form, &str); 4] =
    [(Form::Bundle, ".sigstore.json"), (Form::Minisig, ".minisig"), (Form::Sig, ".sig"), (Form::Sshsig, ".sshsig")];

/// Whom the user believes.
#[derive(Debug, Default)]
pub(super) struct Keys {
    /// For list, manifest, minisign's and OpenSSH's forms.
    pub(super) statement: Vec<PublicKey>,
    /// For the digests of files.
    pub(super) blob: Vec<PublicKey>,
}

/// One thing that is not as it has to be.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub(super) struct Problem {
    /// Which file, by its name.
    pub(super) file: String,
    /// What about it.
    pub(super) problem: String,
}

impl Problem {
    /// A file and what is wrong with it.
    pub(super) fn new(file: impl Into<String>, problem: impl Into<String>) -> Self {
        Self { file: file.into(), problem: problem.into() }
    }
}

/// The bytes of a signature by its name, at most so many.
pub(super) type Read<'a> = &'a dyn Fn(&str, usize) -> Result<Vec<u8>, String>;

/// Reads the manifest, if one of `keys` signed it.
pub(super) fn manifest(keys: &Keys, bundle: &[u8]) -> Result<Manifest, NotVerified> {
    let Content::Envelope(envelope) = Bundle::read_release(bundle)?.content else {
        return Err(Malformed::new(manifest::NAME, "a bundle with a statement").into());
    };
    if !envelope.is_statement() {
        return Err(Malformed::new(manifest::NAME, "a bundle with an in-toto statement").into());
    }
    let signed = Signable::Message(envelope.signed());
    any(&keys.statement, |key| Ok(verify::one(key, &signed, &envelope.signature)?))?;
    Ok(Manifest::read(&envelope.payload)?)
}

/// Everything that is wrong, in the order of names. `files` are the digests of what is there, `signatures` the names of
/// what lies beside it.
pub(super) fn judge(
    manifest: &Manifest,
    keys: &Keys,
    files: &BTreeMap<FileName, FileDigests>,
    signatures: &BTreeSet<String>,
    read: Read<'_>,
) -> Vec<Problem> {
    let mut problems = Vec::new();
    let mut expected: BTreeSet<String> = BTreeSet::from([manifest::NAME.to_owned()]);
    list(manifest, keys, &mut expected, read, &mut problems);
    let blobs = blob_endings(manifest, keys, signatures);
    for file in manifest.release.files() {
        let name = file.name();
        match files.get(name) {
            None => problems.push(Problem::new(name.as_str(), "is missing")),
            Some(digests) if digests != file.digests() => problems.push(Problem::new(name.as_str(), "is altered")),
            Some(_) => {}
        }
        let said = ENDINGS
            .into_iter()
            .filter(|(form, _)| matches!(form, Form::Minisig | Form::Sshsig) && manifest.forms.contains(form));
        for (form, end) in said.chain(blobs.iter().copied()) {
            let beside = format!("{name}{end}");
            if !signatures.contains(&beside) {
                problems.push(Problem::new(name.as_str(), format!("is unsigned: there is no {beside}")));
            } else if keys.blob.is_empty() && matches!(form, Form::Bundle | Form::Sig) {
                // Nobody can say whether it is good: then it is not.
                problems.push(Problem::new(beside.as_str(), "cannot be checked without --blob-public-key"));
            } else if let Err(why) = beside_file(form, keys, file, &beside, read) {
                problems.push(Problem::new(beside.as_str(), why));
            }
            expected.insert(beside);
        }
    }
    let known: BTreeSet<&FileName> = manifest.release.files().iter().map(ReleaseFile::name).collect();
    let extra = files.keys().filter(|name| !known.contains(name)).map(FileName::as_str);
    let extra = extra.chain(signatures.iter().filter(|name| !expected.contains(*name)).map(String::as_str));
    problems.extend(extra.map(|name| Problem::new(name, "is not of this release")));
    problems.sort();
    problems
}

/// The list and its signatures.
fn list(manifest: &Manifest, keys: &Keys, expected: &mut BTreeSet<String>, read: Read<'_>, found: &mut Vec<Problem>) {
    let text = sums::write(&manifest.release).into_bytes();
    let forms = [(Form::Sig, SUMS_SIG), (Form::Bundle, SUMS_BUNDLE)];
    let forms: Vec<_> = forms.into_iter().filter(|(form, _)| manifest.forms.contains(form)).collect();
    if forms.is_empty() {
        return;
    }
    expected.insert(sums::NAME.to_owned());
    match read(sums::NAME, sums::BYTES_MAX) {
        Err(why) => found.push(Problem::new(sums::NAME, why)),
        Ok(bytes) if bytes == text => {}
        Ok(bytes) => found.push(Problem::new(sums::NAME, difference(manifest, &bytes))),
    }
    let input = Signable::Message(text);
    for (form, name) in forms {
        expected.insert(name.to_owned());
        let checked = match form {
            Form::Bundle => checked(&keys.statement, read(name, trust::format::bundle::BYTES_MAX), |key, bytes| {
                blob::verify_bundle(key, &input, bytes)
            }),
            _ => checked(&keys.statement, read(name, blob::SIG_BYTES_MAX), |key, bytes| {
                blob::verify_sig(key, &input, bytes)
            }),
        };
        found.extend(checked.err().map(|why| Problem::new(name, why)));
    }
}

/// How a list differs from what the manifest says, in a few words.
fn difference(manifest: &Manifest, bytes: &[u8]) -> String {
    let Ok(lines) = sums::read(bytes) else { return "is altered: it is no such list any more".to_owned() };
    let lines: BTreeMap<_, _> = lines.into_iter().collect();
    let files = manifest.release.files();
    let other = files.iter().find(|file| lines.get(file.name()) != Some(&file.digests().sha256));
    let more = lines.keys().find(|name| !files.iter().any(|file| file.name() == *name));
    match other.map(ReleaseFile::name).or(more) {
        Some(name) => format!("is altered: its line of {name} is not what the manifest says"),
        None => "is altered".to_owned(),
    }
}

/// Which blob signatures every file has to have: those that the manifest names. One of before they were named leaves all
/// of the forms that any file has.
fn blob_endings(manifest: &Manifest, keys: &Keys, signatures: &BTreeSet<String>) -> Vec<(Form, &'static str)> {
    let files = manifest.release.files();
    let blobs = ENDINGS.into_iter().filter(|(form, _)| matches!(form, Form::Bundle | Form::Sig));
    let is_there = |end: &str| files.iter().any(|file| signatures.contains(&format!("{}{end}", file.name())));
    let expected: Vec<_> = match manifest.release.blob_forms() {
        Some(forms) => blobs.clone().filter(|(form, _)| forms.contains(form)).collect(),
        None => blobs.clone().filter(|(_, end)| is_there(end)).collect(),
    };
    // Whoever names a blob key wants every file signed with it.
    if expected.is_empty() && !keys.blob.is_empty() { blobs.collect() } else { expected }
}

fn beside_file(form: Form, keys: &Keys, file: &ReleaseFile, name: &str, read: Read<'_>) -> Result<(), String> {
    let digest = Signable::Digest(Digest::Sha256(*file.digests().sha256.as_bytes()));
    match form {
        Form::Minisig => checked(&keys.statement, read(name, minisig::BYTES_MAX), |key, bytes| {
            Minisig::read(bytes)?.verify(key, file)
        }),
        Form::Sshsig => {
            checked(&keys.statement, read(name, sshsig::BYTES_MAX), |key, bytes| Sshsig::read(bytes)?.verify(key, file))
        }
        Form::Bundle => checked(&keys.blob, read(name, trust::format::bundle::BYTES_MAX), |key, bytes| {
            blob::verify_bundle(key, &digest, bytes)
        }),
        Form::Manifest | Form::Raw | Form::Sig | Form::Tuf => {
            checked(&keys.blob, read(name, blob::SIG_BYTES_MAX), |key, bytes| blob::verify_sig(key, &digest, bytes))
        }
    }
}

/// Whether a signature that could be read is good under one of the keys.
fn checked(
    keys: &[PublicKey],
    bytes: Result<Vec<u8>, String>,
    verify: impl Fn(&PublicKey, &[u8]) -> Result<(), NotVerified>,
) -> Result<(), String> {
    let bytes = bytes?;
    any(keys, |key| verify(key, &bytes)).map_err(|why| format!("does not count: {why}"))
}

/// The first yes, or the last no.
fn any(keys: &[PublicKey], verify: impl Fn(&PublicKey) -> Result<(), NotVerified>) -> Result<(), NotVerified> {
    let mut last = Err(Malformed::new("signature", "one by a key that is believed").into());
    for key in keys {
        last = verify(key);
        if last.is_ok() {
            break;
        }
    }
    last
}
