//! A batch of signed items, some of which may be bad, and the ways to verify it.

use std::sync::Arc;

use anyhow::{Context as _, Result, ensure};
use ed25519_dalek::{Signature, VerifyingKey};
use trust::verify::batch::{self, Item, Key, Path, Table, chunk_on};
use trust::{Algorithm, Digest, PublicKey, Sha256Digest, Signable};

use crate::report::Whose;
use crate::vault::Vault;
use crate::zebra;

/// What is signed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Input {
    /// What cosign signs of an image.
    Cosign,
    /// 32 bytes: for Ed25519 as the message, for others as the digest, of their hash function.
    Digest,
}

/// How many items are bad.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Bad {
    None,
    OneInThousand,
    Half,
}

impl Bad {
    /// Every which item; 0 for none.
    const fn every(self) -> usize {
        match self {
            Self::None => 0,
            Self::OneInThousand => 1000,
            Self::Half => 2,
        }
    }
}

/// A key, read and, where that is worth it, prepared.
struct Known {
    public: PublicKey,
    table: Option<Table>,
    dalek: Option<VerifyingKey>,
}

#[derive(Clone)]
struct Signed {
    key: usize,
    input: Signable,
    signature: Vec<u8>,
    dalek: Option<Signature>,
    is_good: bool,
}

/// Keys and what they signed: item i is of key i modulo their number. Clones share the keys and their tables.
#[derive(Clone)]
pub(super) struct Batch {
    keys: Arc<[Known]>,
    items: Vec<Signed>,
}

/// How a batch is verified.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Way {
    /// All at once, and where that says no each alone, as its documentation advises.
    DalekBatchThenEach,
    DalekStrict,
    Plain,
    Prepared,
    ZebraBatchThenEach,
}

impl Way {
    /// What people do who have a verdict for all together only.
    pub(super) fn batch_then_each() -> Vec<Self> {
        let mut ways = vec![Self::DalekBatchThenEach, Self::ZebraBatchThenEach];
        ways.retain(|way| way.is_here());
        ways
    }

    /// Whether this build has it.
    pub(super) fn is_here(self) -> bool {
        self != Self::ZebraBatchThenEach || zebra::IS_HERE
    }

    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::DalekBatchThenEach => "ed25519-dalek, batch, then each",
            Self::DalekStrict => "ed25519-dalek, verify_strict",
            Self::Plain => "trust, keys not prepared",
            Self::Prepared => "trust, keys prepared",
            Self::ZebraBatchThenEach => "ed25519-zebra, batch, then each",
        }
    }

    pub(super) const fn whose(self) -> Whose {
        match self {
            Self::Plain | Self::Prepared => Whose::Ours,
            _ => Whose::Peers,
        }
    }
}

impl Batch {
    /// Nobody prepares more keys than this for one batch.
    pub(super) const PREPARED_MAX: usize = 16;

    /// `signed` items under `keys` new keys.
    pub(super) fn new(
        vault: &mut Vault,
        algorithm: Algorithm,
        keys: usize,
        signed: usize,
        input: Input,
    ) -> Result<Self> {
        let made: Vec<_> = (0..keys).map(|_| vault.key(algorithm)).collect::<Result<_>>()?;
        let mut slots: Vec<Option<Signed>> = (0..signed).map(|_| None).collect();
        for (place, key) in made.iter().enumerate() {
            let numbers: Vec<usize> = (place..signed).step_by(keys.max(1)).collect();
            let inputs: Vec<Signable> = numbers.iter().map(|number| signable(algorithm, input, *number)).collect();
            let signatures = vault.sign(key, &inputs)?;
            for ((number, input), signature) in numbers.into_iter().zip(inputs).zip(signatures) {
                let dalek = Signature::from_slice(&signature).ok();
                let slot = slots.get_mut(number).context("no such item")?;
                *slot = Some(Signed { key: place, input, signature, dalek, is_good: true });
            }
        }
        let items = slots.into_iter().collect::<Option<Vec<_>>>().context("an item without a signature")?;
        let keys = made.into_iter().map(|key| known(key.public, keys)).collect();
        Ok(Self { keys, items })
    }

    /// The same with some messages changed after they were signed.
    pub(super) fn spoiled(mut self, bad: Bad) -> Self {
        let every = bad.every();
        for (number, item) in self.items.iter_mut().enumerate() {
            if every != 0 && number % every == every / 2 {
                item.input = changed(&item.input);
                item.is_good = false;
            }
        }
        self
    }

    /// Whether both look up the same tables: where one lies in memory costs more than what a bad item may.
    #[cfg(test)]
    pub(super) fn shares_tables(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.keys, &other.keys)
    }

    #[cfg(test)]
    pub(super) fn bad_items(&self) -> usize {
        self.items.iter().filter(|signed| !signed.is_good).count()
    }

    /// Verifies `count` items, over and over the same where there are fewer, and fails where a verdict is wrong. What is ours
    /// takes that path.
    pub(super) fn verify(&self, way: Way, path: Path, count: usize) -> Result<u64> {
        match way {
            Way::DalekBatchThenEach => self.batch_then_each(count, |items| self.dalek_batch(items))?,
            Way::DalekStrict => self.each(count)?,
            Way::Plain | Way::Prepared => self.ours(way, path, count)?,
            Way::ZebraBatchThenEach => self.batch_then_each(count, |items| self.zebra_batch(items))?,
        }
        Ok(u64::try_from(count)?)
    }

    fn ours(&self, way: Way, path: Path, count: usize) -> Result<()> {
        let mut items = Vec::with_capacity(count);
        for signed in self.items.iter().cycle().take(count) {
            let known = self.keys.get(signed.key).context("no key")?;
            let key = match (way, &known.table) {
                (Way::Prepared, Some(table)) => Key::Known(table),
                _ => Key::Plain(&known.public),
            };
            items.push(Item { key, input: batch::Input::from(&signed.input), signature: &signed.signature });
        }
        let verdicts = chunk_on(path, &items);
        let mut pairs = verdicts.iter().zip(self.items.iter().cycle());
        ensure!(pairs.all(|(verdict, signed)| verdict.is_ok() == signed.is_good), "a verdict is wrong");
        Ok(())
    }

    fn each(&self, count: usize) -> Result<()> {
        for signed in self.items.iter().cycle().take(count) {
            let (key, message, signature) = self.of_dalek(signed)?;
            ensure!(key.verify_strict(message, signature).is_ok() == signed.is_good, "a verdict is wrong");
        }
        Ok(())
    }

    /// As those do it who need a verdict for each.
    fn batch_then_each(&self, count: usize, batch: impl Fn(&[&Signed]) -> Result<bool>) -> Result<()> {
        let items: Vec<&Signed> = self.items.iter().cycle().take(count).collect();
        if batch(&items)? {
            ensure!(items.iter().all(|signed| signed.is_good), "a bad item counts as good");
            return Ok(());
        }
        self.each(count)
    }

    fn dalek_batch(&self, items: &[&Signed]) -> Result<bool> {
        let (mut messages, mut signatures, mut keys) = (Vec::new(), Vec::new(), Vec::new());
        for signed in items {
            let (key, message, signature) = self.of_dalek(signed)?;
            messages.push(message);
            signatures.push(*signature);
            keys.push(*key);
        }
        Ok(ed25519_dalek::verify_batch(&messages, &signatures, &keys).is_ok())
    }

    fn zebra_batch(&self, items: &[&Signed]) -> Result<bool> {
        let mut all = Vec::with_capacity(items.len());
        for signed in items {
            let (key, message, signature) = self.of_dalek(signed)?;
            all.push((key.to_bytes(), *signature, message));
        }
        zebra::verify_batch(all.into_iter())
    }

    fn of_dalek<'a>(&'a self, signed: &'a Signed) -> Result<(&'a VerifyingKey, &'a [u8], &'a Signature)> {
        let key = self.keys.get(signed.key).and_then(|known| known.dalek.as_ref()).context("no key of Ed25519")?;
        let Signable::Message(message) = &signed.input else { anyhow::bail!("Ed25519 signs messages") };
        Ok((key, message, signed.dalek.as_ref().context("no signature of Ed25519")?))
    }
}

fn known(public: PublicKey, keys: usize) -> Known {
    let table = if keys <= Batch::PREPARED_MAX { Table::new(&public) } else { None };
    // An Ed25519 key ends its SubjectPublicKeyInfo (RFC 8410 §4).
    let dalek = (public.algorithm() == Algorithm::Ed25519)
        .then(|| public.spki_der().last_chunk::<32>().and_then(|bytes| VerifyingKey::from_bytes(bytes).ok()))
        .flatten();
    Known { public, table, dalek }
}

fn signable(algorithm: Algorithm, input: Input, number: usize) -> Signable {
    let digest = Sha256Digest::of(&number.to_be_bytes());
    let message = match input {
        Input::Digest => digest.as_bytes().to_vec(),
        Input::Cosign => format!(
            r#"{{"critical":{{"identity":{{"docker-reference":"registry.bench.example/app"}},"image":{{"docker-manifest-digest":"sha256:{}"}},"type":"cosign container image signature"}},"optional":null}}"#,
            digest.to_hex()
        )
        .into_bytes(),
    };
    match (input, algorithm.prehash()) {
        (Input::Digest, Some(function)) => Signable::Digest(Digest::of(function, &message)),
        _ => Signable::Message(message),
    }
}

/// Another message of the same length.
fn changed(input: &Signable) -> Signable {
    match input {
        Signable::Digest(digest) => Signable::Digest(Digest::of(digest.function(), digest.as_bytes())),
        Signable::Message(message) => {
            let mut message = message.clone();
            if let Some(byte) = message.last_mut() {
                *byte ^= 1;
            }
            Signable::Message(message)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_way_tells_the_bad_items_and_a_wrong_verdict_is_a_fault() {
        let directory = tempfile::tempdir().unwrap();
        let mut vault = Vault::new(directory.path()).unwrap();
        let ways = [Way::Plain, Way::Prepared, Way::DalekStrict].into_iter().chain(Way::batch_then_each());
        for way in ways {
            for bad in [Bad::None, Bad::OneInThousand, Bad::Half] {
                let mut batch = Batch::new(&mut vault, Algorithm::Ed25519, 3, 600, Input::Digest).unwrap().spoiled(bad);

                for path in Path::ALL {
                    assert_eq!(batch.verify(way, path, 700).unwrap(), 700, "{way:?} {bad:?} {path:?}");
                }

                batch.items[7].is_good = !batch.items[7].is_good;
                assert!(batch.verify(way, Path::best(), 700).is_err(), "{way:?} {bad:?}");
            }
        }
    }

    #[test]
    fn what_cosign_signs_verifies_under_a_hashing_algorithm() {
        let directory = tempfile::tempdir().unwrap();
        let mut vault = Vault::new(directory.path()).unwrap();

        let batch = Batch::new(&mut vault, Algorithm::EcdsaP256Sha256, 2, 10, Input::Cosign).unwrap();

        assert_eq!(batch.verify(Way::Plain, Path::best(), 25).unwrap(), 25);
    }
}
