//! A file with a private key: PKCS#8, PEM or DER, encrypted or not.
//!
//! Every buffer with a secret in it is wiped. The key is not checked here: custody
//! does that, which has to anyway. Only what kind it is has to be known.

mod lines;
mod older;
mod sha1;

use std::fmt;
use std::fs::OpenOptions;
use std::io::{IsTerminal as _, Read as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use pkcs8::der::asn1::{ObjectIdentifier, UintRef};
use pkcs8::der::{Decode as _, Reader as _, SliceReader};
use pkcs8::{EncryptedPrivateKeyInfoRef, PrivateKeyInfoRef, SecretDocument};
use trust::{Algorithm, Scheme};
use zeroize::Zeroizing;

pub(crate) use self::lines::apart;
use self::older::OlderPem;
use crate::failure::Failure;

/// The longest file that is read, in bytes; RSA-4096 in PEM has about 3,300.
pub(crate) const FILE_BYTES_MAX: usize = 32 * 1024;
/// The longest passphrase, in bytes.
pub(crate) const PASSPHRASE_BYTES_MAX: usize = 1024;

const ED25519: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.101.112");
const EC_PUBLIC_KEY: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.2.1");
const P256: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.3.1.7");
const P384: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.132.0.34");
const RSA: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.1");

/// What kind of key it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    EcdsaP256,
    EcdsaP384,
    Ed25519,
    Rsa { bits: usize },
}

impl Kind {
    /// Whether such a key signs with the algorithm.
    pub(crate) fn fits(self, algorithm: Algorithm) -> bool {
        match (self, algorithm.scheme()) {
            (Self::Rsa { bits }, Scheme::RsaPkcs1 | Scheme::RsaPss) => {
                algorithm.rsa_modulus_bits().and_then(|own| usize::try_from(own).ok()) == Some(bits)
            }
            (kind, scheme) => matches!(
                (kind, scheme),
                (Self::EcdsaP256, Scheme::EcdsaP256)
                    | (Self::EcdsaP384, Scheme::EcdsaP384)
                    | (Self::Ed25519, Scheme::Ed25519)
            ),
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::EcdsaP256 => f.write_str("a P-256 key"),
            Self::EcdsaP384 => f.write_str("a P-384 key"),
            Self::Ed25519 => f.write_str("an Ed25519 key"),
            Self::Rsa { bits } => write!(f, "an RSA key of {bits} bits"),
        }
    }
}

/// A private key as it was read.
pub(crate) struct PrivateFile {
    pub(crate) kind: Kind,
    /// PKCS#8 in DER, not encrypted.
    pub(crate) pkcs8: Zeroizing<Vec<u8>>,
}

/// What a file holds.
pub(crate) struct Held {
    path: PathBuf,
    content: Content,
}

enum Content {
    /// PKCS#8 in DER, encrypted or not.
    Pkcs8(SecretDocument),
    /// Older, and encrypted.
    Older(OlderPem),
}

impl PrivateFile {
    /// Reads the file; asks for its passphrase where it has one.
    pub(crate) fn read(path: &Path, passphrase_file: Option<&Path>) -> Result<Self, Failure> {
        let held = Held::of(path, &read_secret(path, FILE_BYTES_MAX)?)?;
        if held.is_locked() { held.open(&passphrase(path, passphrase_file)?) } else { held.plain() }
    }
}

impl Held {
    /// The content of the file at `path`. What lines before a PEM's body say of the key is left to others.
    pub(crate) fn of(path: &Path, bytes: &[u8]) -> Result<Self, Failure> {
        match std::str::from_utf8(bytes).ok().and_then(apart) {
            Some((pem, words)) => Self::of_pem(path, &pem, &words),
            None => Self::pkcs8(path, bytes),
        }
    }

    /// The same of a PEM whose lines were told [`apart`] from its body.
    pub(crate) fn of_pem(path: &Path, pem: &str, words: &[(&str, &str)]) -> Result<Self, Failure> {
        match words.iter().find(|(name, _)| *name == "DEK-Info") {
            Some((_, how)) => Self::older(path, pem, how),
            None => Self::pkcs8(path, pem.as_bytes()),
        }
    }

    fn pkcs8(path: &Path, bytes: &[u8]) -> Result<Self, Failure> {
        Ok(Self { path: path.to_owned(), content: Content::Pkcs8(mended(document(path, bytes)?)) })
    }

    /// A PEM that is encrypted as its line `DEK-Info` says, without its lines.
    fn older(path: &Path, pem: &str, how: &str) -> Result<Self, Failure> {
        let older = OlderPem::read(pem, how).ok_or_else(|| {
            let place = path.display();
            Failure::usage(
                format!("{place} is encrypted in a way that is not read here"),
                format!("make PKCS#8 of it: `openssl pkcs8 -topk8 -in {place}`"),
            )
        })?;
        Ok(Self { path: path.to_owned(), content: Content::Older(older) })
    }

    /// Whether it takes a passphrase.
    pub(crate) fn is_locked(&self) -> bool {
        match &self.content {
            Content::Pkcs8(document) => EncryptedPrivateKeyInfoRef::from_der(document.as_bytes()).is_ok(),
            Content::Older(_) => true,
        }
    }

    /// The key, where it is not encrypted.
    pub(crate) fn plain(&self) -> Result<PrivateFile, Failure> {
        match &self.content {
            Content::Pkcs8(document) => private(&self.path, document),
            Content::Older(_) => Err(no_pkcs8(&self.path)),
        }
    }

    /// The key, where it is.
    pub(crate) fn open(&self, passphrase: &[u8]) -> Result<PrivateFile, Failure> {
        let document = match &self.content {
            Content::Pkcs8(document) => document,
            Content::Older(older) => {
                let opened = older.open(passphrase).ok_or_else(|| {
                    Failure::refused(format!("{} does not open with that passphrase", self.path.display()), "try again")
                })?;
                return private(&self.path, &opened);
            }
        };
        let encrypted = EncryptedPrivateKeyInfoRef::from_der(document.as_bytes()).map_err(|_| no_pkcs8(&self.path))?;
        let opened = sha1::decrypt(&encrypted, passphrase).unwrap_or_else(|| encrypted.decrypt(passphrase));
        let opened = opened.map_err(|error| {
            Failure::refused(
                format!("{} does not open with that passphrase", self.path.display()),
                "try again; what it is encrypted with has to be PBES2 with AES and PBKDF2 or scrypt, as `openssl pkcs8 \
                 -topk8` makes it",
            )
            .because(error)
        })?;
        private(&self.path, &mended(opened))
    }
}

/// Docker and notary write version 2 (RFC 5958 §2) over what has no public key and so is of version 1.
fn mended(document: SecretDocument) -> SecretDocument {
    if PrivateKeyInfoRef::from_der(document.as_bytes()).is_ok() {
        return document;
    }
    let mut bytes = Zeroizing::new(document.as_bytes().to_vec());
    // The version stands first, behind the header of the whole.
    let header = match bytes.get(1) {
        Some(0..=0x7f) => 2_usize,
        Some(0x81) => 3,
        Some(0x82) => 4,
        _ => return document,
    };
    match bytes.get_mut(header..header.saturating_add(3)) {
        Some([2, 1, version @ 1]) => *version = 0,
        _ => return document,
    }
    SecretDocument::try_from(bytes.as_slice()).unwrap_or(document)
}

fn private(path: &Path, der: &SecretDocument) -> Result<PrivateFile, Failure> {
    let place = path.display();
    let info = PrivateKeyInfoRef::from_der(der.as_bytes()).map_err(|_| no_pkcs8(path))?;
    let kind = kind(&info).ok_or_else(|| {
        Failure::usage(
            format!("{place} holds a key of another kind"),
            "Ed25519, P-256, P-384, and RSA of 3072 or 4096 bits can be imported",
        )
    })?;
    Ok(PrivateFile { kind, pkcs8: Zeroizing::new(der.as_bytes().to_vec()) })
}

/// The DER of the file; PEM is told by its first line.
fn document(path: &Path, bytes: &[u8]) -> Result<SecretDocument, Failure> {
    if !bytes.starts_with(b"-----BEGIN ") {
        return SecretDocument::try_from(bytes).map_err(|_| no_pkcs8(path));
    }
    let text = std::str::from_utf8(bytes).map_err(|_| no_pkcs8(path))?;
    match SecretDocument::from_pem(text) {
        Ok(("PRIVATE KEY" | "ENCRYPTED PRIVATE KEY", document)) => Ok(document),
        Ok(_) | Err(_) => Err(no_pkcs8(path)),
    }
}

fn no_pkcs8(path: &Path) -> Failure {
    let place = path.display();
    Failure::usage(
        format!("{place} is no private key in PKCS#8"),
        format!("make one of it: `openssl pkcs8 -topk8 -in {place}`, or for an OpenSSH key `ssh-keygen -p -m PKCS8`"),
    )
}

fn kind(info: &PrivateKeyInfoRef<'_>) -> Option<Kind> {
    let curve = || info.algorithm.parameters.and_then(|parameters| parameters.decode_as::<ObjectIdentifier>().ok());
    match info.algorithm.oid {
        ED25519 => Some(Kind::Ed25519),
        EC_PUBLIC_KEY if curve() == Some(P256) => Some(Kind::EcdsaP256),
        EC_PUBLIC_KEY if curve() == Some(P384) => Some(Kind::EcdsaP384),
        RSA => Some(Kind::Rsa { bits: modulus_bits(info.private_key.as_bytes())? }),
        _ => None,
    }
}

/// Bits of the modulus: the second number of an `RSAPrivateKey` (RFC 8017 §A.1.2).
fn modulus_bits(der: &[u8]) -> Option<usize> {
    let mut reader = SliceReader::new(der).ok()?;
    let bits = reader.sequence(|numbers| {
        let _version = UintRef::decode(numbers)?;
        let modulus = UintRef::decode(numbers)?;
        let bytes = modulus.as_bytes();
        let top = bytes.first().map_or(8, |first| usize::try_from(first.leading_zeros()).unwrap_or(8));
        while !numbers.is_finished() {
            UintRef::decode(numbers)?;
        }
        Ok::<_, pkcs8::der::Error>(bytes.len().saturating_mul(8).saturating_sub(top))
    });
    bits.ok()
}

fn passphrase(path: &Path, file: Option<&Path>) -> Result<Zeroizing<Vec<u8>>, Failure> {
    let place = path.display();
    if let Some(file) = file {
        return passphrase_in(file);
    }
    let remedy = "name a file that holds its passphrase: --passphrase-file FILE";
    if !std::io::stdin().is_terminal() {
        return Err(Failure::usage(format!("{place} is encrypted, and nobody is there to ask"), remedy));
    }
    typed_passphrase(&format!("Passphrase of {place}: "))
}

/// The passphrase in a file, without the line feed at its end.
pub(crate) fn passphrase_in(file: &Path) -> Result<Zeroizing<Vec<u8>>, Failure> {
    let mut bytes = read_secret(file, PASSPHRASE_BYTES_MAX)?;
    if bytes.last() == Some(&b'\n') {
        bytes.pop();
    }
    Ok(bytes)
}

/// What is typed on the terminal.
pub(crate) fn typed_passphrase(prompt: &str) -> Result<Zeroizing<Vec<u8>>, Failure> {
    let typed = rpassword::prompt_password(prompt);
    let typed: Zeroizing<String> = Zeroizing::new(typed.map_err(|error| {
        Failure::other("read the passphrase", "name a file that holds it: --passphrase-file FILE").because(error)
    })?);
    Ok(Zeroizing::new(typed.as_bytes().to_vec()))
}

/// A file with a secret in it: of nobody else's to read, and read into memory that does not move.
pub(crate) fn read_secret(path: &Path, bytes_max: usize) -> Result<Zeroizing<Vec<u8>>, Failure> {
    let place = path.display();
    let unread = |error: std::io::Error| {
        Failure::other(format!("read {place}"), "may you read it, and is it what you meant?").because(error)
    };
    // Without O_NONBLOCK a pipe put in the file's place would hold us here for ever.
    let nonblocking = i32::try_from(rustix::fs::OFlags::NONBLOCK.bits()).unwrap_or(0);
    let file = OpenOptions::new().read(true).custom_flags(nonblocking).open(path).map_err(unread)?;
    let metadata = file.metadata().map_err(unread)?;
    if !metadata.is_file() {
        return Err(Failure::usage(format!("{place} is not a regular file"), "name the file itself"));
    }
    if metadata.mode() & 0o077 != 0 {
        return Err(Failure::refused(
            format!("others may read {place}, mode {:o}", metadata.mode() & 0o777),
            format!("who has read it can sign for ever; if nobody has: `chmod 600 {place}`"),
        ));
    }
    let mut bytes = Zeroizing::new(Vec::with_capacity(bytes_max.saturating_add(2)));
    let limit = u64::try_from(bytes_max).unwrap_or(u64::MAX).saturating_add(1);
    file.take(limit).read_to_end(&mut bytes).map_err(unread)?;
    if bytes.is_empty() || bytes.len() > bytes_max {
        return Err(Failure::usage(
            format!("{place} has not between 1 and {bytes_max} bytes"),
            "is it the file you meant?",
        ));
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    fn refusal(bytes: &[u8], mode: u32) -> (u8, String) {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("key");
        std::fs::write(&path, bytes).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
        let failure = PrivateFile::read(&path, None).err().unwrap();
        (failure.exit().code(), format!("{}\n{}", failure.what(), failure.remedy()))
    }

    #[test]
    fn what_is_no_private_key_of_ours_is_refused_with_the_remedy() {
        let openssh = b"-----BEGIN OPENSSH PRIVATE KEY-----\nb3BlbnNzaC1rZXktdjEA\n-----END OPENSSH PRIVATE KEY-----\n";
        for (bytes, mode, code, word) in [
            (&openssh[..], 0o600, 2, "ssh-keygen -p -m PKCS8"),
            (b"-----BEGIN PRIVATE KEY-----\n", 0o600, 2, "openssl pkcs8 -topk8"),
            (b"\x30\x03\x02\x01\x00", 0o600, 2, "no private key in PKCS#8"),
            (b"", 0o600, 2, "between 1 and 32768 bytes"),
            (&[0; FILE_BYTES_MAX + 1], 0o600, 2, "between 1 and 32768 bytes"),
            (&openssh[..], 0o640, 1, "chmod 600"),
            (&openssh[..], 0o604, 1, "others may read"),
        ] {
            let (exit, text) = refusal(bytes, mode);

            assert!(exit == code && text.contains(word), "{exit}: {text}");
        }
    }
}
