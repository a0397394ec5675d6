//! Reading a backup into an empty store.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use super::frame::{End, Frames, Head, Kind, Rows};
use super::{BackupError, CHECKPOINT_BYTES_MAX, Identities, RING_BYTES_MAX};
use crate::store::{Change, RowKey, Store, StoreError};

/// What an import brought, besides the rows.
///
/// Not authenticated yet: the first unseal is, and `Records::provenance` then says the same or the import is not to
/// be believed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Imported {
    /// The store's uuid: it stays the same, keys are sealed to it.
    pub(crate) store_uuid: [u8; 16],
    /// The KEK ring's file.
    pub(crate) ring: Vec<u8>,
    /// The last checkpoint of the old log, empty when there was none: the new log cites it.
    pub(crate) checkpoint: String,
    /// When the backup was made: seconds since the Unix epoch.
    pub(crate) made_at_unix_seconds: u64,
    /// How many keys it holds.
    pub(crate) key_count: u64,
}

/// Reads a whole backup into `store`, which must be empty. The rows without which records do not open are written
/// last, so that what is left by a failure is refused at start. Reads `input` blocking: not for a serving daemon.
///
/// # Errors
/// [`BackupError`]; the store is then not whole and is to be removed.
pub(crate) async fn import(input: impl Read, identities: &Identities, store: &Store) -> Result<Imported, BackupError> {
    if !store.scan(&[], None, 1).await.map_err(BackupError::Store)?.is_empty() {
        return Err(BackupError::Damaged { what: "the store to import into is not empty" });
    }
    let mut frames = Frames::start(decrypt(input, identities)?)?;
    let head: Head = match frames.next()? {
        (Kind::Head, body, _) => decode(&body)?,
        _ => return Err(BackupError::Damaged { what: "its first frame is not the head" }),
    };
    if head.checkpoint.len() > CHECKPOINT_BYTES_MAX {
        return Err(BackupError::TooLarge { what: "the checkpoint" });
    }
    // A page is written when another follows it: so the last one only once the end is known to be whole.
    let mut held = Vec::new();
    let (mut ring, mut rows) = (None, 0_u64);
    loop {
        match frames.next()? {
            (Kind::Rows, body, _) if ring.is_none() => {
                let page: Rows = decode(&body)?;
                rows = rows.saturating_add(u64::try_from(page.len()).unwrap_or(u64::MAX));
                write(store, std::mem::replace(&mut held, page)).await?;
            }
            (Kind::Ring, body, _) if ring.is_none() => ring = Some(decode::<Vec<u8>>(&body)?),
            (Kind::End, body, sha256) => {
                if decode::<End>(&body)? != (End { rows, sha256 }) {
                    return Err(BackupError::Damaged { what: "rows are missing or were changed" });
                }
                break;
            }
            _ => return Err(BackupError::Damaged { what: "its frames are out of order" }),
        }
    }
    frames.finish()?;
    let ring = ring.filter(|ring| ring.len() <= RING_BYTES_MAX);
    let ring = ring.ok_or(BackupError::Damaged { what: "it has no KEK ring" })?;
    write(store, held).await?;
    let Head { store_uuid, made_at_unix_seconds, key_count, checkpoint } = head;
    Ok(Imported { store_uuid, ring, checkpoint, made_at_unix_seconds, key_count })
}

/// Writes the ring of an import to `path`, where nothing may be yet; durable on return, mode 0600.
///
/// # Errors
/// [`BackupError::System`].
pub(crate) fn write_ring(path: &Path, ring: &[u8]) -> Result<(), BackupError> {
    let write = || -> io::Result<()> {
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
        file.write_all(ring)?;
        file.sync_all()?;
        let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
        File::open(parent.unwrap_or(Path::new(".")))?.sync_all()
    };
    write().map_err(|source| BackupError::System { step: "write the KEK ring", source })
}

fn decrypt<R: Read>(input: R, identities: &Identities) -> Result<impl Read + use<R>, BackupError> {
    let opened = age::Decryptor::new(input).and_then(|decryptor| {
        decryptor.decrypt(identities.0.iter().map(|identity| {
            let identity: &dyn age::Identity = identity;
            identity
        }))
    });
    opened.map_err(|error| match error {
        age::DecryptError::NoMatchingKeys => BackupError::WrongIdentity,
        age::DecryptError::Io(source) => match source.kind() {
            io::ErrorKind::UnexpectedEof | io::ErrorKind::InvalidData => {
                BackupError::Damaged { what: "it is no age file" }
            }
            _ => BackupError::System { step: "read the backup", source },
        },
        _ => BackupError::Damaged { what: "it is no age file, or its header was altered" },
    })
}

fn decode<T: serde::de::DeserializeOwned>(body: &[u8]) -> Result<T, BackupError> {
    postcard::from_bytes(body).map_err(|_| BackupError::Damaged { what: "a frame does not read" })
}

async fn write(store: &Store, rows: Rows) -> Result<(), BackupError> {
    if rows.is_empty() {
        return Ok(());
    }
    let change = |(key, value): (Vec<u8>, Vec<u8>)| RowKey::new(key).map(|key| Change::Create { key, value });
    let changes = rows.into_iter().map(change).collect::<Result<Vec<_>, _>>();
    match store.write(changes.map_err(BackupError::Store)?).await {
        Ok(_) => Ok(()),
        Err(StoreError::Taken { .. }) => Err(BackupError::Damaged { what: "it has a row twice" }),
        Err(error) => Err(BackupError::Store(error)),
    }
}
