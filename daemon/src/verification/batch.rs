//! A packed batch: parsed once at the door, verified off the async threads.

use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use trust::verify::NotValid;
use trust::verify::batch::{self, Input, Item, Key, Table};
use trust::{Digest, Fault, FaultKind, KeyVersion, MlDsa65Key, PublicKey, Scheme};

use super::Refusal;
use super::lookup::Found;
use crate::keys::KeySelector;
use crate::tables::{Noted, Tables};

/// Items that are verified before it is asked whether somebody still waits; some milliseconds of them.
const ITEMS_BETWEEN_LOOKS: usize = 128;

/// Tables that are made for one part of a batch, at most: as many as its own items may earn. Keys that earned theirs by
/// items before get them with parts that come later.
const TABLES_MADE_MAX: usize = 32;

/// A key of a batch.
#[derive(Debug, Clone)]
pub(crate) enum BatchKey {
    /// One of ours: that version; `None`: the newest.
    Kept(KeySelector, Option<KeyVersion>),
    /// Any public key.
    Given(VerificationKey),
}

/// What a batch is verified under.
#[derive(Debug, Clone)]
pub(crate) enum VerificationKey {
    /// Of an algorithm that the daemon signs with, too.
    Signs(PublicKey),
    /// Of one that it only verifies.
    MlDsa65(MlDsa65Key),
}

impl VerificationKey {
    /// The length of its signatures in bytes; `None` where lengths differ.
    pub(super) fn signature_bytes(&self) -> Option<usize> {
        match self {
            Self::Signs(key) => key.algorithm().signature_bytes(),
            Self::MlDsa65(_) => Some(MlDsa65Key::SIGNATURE_BYTES),
        }
    }

    /// What an item under it costs, in some 5 µs: an Ed25519 signature under a prepared key. `is_prepared` says whether it is
    /// one by now.
    fn cost(&self, is_prepared: bool) -> usize {
        match self {
            Self::Signs(key) => match key.algorithm().scheme() {
                Scheme::Ed25519 if is_prepared => 1,
                Scheme::Ed25519 | Scheme::EcdsaP256 | Scheme::RsaPkcs1 | Scheme::RsaPss => 8,
                Scheme::EcdsaP384 => 16,
            },
            Self::MlDsa65(_) => 16,
        }
    }

    /// Whether its algorithm hashes first, and so takes a digest.
    fn hashes(&self) -> bool {
        match self {
            Self::Signs(key) => key.algorithm().prehash().is_some(),
            Self::MlDsa65(_) => false,
        }
    }
}

/// The messages of a batch, end to end.
#[derive(Debug)]
pub(crate) struct Messages {
    bytes: Bytes,
    places: Places,
}

#[derive(Debug)]
enum Places {
    /// Items of 32 bytes: the message, or its SHA-256 digest for algorithms that hash first.
    Fixed32(usize),
    /// Whole messages.
    Packed(Ends),
}

/// Where pieces end that lie end to end: they rise to exactly the length of all.
#[derive(Debug)]
struct Ends(Vec<u32>);

/// Many signatures to verify, every index inside its bounds.
#[derive(Debug)]
pub(crate) struct Batch {
    keys: Arc<[BatchKey]>,
    /// Index into `keys` of each item; empty: all have the first one.
    key_indexes: Vec<u32>,
    messages: Messages,
    signatures: Bytes,
    signature_places: SignaturePlaces,
}

#[derive(Debug)]
enum SignaturePlaces {
    /// Signatures of so many bytes each.
    Equal(usize),
    /// Signatures that differ in length.
    Packed(Ends),
}

impl Batch {
    /// Items of 32 bytes, end to end.
    pub(crate) fn items32(bytes: Bytes) -> Result<Messages, Fault> {
        if bytes.is_empty() || !bytes.len().is_multiple_of(32) {
            return Err(malformed("items32: 32 bytes for each item"));
        }
        let count = bytes.len() / 32;
        Ok(Messages { bytes, places: Places::Fixed32(count) })
    }

    /// Messages of any length, end to end.
    pub(crate) fn packed(bytes: Bytes, ends: Vec<u32>) -> Result<Messages, Fault> {
        let ends =
            Ends::new(bytes.len(), ends).ok_or_else(|| malformed("messages: ends that rise to the length of bytes"))?;
        Ok(Messages { bytes, places: Places::Packed(ends) })
    }

    /// Puts a batch together.
    pub(crate) fn new(
        keys: Arc<[BatchKey]>,
        key_indexes: Vec<u32>,
        messages: Messages,
        signatures: Bytes,
        signature_ends: Vec<u32>,
        items_max: usize,
    ) -> Result<Self, Fault> {
        let count = messages.count();
        if count == 0 || count > items_max {
            return Err(malformed("items: 1 to the daemon's verify_items_max"));
        }
        let has_key = |index: &u32| usize::try_from(*index).is_ok_and(|index| index < keys.len());
        if keys.is_empty()
            || !(key_indexes.is_empty() || key_indexes.len() == count)
            || !key_indexes.iter().all(has_key)
        {
            return Err(malformed("key indexes: one for each item, each below the number of keys"));
        }
        let signature_places = if signature_ends.is_empty() {
            let length = signatures.len() / count;
            if length == 0 || length * count != signatures.len() {
                return Err(malformed("signatures: equal lengths, or an end for each"));
            }
            SignaturePlaces::Equal(length)
        } else {
            Some(signature_ends)
                .filter(|ends| ends.len() == count)
                .and_then(|ends| Ends::new(signatures.len(), ends))
                .map(SignaturePlaces::Packed)
                .ok_or_else(|| malformed("signature ends: one for each item, rising to the length of signatures"))?
        };
        Ok(Self { keys, key_indexes, messages, signatures, signature_places })
    }

    /// The keys it names. The next message of a stream may mean the same.
    pub(crate) const fn keys(&self) -> &Arc<[BatchKey]> {
        &self.keys
    }

    /// For an item the index of its key among [`Batch::keys`].
    pub(super) fn key_of(&self, item: usize) -> usize {
        if self.key_indexes.is_empty() {
            return 0;
        }
        self.key_indexes.get(item).and_then(|index| usize::try_from(*index).ok()).unwrap_or(usize::MAX)
    }

    /// Refuses signatures without ends that are not as long as the first key makes them; `keys` are those of
    /// [`Batch::keys`], looked up. One of them is missing, or a byte: each item would be held against a piece of another
    /// one's, and have a verdict for it.
    pub(super) fn fits(&self, keys: &[Found]) -> Result<(), Fault> {
        let SignaturePlaces::Equal(length) = self.signature_places else { return Ok(()) };
        match keys.first().and_then(|first| first.signature_bytes(length)) {
            Some(bytes) if bytes == length => Ok(()),
            Some(bytes) => Err(malformed(&format!("signatures: {bytes} bytes for each item, or an end for each"))),
            None => Err(malformed("signatures: keys[0] makes some of other lengths, so an end for each")),
        }
    }

    /// How many items it has.
    pub(crate) const fn items(&self) -> usize {
        self.messages.count()
    }

    /// What each item costs, in the unit of [`VerificationKey::cost`]; `keys` are those of [`Batch::keys`], looked up.
    ///
    /// A key with few items here counts as one that is not prepared, though it may be: a part becomes too small, and that
    /// costs less than one that keeps everybody else waiting for ten times as long.
    pub(super) fn costs(&self, keys: &[Found], tables: &Tables) -> impl Iterator<Item = usize> + Clone {
        let items = self.items_of_keys(0..self.items(), keys.len());
        let cost = |(found, items): (&Found, usize)| {
            found.key.as_ref().map_or(1, |key| key.cost(tables.prepares_at_once(items)))
        };
        let of_keys: Arc<[usize]> = keys.iter().zip(items).map(cost).collect();
        (0..self.items()).map(move |item| of_keys.get(self.key_of(item)).copied().unwrap_or(1))
    }

    /// How many of some items each of the keys has.
    fn items_of_keys(&self, range: Range<usize>, keys: usize) -> Vec<usize> {
        let mut items = vec![0_usize; keys];
        for item in range {
            if let Some(items) = items.get_mut(self.key_of(item)) {
                *items += 1;
            }
        }
        items
    }

    /// The tables of its keys, as far as they have or earn them by the items of `range`; `keys` are those of
    /// [`Batch::keys`], looked up. `None` of all when `go_on` says that nobody waits any more.
    pub(super) fn tables(
        &self,
        range: Range<usize>,
        keys: &[Found],
        tables: &Tables,
        go_on: impl Fn() -> bool,
    ) -> Option<Vec<Option<Arc<Table>>>> {
        let items = self.items_of_keys(range, keys.len());
        let mut to_make = TABLES_MADE_MAX;
        let earn = |(found, items): (&Found, usize)| {
            let key = match &found.key {
                Ok(VerificationKey::Signs(key)) if items > 0 => key,
                _ => return Some(None),
            };
            if !go_on() {
                return None;
            }
            Some(match tables.note(key, items) {
                Noted::Has(table) => Some(table),
                Noted::Earned if to_make > 0 => {
                    to_make -= 1;
                    tables.make(key)
                }
                Noted::Earned | Noted::Candidate => None,
            })
        };
        keys.iter().zip(items).map(earn).collect()
    }

    /// One verdict per item of `range`, in order; `None` of an item is valid, and `None` of all when `go_on`, asked now
    /// and then, says that nobody waits any more. `keys` and `tables` are those of [`Batch::keys`].
    pub(super) fn verdicts(
        &self,
        range: Range<usize>,
        keys: &[Found],
        tables: &[Option<Arc<Table>>],
        go_on: impl Fn() -> bool,
    ) -> Option<Vec<Option<Refusal>>> {
        let mut verdicts = Vec::with_capacity(range.len());
        let mut items = Vec::with_capacity(ITEMS_BETWEEN_LOOKS);
        let mut next = range.start;
        while next < range.end {
            if !go_on() {
                return None;
            }
            let some = next..range.end.min(next.saturating_add(ITEMS_BETWEEN_LOOKS));
            next = some.end;
            // Items under a key that does not count have their refusal here, and the others theirs from the verifier.
            let refusals: Vec<Option<Refusal>> = some
                .map(|index| match self.item(index, keys, tables) {
                    Ok(item) => {
                        items.push(item);
                        None
                    }
                    Err(refusal) => Some(refusal),
                })
                .collect();
            let mut found = batch::chunk(&items).into_iter();
            items.clear();
            verdicts.extend(refusals.into_iter().map(|refusal| match refusal {
                Some(refusal) => Some(refusal),
                None => found.next().unwrap_or(Err(NotValid::Wrong)).err().map(Refusal::NotValid),
            }));
        }
        Some(verdicts)
    }

    /// One item, ready to be verified, or why it cannot count.
    fn item<'a>(
        &'a self,
        index: usize,
        keys: &'a [Found],
        tables: &'a [Option<Arc<Table>>],
    ) -> Result<Item<'a>, Refusal> {
        let place = self.key_of(index);
        let found = keys.get(place).ok_or(Refusal::NotValid(NotValid::Input))?;
        let under = found.key.as_ref().map_err(|refusal| *refusal)?;
        let key = match (tables.get(place), under) {
            (Some(Some(table)), _) => Key::Known(table),
            (_, VerificationKey::Signs(key)) => Key::Plain(key),
            (_, VerificationKey::MlDsa65(key)) => Key::MlDsa65(key),
        };
        let signature = match &self.signature_places {
            SignaturePlaces::Equal(length) => {
                index.saturating_mul(*length)..index.saturating_add(1).saturating_mul(*length)
            }
            SignaturePlaces::Packed(ends) => ends.range(index),
        };
        let signature = self.signatures.get(signature).unwrap_or_default();
        Ok(Item { key, input: self.messages.input(index, under.hashes()), signature })
    }
}

impl Messages {
    const fn count(&self) -> usize {
        match &self.places {
            Places::Fixed32(count) => *count,
            Places::Packed(ends) => ends.0.len(),
        }
    }

    fn input(&self, index: usize, hashes: bool) -> Input<'_> {
        match &self.places {
            Places::Packed(ends) => Input::Message(self.bytes.get(ends.range(index)).unwrap_or_default()),
            Places::Fixed32(_) => {
                let (items, _) = self.bytes.as_chunks::<32>();
                let item = items.get(index).unwrap_or(&[0; 32]);
                if hashes { Input::Digest(Digest::Sha256(*item)) } else { Input::Message(item) }
            }
        }
    }
}

impl Ends {
    /// `None` unless they rise to exactly `length`.
    fn new(length: usize, ends: Vec<u32>) -> Option<Self> {
        let last = ends.last().map_or(Some(0), |last| usize::try_from(*last).ok());
        (last == Some(length) && ends.is_sorted()).then_some(Self(ends))
    }

    /// Where a piece lies.
    fn range(&self, index: usize) -> Range<usize> {
        let end = |index: usize| self.0.get(index).and_then(|end| usize::try_from(*end).ok()).unwrap_or(0);
        index.checked_sub(1).map_or(0, end)..end(index)
    }
}

fn malformed(text: &str) -> Fault {
    Fault::new(FaultKind::Malformed, text)
}

#[cfg(test)]
mod tests;
