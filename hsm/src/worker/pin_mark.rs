//! The mark on the disk that says how a PIN stands: enough to know the PIN again, too little to find it by.
//!
//! It is an Argon2id hash under a salt of its own, so that the same PIN in a file that
//! was merely written anew is still known for what it is. Of a PIN that is right only
//! one byte of the hash stays: whoever guesses PINs at it is left with hundreds.

use std::fs::{self, File};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use argon2::{Algorithm, Argon2, Params, Version};
use subtle::ConstantTimeEq as _;
use zeroize::Zeroizing;

use crate::cipher::random;
use crate::{CustodyError, PassphraseCost, Pin};

/// The format of a mark, `2 | standing | salt | hash`, and the older one of refused PINs only, `1 | salt | hash`.
const FORMAT: u8 = 2;
const FORMAT_REFUSED: u8 = 1;
const SALT: usize = 16;
const HASH: usize = 32;
/// What stays of the hash of a right PIN, in bytes.
const HASH_TAKEN: usize = 1;
/// The longest mark, in bytes.
const BYTES_MAX: usize = 2 + SALT + HASH;

/// How a PIN stands with the token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Standing {
    /// Nothing is known of it.
    Untried,
    /// Shown, and the answer is not known: it may have counted as wrong.
    ShownOnce,
    /// The same once more.
    ShownTwice,
    /// The token has taken it.
    Taken,
    /// The token has refused it.
    Refused,
}

/// A stretched PIN, and the salt it was stretched with.
pub(super) struct Fingerprint {
    salt: [u8; SALT],
    hash: Zeroizing<[u8; HASH]>,
}

impl Fingerprint {
    /// Under a salt of its own.
    pub(super) fn of(pin: &Pin) -> Result<Self, CustodyError> {
        let mut salt = [0; SALT];
        random(&mut salt)?;
        Self::under(pin, salt)
    }

    /// Argon2id (RFC 9106 §4, second choice): who has the mark has to guess slowly.
    fn under(pin: &Pin, salt: [u8; SALT]) -> Result<Self, CustodyError> {
        let PassphraseCost { memory_kib, passes, lanes } = PassphraseCost::FLOOR;
        let slow = |error| CustodyError::failed(format!("stretch a PIN: {error}"));
        let params = Params::new(memory_kib, passes, lanes, Some(HASH)).map_err(slow)?;
        let mut hash = Zeroizing::new([0; HASH]);
        let argon = Argon2::new(Algorithm::Argon2id, Version::V0x13, params);
        pin.with(|pin| argon.hash_password_into(pin, &salt, &mut *hash)).map_err(slow)?;
        Ok(Self { salt, hash })
    }
}

/// The file of one token's mark; its directory is there and ours alone.
pub(super) struct PinMark(PathBuf);

impl PinMark {
    pub(super) const fn at(path: PathBuf) -> Self {
        Self(path)
    }

    /// Whether there is a mark, of whatever PIN.
    pub(super) fn exists(&self) -> bool {
        self.0.exists()
    }

    /// How this PIN stands, and its fingerprint where that had to be taken.
    ///
    /// # Errors
    /// [`CustodyError::Corrupt`] for a mark that is none: it lets no PIN through.
    pub(super) fn of(&self, pin: &Pin) -> Result<(Standing, Option<Fingerprint>), CustodyError> {
        let at = |error: &io::Error| CustodyError::failed(format!("read {}: {error}", self.0.display()));
        let mut bytes = Vec::new();
        let limit = u64::try_from(BYTES_MAX + 1).unwrap_or(u64::MAX);
        match File::open(&self.0) {
            Ok(file) => file.take(limit).read_to_end(&mut bytes).map_err(|error| at(&error))?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok((Standing::Untried, None)),
            Err(error) => return Err(at(&error)),
        };
        let damaged = || CustodyError::corrupt(format!("the mark {}", self.0.display()));
        let (standing, salt, hash) = parse(&bytes).ok_or_else(damaged)?;
        let fingerprint = Fingerprint::under(pin, salt)?;
        let same = fingerprint.hash.get(..hash.len()).is_some_and(|own| own.ct_eq(hash).into());
        Ok(if same { (standing, Some(fingerprint)) } else { (Standing::Untried, None) })
    }

    /// Replaces the mark; when this returns, it is on the disk.
    pub(super) fn write(&self, standing: Standing, fingerprint: &Fingerprint) -> Result<(), CustodyError> {
        let at = |error: io::Error| CustodyError::failed(format!("write {}: {error}", self.0.display()));
        let Some(byte) = byte_of(standing) else {
            return match fs::remove_file(&self.0) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => Err(at(error)),
                Ok(()) | Err(_) => self.sync_directory().map_err(at),
            };
        };
        let length = if standing == Standing::Taken { HASH_TAKEN } else { HASH };
        let kept = fingerprint.hash.get(..length).unwrap_or_default();
        let bytes = [&[FORMAT, byte], &fingerprint.salt[..], kept].concat();
        let new = self.0.with_extension("new");
        let mut options = File::options();
        let mut file = options.write(true).create(true).truncate(true).mode(0o600).open(&new).map_err(at)?;
        file.write_all(&bytes).and_then(|()| file.sync_all()).map_err(at)?;
        fs::rename(&new, &self.0).and_then(|()| self.sync_directory()).map_err(at)
    }

    fn sync_directory(&self) -> io::Result<()> {
        File::open(self.0.parent().unwrap_or(Path::new("/")))?.sync_all()
    }
}

fn parse(bytes: &[u8]) -> Option<(Standing, [u8; SALT], &[u8])> {
    let (standing, rest) = match bytes {
        [FORMAT_REFUSED, rest @ ..] => (Standing::Refused, rest),
        [FORMAT, byte, rest @ ..] => {
            let marked = [Standing::ShownOnce, Standing::ShownTwice, Standing::Taken, Standing::Refused];
            (marked.into_iter().find(|standing| byte_of(*standing) == Some(*byte))?, rest)
        }
        _ => return None,
    };
    let (salt, hash) = rest.split_first_chunk::<SALT>()?;
    let length = if standing == Standing::Taken { HASH_TAKEN } else { HASH };
    (hash.len() == length).then_some((standing, *salt, hash))
}

/// The byte that marks a standing; a PIN that was not tried has no mark.
const fn byte_of(standing: Standing) -> Option<u8> {
    match standing {
        Standing::Untried => None,
        Standing::ShownOnce => Some(1),
        Standing::ShownTwice => Some(2),
        Standing::Taken => Some(3),
        Standing::Refused => Some(4),
    }
}
