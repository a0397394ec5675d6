//! How published trust data is written into rows.

use serde::{Deserialize, Serialize};
use trust::format::tuf::{Gun, RoleName, Version};
use trust::{KeyId, Principal, Sha256Digest};

use super::super::RecordError;
use super::super::stored::{decode, encode};
use super::feed::{Change, ChangeKind};
use super::{FileRef, Head, HeadSlot, OwnMarks, Proposal, ProposalSigner, ProposedFile};

#[derive(Serialize, Deserialize)]
struct StoredRef {
    version: u32,
    sha256: [u8; 32],
    length_bytes: u64,
    stored_at_unix_seconds: u64,
}

#[derive(Serialize, Deserialize)]
struct StoredHead {
    gun: String,
    life: u32,
    serial: u64,
    files: Vec<(String, StoredRef)>,
    marks: Vec<(String, u32)>,
    buried: Option<StoredRef>,
    signers: Vec<[u8; 16]>,
    changes: u64,
    timestamp_ends_at_unix_seconds: i64,
}

/// What stands behind a head that has a proposal. A later form is another variant.
#[derive(Serialize, Deserialize)]
enum StoredProposal {
    /// Of before it was kept who had signed.
    V1(StoredWaiting),
    V2(StoredWaiting, Vec<StoredSigner>),
}

#[derive(Serialize, Deserialize)]
struct StoredWaiting {
    begun_by: String,
    begun_at_unix_seconds: u64,
    ends_at_unix_seconds: u64,
    operation: String,
    targets: Vec<String>,
    files: Vec<StoredProposed>,
}

#[derive(Serialize, Deserialize)]
struct StoredSigner {
    who: String,
    is_approval: bool,
    is_brought: bool,
    keys: Vec<(String, [u8; 32])>,
}

#[derive(Serialize, Deserialize)]
struct StoredProposed {
    role: String,
    file: StoredRef,
    digest: [u8; 32],
    base: Option<[u8; 32]>,
}

/// A file; without bytes where they lie in chunks, for no file is empty.
#[derive(Serialize, Deserialize)]
struct StoredFile<'a> {
    sha256: [u8; 32],
    length_bytes: u64,
    stored_at_unix_seconds: u64,
    body: &'a [u8],
}

#[derive(Serialize, Deserialize)]
enum StoredKind {
    Update { version: u32, sha256: [u8; 32] },
    Deletion,
}

#[derive(Serialize, Deserialize)]
struct StoredChange {
    gun: String,
    made_at_unix_ms: u64,
    kind: StoredKind,
}

impl StoredRef {
    const fn of(place: &FileRef) -> Self {
        Self {
            version: place.version.number(),
            sha256: *place.sha256.as_bytes(),
            length_bytes: place.length_bytes,
            stored_at_unix_seconds: place.stored_at_unix_seconds,
        }
    }

    fn read(&self) -> Option<FileRef> {
        Some(FileRef {
            version: Version::new(u64::from(self.version))?,
            sha256: Sha256Digest::from_bytes(self.sha256),
            length_bytes: self.length_bytes,
            stored_at_unix_seconds: self.stored_at_unix_seconds,
        })
    }
}

impl StoredProposal {
    fn of(proposal: &Proposal) -> Self {
        let files = proposal.files.iter().map(|proposed| StoredProposed {
            role: proposed.role.to_string(),
            file: StoredRef::of(&proposed.file),
            digest: *proposed.digest.as_bytes(),
            base: proposed.base.map(|base| *base.as_bytes()),
        });
        let signers = proposal.signers.iter().map(|signer| StoredSigner {
            who: signer.who.to_string(),
            is_approval: signer.is_approval,
            is_brought: signer.is_brought,
            keys: signer.keys.iter().map(|(role, key)| (role.to_string(), *key.as_bytes())).collect(),
        });
        let waiting = StoredWaiting {
            begun_by: proposal.begun_by.clone(),
            begun_at_unix_seconds: proposal.begun_at_unix_seconds,
            ends_at_unix_seconds: proposal.ends_at_unix_seconds,
            operation: proposal.operation.clone(),
            targets: proposal.targets.clone(),
            files: files.collect(),
        };
        Self::V2(waiting, signers.collect())
    }

    fn read(self) -> Option<Proposal> {
        let (waiting, signers) = match self {
            Self::V1(waiting) => (waiting, Vec::new()),
            Self::V2(waiting, signers) => (waiting, signers),
        };
        let files = waiting.files.iter().map(|stored| {
            Some(ProposedFile {
                role: stored.role.parse().ok()?,
                file: stored.file.read()?,
                digest: Sha256Digest::from_bytes(stored.digest),
                base: stored.base.map(Sha256Digest::from_bytes),
            })
        });
        Some(Proposal {
            files: files.collect::<Option<_>>()?,
            signers: signers.iter().map(StoredSigner::read).collect::<Option<_>>()?,
            begun_by: waiting.begun_by,
            begun_at_unix_seconds: waiting.begun_at_unix_seconds,
            ends_at_unix_seconds: waiting.ends_at_unix_seconds,
            operation: waiting.operation,
            targets: waiting.targets,
        })
    }
}

impl StoredSigner {
    fn read(&self) -> Option<ProposalSigner> {
        let keys = self.keys.iter().map(|(role, key)| Some((role.parse().ok()?, Sha256Digest::from_bytes(*key))));
        Some(ProposalSigner {
            who: Principal::from_record(&self.who).ok()?,
            is_approval: self.is_approval,
            is_brought: self.is_brought,
            keys: keys.collect::<Option<_>>()?,
        })
    }
}

/// The row of a head.
pub(super) fn write_head(gun: &Gun, head: &Head) -> Result<Vec<u8>, RecordError> {
    let stored = StoredHead {
        gun: gun.to_string(),
        life: head.life,
        serial: head.serial,
        files: head.files.iter().map(|(role, place)| (role.to_string(), StoredRef::of(place))).collect(),
        marks: head.marks.iter().map(|(role, version)| (role.to_string(), version.number())).collect(),
        buried: head.buried.as_ref().map(StoredRef::of),
        signers: head.signers.iter().map(|id| *id.as_bytes()).collect(),
        changes: head.changes,
        timestamp_ends_at_unix_seconds: head.timestamp_ends_at_unix_seconds,
    };
    match &head.proposal {
        None => encode(&stored),
        Some(proposal) => encode(&(stored, StoredProposal::of(proposal))),
    }
}

pub(super) fn read_head(plain: &[u8]) -> Option<(Gun, Head)> {
    let (stored, rest) = postcard::take_from_bytes::<StoredHead>(plain).ok()?;
    // Without a proposal, as before there were any, a row ends here.
    let proposal = if rest.is_empty() { None } else { Some(Box::new(decode::<StoredProposal>(rest)?.read()?)) };
    let files = stored.files.iter().map(|(role, place)| Some((role.parse().ok()?, place.read()?)));
    let marks = stored.marks.iter().map(|(role, version)| {
        let version = Version::new(u64::from(*version))?;
        Some((role.parse().ok()?, version))
    });
    let head = Head {
        life: stored.life,
        serial: stored.serial,
        files: files.collect::<Option<_>>()?,
        marks: marks.collect::<Option<_>>()?,
        buried: match &stored.buried {
            Some(place) => Some(place.read()?),
            None => None,
        },
        signers: stored.signers.into_iter().map(KeyId::from_bytes).collect(),
        changes: stored.changes,
        timestamp_ends_at_unix_seconds: stored.timestamp_ends_at_unix_seconds,
        proposal,
    };
    Some((stored.gun.parse().ok()?, head))
}

/// What the index keeps of a head's row.
pub(in super::super) fn read_slot(plain: &[u8], held: super::Held) -> Option<HeadSlot> {
    let (_, head) = read_head(plain)?;
    Some(head.slot(held))
}

impl Head {
    /// What the index keeps of it.
    pub(in super::super) fn slot(&self, held: super::Held) -> HeadSlot {
        let stored_at = self.files.get(&RoleName::Timestamp);
        let timestamp = stored_at.map(|place| (place.stored_at_unix_seconds, self.timestamp_ends_at_unix_seconds));
        let mark = |role| self.marks.get(&role).copied();
        let marks = OwnMarks {
            snapshot: mark(RoleName::Snapshot),
            timestamp: mark(RoleName::Timestamp),
            is_alive: self.is_alive(),
        };
        HeadSlot { held, serial: self.serial, timestamp, marks }
    }
}

pub(super) fn write_file(place: &FileRef, body: &[u8]) -> Result<Vec<u8>, RecordError> {
    encode(&StoredFile {
        sha256: *place.sha256.as_bytes(),
        length_bytes: place.length_bytes,
        stored_at_unix_seconds: place.stored_at_unix_seconds,
        body,
    })
}

/// The file, with its bytes unless they lie in chunks.
pub(super) fn read_file(plain: &[u8], version: Version) -> Option<(FileRef, Option<Vec<u8>>)> {
    let stored: StoredFile<'_> = decode(plain)?;
    let place = FileRef {
        version,
        sha256: Sha256Digest::from_bytes(stored.sha256),
        length_bytes: stored.length_bytes,
        stored_at_unix_seconds: stored.stored_at_unix_seconds,
    };
    Some((place, (!stored.body.is_empty()).then(|| stored.body.to_vec())))
}

pub(super) fn write_version(version: Version) -> Result<Vec<u8>, RecordError> {
    encode(&version.number())
}

pub(super) fn read_version(plain: &[u8]) -> Option<Version> {
    Version::new(u64::from(decode::<u32>(plain)?))
}

pub(super) fn write_change(gun: &Gun, made_at_unix_ms: u64, kind: ChangeKind) -> Result<Vec<u8>, RecordError> {
    let kind = match kind {
        ChangeKind::Update { version, sha256 } => {
            StoredKind::Update { version: version.number(), sha256: *sha256.as_bytes() }
        }
        ChangeKind::Deletion => StoredKind::Deletion,
    };
    encode(&StoredChange { gun: gun.to_string(), made_at_unix_ms, kind })
}

/// Whose change it is.
pub(in super::super) fn gun_of_change(plain: &[u8]) -> Option<Gun> {
    decode::<StoredChange>(plain)?.gun.parse().ok()
}

pub(super) fn read_change(id: u64, plain: &[u8]) -> Option<Change> {
    let stored: StoredChange = decode(plain)?;
    let kind = match stored.kind {
        StoredKind::Update { version, sha256 } => {
            ChangeKind::Update { version: Version::new(u64::from(version))?, sha256: Sha256Digest::from_bytes(sha256) }
        }
        StoredKind::Deletion => ChangeKind::Deletion,
    };
    Some(Change { id, made_at_unix_ms: stored.made_at_unix_ms, gun: stored.gun.parse().ok()?, kind })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head(proposal: Option<Proposal>) -> Head {
        let version = Version::new(3).unwrap();
        let marks = [(RoleName::Targets, version)].into();
        Head { life: 1, serial: 7, marks, proposal: proposal.map(Box::new), ..Head::default() }
    }

    fn proposal() -> Proposal {
        let (sha256, version) = (Sha256Digest::of(b"file"), Version::new(3).unwrap());
        let file = FileRef { version, sha256, length_bytes: 4, stored_at_unix_seconds: 9 };
        let digest = Sha256Digest::of(b"signed");
        let base = Some(Sha256Digest::of(b"before"));
        Proposal {
            begun_by: "uid:1000".to_owned(),
            begun_at_unix_seconds: 9,
            ends_at_unix_seconds: 99,
            operation: "sign".to_owned(),
            targets: vec!["1.0".to_owned()],
            files: vec![ProposedFile { role: RoleName::Targets, file, digest, base }],
            signers: vec![ProposalSigner {
                who: Principal::LocalUid(1000),
                is_approval: false,
                is_brought: true,
                keys: vec![(RoleName::Targets, Sha256Digest::of(b"key"))],
            }],
        }
    }

    /// What stores hold already must be read for ever, and a head without a proposal is written as it always was.
    #[test]
    fn a_proposal_stands_behind_a_head_and_needs_not_be_there() {
        let gun: Gun = "r.example/app".parse().unwrap();
        let older = write_head(&gun, &head(None)).unwrap();
        let newer = write_head(&gun, &head(Some(proposal()))).unwrap();

        assert_eq!(read_head(&older), Some((gun.clone(), head(None))));
        assert_eq!(read_head(&newer), Some((gun, head(Some(proposal())))));
        assert!(newer.starts_with(&older));
        // Of the second form, which is number 1; of a third nobody here knows what it says.
        assert_eq!(newer[older.len()], 1);
        let unknown = [&older[..], &[2], &newer[older.len() + 1..]].concat();
        assert!(read_head(&unknown).is_none());
        for row in [newer[..newer.len() - 1].to_vec(), [&older[..], &[1]].concat()] {
            assert!(read_head(&row).is_none());
        }
    }

    /// The first form ends where the second says who has signed.
    #[test]
    fn a_proposal_of_before_its_signers_were_kept_is_read_without_them() {
        let gun: Gun = "r.example/app".parse().unwrap();
        let unsigned = Proposal { signers: Vec::new(), ..proposal() };
        let older = write_head(&gun, &head(None)).unwrap();
        let newer = write_head(&gun, &head(Some(unsigned.clone()))).unwrap();
        let of_v2 = &newer[older.len()..];
        let of_v1 = [&[0], &of_v2[1..of_v2.len() - 1]].concat();

        assert_eq!(read_head(&[older, of_v1].concat()), Some((gun, head(Some(unsigned)))));
    }

    #[test]
    fn what_is_signed_is_known_by_its_roles_and_bytes_and_not_by_its_signatures() {
        let (one, mut other) = (proposal(), proposal());
        other.files[0].file.sha256 = Sha256Digest::of(b"file with one more signature");
        assert_eq!(one.digest(), other.digest());
        assert_eq!(one.digest(), Sha256Digest::of(format!("targets {}\n", Sha256Digest::of(b"signed")).as_bytes()));

        other.files[0].digest = Sha256Digest::of(b"other");
        assert_ne!(one.digest(), other.digest());
        let other_role = ProposedFile { role: RoleName::releases(), ..one.files[0].clone() };
        assert_ne!(Proposal { files: vec![other_role], ..proposal() }.digest(), one.digest());
    }
}
