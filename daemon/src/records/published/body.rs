//! Files that are too long for a row, in chunks that are named by what they belong to.
//!
//! Written before the head that names the file. What a crash leaves is used again when the same file is sent again:
//! a chunk's name fixes its content.

use std::sync::Arc;

use trust::format::tuf::{BYTES_MAX, Document, RoleName};

use super::super::crypto::Keys;
use super::super::mutation::Mutation;
use super::super::{RecordError, Records, layout};
use super::{FileRef, Place, not_as_left};

/// Bytes of a chunk. At unseal hundreds of rows are in memory at once.
const CHUNK_BYTES: usize = 64 * 1024;
/// Chunks that are written at once.
const CHUNKS_AT_ONCE: usize = 16;

impl Records {
    /// Writes those chunks of a file that are not there yet.
    pub(super) async fn keep_chunks(
        &self,
        keys: &Arc<Keys>,
        place: &Place,
        file: &Document,
    ) -> Result<(), RecordError> {
        let role = layout::role_hash(keys, file.role());
        let sha256 = file.sha256();
        let mut rows = Vec::new();
        for (number, chunk) in (0_u16..).zip(file.raw().chunks(CHUNK_BYTES)) {
            let key = layout::chunk(&place.gun, &role, &sha256, number);
            match self.0.store.fetch(&key).await? {
                None => rows.push((key, chunk.to_vec())),
                Some(row) => {
                    let read = keys.open(&key, row.value).filter(|(plain, _)| plain.as_slice() == chunk);
                    read.ok_or_else(|| not_as_left(&layout::describe(&key)))?;
                }
            }
            if rows.len() == CHUNKS_AT_ONCE {
                let rows = std::mem::take(&mut rows);
                self.change(Mutation::KeepChunks { rows }, None, None).await?;
            }
        }
        if rows.is_empty() {
            return Ok(());
        }
        self.change(Mutation::KeepChunks { rows }, None, None).await.map(|_| ())
    }

    /// Reads a file out of its chunks.
    pub(super) async fn chunks(
        &self,
        keys: &Arc<Keys>,
        place: &Place,
        role: &RoleName,
        file: &FileRef,
    ) -> Result<Vec<u8>, RecordError> {
        let role = layout::role_hash(keys, role);
        let length = usize::try_from(file.length_bytes).ok().filter(|length| *length <= BYTES_MAX);
        let length = length.ok_or_else(|| not_as_left("the length of a file"))?;
        let mut bytes = Vec::with_capacity(length);
        for number in 0_u16.. {
            if bytes.len() >= length {
                break;
            }
            let key = layout::chunk(&place.gun, &role, &file.sha256, number);
            let row = self.0.store.fetch(&key).await?;
            let read = row.and_then(|row| keys.open(&key, row.value)).filter(|(plain, _)| !plain.is_empty());
            let (plain, _) = read.ok_or_else(|| not_as_left(&layout::describe(&key)))?;
            bytes.extend_from_slice(&plain);
        }
        Ok(bytes)
    }
}
