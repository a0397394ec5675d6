//! One file of a release.

use std::fmt;

use super::sums;
use crate::format::json::Integer;
use crate::{Malformed, Sha256Digest};

/// Endings of what lies beside a file: such a file is a signature, never what is signed.
const SIGNATURE_ENDINGS: [&str; 4] = [".minisig", ".sig", ".sigstore.json", ".sshsig"];

/// A file's name: 1 to 255 bytes without `/`, `\` and control characters, neither `.` nor `..`, and not one that a
/// signature or the list of a release has.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct FileName(String);

impl FileName {
    /// The longest name, in bytes.
    pub const BYTES_MAX: usize = 255;

    /// Takes a name.
    ///
    /// # Errors
    /// [`Malformed`] for any other text. A `\` would make `sha256sum` write its line in another way, and from a file `-` it reads
    /// its input.
    pub fn parse(text: &str) -> Result<Self, Malformed> {
        let fits = (1..=Self::BYTES_MAX).contains(&text.len()) && !matches!(text, "." | ".." | "-");
        if !fits || text.chars().any(|c| c.is_control() || matches!(c, '/' | '\\')) {
            return Err(Malformed::new("file name", "1 to 255 bytes without '/', '\\' and control characters"));
        }
        // The bundle of a file RELEASE would have the name of the manifest.
        if Self::is_of_signature(text) || text.eq_ignore_ascii_case("RELEASE") {
            return Err(Malformed::new(
                "file name",
                "not one of a signature (.minisig, .sig, .sigstore.json, .sshsig) and not SHA256SUMS or RELEASE",
            ));
        }
        Ok(Self(text.to_owned()))
    }

    /// True for a name that only signatures and the list have, in whatever case: some file systems know none.
    #[must_use]
    pub fn is_of_signature(name: &str) -> bool {
        let name = name.to_ascii_lowercase();
        name.eq_ignore_ascii_case(sums::NAME) || SIGNATURE_ENDINGS.iter().any(|end| name.ends_with(end))
    }

    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for FileName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Length and hashes of one file's whole content.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(clippy::exhaustive_structs, reason = "made by whoever read the file")]
pub struct FileDigests {
    /// Bytes in the file: at most 2⁵³−1.
    pub size_bytes: u64,
    /// SHA-256 (FIPS 180-4), for `SHA256SUMS`, the manifest and OpenSSH.
    pub sha256: Sha256Digest,
    /// SHA-512 (FIPS 180-4), for the manifest and OpenSSH.
    pub sha512: [u8; 64],
    /// BLAKE2b with 64 bytes of output and no key (RFC 7693), for the manifest and minisign.
    pub blake2b512: [u8; 64],
}

/// A file of a release: its name, and what is known of its content.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReleaseFile {
    name: FileName,
    digests: FileDigests,
}

impl ReleaseFile {
    /// Puts name and content together.
    ///
    /// A statement key never gets an OpenPGP form or minisign's older one: both sign a bare hash or a whole file, as
    /// minisign's first signature is over 64 bare bytes, so the caller could choose a digest that is one of theirs.
    ///
    /// # Errors
    /// [`Malformed`] for more than 2⁵³−1 bytes, and for a BLAKE2b value that is a text or begins as another form does:
    /// minisign's form signs it as it is, so it would be a signature of that text.
    pub fn new(name: FileName, digests: FileDigests) -> Result<Self, Malformed> {
        Integer::try_from(digests.size_bytes)?;
        let value = digests.blake2b512;
        // 64 bytes are just enough for OpenSSH's form with a namespace of four letters and SHA-256. That a hash is
        // UTF-8 from end to end happens once in more than 2^50 files, that it begins so once in 2^47.
        if value.starts_with(b"SSHSIG") || value.starts_with(b"DSSEv1") || std::str::from_utf8(&value).is_ok() {
            return Err(Malformed::new("BLAKE2b digest", "a hash value, not a text or the bytes of another form"));
        }
        Ok(Self { name, digests })
    }

    /// What it is called.
    #[must_use]
    pub const fn name(&self) -> &FileName {
        &self.name
    }

    /// Length and hashes.
    #[must_use]
    pub const fn digests(&self) -> &FileDigests {
        &self.digests
    }
}
