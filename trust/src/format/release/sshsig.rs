//! OpenSSH's signatures: `FILE.sshsig` (openssh-portable, PROTOCOL.sshsig), in the namespace `file`, by Ed25519, P-256
//! and RSA keys.
//!
//! RSA signs with `rsa-sha2-256`, which `ssh-keygen` verifies as it does its own `rsa-sha2-512`: a key here has one hash
//! function. P-384 keys are left out for the same reason: OpenSSH gives them SHA-384, cosign SHA-256.

mod signature;

use super::ReleaseFile;
use crate::format::base64;
use crate::format::blob::NotVerified;
use crate::public_key::encode::ssh_string;
use crate::{Malformed, PublicKey, Signable, Signature, verify};

/// What a signature of a file is for, in OpenSSH's words; a signature made for another namespace does not count.
pub const NAMESPACE: &str = "file";
/// The longest signature file that is read, in bytes.
pub const BYTES_MAX: usize = 4096;

const WHAT: &str = "OpenSSH signature";
const MAGIC: &[u8; 6] = b"SSHSIG";
const VERSION: [u8; 4] = [0, 0, 0, 1];
const BEGIN: &str = "-----BEGIN SSH SIGNATURE-----\n";
const END: &str = "\n-----END SSH SIGNATURE-----";
const EXPECTED: Malformed = Malformed::new(WHAT, "an armoured SSHSIG of version 1, at most 4 KiB");
const NO_KIND: Malformed = Malformed::new("key for OpenSSH's form", "an Ed25519, P-256 or RSA key (PKCS#1 v1.5)");
/// Letters of a line, as `ssh-keygen` breaks them.
const LINE: usize = 70;

/// The hash function of the file that the signature names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(clippy::exhaustive_enums, reason = "closed set: PROTOCOL.sshsig allows these two")]
pub enum Hash {
    /// `sha256`
    Sha256,
    /// `sha512`: what is written here.
    Sha512,
}

impl Hash {
    const fn name(self) -> &'static str {
        match self {
            Self::Sha256 => "sha256",
            Self::Sha512 => "sha512",
        }
    }
}

/// What a signature file holds.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Sshsig {
    /// The key in OpenSSH's encoding, in the signer's words. Not to be believed.
    pub public_key: Vec<u8>,
    /// What it was made for.
    pub namespace: String,
    /// Of the file.
    pub hash: Hash,
    /// `ssh-ed25519` and the like (see the module).
    pub signature_type: String,
    /// In the type's own encoding.
    pub signature: Vec<u8>,
}

/// The bytes that the signature covers, with SHA-512.
#[must_use]
pub fn signed(file: &ReleaseFile) -> Vec<u8> {
    signed_with(file, Hash::Sha512)
}

fn signed_with(file: &ReleaseFile, hash: Hash) -> Vec<u8> {
    let digest: &[u8] = match hash {
        Hash::Sha256 => file.digests().sha256.as_bytes(),
        Hash::Sha512 => &file.digests().sha512,
    };
    let fields = [NAMESPACE.as_bytes(), b"", hash.name().as_bytes(), digest];
    MAGIC.iter().copied().chain(fields.into_iter().flat_map(ssh_string)).collect()
}

/// The text of a file's signature.
///
/// # Errors
/// [`Malformed`] for a key of an algorithm that OpenSSH does not verify, and a signature that is none of its own.
pub fn to_text(key: &PublicKey, signature: &Signature) -> Result<String, Malformed> {
    let kind = signature::kind(key.algorithm()).ok_or(NO_KIND)?;
    let (_, blob) = key.ssh_blob();
    let bytes = signature::encode(key.algorithm(), signature.as_bytes());
    let bytes = bytes.ok_or(Malformed::new(WHAT, "a signature of the key's algorithm"))?;
    let inner = [ssh_string(kind.as_bytes()), ssh_string(&bytes)].concat();
    let fields = [&blob, NAMESPACE.as_bytes(), b"", Hash::Sha512.name().as_bytes(), &inner];
    let bytes: Vec<u8> = MAGIC.iter().chain(&VERSION).copied().chain(fields.into_iter().flat_map(ssh_string)).collect();
    let mut text = BEGIN.to_owned();
    for (index, letter) in base64::encode(&bytes).chars().enumerate() {
        if index > 0 && index.is_multiple_of(LINE) {
            text.push('\n');
        }
        text.push(letter);
    }
    text.push_str(END);
    text.push('\n');
    Ok(text)
}

impl Sshsig {
    /// Reads a file.
    ///
    /// # Errors
    /// [`Malformed`] for more than [`BYTES_MAX`] bytes, another armour, another version, a field that is not empty
    /// and ought to be, bytes behind the last field.
    pub fn read(bytes: &[u8]) -> Result<Self, Malformed> {
        let text = std::str::from_utf8(bytes).ok().filter(|text| text.len() <= BYTES_MAX).ok_or(EXPECTED)?;
        let text = text.strip_suffix('\n').unwrap_or(text);
        let armoured = text.strip_prefix(BEGIN).and_then(|text| text.strip_suffix(END)).ok_or(EXPECTED)?;
        let blob = base64::decode(WHAT, armoured)?;
        let rest = blob.strip_prefix(MAGIC).and_then(|rest| rest.strip_prefix(&VERSION)).ok_or(EXPECTED)?;
        let (public_key, rest) = string(rest)?;
        let (namespace, rest) = string(rest)?;
        let (reserved, rest) = string(rest)?;
        let (hash, rest) = string(rest)?;
        let (inner, rest) = string(rest)?;
        let (signature_type, inner) = string(inner)?;
        let (signature, after) = string(inner)?;
        if namespace.is_empty() || !reserved.is_empty() || !rest.is_empty() || !after.is_empty() {
            return Err(EXPECTED);
        }
        let hash = [Hash::Sha256, Hash::Sha512].into_iter().find(|known| known.name().as_bytes() == hash);
        Ok(Self {
            public_key: public_key.to_vec(),
            namespace: word(namespace)?,
            hash: hash.ok_or(Malformed::new(WHAT, "the hash function sha256 or sha512"))?,
            signature_type: word(signature_type)?,
            signature: signature.to_vec(),
        })
    }

    /// Checks that it was made for files, by this key, over this file.
    ///
    /// # Errors
    /// [`NotVerified`] says why it does not count.
    pub fn verify(&self, key: &PublicKey, file: &ReleaseFile) -> Result<(), NotVerified> {
        let kind = signature::kind(key.algorithm()).ok_or(NO_KIND)?;
        if self.signature_type != kind || self.public_key != key.ssh_blob().1 {
            return Err(Malformed::new(WHAT, "a signature by this key").into());
        }
        if self.namespace != NAMESPACE {
            return Err(Malformed::new(WHAT, "a signature for the namespace file").into());
        }
        let signature = signature::decode(key.algorithm(), &self.signature).ok_or(EXPECTED)?;
        Ok(verify::one(key, &Signable::Message(signed_with(file, self.hash)), &signature)?)
    }
}

/// `string` of RFC 4251 §5, and what is behind it.
fn string(bytes: &[u8]) -> Result<(&[u8], &[u8]), Malformed> {
    let (length, rest) = bytes.split_first_chunk::<4>().ok_or(EXPECTED)?;
    let length = usize::try_from(u32::from_be_bytes(*length)).map_err(|_| EXPECTED)?;
    rest.split_at_checked(length).ok_or(EXPECTED)
}

fn word(bytes: &[u8]) -> Result<String, Malformed> {
    let text = std::str::from_utf8(bytes).map_err(|_| EXPECTED)?;
    if text.chars().any(char::is_control) { Err(EXPECTED) } else { Ok(text.to_owned()) }
}
