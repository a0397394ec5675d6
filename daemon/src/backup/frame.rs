//! The frames inside a backup.

use std::io::{self, Read};

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::{BackupError, FORMAT};

/// The longest frame body, in bytes: a page of keys with their materials fits many times.
pub(super) const BODY_BYTES_MAX: usize = 8 * 1024 * 1024;
const MAGIC: &[u8] = b"trustd-backup ";

/// What a frame holds, as its first byte says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    End,
    Head,
    Ring,
    Rows,
}

impl Kind {
    const fn byte(self) -> u8 {
        match self {
            Self::End => b'E',
            Self::Head => b'H',
            Self::Ring => b'K',
            Self::Rows => b'R',
        }
    }

    fn of(byte: u8) -> Option<Self> {
        [Self::End, Self::Head, Self::Ring, Self::Rows].into_iter().find(|kind| kind.byte() == byte)
    }
}

/// The first frame.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Head {
    pub(super) store_uuid: [u8; 16],
    pub(super) made_at_unix_seconds: u64,
    pub(super) key_count: u64,
    pub(super) checkpoint: String,
}

/// The last frame: a backup without it, or with another count or hash, is not whole.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct End {
    pub(super) rows: u64,
    pub(super) sha256: [u8; 32],
}

/// Rows as they travel.
pub(super) type Rows = Vec<(Vec<u8>, Vec<u8>)>;

/// The first line.
pub(super) fn first_line() -> Vec<u8> {
    [MAGIC, format!("{FORMAT}\n").as_bytes()].concat()
}

/// Writes a frame.
pub(super) fn encode<T: Serialize>(kind: Kind, body: &T) -> Result<Vec<u8>, BackupError> {
    const TOO_LARGE: BackupError = BackupError::TooLarge { what: "a page of keys" };
    let body = postcard::to_stdvec(body).map_err(|_| TOO_LARGE)?;
    if body.len() > BODY_BYTES_MAX {
        return Err(TOO_LARGE);
    }
    let length = u32::try_from(body.len()).map_err(|_| TOO_LARGE)?;
    Ok([&[kind.byte()], length.to_be_bytes().as_slice(), &body].concat())
}

/// Reads frames and hashes what it reads.
pub(super) struct Frames<R> {
    input: R,
    hash: Sha256,
}

impl<R: Read> Frames<R> {
    /// Reads the first line.
    pub(super) fn start(mut input: R) -> Result<Self, BackupError> {
        const NONE: BackupError = BackupError::Damaged { what: "it does not start as one" };
        let mut line = Vec::new();
        // The longest first line: the word, ten digits and the line feed.
        while line.len() < MAGIC.len().saturating_add(11) && line.last() != Some(&b'\n') {
            let mut byte = [0];
            input.read_exact(&mut byte).map_err(cut)?;
            line.extend(byte);
        }
        let text = std::str::from_utf8(&line).map_err(|_| NONE)?;
        let format = text.strip_suffix('\n').and_then(|text| text.as_bytes().strip_prefix(MAGIC)).ok_or(NONE)?;
        let format: u32 = std::str::from_utf8(format).ok().and_then(|format| format.parse().ok()).ok_or(NONE)?;
        match format {
            FORMAT => Ok(Self { input, hash: Sha256::new_with_prefix(&line) }),
            found if found > FORMAT => Err(BackupError::TooNew { found, known: FORMAT }),
            _ => Err(NONE),
        }
    }

    /// The next frame, and the hash of everything before it.
    pub(super) fn next(&mut self) -> Result<(Kind, Vec<u8>, [u8; 32]), BackupError> {
        let before = self.hash.clone().finalize().into();
        let mut header = [0; 5];
        self.input.read_exact(&mut header).map_err(cut)?;
        let [kind, length @ ..] = header;
        let kind = Kind::of(kind).ok_or(BackupError::Damaged { what: "it has a frame of an unknown kind" })?;
        let length = usize::try_from(u32::from_be_bytes(length)).unwrap_or(usize::MAX);
        if length > BODY_BYTES_MAX {
            return Err(BackupError::Damaged { what: "it has a frame beyond the bound" });
        }
        let mut body = vec![0; length];
        self.input.read_exact(&mut body).map_err(cut)?;
        self.hash.update(header);
        self.hash.update(&body);
        Ok((kind, body, before))
    }

    /// Nothing may follow the last frame; reading to the end also makes age check that it is the end.
    pub(super) fn finish(mut self) -> Result<(), BackupError> {
        let mut rest = [0];
        match self.input.read(&mut rest) {
            Ok(0) => Ok(()),
            Ok(_) => Err(BackupError::Damaged { what: "something follows its end" }),
            Err(error) => Err(cut(error)),
        }
    }
}

/// age says `InvalidData` for what was altered; a file that ends too early is as bad.
fn cut(error: io::Error) -> BackupError {
    match error.kind() {
        io::ErrorKind::UnexpectedEof => BackupError::Damaged { what: "it ends too early" },
        io::ErrorKind::InvalidData => BackupError::Damaged { what: "it was altered" },
        _ => BackupError::System { step: "read the backup", source: error },
    }
}
