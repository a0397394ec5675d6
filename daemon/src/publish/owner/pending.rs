//! A proposal as it stands: whether it can still be signed, what it changes, who has signed it and who is missing.

use std::collections::BTreeMap;

use trust::format::tuf::plan::Unsigned;
use trust::format::tuf::{Document, Gun, Repository, RoleName, Version};
use trust::{Fault, Principal, Sha256Digest, Trust};

use super::difference::{changing, lapsing};
use super::draft::counts;
use super::show::{ShownKey, ShownRole, ShownTarget};
use crate::publish::authorize::OwnerWork;
use crate::publish::shelf::Generation;
use crate::publish::sign::ServerKey;
use crate::publish::{Asked, PublishError, Publisher};
use crate::records::{Proposal, ProposedFile};

/// The most names that are shown of one file, those that are signed and those that are no more.
const NAMES_MAX: usize = 1000;

/// What a proposal may do, in the words of the policy.
const OPERATIONS: [&str; 5] = ["delegate", "revoke", "rotate", "sign", "witness"];

/// A proposal that can be signed, and its files.
pub(super) struct Pending {
    pub(super) proposal: Proposal,
    /// The repository with its files in it.
    repository: Repository,
    /// With the signatures that they have.
    pub(super) files: Vec<Unsigned>,
}

/// How a proposal stands.
pub(super) enum Standing {
    /// It can be signed.
    Open(Pending),
    /// It cannot be signed any more, and why.
    Over(String),
}

/// A proposal, as whoever may publish sees it.
#[derive(Debug, Clone)]
pub(crate) struct ShownProposal {
    pub(crate) digest: Sha256Digest,
    pub(crate) begun_by: String,
    pub(crate) begun_at_unix_seconds: u64,
    pub(crate) ends_at_unix_seconds: u64,
    pub(crate) operation: String,
    pub(crate) files: Vec<ShownProposed>,
    /// Roles whose files would count no more until those who may sign them anew.
    pub(crate) lapses: Vec<RoleName>,
    /// Why it cannot be signed any more, or cannot be published as it is signed.
    pub(crate) over: Option<String>,
}

/// A file of it, and what is other in it than in the one that is published.
#[derive(Debug, Clone)]
pub(crate) struct ShownProposed {
    pub(crate) role: RoleName,
    pub(crate) version: Version,
    /// Of what the signatures cover.
    pub(crate) digest: Sha256Digest,
    /// Root has two: its own, and that of the root before it.
    pub(crate) quorums: Vec<ShownQuorum>,
    pub(crate) signs: Vec<ShownTarget>,
    pub(crate) revokes: Vec<String>,
    /// Roles as they would be.
    pub(crate) roles: Vec<ShownRole>,
    /// Roles that would be no more.
    pub(crate) removes: Vec<RoleName>,
    /// Whether the file that is published counts no more: all that this one says would count again, and is shown.
    pub(crate) is_anew: bool,
    /// How many more names it signs, or signs no more.
    pub(crate) left_out: usize,
    /// The file with the signatures that it has, where it can be signed.
    pub(crate) file: Option<Document>,
}

/// How many of which keys have to sign.
#[derive(Debug, Clone)]
pub(crate) struct ShownQuorum {
    pub(crate) threshold: u32,
    pub(crate) signed: Vec<ShownKey>,
    /// Those that may still.
    pub(crate) open: Vec<ShownKey>,
}

impl Pending {
    /// Files that are planned on what is published, each on those before it.
    pub(super) fn new(proposal: Proposal, held: &Repository, files: Vec<Unsigned>) -> Self {
        let documents = files.iter().map(|file| file.document().clone());
        let repository = documents.fold(held.clone(), Repository::with);
        Self { proposal, repository, files }
    }

    fn roles(&self) -> impl Iterator<Item = &RoleName> + Clone {
        self.files.iter().map(|file| file.document().role())
    }
}

impl ShownProposal {
    /// Without its files.
    fn of(proposal: &Proposal, over: Option<String>) -> Self {
        Self {
            digest: proposal.digest(),
            begun_by: proposal.begun_by.clone(),
            begun_at_unix_seconds: proposal.begun_at_unix_seconds,
            ends_at_unix_seconds: proposal.ends_at_unix_seconds,
            operation: proposal.operation.clone(),
            files: Vec::new(),
            lapses: Vec::new(),
            over,
        }
    }
}

impl ShownProposed {
    /// Without what it changes.
    fn of(proposed: &ProposedFile) -> Self {
        Self {
            role: proposed.role.clone(),
            version: proposed.file.version,
            digest: proposed.digest,
            quorums: Vec::new(),
            signs: Vec::new(),
            revokes: Vec::new(),
            roles: Vec::new(),
            removes: Vec::new(),
            is_anew: false,
            left_out: 0,
            file: None,
        }
    }
}

/// Why a proposal cannot be signed any more; none while it can.
pub(super) fn over(proposal: &Proposal, held: &Repository, now_unix_seconds: u64) -> Option<String> {
    if now_unix_seconds >= proposal.ends_at_unix_seconds {
        return Some("its time is over".to_owned());
    }
    let is_stale = |proposed: &&ProposedFile| held.file(&proposed.role).map(Document::sha256) != proposed.base;
    let stale = proposal.files.iter().find(is_stale)?;
    Some(format!("another version of {} was published meanwhile", stale.role))
}

impl Publisher<'_> {
    /// Reads the files of a proposal.
    pub(super) async fn standing(
        self,
        gun: &Gun,
        held: &Generation,
        proposal: &Proposal,
    ) -> Result<Standing, PublishError> {
        if let Some(why) = over(proposal, &held.repository, self.0.clock().now_unix_seconds()) {
            return Ok(Standing::Over(why));
        }
        let mut repository = held.repository.clone();
        let mut files = Vec::with_capacity(proposal.files.len());
        for proposed in &proposal.files {
            let bytes = self.0.records().proposed(gun, held.head.life, proposed).await?;
            let document = Document::read(&proposed.role, &bytes).map_err(Fault::internal)?;
            if Sha256Digest::of(document.signed_bytes()) != proposed.digest {
                return Err(Fault::internal("a proposed file is not as it was left").into());
            }
            let Ok(file) = repository.unsigned(document.clone()) else {
                return Ok(Standing::Over(format!("nobody speaks for {} any more", proposed.role)));
            };
            if self.is_signed_by_ended(gun, &file)? {
                return Ok(Standing::Over(format!("a key that has signed {} may sign no more", proposed.role)));
            }
            repository = repository.with(document);
            files.push(file);
        }
        Ok(Standing::Open(Pending { proposal: proposal.clone(), repository, files }))
    }

    /// Whether a key of the daemon has signed the file that was ended, or is distrusted, since.
    fn is_signed_by_ended(self, gun: &Gun, file: &Unsigned) -> Result<bool, PublishError> {
        let held = self.keys_for_role(gun, file.document().role())?;
        let is_good = |key: &ServerKey| key.may_sign() && key.view.state.trust == Trust::Trusted;
        let is_ended = |id: &Sha256Digest| {
            let mut held = held.iter().filter(|held| held.key.canonical_id() == *id).peekable();
            held.peek().is_some() && !held.any(is_good)
        };
        Ok(file.signed_by().iter().flatten().any(is_ended))
    }

    /// What policy is asked about a key that may sign a proposal further.
    pub(super) fn approval_of(
        self,
        asked: &Asked,
        held: &Repository,
        pending: &Pending,
    ) -> Result<OwnerWork, PublishError> {
        self.signature_of(asked, held, pending).map(OwnerWork::approving)
    }

    /// The same of a key that signs it first.
    pub(super) fn signature_of(
        self,
        asked: &Asked,
        held: &Repository,
        pending: &Pending,
    ) -> Result<OwnerWork, PublishError> {
        let operation = OPERATIONS.into_iter().find(|word| *word == pending.proposal.operation);
        let operation = operation.ok_or_else(|| Fault::internal("a proposal to do something that is not known"))?;
        let facts = self.speaker_facts(&asked.gun, &changing((held, &pending.repository), pending.roles()))?;
        let (roles, targets) = (pending.roles().cloned().collect(), pending.proposal.targets.clone());
        Ok(OwnerWork::new(asked, operation, roles, targets, false).changing(facts))
    }

    /// A proposal as it stands.
    pub(super) async fn shown_proposal(
        self,
        who: &Principal,
        gun: &Gun,
        held: &Generation,
        proposal: &Proposal,
    ) -> Result<ShownProposal, PublishError> {
        match self.standing(gun, held, proposal).await? {
            Standing::Open(pending) => self.shown_pending(who, gun, &held.repository, &pending),
            Standing::Over(why) => {
                let files = proposal.files.iter().map(ShownProposed::of).collect();
                Ok(ShownProposal { files, ..ShownProposal::of(proposal, Some(why)) })
            }
        }
    }

    /// The same of one that can be signed.
    pub(super) fn shown_pending(
        self,
        who: &Principal,
        gun: &Gun,
        held: &Repository,
        pending: &Pending,
    ) -> Result<ShownProposal, PublishError> {
        let mut files = Vec::with_capacity(pending.files.len());
        for (file, proposed) in pending.files.iter().zip(&pending.proposal.files) {
            files.push(self.shown_proposed((who, gun), (held, &pending.repository), file, proposed)?);
        }
        let lapses = lapsing((held, &pending.repository), pending.roles());
        let over = self.signed_in_vain(gun, held, pending)?;
        Ok(ShownProposal { files, lapses, ..ShownProposal::of(&pending.proposal, over) })
    }

    fn shown_proposed(
        self,
        (who, gun): (&Principal, &Gun),
        (held, after): (&Repository, &Repository),
        file: &Unsigned,
        proposed: &ProposedFile,
    ) -> Result<ShownProposed, PublishError> {
        let role = &proposed.role;
        let keys = self.keys_for_role(gun, role)?;
        let mut quorums = Vec::new();
        for (speakers, have_signed) in file.speakers().iter().zip(file.signed_by()) {
            let (mut signed, mut open) = (Vec::new(), Vec::new());
            for key in &speakers.keys {
                let list = if have_signed.contains(&key.canonical_id()) { &mut signed } else { &mut open };
                list.push(self.shown_key(who, key, &keys));
            }
            quorums.push(ShownQuorum { threshold: speakers.threshold, signed, open });
        }
        // What counts no more says nothing to anybody: whoever signs the file lets all of it count.
        let is_anew = counts(held, role) == Some(false);
        let counting = held.files().values().filter(|file| !is_anew || file.role() != role);
        let before = Repository::of(counting.cloned());
        let (mut signs, mut revokes) = names_between(role, &before, after);
        let names = signs.len().saturating_add(revokes.len());
        revokes.truncate(NAMES_MAX);
        signs.truncate(NAMES_MAX.saturating_sub(revokes.len()));
        let left_out = names.saturating_sub(signs.len()).saturating_sub(revokes.len());
        let (mut roles, mut removes) = (Vec::new(), Vec::new());
        for line in changing((&before, after), std::iter::once(role)) {
            match self.shown_role(who, gun, after, &line.role)? {
                Some(shown) if !line.is_gone() => roles.push(shown),
                _ => removes.push(line.role),
            }
        }
        let (shown, file) = (ShownProposed::of(proposed), Some(file.document().clone()));
        Ok(ShownProposed { quorums, signs, revokes, roles, removes, is_anew, left_out, file, ..shown })
    }
}

/// The names that a role's file says otherwise than before, and those that it says no more.
fn names_between(role: &RoleName, before: &Repository, after: &Repository) -> (Vec<ShownTarget>, Vec<String>) {
    let said = |repository: &Repository| {
        let targets = repository.targets(role).map(|targets| targets.targets()).into_iter().flatten();
        let said = targets.map(|(name, target)| (name.clone(), (target.hashes().sha256(), target.length_bytes())));
        said.collect::<BTreeMap<_, _>>()
    };
    let (was, will) = (said(before), said(after));
    let other = will.iter().filter(|(name, said)| was.get(*name) != Some(*said));
    let signs = other.filter_map(|(name, (sha256, length_bytes))| {
        let (name, roles) = (name.clone(), vec![role.clone()]);
        Some(ShownTarget { name, sha256: (*sha256)?, length_bytes: *length_bytes, roles })
    });
    let revokes = was.keys().filter(|name| !will.contains_key(*name)).cloned().collect();
    (signs.collect(), revokes)
}
