//! Keys and what they signed, the same in every run and in every build, and everybody's way to verify it.

use anyhow::{Context as _, Result, ensure};
use ed25519_dalek::{Signature, Signer as _, SigningKey, VerifyingKey};
use trust::verify::batch::{Input, Item, Key, Path, Table, chunk_on};
use trust::{PublicKey, Sha256Digest};

use crate::{simd, zebra};

/// Signatures that are made of each mix; a batch is as many of them as its size says, and the next one the next.
pub(crate) const SIGNED: usize = 4096;
/// Nobody prepares more keys than these for one batch.
pub(crate) const PREPARED_MAX: usize = 16;

/// Item i is of key i modulo their number.
pub(crate) struct Mix {
    keys: Vec<Known>,
    messages: Vec<[u8; 32]>,
    signatures: Vec<Signature>,
    bytes: Vec<[u8; 64]>,
}

/// A key as dalek has it, as we have it, and prepared.
struct Known {
    dalek: VerifyingKey,
    public: PublicKey,
    table: Option<Table>,
}

/// Whether a key's table is used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Prepared {
    No,
    Yes,
}

/// Some items that follow each other.
struct Batch<'a> {
    keys: Vec<&'a Known>,
    messages: &'a [[u8; 32]],
    signatures: &'a [Signature],
    bytes: &'a [[u8; 64]],
}

impl Mix {
    /// Of so many keys.
    ///
    /// # Errors
    /// When a key is none.
    pub(crate) fn new(count: usize) -> Result<Self> {
        ensure!(count > 0, "a mix of no keys");
        let secret = |number: usize| SigningKey::from_bytes(Sha256Digest::of(&number.to_be_bytes()).as_bytes());
        let signing: Vec<SigningKey> = (0..count).map(secret).collect();
        let mut keys = Vec::with_capacity(count);
        for key in &signing {
            let dalek = key.verifying_key();
            let public = PublicKey::from_ed25519_bytes(dalek.as_bytes()).context("a public key")?;
            let table = if count <= PREPARED_MAX { Table::new(&public) } else { None };
            keys.push(Known { dalek, public, table });
        }
        let messages: Vec<[u8; 32]> =
            (0..SIGNED).map(|number| *Sha256Digest::of(&number.to_le_bytes()).as_bytes()).collect();
        let signatures: Vec<Signature> =
            signing.iter().cycle().zip(&messages).map(|(key, message)| key.sign(message)).collect();
        let bytes = signatures.iter().map(Signature::to_bytes).collect();
        Ok(Self { keys, messages, signatures, bytes })
    }

    /// Whether every key has a table.
    pub(crate) fn is_prepared(&self) -> bool {
        self.keys.iter().all(|key| key.table.is_some())
    }

    fn batch(&self, from: usize, size: usize) -> Result<Batch<'_>> {
        let range = from..from + size;
        let keys = range.clone().map(|place| self.keys.get(place % self.keys.len())).collect::<Option<Vec<_>>>();
        Ok(Batch {
            keys: keys.context("too few keys")?,
            messages: self.messages.get(range.clone()).context("too few messages")?,
            signatures: self.signatures.get(range.clone()).context("too few signatures")?,
            bytes: self.bytes.get(range).context("too few signatures")?,
        })
    }

    /// Whether dalek's `verify_strict` finds each of them good.
    ///
    /// # Errors
    /// When there are no such items; so for all of these.
    pub(crate) fn strict(&self, from: usize, size: usize) -> Result<bool> {
        let batch = self.batch(from, size)?;
        let mut all = batch.keys.iter().zip(batch.messages).zip(batch.signatures);
        Ok(all.all(|((key, message), signature)| key.dalek.verify_strict(message, signature).is_ok()))
    }

    /// Whether dalek's `verify_batch` finds all of them good: another verdict at the edges.
    pub(crate) fn dalek_batch(&self, from: usize, size: usize) -> Result<bool> {
        let batch = self.batch(from, size)?;
        let messages: Vec<&[u8]> = batch.messages.iter().map(<[u8; 32]>::as_slice).collect();
        let keys: Vec<VerifyingKey> = batch.keys.iter().map(|key| key.dalek).collect();
        Ok(ed25519_dalek::verify_batch(&messages, batch.signatures, &keys).is_ok())
    }

    /// Whether zebra finds all of them good, by rules of its own (ZIP 215); it makes one of all items of a key.
    pub(crate) fn zebra_batch(&self, from: usize, size: usize) -> Result<bool> {
        let batch = self.batch(from, size)?;
        let items = batch.keys.iter().zip(batch.messages).zip(batch.signatures);
        zebra::verify_batch(
            items.map(|((key, message), signature)| (key.dalek.to_bytes(), *signature, message.as_slice())),
        )
    }

    /// Whether ed25519-simd finds each of them good.
    pub(crate) fn simd(&self, verifier: &mut simd::Verifier, from: usize, size: usize) -> Result<bool> {
        let batch = self.batch(from, size)?;
        let items = batch.keys.iter().zip(batch.messages).zip(batch.bytes);
        verifier.verify(items.map(|((key, message), bytes)| (key.dalek.to_bytes(), *bytes, message.as_slice())))
    }

    /// Whether we find each of them good.
    pub(crate) fn ours(&self, path: Path, prepared: Prepared, from: usize, size: usize) -> Result<bool> {
        let batch = self.batch(from, size)?;
        let mut items = Vec::with_capacity(size);
        for ((known, message), signature) in batch.keys.into_iter().zip(batch.messages).zip(batch.bytes) {
            let key = match (prepared, &known.table) {
                (Prepared::Yes, Some(table)) => Key::Known(table),
                _ => Key::Plain(&known.public),
            };
            items.push(Item { key, input: Input::Message(message), signature });
        }
        Ok(chunk_on(path, &items).iter().all(Result::is_ok))
    }
}

/// Batches one after the other: verifies the next one of so many items, and fails where one counts as bad.
pub(crate) struct Batches {
    from: usize,
    size: usize,
}

impl Batches {
    /// Of a size of which a whole number is signed.
    ///
    /// # Errors
    /// Of any other.
    pub(crate) fn of(size: usize) -> Result<Self> {
        ensure!(size > 0 && SIGNED.is_multiple_of(size), "batches of {size} items do not fit into {SIGNED}");
        Ok(Self { from: 0, size })
    }

    /// Verifies the next one; how many items it had.
    ///
    /// # Errors
    /// When `verify` fails, or a good signature counts as bad.
    pub(crate) fn next(&mut self, verify: impl FnOnce(usize, usize) -> Result<bool>) -> Result<u64> {
        ensure!(verify(self.from, self.size)?, "a good signature counts as bad");
        self.from = (self.from + self.size) % SIGNED;
        Ok(u64::try_from(self.size)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everybody_finds_every_batch_good_and_a_changed_one_bad() {
        for keys in [1, 3, PREPARED_MAX + 1] {
            let mut mix = Mix::new(keys).unwrap();
            assert_eq!(mix.is_prepared(), keys <= PREPARED_MAX);
            for is_good in [true, false] {
                if !is_good {
                    mix.messages[9][0] ^= 1;
                }
                for (from, size) in [(0, 16), (8, 8)] {
                    let verdicts = [
                        mix.strict(from, size).unwrap(),
                        mix.dalek_batch(from, size).unwrap(),
                        if zebra::IS_HERE { mix.zebra_batch(from, size).unwrap() } else { is_good },
                        mix.ours(Path::best(), Prepared::No, from, size).unwrap(),
                        mix.ours(Path::best(), Prepared::Yes, from, size).unwrap(),
                        mix.ours(Path::Portable, Prepared::Yes, from, size).unwrap(),
                    ];
                    assert_eq!(verdicts, [is_good; 6], "{keys} keys, {size} from {from}");
                }
            }
            assert!(mix.strict(16, 8).unwrap());
            assert!(mix.strict(SIGNED, 1).is_err());
        }
    }

    #[test]
    fn batches_go_round_and_a_bad_one_is_a_fault() {
        let mut batches = Batches::of(1024).unwrap();
        let mut seen = Vec::new();

        for _ in 0..5 {
            let done = batches.next(|from, size| {
                seen.push((from, size));
                Ok(true)
            });
            assert_eq!(done.unwrap(), 1024);
        }

        assert_eq!(seen, [(0, 1024), (1024, 1024), (2048, 1024), (3072, 1024), (0, 1024)]);
        assert!(batches.next(|_, _| Ok(false)).is_err());
        assert!(Batches::of(0).is_err() && Batches::of(1000).is_err());
    }
}
