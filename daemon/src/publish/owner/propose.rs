//! What one caller signs in part: it is kept for others, who sign the same bytes, and published by the last of them
//! (decision 20).
//!
//! The versions of its files were reserved before anything was signed, as ever; root's was not. At most one proposal waits
//! in a repository, and not for ever.

use trust::format::tuf::plan::Unsigned;
use trust::format::tuf::{Document, Repository, RoleName};
use trust::{Fault, FaultKind, Sha256Digest};

use super::Changed;
use super::pending::{Pending, over};
use crate::publish::authorize::Warrant;
use crate::publish::shelf::Generation;
use crate::publish::sign::ServerKey;
use crate::publish::{Asked, PublishError, Publisher};
use crate::records::{Head, Proposal, ProposalSigner, ProposedFile};

/// How long a proposal waits: a week.
const WAITS_SECONDS: u64 = 7 * 24 * 60 * 60;
/// The most files of one; a head names them all.
const FILES_MAX: usize = 16;
/// The most people who sign one; a head names them, too.
pub(super) const SIGNERS_MAX: usize = 64;

/// What was begun, and who signs it now.
pub(super) struct Begun {
    pub(super) operation: &'static str,
    pub(super) targets: Vec<String>,
    pub(super) files: Vec<(Unsigned, Vec<ServerKey>)>,
}

impl Publisher<'_> {
    /// Refuses another proposal while one can still be signed, and one of too many files.
    pub(super) fn may_propose(self, held: &Generation, files: usize) -> Result<(), Fault> {
        let now = self.0.clock().now_unix_seconds();
        if files > FILES_MAX {
            let words = format!("what waits for others' signatures has at most {FILES_MAX} roles");
            return Err(Fault::new(FaultKind::Refused, words));
        }
        let waiting = held.head.proposal.as_deref();
        let waiting = waiting.filter(|proposal| over(proposal, &held.repository, now).is_none());
        let Some(proposal) = waiting else { return Ok(()) };
        let roles: Vec<&str> = proposal.files.iter().map(|proposed| proposed.role.as_str()).collect();
        let words = format!(
            "others have to sign this, too, and a proposal of {} for {} waits for them already: approve or withdraw it \
             first",
            proposal.begun_by,
            roles.join(", ")
        );
        Err(Fault::new(FaultKind::Refused, words))
    }

    /// Signs the files as far as the caller can, and keeps them for the others.
    pub(super) async fn propose(
        self,
        asked: &Asked,
        warrant: &Warrant,
        (head, held): (&Head, &Repository),
        begun: Begun,
        mut changed: Changed,
    ) -> Result<Changed, Fault> {
        let now = self.0.clock().now_unix_seconds();
        let Begun { operation, targets, files } = begun;
        let mut signed = Vec::with_capacity(files.len());
        for (file, keys) in &files {
            signed.push(self.signed_in_part(asked, warrant, (file, keys), &mut changed).await?);
        }
        let proposal = Proposal {
            begun_by: asked.who.to_string(),
            begun_at_unix_seconds: now,
            ends_at_unix_seconds: now.saturating_add(WAITS_SECONDS),
            operation: operation.to_owned(),
            targets,
            files: Vec::new(),
            signers: vec![ProposalSigner {
                who: asked.who.clone(),
                is_approval: false,
                is_brought: false,
                keys: signing(&files),
            }],
        };
        self.keep_signed(asked, (head, held), proposal, signed, changed).await
    }

    /// Has a file signed by some of its keys; `changed` notes it.
    pub(super) async fn signed_in_part(
        self,
        asked: &Asked,
        warrant: &Warrant,
        (file, keys): (&Unsigned, &[ServerKey]),
        changed: &mut Changed,
    ) -> Result<Unsigned, PublishError> {
        let (signed, leaves) = self.signed_further(asked, warrant, file, keys).await?;
        changed.leaves.extend(leaves);
        changed.files.push((signed.document().role().clone(), signed.document().version()));
        Ok(signed)
    }

    /// Keeps files as they are signed so far, in a head that names them; `changed` says what is missing.
    pub(super) async fn keep_signed(
        self,
        asked: &Asked,
        (head, held): (&Head, &Repository),
        mut proposal: Proposal,
        signed: Vec<Unsigned>,
        mut changed: Changed,
    ) -> Result<Changed, Fault> {
        let records = self.0.records();
        proposal.files.clear();
        for document in signed.iter().map(Unsigned::document) {
            let file = records.keep_proposed(&asked.gun, head.life, document).await.map_err(PublishError::from)?;
            proposal.files.push(ProposedFile {
                role: document.role().clone(),
                file,
                digest: Sha256Digest::of(document.signed_bytes()),
                base: held.file(document.role()).map(Document::sha256),
            });
        }
        let next = Head { proposal: Some(Box::new(proposal.clone())), ..head.clone() };
        let kept = records.publish(&asked.gun, next, &[], None, self.0.anchor()).await;
        kept.map_err(PublishError::from)?;
        let pending = Pending::new(proposal, held, signed);
        changed.proposal = Some(self.shown_pending(&asked.who, &asked.gun, held, &pending)?);
        Ok(changed)
    }
}

/// The bare keys that sign these files, each with the role of its file.
pub(super) fn signing(files: &[(Unsigned, Vec<ServerKey>)]) -> Vec<(RoleName, Sha256Digest)> {
    let of_file = |(file, keys): &(Unsigned, Vec<ServerKey>)| {
        let role = file.document().role();
        keys.iter().map(|key| (role.clone(), key.key.canonical_id())).collect::<Vec<_>>()
    };
    files.iter().flat_map(of_file).collect()
}
