//! What a notary-server elsewhere asks of its signer (SPEC §1): keys for a role of one of its repositories, and
//! signatures of that role's metadata.
//!
//! The daemon does not see such a repository and cannot tell what comes next in it. It signs what reads as metadata of
//! the role that the key was made for, and only as long as it does not publish the repository itself: two could then
//! each say what is current.

use std::sync::Arc;
use std::time::Duration;

use tracing::Instrument as _;
use trust::format::tuf::publish::Refusal;
use trust::format::tuf::{Document, Gun, Key, RoleName};
use trust::{Algorithm, KeyId, Principal, Sha256Digest, Signature, Use};

use super::authorize::{Elsewhere, Warrant, may_sign_elsewhere};
use super::keys::Wanted;
use super::sign::{Said, ServerKey};
use super::{Asked, Asker, PublishError, Publisher, purpose_of};
use crate::house::House;

/// A key, and what it is for.
#[derive(Debug, Clone)]
pub(crate) struct SignerKey {
    /// The key record.
    pub(crate) record: KeyId,
    /// Its public half as metadata has it.
    pub(crate) key: Key,
    /// The role that it was made for.
    pub(crate) role: RoleName,
    /// Whether it will never sign again.
    pub(crate) has_ended: bool,
}

impl SignerKey {
    fn of(held: ServerKey, role: RoleName) -> Self {
        let record = held.view.record.id;
        let has_ended = matches!(held.view.state.use_, Use::Retired | Use::DestroyScheduled { .. } | Use::Destroyed);
        Self { record, key: held.key, role, has_ended }
    }
}

impl Publisher<'_> {
    /// A key of this algorithm for a role, of those that never signed, or a new one.
    ///
    /// # Errors
    /// [`PublishError::NotFound`] for a role whose keys are its owner's; else [`PublishError`].
    pub(crate) async fn signer_key(
        self,
        who: &Principal,
        gun: &Gun,
        role: &RoleName,
        algorithm: Algorithm,
        deadline: Duration,
    ) -> Result<Key, PublishError> {
        let purpose = purpose_of(role).ok_or(PublishError::NotFound)?;
        may_sign_elsewhere(self.0, who, gun, role, None)?;
        let asked = Asked::of(Asker::named(who), gun, deadline);
        self.key_for(&asked, (role, purpose), Wanted::Another(algorithm)).await
    }

    /// The key that metadata knows by this id.
    ///
    /// # Errors
    /// [`PublishError::NotFound`] when there is none, or the caller may not know of it; else [`PublishError`].
    pub(crate) fn signer_key_info(self, who: &Principal, id: Sha256Digest) -> Result<SignerKey, PublishError> {
        let (held, _, role) = self.held_elsewhere(who, id)?;
        Ok(SignerKey::of(held, role))
    }

    /// Signs the canonical form of the metadata of the key's own role.
    ///
    /// # Errors
    /// As [`Publisher::signer_key_info`]; [`PublishError::Refused`] for what reads as no metadata of the role.
    pub(crate) async fn sign_elsewhere(
        self,
        who: &Principal,
        id: Sha256Digest,
        content: &[u8],
        deadline: Duration,
    ) -> Result<(SignerKey, Signature), PublishError> {
        let (held, gun, role) = self.held_elsewhere(who, id)?;
        let file = Document::read_content(&role, content).map_err(|unsound| refused(unsound.to_string()))?;
        let version = file.version().number();
        let warrant = Warrant::Elsewhere(Elsewhere { who: who.clone(), gun: gun.clone(), role: role.clone(), version });
        let asked = Asked::of(Asker::named(who), &gun, deadline);
        let house = Arc::clone(self.0);
        let key = SignerKey::of(held.clone(), role);
        let work = async move { Publisher(&house).sign_once_noted(&asked, &warrant, &file, &held).await };
        let signature = self.0.detached(work.in_current_span()).await??;
        Ok((key, signature))
    }

    /// Notes that the key signs before it does: one that ever did is given to nobody as new.
    async fn sign_once_noted(
        self,
        asked: &Asked,
        warrant: &Warrant,
        file: &Document,
        held: &ServerKey,
    ) -> Result<Signature, PublishError> {
        let house: &House = self.0;
        warrant.grounds(house)?;
        // Nobody publishes the repository here meanwhile.
        let _turn = self.turn(asked).await?;
        let mut head = house.records().head(&asked.gun).await?;
        if head.is_alive() {
            return Err(refused(format!(
                "the trust data of {} is published here, and signed for nobody else",
                asked.gun
            )));
        }
        if head.signers.insert(held.view.record.id) {
            house.records().publish(&asked.gun, head, &[], None, house.anchor()).await?;
        }
        let (signature, _) = self.signature(asked, warrant, &Said::elsewhere(&asked.gun, file), held).await?;
        Ok(signature)
    }

    /// The key, if the caller may sign with it: else nobody learns that there is one.
    fn held_elsewhere(self, who: &Principal, id: Sha256Digest) -> Result<(ServerKey, Gun, RoleName), PublishError> {
        let found = self.0.records().key_by_trust_id(id)?.and_then(|(key, view)| ServerKey::of(key, view));
        let (held, gun, role) = found.ok_or(PublishError::NotFound)?;
        may_sign_elsewhere(self.0, who, &gun, &role, None).map_err(|_| PublishError::NotFound)?;
        Ok((held, gun, role))
    }
}

const fn refused(why: String) -> PublishError {
    PublishError::Refused(Refusal::Validation(why))
}
