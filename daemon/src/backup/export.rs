//! Making a backup while the daemon serves.

use std::io::{self, Write};
use std::sync::{Arc, Mutex, PoisonError};

use age::stream::StreamWriter;
use sha2::{Digest as _, Sha256};
use trust::Sha256Digest;

use super::frame::{self, End, Head, Kind, Rows};
use super::{BackupError, CHECKPOINT_BYTES_MAX, RING_BYTES_MAX, Recipients};
use crate::records::{Provenance, Snapshot};

/// A backup being made: the keys of one instant, handed out in encrypted chunks.
///
/// Dropping it early leaves nothing behind; what was handed out does not open as a whole backup.
pub(crate) struct Export {
    writer: Option<StreamWriter<Sink>>,
    sink: Sink,
    snapshot: Snapshot,
    provenance: Provenance,
    ring: Vec<u8>,
    hash: Sha256,
    rows: u64,
}

/// Where the encrypted bytes gather between chunks.
#[derive(Clone, Default)]
struct Sink(Arc<Mutex<Vec<u8>>>);

impl Sink {
    fn take(&self) -> Vec<u8> {
        std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Write for Sink {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Export {
    /// Begins a backup of what `snapshot` took, with the KEK ring's file and the log's last checkpoint (empty
    /// when there is none).
    ///
    /// # Errors
    /// [`BackupError::TooLarge`].
    pub(crate) fn begin(
        snapshot: Snapshot,
        recipients: &Recipients,
        ring: Vec<u8>,
        checkpoint: String,
        now_unix_seconds: u64,
    ) -> Result<Self, BackupError> {
        if ring.len() > RING_BYTES_MAX {
            return Err(BackupError::TooLarge { what: "the KEK ring" });
        }
        if checkpoint.len() > CHECKPOINT_BYTES_MAX {
            return Err(BackupError::TooLarge { what: "the checkpoint" });
        }
        let provenance = Provenance {
            made_at_unix_seconds: now_unix_seconds,
            checkpoint: checkpoint.clone(),
            ring_sha256: *Sha256Digest::of(&ring).as_bytes(),
        };
        let sink = Sink::default();
        let keys = recipients.0.iter().map(|recipient| {
            let recipient: &dyn age::Recipient = recipient;
            recipient
        });
        let encryptor = age::Encryptor::with_recipients(keys).map_err(|error| failed(io::Error::other(error)))?;
        let writer = encryptor.wrap_output(sink.clone()).map_err(failed)?;
        let head = Head {
            store_uuid: snapshot.store_uuid(),
            made_at_unix_seconds: now_unix_seconds,
            key_count: u64::try_from(snapshot.key_count()).unwrap_or(u64::MAX),
            checkpoint,
        };
        let mut export = Self { writer: Some(writer), sink, snapshot, provenance, ring, hash: Sha256::new(), rows: 0 };
        export.write(&frame::first_line())?;
        export.write(&frame::encode(Kind::Head, &head)?)?;
        Ok(export)
    }

    /// Reads what the next chunk needs from the store; before each [`Export::next_chunk`].
    ///
    /// # Errors
    /// [`BackupError::Records`].
    pub(crate) async fn read_ahead(&mut self) -> Result<(), BackupError> {
        self.snapshot.read_ahead().await.map_err(BackupError::Records)
    }

    /// The next bytes of the age file, which may be none yet; none after the last. Works for some milliseconds: off the async threads.
    ///
    /// # Errors
    /// [`BackupError::Records`] when rows do not seal. The backup is then not whole.
    pub(crate) fn next_chunk(&mut self) -> Result<Option<Vec<u8>>, BackupError> {
        while self.writer.is_some() {
            match self.snapshot.next_rows(&self.provenance).map_err(BackupError::Records)? {
                // What comes next has to be read first.
                Some(rows) if rows.is_empty() => return Ok(Some(self.sink.take())),
                Some(rows) => {
                    self.rows = self.rows.saturating_add(u64::try_from(rows.len()).unwrap_or(u64::MAX));
                    let rows: Rows = rows.into_iter().map(|(key, value)| (key.as_bytes().to_vec(), value)).collect();
                    self.write(&frame::encode(Kind::Rows, &rows)?)?;
                }
                None => self.finish()?,
            }
            let chunk = self.sink.take();
            if !chunk.is_empty() {
                return Ok(Some(chunk));
            }
        }
        Ok(None)
    }

    fn finish(&mut self) -> Result<(), BackupError> {
        let ring = std::mem::take(&mut self.ring);
        self.write(&frame::encode(Kind::Ring, &ring)?)?;
        let end = End { rows: self.rows, sha256: self.hash.clone().finalize().into() };
        self.write(&frame::encode(Kind::End, &end)?)?;
        match self.writer.take() {
            Some(writer) => writer.finish().map(|_| ()).map_err(failed),
            None => Ok(()),
        }
    }

    fn write(&mut self, bytes: &[u8]) -> Result<(), BackupError> {
        self.hash.update(bytes);
        self.writer.as_mut().map_or(Ok(()), |writer| writer.write_all(bytes)).map_err(failed)
    }
}

fn failed(source: io::Error) -> BackupError {
    BackupError::System { step: "encrypt the backup", source }
}
