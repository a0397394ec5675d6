//! A proposal: files of a repository that their owners' keys sign one after the other, before anybody publishes them.
//!
//! It is a part of the head. So it is begun, signed further, published and dropped in one write with it, a deletion takes
//! it away, and a backup has it (decision 20). Its files lie in chunks, as they are signed so far; what is left of them
//! afterwards is never read again.
//!
//! Deliberately not here: who may sign it, and whether it still fits what is published.

use trust::format::tuf::{Document, Gun, RoleName};
use trust::{Principal, Sha256Digest};

use super::super::{RecordError, Records};
use super::{FileRef, Place, not_as_left};

/// What waits for signatures.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Proposal {
    /// Who began it, as leaves spell it.
    pub(crate) begun_by: String,
    /// When: seconds since the Unix epoch.
    pub(crate) begun_at_unix_seconds: u64,
    /// Until when it may be signed: seconds since the Unix epoch.
    pub(crate) ends_at_unix_seconds: u64,
    /// What is done, in the word that policies see.
    pub(crate) operation: String,
    /// The names that are signed, or signed no more.
    pub(crate) targets: Vec<String>,
    /// Parents before their children.
    pub(crate) files: Vec<ProposedFile>,
    /// Who had them signed, one after the other; not known of proposals of before that was kept.
    pub(crate) signers: Vec<ProposalSigner>,
}

/// Who had files of a proposal signed. The policy may be asked about it once more, in the same words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ProposalSigner {
    /// Who it was.
    pub(crate) who: Principal,
    /// Whether somebody else had begun it.
    pub(crate) is_approval: bool,
    /// Whether the signatures were made elsewhere, by keys that the daemon does not hold.
    pub(crate) is_brought: bool,
    /// The bare keys, each with the role whose file it signed.
    pub(crate) keys: Vec<(RoleName, Sha256Digest)>,
}

/// A file of a proposal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ProposedFile {
    /// Whose file it is.
    pub(crate) role: RoleName,
    /// The file with the signatures that it has.
    pub(crate) file: FileRef,
    /// SHA-256 of what the signatures cover, as the log has it.
    pub(crate) digest: Sha256Digest,
    /// The role's file that it is to take the place of; none for the first one.
    pub(crate) base: Option<Sha256Digest>,
}

impl Proposal {
    /// What it is known by: whoever signs says what was looked at. It stays the same while signatures are collected.
    #[must_use]
    pub(crate) fn digest(&self) -> Sha256Digest {
        let lines = self.files.iter().map(|file| format!("{} {}\n", file.role, file.digest));
        Sha256Digest::of(lines.collect::<Vec<_>>().concat().as_bytes())
    }
}

impl Records {
    /// Keeps a file that is signed in part, for a head that names it.
    ///
    /// # Errors
    /// As [`Records::publish`].
    pub(crate) async fn keep_proposed(&self, gun: &Gun, life: u32, file: &Document) -> Result<FileRef, RecordError> {
        self.raise_format().await?;
        let open = self.opened()?;
        self.keep_chunks(&open.keys, &Place::of(&open.keys, gun, life), file).await?;
        Ok(FileRef::of(file, self.0.clock.now_unix_ms() / 1000))
    }

    /// The bytes of a file that a head's proposal names.
    ///
    /// # Errors
    /// As [`Records::head`].
    pub(crate) async fn proposed(&self, gun: &Gun, life: u32, proposed: &ProposedFile) -> Result<Vec<u8>, RecordError> {
        let open = self.opened()?;
        let place = Place::of(&open.keys, gun, life);
        let bytes = self.chunks(&open.keys, &place, &proposed.role, &proposed.file).await?;
        let is_it = Sha256Digest::of(&bytes) == proposed.file.sha256;
        if is_it { Ok(bytes) } else { Err(not_as_left("a proposed file")) }
    }
}
