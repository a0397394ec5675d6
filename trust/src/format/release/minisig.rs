//! minisign's signatures, pre-hashed: `FILE.minisig` (<https://jedisct1.github.io/minisign/#signature-format>).
//!
//! Two signatures stand in it: one over the file's BLAKE2b-512, one over that signature and a trusted comment, which
//! names the file.

use super::ReleaseFile;
use crate::format::base64;
use crate::format::blob::NotVerified;
use crate::{Algorithm, Malformed, PublicKey, Signable, verify};

/// The longest signature file that is read, in bytes: minisign's own bounds for its two comments, and the rest.
pub const BYTES_MAX: usize = 10 * 1024;
/// The longest trusted comment, in bytes.
pub const COMMENT_BYTES_MAX: usize = 8192;
/// The longest untrusted comment, in bytes.
const UNTRUSTED_BYTES_MAX: usize = 1024;

const WHAT: &str = "minisign signature";
const UNTRUSTED: &str = "untrusted comment: ";
const TRUSTED: &str = "trusted comment: ";
/// Signatures over a hash; `Ed`, over the file itself, is what minisign made before 0.8.
const PREHASHED: [u8; 2] = *b"ED";
/// Public keys.
const KEY: [u8; 2] = *b"Ed";

/// What a `.minisig` file holds.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(clippy::exhaustive_structs, reason = "the format has these four parts")]
pub struct Minisig {
    /// Which key, in the signer's words. Not to be believed.
    pub key_id: [u8; 8],
    /// Over the file's BLAKE2b-512.
    pub signature: [u8; 64],
    /// At most [`COMMENT_BYTES_MAX`] bytes in one line.
    pub trusted_comment: String,
    /// Over [`comment_signed`].
    pub comment_signature: [u8; 64],
}

/// The id by which minisign tells keys apart. It has no meaning but that it is one key's: the first 8 bytes of the
/// SHA-256 of its SPKI, where minisign draws them.
#[must_use]
pub fn key_id(key: &PublicKey) -> [u8; 8] {
    let spki = key.spki_sha256();
    spki.as_bytes().first_chunk().copied().unwrap_or_default()
}

/// The content of a public key file, as `minisign -p` reads it.
///
/// # Errors
/// [`Malformed`] for a key that is not Ed25519.
pub fn public_key_text(key: &PublicKey) -> Result<String, Malformed> {
    if key.algorithm() != Algorithm::Ed25519 {
        return Err(Malformed::new("key for minisign", "an Ed25519 key"));
    }
    let id = key_id(key);
    let bytes = [&KEY[..], &id, &key.key_bytes()].concat();
    Ok(format!("untrusted comment: minisign public key {}\n{}\n", shown(id), base64::encode(&bytes)))
}

/// The bytes that the file's signature covers: 64.
#[must_use]
pub fn signed(file: &ReleaseFile) -> Vec<u8> {
    file.digests().blake2b512.to_vec()
}

/// The trusted comment of a file in minisign's own words; `unix_seconds` is when it was signed.
#[must_use]
pub fn trusted_comment(file: &ReleaseFile, unix_seconds: u64) -> String {
    format!("timestamp:{unix_seconds}\tfile:{}\thashed", file.name())
}

/// The bytes that the second signature covers: the first one and the comment.
#[must_use]
pub fn comment_signed(signature: &[u8; 64], trusted_comment: &str) -> Vec<u8> {
    [&signature[..], trusted_comment.as_bytes()].concat()
}

impl Minisig {
    /// The text of the file, in four lines.
    #[must_use]
    pub fn to_text(&self) -> String {
        let first = [&PREHASHED[..], &self.key_id, &self.signature].concat();
        format!(
            "{UNTRUSTED}signature by trustd, key {}\n{}\n{TRUSTED}{}\n{}\n",
            shown(self.key_id),
            base64::encode(&first),
            self.trusted_comment,
            base64::encode(&self.comment_signature)
        )
    }

    /// Reads a file.
    ///
    /// # Errors
    /// [`Malformed`] for more than [`BYTES_MAX`] bytes, other lines than these four, a comment that is too long or has
    /// control characters other than tabs, and a signature that is not pre-hashed.
    pub fn read(bytes: &[u8]) -> Result<Self, Malformed> {
        const EXPECTED: Malformed = Malformed::new(WHAT, "the four lines of a pre-hashed signature, at most 10 KiB");
        let text = std::str::from_utf8(bytes).ok().filter(|text| text.len() <= BYTES_MAX).ok_or(EXPECTED)?;
        let mut lines = text.strip_suffix('\n').unwrap_or(text).split('\n');
        let [Some(untrusted), Some(first), Some(trusted), Some(second), None] = std::array::from_fn(|_| lines.next())
        else {
            return Err(EXPECTED);
        };
        let untrusted = untrusted.strip_prefix(UNTRUSTED).ok_or(EXPECTED)?;
        let trusted = trusted.strip_prefix(TRUSTED).ok_or(EXPECTED)?;
        let controls = |comment: &str| comment.chars().any(|c| c.is_control() && c != '\t');
        if untrusted.len() > UNTRUSTED_BYTES_MAX || trusted.len() > COMMENT_BYTES_MAX || controls(trusted) {
            return Err(EXPECTED);
        }
        let first = base64::decode(WHAT, first)?;
        let (algorithm, rest) = first.split_first_chunk::<2>().ok_or(EXPECTED)?;
        let (key_id, signature) = rest.split_first_chunk::<8>().ok_or(EXPECTED)?;
        if *algorithm != PREHASHED {
            return Err(EXPECTED);
        }
        Ok(Self {
            key_id: *key_id,
            signature: signature.try_into().map_err(|_| EXPECTED)?,
            trusted_comment: trusted.to_owned(),
            comment_signature: base64::decode(WHAT, second)?.try_into().map_err(|_| EXPECTED)?,
        })
    }

    /// Checks both signatures, and that the trusted comment names the file.
    ///
    /// # Errors
    /// [`NotVerified`] says why it does not count.
    pub fn verify(&self, key: &PublicKey, file: &ReleaseFile) -> Result<(), NotVerified> {
        verify::one(key, &Signable::Message(signed(file)), &self.signature)?;
        let said = comment_signed(&self.signature, &self.trusted_comment);
        verify::one(key, &Signable::Message(said), &self.comment_signature)?;
        let names = |field: &str| field.strip_prefix("file:") == Some(file.name().as_str());
        if self.trusted_comment.split('\t').any(names) { Ok(()) } else { Err(NotVerified::OtherFile) }
    }
}

/// As minisign shows it: the little-endian number in hexadecimal.
fn shown(id: [u8; 8]) -> String {
    format!("{:016X}", u64::from_le_bytes(id))
}
