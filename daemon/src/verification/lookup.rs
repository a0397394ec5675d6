//! The keys of a batch, looked up: what each item is verified under, and what its caller may know of it.

use std::collections::HashMap;

use trust::{Algorithm, Fault, FaultKind, KeyId, KeyVersion, MlDsa65Key, Principal, Trust};

use super::Refusal;
use super::batch::{Batch, BatchKey, VerificationKey};
use crate::authorize::Action;
use crate::house::House;
use crate::keys::{KeySelector, Sight};
use crate::records::{KeyView, RecordError, record_fault};

/// A key of a batch, looked up.
#[derive(Debug, Clone)]
pub(super) struct Found {
    /// Or why none of its signatures counts.
    pub(super) key: Result<VerificationKey, Refusal>,
    /// The key that it is of, where it is one of ours.
    pub(super) id: Option<KeyId>,
    /// The length of its signatures; `None` where lengths differ, or where there is no key.
    pub(super) signature_bytes: Option<usize>,
    /// Whether its caller may not get it, and so must not learn whether there is one.
    pub(super) is_veiled: bool,
}

impl Found {
    /// What the caller may know of the length of its signatures, where it sent such of `length` bytes: of a veiled one any
    /// length that some algorithm makes is the right one.
    pub(super) fn signature_bytes(&self, length: usize) -> Option<usize> {
        if !self.is_veiled {
            return self.signature_bytes;
        }
        let mut lengths = Algorithm::ALL.into_iter().map(Algorithm::signature_bytes);
        let is_one = length == MlDsa65Key::SIGNATURE_BYTES || lengths.any(|bytes| bytes == Some(length));
        is_one.then_some(length)
    }
}

/// Keys that are looked up before other requests on the same thread have a turn; each asks the policy once or twice.
const KEYS_BETWEEN_TURNS: usize = 16;

impl House {
    /// Looks up the keys of a batch, in their order; one that is named more than once is looked up once.
    pub(super) async fn look_up(&self, principal: &Principal, keys: &[BatchKey]) -> Result<Vec<Found>, Fault> {
        let mut kept: HashMap<&KeySelector, Kept> = HashMap::new();
        let mut found = Vec::with_capacity(keys.len());
        for key in keys {
            found.push(match key {
                BatchKey::Given(key) => {
                    let signature_bytes = key.signature_bytes();
                    Found { key: Ok(key.clone()), id: None, signature_bytes, is_veiled: false }
                }
                BatchKey::Kept(selector, version) => match kept.get(selector) {
                    Some(same) => same.version(*version)?,
                    None => {
                        if kept.len() % KEYS_BETWEEN_TURNS == KEYS_BETWEEN_TURNS - 1 {
                            tokio::task::yield_now().await;
                        }
                        let (view, is_veiled) = match self.sight(principal, selector, Action::Verify).await? {
                            Sight::Open(view) => (Some(view), false),
                            Sight::Veiled(view) => (view, true),
                        };
                        kept.entry(selector).or_insert(Kept { view, is_veiled }).version(*version)?
                    }
                },
            });
        }
        Ok(found)
    }

    /// Refuses the items under keys that were distrusted since they were looked up: a batch may be at work for long, most of
    /// it in wait for the cores, and no item counts in an answer that comes after the distrust.
    pub(super) fn recheck(
        &self,
        verdicts: Vec<Option<Refusal>>,
        batch: &Batch,
        keys: &[Found],
    ) -> Result<Vec<Option<Refusal>>, Fault> {
        let is_distrusted = |found: &Found| match found.id.map(|id| self.records().state_now(id)) {
            None => Ok(false),
            Some(Ok(state)) => Ok(state.trust != Trust::Trusted),
            Some(Err(RecordError::Missing)) => Ok(true),
            Some(Err(error)) => Err(record_fault(error)),
        };
        let distrusted = keys.iter().map(is_distrusted).collect::<Result<Vec<bool>, Fault>>()?;
        Ok(distrust(verdicts, batch, &distrusted))
    }
}

/// A kept key, as the caller may see it.
struct Kept {
    /// `None`: it is not there, and the caller must not learn that.
    view: Option<KeyView>,
    is_veiled: bool,
}

impl Kept {
    /// A version of it, `None` for the newest; or why none of its signatures counts.
    fn version(&self, version: Option<KeyVersion>) -> Result<Found, Fault> {
        let is_veiled = self.is_veiled;
        let Some(view) = &self.view else {
            return Ok(Found { key: Err(Refusal::Veiled), id: None, signature_bytes: None, is_veiled });
        };
        let of_version = match version {
            Some(wanted) => view.versions.iter().find(|version| version.key.version == wanted),
            None => view.newest(),
        };
        let key = match of_version {
            _ if view.state.trust != Trust::Trusted => Err(Refusal::Distrusted),
            Some(version) => Ok(VerificationKey::Signs(version.public_key.clone())),
            None if is_veiled => Err(Refusal::Veiled),
            None => return Err(Fault::new(FaultKind::Missing, "no such version of the key")),
        };
        let signature_bytes = view.record.algorithm.signature_bytes();
        Ok(Found { key, id: Some(view.record.id), signature_bytes, is_veiled })
    }
}

/// Refuses the items under keys that are distrusted, by their index.
pub(super) fn distrust(mut verdicts: Vec<Option<Refusal>>, batch: &Batch, distrusted: &[bool]) -> Vec<Option<Refusal>> {
    if distrusted.contains(&true) {
        for (item, verdict) in verdicts.iter_mut().enumerate() {
            if distrusted.get(batch.key_of(item)) == Some(&true) {
                *verdict = Some(Refusal::Distrusted);
            }
        }
    }
    verdicts
}

/// Takes the reasons away from items under keys that the caller may not get.
pub(super) fn veil(mut verdicts: Vec<Option<Refusal>>, batch: &Batch, keys: &[Found]) -> Vec<Option<Refusal>> {
    for (item, verdict) in verdicts.iter_mut().enumerate() {
        if verdict.is_some() && keys.get(batch.key_of(item)).is_none_or(|key| key.is_veiled) {
            *verdict = Some(Refusal::Veiled);
        }
    }
    verdicts
}
