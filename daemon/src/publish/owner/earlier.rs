//! The signatures that a proposal has already, and what the policy in force says to them.
//!
//! Whoever signs last publishes what others have signed days before. A policy that was changed meanwhile is asked about
//! each of them once more, in the words of then; one that it would not allow now counts no more (decision 20).

use std::collections::BTreeSet;
use std::time::Duration;

use trust::format::tuf::publish::Refusal;
use trust::format::tuf::{Gun, Repository, RoleName};
use trust::{Principal, Sha256Digest};

use super::pending::Pending;
use crate::publish::authorize::OwnerWork;
use crate::publish::{Asked, PublishError, Publisher};

impl Publisher<'_> {
    /// What policy was asked about each signature that a proposal has, in the name of whoever had it made.
    ///
    /// # Errors
    /// [`PublishError::Refused`] for a signature that nobody can be asked about: who had it made is not known, or its key
    /// is gone.
    pub(super) fn earlier(
        self,
        gun: &Gun,
        held: &Repository,
        pending: &Pending,
    ) -> Result<Vec<OwnerWork>, PublishError> {
        let mut unexplained: BTreeSet<(RoleName, Sha256Digest)> = BTreeSet::new();
        for file in &pending.files {
            let role = file.document().role();
            unexplained.extend(file.signed_by().iter().flatten().map(|key| (role.clone(), *key)));
        }
        let mut all = Vec::with_capacity(pending.proposal.signers.len());
        for signer in &pending.proposal.signers {
            let asked = Asked::by(&signer.who, gun, Duration::ZERO);
            let mut work = self.signature_of(&asked, held, pending)?;
            if signer.is_approval {
                work = work.approving();
            }
            for (role, id) in &signer.keys {
                unexplained.remove(&(role.clone(), *id));
                if signer.is_brought {
                    // Of keys that are not here policy is asked nothing: they publish, as they could without the daemon.
                    continue;
                }
                let keys = self.keys_for_role(gun, role)?;
                let key = keys.iter().find(|key| key.key.canonical_id() == *id);
                let key = key.ok_or_else(|| in_vain(role, *id, Some(&signer.who)))?;
                work = work.using(&key.view, role);
            }
            all.push(work);
        }
        match unexplained.first() {
            None => Ok(all),
            Some((role, id)) => Err(in_vain(role, *id, None)),
        }
    }

    /// Why a proposal cannot be published as it is signed: whose signature counts no more. Leaves no leaf.
    pub(super) fn signed_in_vain(
        self,
        gun: &Gun,
        held: &Repository,
        pending: &Pending,
    ) -> Result<Option<String>, PublishError> {
        let earlier = match self.earlier(gun, held, pending) {
            Ok(earlier) => earlier,
            Err(PublishError::Refused(refusal)) => return Ok(Some(refusal.to_string())),
            Err(error) => return Err(error),
        };
        for work in earlier {
            if let Err(lapsed) = work.still(self.0)? {
                return Ok(Some(lapsed.words()));
            }
        }
        Ok(None)
    }
}

fn in_vain(role: &RoleName, key: Sha256Digest, who: Option<&Principal>) -> PublishError {
    let why = who.map_or_else(
        || "nobody knows who had it made".to_owned(),
        |who| format!("{who} had it made, and the key is here no more"),
    );
    let key = key.to_hex();
    Refusal::Validation(format!(
        "the signature for {role} by the key {key} counts no more: {why}; withdraw the proposal and begin again"
    ))
    .into()
}
