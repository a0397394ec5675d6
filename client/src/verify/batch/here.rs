//! A batch under a public key that the user has: verified on this machine, on all its cores; no daemon is asked.

use std::collections::VecDeque;
use std::num::NonZero;
use std::path::Path;
use std::sync::Arc;

use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use trust::verify::batch::{Input, Item, Key, Table, chunk};
use trust::{Digest, MlDsa65Key, PublicKey};

use super::chunk::{Chunk, ITEMS_MAX, Kind, SLOW_ITEMS_MAX};
use super::report::{Reason, Report};
use crate::failure::Failure;
use crate::files;
use crate::pin::{KEY_FILE_BYTES_MAX, public_key_in};

/// A key, ready for many verifications.
#[derive(Debug)]
pub(super) enum Prepared {
    /// Of an algorithm that has no use for more.
    Plain(PublicKey),
    /// With its multiples.
    Known(Table),
    /// Of an algorithm that is only verified: no daemon has such a key, and no pin names one.
    MlDsa65(MlDsa65Key),
}

impl Prepared {
    /// Reads a public key the user named, and prepares it.
    pub(super) fn read(path: &Path) -> Result<Self, Failure> {
        let bytes = files::read_named(path, KEY_FILE_BYTES_MAX)?;
        if let Some(key) = str::from_utf8(&bytes).ok().and_then(|text| MlDsa65Key::from_pem(text).ok()) {
            return Ok(Self::MlDsa65(key));
        }
        let key = public_key_in(path, &bytes)?;
        Ok(Table::new(&key).map_or(Self::Plain(key), Self::Known))
    }

    /// How many items are verified together.
    pub(super) const fn chunk_items_max(&self) -> usize {
        match self {
            Self::Plain(_) | Self::MlDsa65(_) => SLOW_ITEMS_MAX,
            Self::Known(_) => ITEMS_MAX,
        }
    }

    const fn key(&self) -> Key<'_> {
        match self {
            Self::Plain(key) => Key::Plain(key),
            Self::Known(table) => Key::Known(table),
            Self::MlDsa65(key) => Key::MlDsa65(key),
        }
    }

    /// Whether its algorithm hashes first, and so takes a digest.
    fn hashes(&self) -> bool {
        match self {
            Self::Plain(key) => key.algorithm().prehash().is_some(),
            Self::Known(_) | Self::MlDsa65(_) => false,
        }
    }
}

/// A chunk at work.
struct AtWork {
    verdicts: JoinHandle<Vec<Result<(), Reason>>>,
    read_bytes: u64,
}

/// Verifies every chunk, and reports in their order.
pub(super) async fn verify(
    key: Prepared,
    mut chunks: mpsc::Receiver<Result<Chunk, Failure>>,
    report: &mut Report,
) -> Result<(), Failure> {
    let at_work_max = std::thread::available_parallelism().map_or(1, NonZero::get).saturating_add(1);
    let key = Arc::new(key);
    let mut at_work = VecDeque::new();
    // How the reading ended, once it did.
    let mut end = None;
    loop {
        if at_work.is_empty()
            && let Some(how) = end
        {
            return how;
        }
        let (reads, has_work) = (end.is_none() && at_work.len() < at_work_max, !at_work.is_empty());
        let oldest = async {
            match at_work.front_mut() {
                Some(AtWork { verdicts, .. }) => verdicts.await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            verdicts = oldest, if has_work => {
                let read_bytes = at_work.pop_front().map_or(0, |chunk| chunk.read_bytes);
                let verdicts = verdicts.map_err(|error| {
                    Failure::other("a thread that verifies ended early", "this is a fault of trustctl").because(error)
                })?;
                report.add(verdicts, read_bytes)?;
            }
            chunk = chunks.recv(), if reads => match chunk {
                Some(Ok(chunk)) => {
                    let (key, read_bytes) = (Arc::clone(&key), chunk.read_bytes);
                    let verdicts = tokio::task::spawn_blocking(move || verdicts(&key, &chunk));
                    at_work.push_back(AtWork { verdicts, read_bytes });
                }
                Some(Err(failure)) => end = Some(Err(failure)),
                None => end = Some(Ok(())),
            },
        }
    }
}

/// A verdict for each item, in order.
fn verdicts(prepared: &Prepared, batch: &Chunk) -> Vec<Result<(), Reason>> {
    let (key, hashes) = (prepared.key(), prepared.hashes());
    let messages = pieces(&batch.messages, &batch.message_ends);
    let signatures = pieces(&batch.signatures, &batch.signature_ends);
    let items: Vec<Item<'_>> = messages
        .zip(signatures)
        .map(|(message, signature)| {
            let input = match (batch.kind, message.as_array()) {
                // What signs digests takes the item for one, as the daemon does.
                (Kind::Item32, Some(digest)) if hashes => Input::Digest(Digest::Sha256(*digest)),
                (Kind::Item32 | Kind::Message, _) => Input::Message(message),
            };
            Item { key, input, signature }
        })
        .collect();
    chunk(&items).into_iter().map(|verdict| verdict.map_err(Reason::from)).collect()
}

/// Bytes, cut at their ends.
fn pieces<'a>(bytes: &'a [u8], ends: &'a [u32]) -> impl Iterator<Item = &'a [u8]> {
    let mut start = 0;
    ends.iter().map(move |end| {
        let end = usize::try_from(*end).unwrap_or(usize::MAX);
        let piece = bytes.get(start..end).unwrap_or_default();
        start = end;
        piece
    })
}
