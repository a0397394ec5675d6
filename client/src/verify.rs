//! `trustctl verify FILE…`: signatures beside files, verified here.
//!
//! Every signature that lies beside a file has to be valid: one that is not means that somebody changed something,
//! even where another still fits.

mod batch;
mod named;

use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Serialize;
use trust::format::blob::{self, NotVerified};
use trust::format::bundle::{self, Bundle, Content};
use trust::{HashFunction, PublicKey, Signable};

use crate::command_line::VerifyArguments;
use crate::context::Context;
use crate::failure::Failure;
use crate::file_digest::digest_with;
use crate::files;
use crate::output::{Paint, Shown};
use crate::pin::read_public_key;
use named::Named;

/// The largest file whose Ed25519 signature is verified: that scheme needs the whole of it in memory.
const MESSAGE_BYTES_MAX: u64 = 512 * 1024 * 1024;

/// A file and the signatures that were found valid.
#[derive(Debug, Serialize)]
struct VerifiedFile {
    file: PathBuf,
    signatures: Vec<PathBuf>,
    /// Whose: the file of the public key, or a key of the daemon.
    key: String,
}

#[derive(Debug, Serialize)]
struct VerifiedFiles {
    verified: Vec<VerifiedFile>,
}

impl Shown for VerifiedFiles {
    fn text(&self, paint: Paint) -> String {
        let lines = self.verified.iter().map(|verified| {
            let names: Vec<String> = verified.signatures.iter().map(|path| path.display().to_string()).collect();
            let why = format!("{} under {}", names.join(", "), verified.key);
            format!("{} {}  {}", paint.good("verified"), verified.file.display(), paint.faint(&why))
        });
        lines.collect::<Vec<_>>().join("\n")
    }
}

/// Where signatures of a file may be.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Found {
    Bundle(PathBuf),
    Sig(PathBuf),
}

impl Found {
    fn path(&self) -> &Path {
        match self {
            Self::Bundle(path) | Self::Sig(path) => path,
        }
    }

    /// Whether `bytes`, of this file, sign `input` under `key`.
    fn verify(&self, key: &PublicKey, input: &Signable, bytes: &[u8]) -> Result<(), NotVerified> {
        match self {
            Self::Bundle(_) => blob::verify_bundle(key, input, bytes),
            Self::Sig(_) => blob::verify_sig(key, input, bytes),
        }
    }

    /// The bare signature in `bytes`, of this file; `None` where there is none.
    fn signature(&self, bytes: &[u8]) -> Option<Vec<u8>> {
        match self {
            Self::Bundle(_) => match Bundle::read(bytes).ok()?.content {
                Content::Message(message) => Some(message.signature),
                Content::Envelope(_) => None,
            },
            Self::Sig(_) => {
                let text: Vec<u8> = bytes.iter().copied().filter(|byte| !matches!(byte, b'\r' | b'\n')).collect();
                STANDARD.decode(text).ok()
            }
        }
    }
}

/// Runs `trustctl verify`.
pub(crate) async fn run(context: &Context, arguments: &VerifyArguments) -> Result<(), Failure> {
    if let Some(from) = &arguments.batch {
        return batch::run(context, arguments, from).await;
    }
    if arguments.files.len() > 1 && (arguments.signature.is_some() || arguments.bundle.is_some()) {
        return Err(Failure::usage("one signature for many files", "verify them one by one"));
    }
    let judge = match (&arguments.by.public_key, &arguments.by.key) {
        (Some(path), _) => Judge::Given { key: read_public_key(path)?, file: path.clone() },
        (None, Some(name)) => Judge::Named(Named::of(context, name).await?),
        (None, None) => return Err(Failure::usage("no key is given", "add --public-key FILE or --key NAME")),
    };
    let mut verified = Vec::new();
    for file in &arguments.files {
        let found = signatures(file, arguments.signature.as_deref(), arguments.bundle.as_deref())?;
        verified.push(verify(context, file, &found, &judge).await?);
    }
    context.output.show(&VerifiedFiles { verified })
}

fn signatures(file: &Path, signature: Option<&Path>, bundle: Option<&Path>) -> Result<Vec<Found>, Failure> {
    match (signature, bundle) {
        (Some(path), _) => Ok(vec![Found::Sig(path.to_path_buf())]),
        (None, Some(path)) => Ok(vec![Found::Bundle(path.to_path_buf())]),
        (None, None) => {
            let beside = |end: &str| {
                let mut name = file.as_os_str().to_owned();
                name.push(end);
                Some(PathBuf::from(name)).filter(|path| path.symlink_metadata().is_ok())
            };
            let found: Vec<Found> =
                beside(".sig").map(Found::Sig).into_iter().chain(beside(".sigstore.json").map(Found::Bundle)).collect();
            if found.is_empty() {
                let name = file.display();
                return Err(Failure::refused(
                    format!("{name} is not signed: there is no {name}.sig and no {name}.sigstore.json"),
                    "get its signature from whoever made the file, or name it: --signature FILE, --bundle FILE",
                ));
            }
            Ok(found)
        }
    }
}

/// Who says whether a signature counts.
#[derive(Debug)]
enum Judge {
    /// A public key the user has.
    Given { key: PublicKey, file: PathBuf },
    /// A key of a believed daemon.
    Named(Named),
}

async fn verify(context: &Context, file: &Path, found: &[Found], judge: &Judge) -> Result<VerifiedFile, Failure> {
    let input = match judge {
        Judge::Given { key, .. } => input(context, file, key)?,
        // The purpose allows no key that would take anything else.
        Judge::Named(_) => Signable::Digest(digest_with(context, file, HashFunction::Sha256)?),
    };
    let mut names: Vec<String> = Vec::new();
    for signature in found {
        let bytes = bounded(file, signature)?;
        let name = match judge {
            Judge::Given { key, file: of } => signature
                .verify(key, &input, &bytes)
                .map(|()| of.display().to_string())
                .map_err(|why| not_verified(file, signature.path()).because(why))?,
            Judge::Named(named) => {
                let counts = named.counts(signature, &input, &bytes).await?;
                counts.ok_or_else(|| not_by(named.name(), file, signature.path()))?
            }
        };
        if !names.contains(&name) {
            names.push(name);
        }
    }
    Ok(VerifiedFile {
        file: file.to_path_buf(),
        signatures: found.iter().map(|signature| signature.path().to_path_buf()).collect(),
        key: names.join(", "),
    })
}

fn not_verified(file: &Path, signature: &Path) -> Failure {
    Failure::refused(
        format!("{} is not verified: {} does not sign it", file.display(), signature.display()),
        "do not use the file; get file and signature again, and ask whose key it should be",
    )
}

/// No trusted version of the named key made it: the key may be distrusted or not there, or something was changed.
fn not_by(name: &str, file: &Path, signature: &Path) -> Failure {
    Failure::refused(
        format!("{} is not verified: {} is not by a trusted key {name}", file.display(), signature.display()),
        format!("`trustctl key show {name}`: is it there, and trusted? Then file or signature were changed"),
    )
}

/// What the key's scheme takes of a file.
fn input(context: &Context, file: &Path, key: &PublicKey) -> Result<Signable, Failure> {
    match key.algorithm().prehash() {
        Some(function) => Ok(Signable::Digest(digest_with(context, file, function)?)),
        None => files::read_named(file, MESSAGE_BYTES_MAX).map(Signable::Message),
    }
}

/// A signature's bytes. One that is too long is none, whoever made it so.
fn bounded(file: &Path, signature: &Found) -> Result<Vec<u8>, Failure> {
    let bytes_max = match signature {
        Found::Bundle(_) => bundle::BYTES_MAX,
        Found::Sig(_) => blob::SIG_BYTES_MAX,
    };
    let limit = u64::try_from(bytes_max).unwrap_or(u64::MAX);
    match files::read(signature.path(), limit) {
        Ok(Some((bytes, _))) => Ok(bytes),
        Err(error) if error.kind() == std::io::ErrorKind::FileTooLarge => {
            Err(not_verified(file, signature.path()).because(error))
        }
        // Says why not.
        Ok(None) | Err(_) => files::read_named(signature.path(), limit),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::context::tests::context;

    fn key() -> Judge {
        Judge::Given { key: crate::context::tests::pin("busybox").key, file: PathBuf::from("k.pub") }
    }

    #[test]
    fn a_file_without_a_signature_is_refused_and_says_what_is_missing() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("app.tar");

        let failure = signatures(&file, None, None).unwrap_err();

        assert_eq!(failure.exit().code(), 1);
        assert!(failure.what().contains("app.tar.sig") && failure.what().contains("not signed"), "{failure:?}");
    }

    #[tokio::test]
    async fn one_broken_signature_beside_a_file_is_enough_to_refuse_it() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("empty");
        std::fs::write(&file, b"").unwrap();
        // RFC 8032 §7.1, test 1: the signature of the empty message.
        let rfc = hex::decode(
            "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555fb8821590a33bacc61e39701cf9b46b\
             d25bf5f0595bbe24655141438e7a100b",
        )
        .unwrap();
        let text = blob::sig_text(&trust::Signature::new(trust::Algorithm::Ed25519, rfc).unwrap());
        std::fs::write(directory.path().join("empty.sig"), text).unwrap();
        let (context, judge) = (context(), key());
        let found = signatures(&file, None, None).unwrap();
        assert_eq!(verify(&context, &file, &found, &judge).await.unwrap().key, "k.pub");
        assert_eq!(found[0].signature(&std::fs::read(found[0].path()).unwrap()).unwrap().len(), 64);

        for broken in ["{}".to_owned(), " ".repeat(8 * 1024 * 1024)] {
            std::fs::write(directory.path().join("empty.sigstore.json"), broken).unwrap();

            let found = signatures(&file, None, None).unwrap();
            let failure = verify(&context, &file, &found, &judge).await.unwrap_err();
            assert_eq!(failure.exit().code(), 1);
            assert!(failure.what().contains("empty.sigstore.json"), "{failure:?}");
        }
    }
}
