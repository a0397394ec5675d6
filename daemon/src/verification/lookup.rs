//! The keys of a batch, looked up: what each item is verified under, and what its caller may know of it.

use std::collections::HashMap;

use trust::{Algorithm, Fault, MlDsa65Key, Principal, Trust};

use super::Refusal;
use super::batch::{Batch, BatchKey, VerificationKey};
use crate::authorize::Action;
use crate::house::House;
use crate::keys::{KeySelector, Sight};
use crate::records::KeyView;

/// A key of a batch, looked up.
#[derive(Debug, Clone)]
pub(super) struct Found {
    /// Or why none of its signatures counts.
    pub(super) key: Result<VerificationKey, Refusal>,
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
        let mut places: HashMap<&KeySelector, usize> = HashMap::new();
        let mut found: Vec<Found> = Vec::with_capacity(keys.len());
        for key in keys {
            let next = match key {
                BatchKey::Given(key) => {
                    Found { signature_bytes: key.signature_bytes(), key: Ok(key.clone()), is_veiled: false }
                }
                BatchKey::Kept(selector) => match places.get(selector).and_then(|place| found.get(*place)) {
                    Some(same) => same.clone(),
                    None => {
                        if places.len() % KEYS_BETWEEN_TURNS == KEYS_BETWEEN_TURNS - 1 {
                            tokio::task::yield_now().await;
                        }
                        places.insert(selector, found.len());
                        self.look_up_kept(principal, selector).await?
                    }
                },
            };
            found.push(next);
        }
        Ok(found)
    }

    async fn look_up_kept(&self, principal: &Principal, selector: &KeySelector) -> Result<Found, Fault> {
        match self.sight(principal, selector, Action::Verify).await? {
            Sight::Open(view) => newest(&view),
            Sight::Veiled(Some(view)) => Ok(Found { is_veiled: true, ..newest(&view)? }),
            Sight::Veiled(None) => Ok(Found { key: Err(Refusal::Veiled), signature_bytes: None, is_veiled: true }),
        }
    }
}

/// The newest public key of a kept key, or why none of its signatures counts.
fn newest(view: &KeyView) -> Result<Found, Fault> {
    let key = if view.state.trust == Trust::Trusted {
        let version = view.newest().ok_or_else(|| Fault::internal("a key without a version"))?;
        Ok(VerificationKey::Signs(version.public_key.clone()))
    } else {
        Err(Refusal::Distrusted)
    };
    Ok(Found { key, signature_bytes: view.record.algorithm.signature_bytes(), is_veiled: false })
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
