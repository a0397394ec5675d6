//! `trustctl verify FILE…`: signatures beside files, verified here.
//!
//! Every signature that lies beside a file has to be valid: one that is not means that somebody changed something,
//! even where another still fits.

use std::path::{Path, PathBuf};

use serde::Serialize;
use trust::format::blob::{self, NotVerified};
use trust::format::bundle;
use trust::{PublicKey, Signable};

use crate::believed;
use crate::command_line::VerifyArguments;
use crate::context::Context;
use crate::failure::Failure;
use crate::file_digest::digest_with;
use crate::files;
use crate::output::{Paint, Shown};
use crate::pin::read_public_key;

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
}

/// A key whose signatures count, and what it is called.
#[derive(Debug, Clone)]
struct Counted {
    key: PublicKey,
    name: String,
}

/// Runs `trustctl verify`.
pub(crate) async fn run(context: &Context, arguments: &VerifyArguments) -> Result<(), Failure> {
    if arguments.files.len() > 1 && (arguments.signature.is_some() || arguments.bundle.is_some()) {
        return Err(Failure::usage("one signature for many files", "verify them one by one"));
    }
    let keys = match (&arguments.by.public_key, &arguments.by.key) {
        (Some(path), _) => vec![Counted { key: read_public_key(path)?, name: path.display().to_string() }],
        (None, Some(name)) => by_name(context, name).await?,
        (None, None) => return Err(Failure::usage("no key is given", "add --public-key FILE or --key NAME")),
    };
    let mut verified = Vec::new();
    for file in &arguments.files {
        let found = signatures(file, arguments.signature.as_deref(), arguments.bundle.as_deref())?;
        verified.push(verify(context, file, &found, &keys)?);
    }
    context.output.show(&VerifiedFiles { verified })
}

/// The versions of a key that an enrolled daemon trusts. The daemon of `--endpoint` or `TRUSTD_ADDR` is not asked:
/// what stands in the environment must not decide whom we believe (D5).
async fn by_name(context: &Context, name: &str) -> Result<Vec<Counted>, Failure> {
    let keys = believed::of_key(context, name).await?;
    Ok(keys.into_iter().map(|believed| Counted { key: believed.key, name: believed.source.to_string() }).collect())
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

fn verify(context: &Context, file: &Path, found: &[Found], keys: &[Counted]) -> Result<VerifiedFile, Failure> {
    let mut names = Vec::new();
    // Read once, whatever the number of signatures.
    let inputs = keys.iter().map(|counted| input(context, file, &counted.key)).collect::<Result<Vec<_>, _>>()?;
    for signature in found {
        let name = under_one(file, signature, keys, &inputs)?;
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

/// The name of the key under which a signature is valid.
fn under_one(file: &Path, signature: &Found, keys: &[Counted], inputs: &[Signable]) -> Result<String, Failure> {
    let mut why = None;
    for (counted, input) in keys.iter().zip(inputs) {
        let verdict = match signature {
            Found::Bundle(path) => blob::verify_bundle(&counted.key, input, &bounded(path, bundle::BYTES_MAX)?),
            Found::Sig(path) => blob::verify_sig(&counted.key, input, &bounded(path, blob::SIG_BYTES_MAX)?),
        };
        match verdict {
            Ok(()) => return Ok(counted.name.clone()),
            Err(error) => why = Some(error),
        }
    }
    Err(not_verified(file, signature.path(), why))
}

fn not_verified(file: &Path, signature: &Path, why: Option<NotVerified>) -> Failure {
    let failure = Failure::refused(
        format!("{} is not verified: {} does not sign it", file.display(), signature.display()),
        "do not use the file; get file and signature again, and ask whose key it should be",
    );
    match why {
        Some(why) => failure.because(why),
        None => failure,
    }
}

/// What the key's scheme takes of a file.
fn input(context: &Context, file: &Path, key: &PublicKey) -> Result<Signable, Failure> {
    match key.algorithm().prehash() {
        Some(function) => Ok(Signable::Digest(digest_with(context, file, function)?)),
        None => files::read_named(file, MESSAGE_BYTES_MAX).map(Signable::Message),
    }
}

fn bounded(path: &Path, bytes_max: usize) -> Result<Vec<u8>, Failure> {
    files::read_named(path, u64::try_from(bytes_max).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::context::tests::context;

    fn key() -> Counted {
        Counted { key: crate::context::tests::pin("busybox").key, name: "k.pub".to_owned() }
    }

    #[test]
    fn a_file_without_a_signature_is_refused_and_says_what_is_missing() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("app.tar");

        let failure = signatures(&file, None, None).unwrap_err();

        assert_eq!(failure.exit().code(), 1);
        assert!(failure.what().contains("app.tar.sig") && failure.what().contains("not signed"), "{failure:?}");
    }

    #[test]
    fn one_broken_signature_beside_a_file_is_enough_to_refuse_it() {
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
        let verdict = || verify(&context(), &file, &signatures(&file, None, None).unwrap(), &[key()]);
        assert_eq!(verdict().unwrap().key, "k.pub");

        std::fs::write(directory.path().join("empty.sigstore.json"), "{}").unwrap();

        let failure = verdict().unwrap_err();
        assert_eq!(failure.exit().code(), 1);
        assert!(failure.what().contains("empty.sigstore.json"), "{failure:?}");
    }
}
