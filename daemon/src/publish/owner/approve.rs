//! A proposal signed further, and published with the last signature that it needs.
//!
//! Whoever approves says by its digest which one was looked at. What is signed are the bytes that are kept; nobody plans
//! them anew.

use std::time::Duration;

use trust::format::tuf::plan::Unsigned;
use trust::format::tuf::{Document, Gun, Repository, RoleName};
use trust::{Fault, FaultKind, Principal, Sha256Digest};

use super::bring::Brought;
use super::pending::{Pending, Standing};
use super::propose::{SIGNERS_MAX, signing};
use super::withdraw::Going;
use super::{Changed, parts};
use crate::authorize::Grounds;
use crate::publish::authorize::{OwnerWork, Warrant};
use crate::publish::shelf::{Generation, Turn};
use crate::publish::{Asked, PublishError, Publisher};
use crate::records::{Head, Proposal, ProposalSigner};

impl Publisher<'_> {
    /// Signs a proposal with those keys that the caller may use and that it still needs, or takes the signatures that are
    /// brought, and publishes it with the last.
    ///
    /// # Errors
    /// [`Fault`] of kind missing where none waits, conflict where it is another one or cannot be signed any more, refused
    /// where the caller's keys have signed it, or the policy in force does not allow what others have signed; else what
    /// the stages say. Then it stays as it was, but for one that cannot be signed any more, which is taken away.
    pub(crate) async fn approve(
        self,
        who: &Principal,
        gun: &Gun,
        (digest, brought): (Sha256Digest, Vec<Brought>),
        deadline: Duration,
    ) -> Result<Changed, Fault> {
        let asked = Asked::by(who, gun, deadline);
        let work = move |house, asked| async move { Publisher(&house).approve_now(&asked, digest, &brought).await };
        self.for_owner(asked, work).await
    }

    async fn approve_now(self, asked: &Asked, digest: Sha256Digest, brought: &[Brought]) -> Result<Changed, Fault> {
        let (turn, grounds) = self.turn_at_proposal(asked).await?;
        let held = self.generation(&asked.gun).await?;
        let proposal = waiting(&held, digest)?;
        let pending = match self.standing(&asked.gun, &held, proposal).await? {
            Standing::Open(pending) => pending,
            Standing::Over(why) => {
                self.remove_proposal(asked, grounds, (&held.head, proposal), Going::Discarded).await?;
                return Err(Fault::new(FaultKind::Conflict, format!("the proposal cannot be signed any more: {why}")));
            }
        };
        if pending.proposal.signers.len() >= SIGNERS_MAX {
            let words = format!("what waits for others' signatures has at most {SIGNERS_MAX} people to sign it");
            return Err(Fault::new(FaultKind::Refused, words));
        }
        if brought.is_empty() {
            self.sign_pending(&turn, asked, &held, pending).await
        } else {
            self.take_brought(&turn, asked, &held, (pending, brought)).await
        }
    }

    /// Signs it with the daemon's keys.
    async fn sign_pending(
        self,
        turn: &Turn,
        asked: &Asked,
        held: &Generation,
        pending: Pending,
    ) -> Result<Changed, Fault> {
        let work = self.approval_of(asked, &held.repository, &pending)?;
        if !self.could_approve(asked, &work, &pending)? {
            return Err(self.no_key_for(asked).into());
        }
        let mut work = work.behind(self.earlier(&asked.gun, &held.repository, &pending)?);
        let mut head = held.head.clone();
        let Pending { mut proposal, files, .. } = pending;
        let mut further = Vec::with_capacity(files.len());
        for file in files {
            let signers = self.further_signers(asked, &work, &file)?;
            head.signers.extend(signers.iter().map(|key| key.view.record.id));
            work = signers.iter().fold(work, |work, key| work.using(&key.view, file.document().role()));
            further.push((file, signers));
        }
        let keys = signing(&further);
        if keys.is_empty() && further.iter().any(|(file, _)| file.signed(&[]).is_err()) {
            let words = "every key that you may use has signed it: it takes somebody else's";
            return Err(Fault::new(FaultKind::Refused, words));
        }
        let who = asked.who.clone();
        proposal.signers.push(ProposalSigner { who, is_approval: true, is_brought: false, keys });
        let warrant = Warrant::Owner(work);
        warrant.grounds(self.0)?;
        let (mut changed, mut signed) = (Changed::default(), Vec::with_capacity(further.len()));
        for (file, keys) in &further {
            signed.push(self.signed_in_part(asked, &warrant, (file, keys), &mut changed).await?);
        }
        match whole(&signed) {
            Some(files) => self.complete(turn, asked, &warrant, (&head, held), &files).await.map(|()| changed),
            None => self.keep_signed(asked, (&head, &held.repository), proposal, signed, changed).await,
        }
    }

    /// Whoever may publish nothing here does not learn what waits.
    pub(super) async fn turn_at_proposal(self, asked: &Asked) -> Result<(Turn, Grounds), PublishError> {
        let is_new = !self.is_alive(&asked.gun)?;
        let grounds = self.may_publish(&asked.who, &asked.gun, &RoleName::Timestamp, is_new)?;
        Ok((self.turn(asked).await?, grounds))
    }

    pub(super) fn could_approve(
        self,
        asked: &Asked,
        work: &OwnerWork,
        pending: &Pending,
    ) -> Result<bool, PublishError> {
        for file in &pending.files {
            if self.could_sign_some(asked, work, file)? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Publishes what has all its signatures, as if it had been sent. The head loses the proposal in the same write.
    pub(super) async fn complete(
        self,
        turn: &Turn,
        asked: &Asked,
        warrant: &Warrant,
        (head, held): (&Head, &Generation),
        files: &[Document],
    ) -> Result<(), Fault> {
        // As it was before the versions of these files were reserved: else they would be taken for used.
        let is_proposed = |role: &RoleName| files.iter().any(|file| file.role() == role);
        let marks = head.marks.iter().filter(|(role, _)| !is_proposed(role));
        let before = Repository::of(held.repository.files().values().cloned()).with_marks(marks);
        self.take_in_turn(turn, asked, warrant, (head, &before), parts(files)?).await?;
        Ok(())
    }
}

/// The proposal that waits, if it is this one.
pub(super) fn waiting(held: &Generation, digest: Sha256Digest) -> Result<&Proposal, Fault> {
    let none = || Fault::new(FaultKind::Missing, "nothing waits for signatures");
    let proposal = held.head.proposal.as_deref().ok_or_else(none)?;
    if proposal.digest() == digest {
        return Ok(proposal);
    }
    Err(Fault::new(FaultKind::Conflict, "another proposal waits than the one that you name: look at it first"))
}

/// The files, where each has all its signatures.
pub(super) fn whole(files: &[Unsigned]) -> Option<Vec<Document>> {
    files.iter().map(|file| file.signed(&[]).ok()).collect()
}
