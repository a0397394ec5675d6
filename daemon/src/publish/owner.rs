//! What the daemon does for the owner of a repository whose keys it holds: it begins the trust data, signs things in it,
//! takes that back, lets others sign, and puts other keys in the place of old ones.
//!
//! Root, targets and delegations are planned here, signed by the stages of every signature, and then published as if
//! they had been sent: the rules of an upload hold for them, too. Versions of targets are reserved before they are
//! signed, like those of the daemon's own files. Root's are not, for a gap there is an attack; what was signed and not
//! published is in the log (decision 18). Where a role needs keys that no one caller may use, what is signed waits for
//! the others in the head (decision 20).
//!
//! Deliberately not here: what lies in a registry. Whoever asks shows the manifest (the door).

mod adopt;
mod approve;
mod begin;
mod bring;
mod change;
mod delegate;
mod difference;
mod draft;
mod earlier;
mod keys;
mod pending;
mod propose;
mod rotate;
mod show;
mod undelegate;
mod withdraw;
mod witness;

use std::sync::Arc;

use tracing::Instrument as _;
use trust::format::tuf::plan::Unsigned;
use trust::format::tuf::{Document, Part, RoleName, Version};
use trust::{Fault, FaultKind, KeyId};

pub(crate) use self::adopt::Adoption;
pub(crate) use self::begin::Beginning;
pub(crate) use self::bring::Brought;
pub(crate) use self::change::Wish;
pub(crate) use self::delegate::{DelegateName, Delegating};
pub(crate) use self::pending::{ShownProposal, ShownProposed, ShownQuorum};
pub(crate) use self::rotate::Rotation;
pub(crate) use self::show::{Shown, ShownKey, ShownRole, ShownTarget};
use super::authorize::Warrant;
use super::room::nameable;
use super::sign::ServerKey;
use super::{Asked, PublishError, Publisher};
use crate::house::House;
use crate::records::Head;

/// What was published for an owner.
#[derive(Debug, Clone, Default)]
pub(crate) struct Changed {
    /// The owner's files, each with its version.
    pub(crate) files: Vec<(RoleName, Version)>,
    /// The intents of their signatures in the log.
    pub(crate) leaves: Vec<u64>,
    /// Keys that came into roles.
    pub(crate) keys: Vec<ShownKey>,
    /// Roles whose files count no more until somebody who may signs them anew.
    pub(crate) lapsed: Vec<RoleName>,
    /// Of what was taken over: the keys of its snapshot, where the daemon holds too few of them to sign it.
    pub(crate) snapshot_keys: Vec<ShownKey>,
    /// Where nothing of it is published yet: what waits for others to sign.
    pub(crate) proposal: Option<ShownProposal>,
}

impl Publisher<'_> {
    /// Has an owner's file signed by its keys; `changed` notes it.
    async fn signed_for_owner(
        self,
        asked: &Asked,
        warrant: &Warrant,
        file: &Unsigned,
        keys: &[ServerKey],
        changed: &mut Changed,
    ) -> Result<Document, PublishError> {
        let (signed, leaves) = self.signed(asked, warrant, file, keys).await?;
        changed.leaves.extend(leaves);
        changed.files.push((signed.role().clone(), signed.version()));
        Ok(signed)
    }

    /// Notes, durably, which versions of targets are about to be signed, and by which keys.
    ///
    /// Not root's: a reservation that comes to nothing is burned, and the next root would have to leap over it, which clients
    /// and the rules of an upload refuse. That repository could never change its keys again. No version of root comes twice with
    /// other bytes to anybody who reads, even so. What is signed is read only once it is put in place; that is one write,
    /// durable before the first reader sees it; and the row of a version is made once, so no other root gets into it. A crash
    /// before that write leaves an intent in the log, and a root that nobody has.
    async fn reserve_for_owner(
        self,
        asked: &Asked,
        head: &Head,
        files: impl Iterator<Item = &Unsigned>,
        keys: impl Iterator<Item = KeyId>,
    ) -> Result<Head, PublishError> {
        let mut reserved = head.clone();
        for file in files.map(Unsigned::document).filter(|file| *file.role() != RoleName::Root) {
            reserved.raise(file.role(), file.version());
        }
        if reserved.marks.len() > head.marks.len() {
            nameable(reserved.marks.keys())?;
        }
        reserved.signers.extend(keys);
        Ok(self.0.records().publish(&asked.gun, reserved, &[], None, self.0.anchor()).await?)
    }
}

impl Publisher<'_> {
    /// Whether clients could read what begins here. Without a Notary listener it is for others to serve.
    fn is_served(self, asked: &Asked) -> Result<(), Fault> {
        let listener = self.0.config().notary.as_ref();
        if listener.is_none_or(|listener| listener.serves(&asked.gun)) {
            return Ok(());
        }
        let why = format!(
            "nobody could read trust data of {}: gun_prefixes of [notary] has no beginning of that name",
            asked.gun
        );
        Err(Fault::new(FaultKind::Refused, why))
    }

    /// Does an owner's work to its end, though the caller may hang up.
    async fn for_owner<F>(self, asked: Asked, work: impl FnOnce(Arc<House>, Asked) -> F) -> Result<Changed, Fault>
    where
        F: Future<Output = Result<Changed, Fault>> + Send + 'static,
    {
        let work = work(Arc::clone(self.0), asked);
        let ended = self.0.detached(work.in_current_span()).await?;
        self.0.metrics().published(end_of(&ended));
        ended
    }
}

/// The word for how it ended in metrics, as of a publication that was sent.
fn end_of(ended: &Result<Changed, Fault>) -> &'static str {
    match ended.as_ref().map_err(Fault::kind) {
        Ok(Changed { proposal: Some(_), .. }) => "proposed",
        Ok(_) => "published",
        Err(FaultKind::Conflict) => "outdated",
        Err(FaultKind::Forbidden | FaultKind::Unauthenticated) => "denied",
        Err(FaultKind::Malformed | FaultKind::Refused | FaultKind::Taken) => "refused",
        Err(FaultKind::Missing) => "not-found",
        Err(FaultKind::Late | FaultKind::Unavailable) => "unavailable",
        Err(FaultKind::Busy) => "busy",
        Err(FaultKind::Internal) => "internal",
    }
}

/// Signed files as an upload would bring them.
fn parts(files: &[Document]) -> Result<Vec<Part>, PublishError> {
    let parts = files.iter().map(|file| Part::read(file.role(), file.raw()).map_err(Fault::internal));
    Ok(parts.collect::<Result<_, _>>()?)
}
