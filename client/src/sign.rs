//! `trustctl sign FILE…`: the daemon signs a file's digest; the signatures go beside the file.
//!
//! No byte of a file leaves this machine.

use std::path::{Path, PathBuf};

use serde::Serialize;
use trust::format::blob;
use trust::format::bundle::Bundle;
use trust::{Algorithm, Digest, Form, PublicKey, Sha256Digest, Signable, Signature};
use trust_proto::v1;
use trust_proto::words::Word as _;

use crate::command_line::SignArguments;
use crate::connect::Daemon;
use crate::context::Context;
use crate::failure::Failure;
use crate::file_digest::{FileDigest, digest};
use crate::files::{self, Existing};
use crate::output::{Paint, Shown};
use crate::repeat::{idempotency_key, until_answered};

/// Permissions of signatures: they are public.
const MODE: u32 = 0o644;

/// A file and what was written beside it.
#[derive(Debug, Serialize)]
struct SignedFile {
    file: PathBuf,
    sha256: String,
    signatures: Vec<PathBuf>,
    key_id: String,
    key_version: u32,
    log_origin: String,
    leaf: u64,
}

#[derive(Debug, Serialize)]
struct SignedFiles {
    signed: Vec<SignedFile>,
}

impl Shown for SignedFiles {
    fn text(&self, paint: Paint) -> String {
        let lines = self.signed.iter().map(|signed| {
            let names: Vec<String> = signed.signatures.iter().map(|path| path.display().to_string()).collect();
            let place = format!("{} leaf {}", signed.log_origin, signed.leaf);
            format!("signed {}  {}", paint.strong(&names.join(" ")), paint.faint(&place))
        });
        lines.collect::<Vec<_>>().join("\n")
    }
}

/// Where the signature of a form goes.
fn beside(file: &Path, form: Form) -> PathBuf {
    let mut name = file.as_os_str().to_owned();
    name.push(match form {
        Form::Bundle => ".sigstore.json",
        Form::Manifest | Form::Minisig | Form::Raw | Form::Sig | Form::Sshsig | Form::Tuf => ".sig",
    });
    PathBuf::from(name)
}

/// Runs `trustctl sign`.
pub(crate) async fn run(context: &Context, arguments: &SignArguments) -> Result<(), Failure> {
    let forms = arguments.forms.iter().map(|word| word.parse::<Form>()).collect::<Result<Vec<_>, _>>()?;
    let existing = if arguments.force { Existing::Replace } else { Existing::Keep };
    if existing == Existing::Keep {
        nothing_is_overwritten(&arguments.files, &forms)?;
    }
    let digests = arguments.files.iter().map(|file| digest(context, file)).collect::<Result<Vec<_>, _>>()?;
    let daemon = context.daemon().await?;
    let bar = context.output.progress(u64::try_from(digests.len()).unwrap_or(u64::MAX), "signing");
    let mut signed = Vec::new();
    for (file, digest) in arguments.files.iter().zip(&digests) {
        match sign(&daemon, &arguments.key, file, digest, &forms, existing).await {
            Ok(done) => signed.push(done),
            Err(failure) => {
                bar.finish_and_clear();
                if !signed.is_empty() {
                    context.output.warning(&format!("{} of {} files were signed", signed.len(), digests.len()));
                }
                return Err(failure);
            }
        }
        bar.inc(1);
    }
    bar.finish_and_clear();
    context.output.show(&SignedFiles { signed })
}

/// Before anything is signed: a name that is taken would leave a signature in the log and none beside the file.
fn nothing_is_overwritten(files: &[PathBuf], forms: &[Form]) -> Result<(), Failure> {
    let forms = if forms.is_empty() { &[Form::Sig, Form::Bundle][..] } else { forms };
    for path in files.iter().flat_map(|file| forms.iter().map(|form| beside(file, *form))) {
        if path.symlink_metadata().is_ok() {
            return Err(taken(&path));
        }
    }
    Ok(())
}

fn taken(path: &Path) -> Failure {
    Failure::usage(format!("{} is there already; nothing was written", path.display()), "move it away, or add --force")
}

async fn sign(
    daemon: &Daemon,
    key: &str,
    file: &Path,
    digest: &FileDigest,
    forms: &[Form],
    existing: Existing,
) -> Result<SignedFile, Failure> {
    let name = file.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let statement = v1::BlobStatement {
        sha256: digest.sha256.as_bytes().to_vec().into(),
        name: shortened(&name),
        size: digest.size_bytes,
    };
    let request = v1::SignRequest {
        key: key.to_owned(),
        statement: Some(v1::Statement { kind: Some(v1::statement::Kind::Blob(statement)) }),
        forms: forms.iter().map(|form| form.to_wire()).collect(),
        idempotency_key: idempotency_key()?,
        ..v1::SignRequest::default()
    };
    let answer = until_answered(async || daemon.signing().sign(request.clone()).await).await?;
    let written = files_of(&answer, &digest.sha256)?;
    let mut signatures = Vec::new();
    for (form, bytes) in written {
        let path = beside(file, form);
        files::write(&path, &bytes, MODE, existing).map_err(|error| match error.kind() {
            std::io::ErrorKind::AlreadyExists => taken(&path),
            _ => Failure::other(format!("write {}", path.display()), "is there space, and may you write there?")
                .because(error),
        })?;
        signatures.push(path);
    }
    let receipt = answer.receipt.unwrap_or_default();
    Ok(SignedFile {
        file: file.to_path_buf(),
        sha256: digest.sha256.to_string(),
        signatures,
        key_id: receipt.key_id,
        key_version: receipt.key_version,
        log_origin: receipt.log_origin,
        leaf: receipt.leaf,
    })
}

/// What is written for each form, once it was verified: what does not verify here verifies nowhere.
fn files_of(answer: &v1::SignResponse, sha256: &Sha256Digest) -> Result<Vec<(Form, Vec<u8>)>, Failure> {
    let algorithm = Algorithm::from_wire(answer.algorithm).map_err(|error| unfit().because(error))?;
    let key = PublicKey::from_spki_der(algorithm, &answer.spki_der).map_err(|error| unfit().because(error))?;
    let input = Signable::Digest(Digest::Sha256(*sha256.as_bytes()));
    let mut files = Vec::new();
    for signed in &answer.signatures {
        let form = Form::from_wire(signed.form).map_err(|error| unfit().because(error))?;
        trust::verify::one(&key, &input, &signed.signature).map_err(|error| unfit().because(error))?;
        let signature = Signature::new(algorithm, signed.signature.to_vec()).map_err(|error| unfit().because(error))?;
        files.push(match form {
            Form::Bundle => (form, Bundle::of_blob(&key, sha256, &signature).to_bytes()),
            Form::Raw | Form::Sig => (Form::Sig, blob::sig_text(&signature).into_bytes()),
            Form::Manifest | Form::Minisig | Form::Sshsig | Form::Tuf => return Err(unfit()),
        });
    }
    if files.is_empty() { Err(unfit()) } else { Ok(files) }
}

fn unfit() -> Failure {
    Failure::refused(
        "the daemon answered with a signature that does not verify; nothing was written",
        "do not use that daemon; ask whoever runs it",
    )
}

/// The daemon keeps at most 255 bytes of a name, which serves as evidence only.
fn shortened(name: &str) -> String {
    const BYTES_MAX: usize = 255;
    let end = (0..=BYTES_MAX.min(name.len())).rev().find(|end| name.is_char_boundary(*end)).unwrap_or(0);
    name.get(..end).unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signatures_lie_beside_the_file() {
        assert_eq!(beside(Path::new("a/app.tar"), Form::Sig), Path::new("a/app.tar.sig"));
        assert_eq!(beside(Path::new("app.tar"), Form::Bundle), Path::new("app.tar.sigstore.json"));
    }

    #[test]
    fn a_name_that_is_taken_stops_everything_before_the_daemon_is_asked() {
        let directory = tempfile::tempdir().unwrap();
        let files = [directory.path().join("a"), directory.path().join("b")];
        std::fs::write(directory.path().join("b.sigstore.json"), "").unwrap();

        assert!(nothing_is_overwritten(&files, &[Form::Sig]).is_ok());
        assert_eq!(nothing_is_overwritten(&files, &[]).unwrap_err().exit().code(), 2);
    }

    #[test]
    fn a_signature_of_another_file_or_key_is_not_written() {
        let answer = v1::SignResponse {
            algorithm: Algorithm::EcdsaP256Sha256.to_wire(),
            spki_der: vec![1, 2, 3].into(),
            ..v1::SignResponse::default()
        };

        assert_eq!(files_of(&answer, &Sha256Digest::of(b"x")).unwrap_err().exit().code(), 1);
    }

    #[test]
    fn a_long_name_is_cut_between_characters() {
        let long = "é".repeat(200);

        assert_eq!(shortened(&long).len(), 254);
        assert_eq!(shortened("app.tar"), "app.tar");
    }
}
