//! What a record says.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use trust::{
    Algorithm, Form, KeyId, KeyName, KeyRef, KeyVersion, Origin, PublicKey, Purpose, Scope, Sha256Digest, Trust, Use,
    UseChange,
};
use trust_hsm::{Material, SealContext, TokenName};

use super::{RecordError, ReplayLimits};

/// How far the log was when a change was made: the tree that holds the leaf of that change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct LogAnchor {
    /// How many leaves the tree has.
    pub(crate) size: u64,
    /// Its RFC 6962 root.
    pub(crate) root: Sha256Digest,
}

/// What is fixed about a key for life.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct KeyRecord {
    /// Its opaque name.
    pub(crate) id: KeyId,
    /// What people call it.
    pub(crate) name: KeyName,
    /// What it is for.
    pub(crate) purpose: Purpose,
    /// How it signs.
    pub(crate) algorithm: Algorithm,
    /// For which repositories.
    pub(crate) scope: Scope,
    /// Which shapes of signature it leaves behind.
    pub(crate) forms: Vec<Form>,
    /// When it was made: seconds since the Unix epoch.
    pub(crate) created_at_unix_seconds: u64,
    /// The token that its private half is in, in every version; `None` for software custody.
    pub(crate) token: Option<TokenName>,
}

impl KeyRecord {
    /// Where its private half is: `software`, or the token's name in the configuration.
    #[must_use]
    pub(crate) fn custodian(&self) -> &str {
        self.token.as_ref().map_or("software", TokenName::as_str)
    }

    /// What the material of one of its versions is sealed to.
    #[must_use]
    pub(crate) fn seal_context(&self, store: [u8; 16], version: KeyVersion) -> SealContext {
        SealContext {
            store,
            key: KeyRef { id: self.id, version },
            algorithm: self.algorithm,
            purpose: self.purpose,
            scope_hash: self.scope.hash(),
        }
    }
}

/// One version of a key.
#[derive(Debug, Clone)]
pub(crate) struct VersionRecord {
    /// Key and version.
    pub(crate) key: KeyRef,
    /// The public half; stays for ever.
    pub(crate) public_key: PublicKey,
    /// Where the private half is; empty after destruction. A token keeps its object named until it is gone.
    pub(crate) materials: Vec<Material>,
    /// When it was made: seconds since the Unix epoch.
    pub(crate) created_at_unix_seconds: u64,
    /// Index of the log leaf that announced it.
    pub(crate) leaf: u64,
    /// How the private half came to where it is.
    pub(crate) origin: Origin,
}

/// What may change about a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct KeyState {
    /// May it sign?
    pub(crate) use_: Use,
    /// Do its signatures count?
    pub(crate) trust: Trust,
    /// One more at each change, from 1.
    pub(crate) epoch: u64,
    /// The version that signs.
    pub(crate) newest: KeyVersion,
    /// Destroyed, but old pages of the store may still hold its sealed material under a living KEK version.
    pub(crate) shred_pending: bool,
}

impl KeyState {
    /// Whether it may become another: retirement, distrust and destruction are final, whatever asks.
    pub(super) fn check_change(&self, to: &StateChange) -> Result<(), RecordError> {
        let schedule = match to.use_ {
            Use::DestroyScheduled { at_unix_seconds } => Some(UseChange::Destroy { at_unix_seconds }),
            _ => None,
        };
        let verbs = [
            UseChange::CancelDestroy,
            UseChange::Disable,
            UseChange::Enable,
            UseChange::FinishDestroy,
            UseChange::Retire,
        ];
        let reaches = |verb: UseChange| self.use_.after(verb) == Ok(to.use_);
        if self.use_ != to.use_ && !verbs.into_iter().chain(schedule).any(reaches) {
            return Err(RecordError::Refused { why: "the life of a key does not go that way" });
        }
        if self.trust != Trust::Trusted && self.trust != to.trust {
            return Err(RecordError::Refused { why: "distrust is final" });
        }
        if self.use_ == to.use_ && self.trust == to.trust {
            return Err(RecordError::Refused { why: "the key is in that state already" });
        }
        Ok(())
    }
}

/// A key as it is now. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct KeyView {
    /// What is fixed.
    pub(crate) record: Arc<KeyRecord>,
    /// What may change.
    pub(crate) state: KeyState,
    /// Every version, from the first to the newest.
    pub(crate) versions: Arc<Vec<VersionRecord>>,
}

impl KeyView {
    /// Whether the key is destroyed, and the token may still have its objects.
    #[must_use]
    pub(crate) fn object_pending(&self) -> bool {
        self.state.use_ == Use::Destroyed && self.versions.iter().any(|version| !version.materials.is_empty())
    }

    /// The version that signs.
    #[must_use]
    pub(crate) fn newest(&self) -> Option<&VersionRecord> {
        self.versions.last()
    }
}

/// The new answers to the two questions about a key; unchanged ones are repeated.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct StateChange {
    /// May it sign?
    pub(crate) use_: Use,
    /// Do its signatures count?
    pub(crate) trust: Trust,
}

/// The key that signs checkpoints.
#[derive(Debug, Clone)]
pub(crate) struct LogKey {
    /// Its identity in sealing contexts; no key API knows it.
    pub(crate) key: KeyRef,
    /// The public half.
    pub(crate) public_key: PublicKey,
    /// The private half.
    pub(crate) material: Material,
    /// The origin it signs for; a new key means a new origin.
    pub(crate) origin: String,
}

/// A key version whose material can be wrapped anew.
#[derive(Debug, Clone)]
pub(crate) struct SealedVersion {
    /// The key, for its sealing context.
    pub(crate) record: Arc<KeyRecord>,
    /// The version.
    pub(crate) version: VersionRecord,
}

/// Where a store came from: written into every backup, sealed and counted like any row.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Provenance {
    /// When the backup was made: seconds since the Unix epoch.
    pub(crate) made_at_unix_seconds: u64,
    /// The last signed checkpoint of the log then, empty when there was none. The log of the import cites it.
    pub(crate) checkpoint: String,
    /// SHA-256 of the KEK ring's file then.
    pub(crate) ring_sha256: [u8; 32],
}

/// Bounds of the records, from the configuration.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct RecordLimits {
    /// Bounds of the idempotency replays.
    pub(crate) replays: ReplayLimits,
}
