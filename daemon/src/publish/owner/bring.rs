//! Signatures of a proposal that were made elsewhere, by keys that the daemon does not hold.
//!
//! Whoever has such a key could publish with it by themselves, through the Notary door; so policy is asked about `publish`,
//! and nothing about the key. A signature counts when it verifies under a key that the role lists. Of a key that is here,
//! too, none is taken: the daemon uses it itself, as the policy allows and as long as the key may sign.

use std::collections::BTreeMap;

use trust::format::tuf::plan::Unsigned;
use trust::format::tuf::{Key, RoleName};
use trust::{Fault, FaultKind, Sha256Digest};

use super::Changed;
use super::approve::whole;
use super::pending::Pending;
use crate::audit::{IntentLeaf, SubjectBody};
use crate::house::{Undone, no_more};
use crate::permit::Operation;
use crate::publish::authorize::Warrant;
use crate::publish::shelf::{Generation, Turn};
use crate::publish::{Asked, Publisher};
use crate::records::ProposalSigner;

/// A signature that somebody brings.
#[derive(Debug, Clone)]
pub(crate) struct Brought {
    pub(crate) role: RoleName,
    /// The bare key.
    pub(crate) key: Sha256Digest,
    /// As the key's algorithm makes it.
    pub(crate) signature: Vec<u8>,
}

/// Taking what is brought.
struct Approval(SubjectBody);

impl Operation for Approval {
    fn describe(&self, leaf: &mut IntentLeaf) {
        leaf.operation = "approve";
        leaf.subject = Some(SubjectBody { evidence: Some("brought"), ..self.0.clone() });
    }
}

impl Publisher<'_> {
    /// Takes signatures into a proposal, and publishes it with the last that it needs.
    pub(super) async fn take_brought(
        self,
        turn: &Turn,
        asked: &Asked,
        held: &Generation,
        (pending, brought): (Pending, &[Brought]),
    ) -> Result<Changed, Fault> {
        let earlier = self.earlier(&asked.gun, &held.repository, &pending)?;
        let work = self.approval_of(asked, &held.repository, &pending)?.behind(earlier);
        let warrant = Warrant::Owner(work);
        let grounds = warrant.grounds(self.0)?;
        let Pending { mut proposal, files, .. } = pending;
        if let Some(other) = brought.iter().find(|one| proposal.files.iter().all(|file| file.role != one.role)) {
            return Err(refused(format!("the proposal has no file of {}", other.role)));
        }
        let mut changed = Changed::default();
        let mut signed = Vec::with_capacity(files.len());
        for file in &files {
            let with = self.with_brought(asked, file, brought)?;
            if with.signed_by() != file.signed_by() {
                changed.files.push((file.document().role().clone(), file.document().version()));
            }
            signed.push(with);
        }
        let approval = Approval(SubjectBody::proposal(&asked.gun, proposal.digest(), &proposal.begun_by));
        let keys = brought.iter().map(|one| (one.role.clone(), one.key)).collect();
        let who = asked.who.clone();
        proposal.signers.push(ProposalSigner { who, is_approval: true, is_brought: true, keys });
        let intent = self.open_intent(asked, approval, grounds).await?;
        changed.leaves.push(intent.leaf());
        let ended = match whole(&signed) {
            Some(files) => self.complete(turn, asked, &warrant, (&held.head, held), &files).await.map(|()| changed),
            None => self.keep_signed(asked, (&held.head, &held.repository), proposal, signed, changed).await,
        };
        let said = ended.as_ref().map_err(Undone::of);
        let (_, _flight) = self.0.close_intent(intent, said, no_more).await?;
        ended
    }

    /// A file with those of the signatures that are for it, each of which verifies.
    fn with_brought(self, asked: &Asked, file: &Unsigned, brought: &[Brought]) -> Result<Unsigned, Fault> {
        let role = file.document().role();
        let have_signed = file.signed_by();
        let held = self.keys_for_role(&asked.gun, role)?;
        let ours: Vec<&Brought> = brought.iter().filter(|one| one.role == *role).collect();
        let mut stamps = Vec::with_capacity(ours.len());
        for one in &ours {
            let key = one.key.to_hex();
            if have_signed.iter().any(|signed| signed.contains(&one.key)) {
                return Err(refused(format!("the key {key} has signed {role} already")));
            }
            if held.iter().any(|held| held.key.canonical_id() == one.key) {
                return Err(refused(format!("the daemon has the key {key} itself: approve without it")));
            }
            // One bare key may be listed in several certificates.
            let listed = file.speakers().iter().flat_map(|speakers| &speakers.keys);
            let listed: BTreeMap<Sha256Digest, &Key> =
                listed.filter(|listed| listed.canonical_id() == one.key).map(|listed| (listed.id(), listed)).collect();
            if listed.is_empty() {
                return Err(refused(format!("{role} does not list the key {key}")));
            }
            for listed in listed.values() {
                stamps.push(listed.stamp_brought(&one.signature).map_err(|_| does_not_verify(role, &key))?);
            }
        }
        let signed = file.stamped(&stamps).map_err(|unsound| refused(unsound.to_string()))?;
        let now = signed.signed_by();
        match ours.iter().find(|one| !now.iter().any(|signed| signed.contains(&one.key))) {
            Some(one) => Err(does_not_verify(role, &one.key.to_hex())),
            None => Ok(signed),
        }
    }
}

fn does_not_verify(role: &RoleName, key: &str) -> Fault {
    refused(format!("the signature for {role} does not verify under the key {key}"))
}

fn refused(words: String) -> Fault {
    Fault::new(FaultKind::Refused, words)
}
