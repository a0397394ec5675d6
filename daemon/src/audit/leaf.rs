//! What a leaf says. Leaves are RFC 8785 JSON: fields in the order of their
//! names, integers only, no spaces. They carry key ids, not names (D16).

mod body;

use serde::Serialize;
use trust::{KeyId, KeyRef, Principal, Sha256Digest};

pub(crate) use self::body::{BatchBody, DistrustBody, SubjectBody};

/// The format version of every leaf.
const FORMAT: u8 = 1;

/// One leaf.
#[derive(Debug, Clone)]
#[expect(
    clippy::large_enum_variant,
    reason = "a leaf is made, written and gone; a box would be one more allocation for each sign"
)]
pub(crate) enum Leaf {
    /// The first leaf of every log.
    Init(InitLeaf),
    /// What is about to be done, durable before it is.
    Intent(IntentLeaf),
    /// How an intent ended.
    Outcome(OutcomeLeaf),
    /// A policy came into force.
    Policy(PolicyLeaf),
    /// Store and log were brought together again.
    Recovery(RecoveryLeaf),
    /// What was refused.
    Refusal(RefusalLeaf),
    /// The daemon started.
    Start(StartLeaf),
}

/// The first leaf: which store this log belongs to (D17).
#[derive(Debug, Clone, Serialize)]
pub(crate) struct InitLeaf {
    /// The last checkpoint of the log before this one, of an imported backup (D18).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) cites: Option<String>,
    kind: &'static str,
    pub(crate) origin: String,
    /// The store's uuid, hexadecimal.
    pub(crate) store: String,
    /// Milliseconds since the Unix epoch.
    pub(crate) time: u64,
    v: u8,
}

impl InitLeaf {
    /// The first leaf of the log `origin` of the store `store`.
    pub(crate) fn new(time: u64, origin: &str, store: &[u8; 16], cites: Option<String>) -> Self {
        Self { cites, kind: "init", origin: origin.to_owned(), store: hex::encode(store), time, v: FORMAT }
    }
}

/// What is about to be done.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct IntentLeaf {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) algorithm: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) batch: Option<BatchBody>,
    /// Where the key is, or is to be: `software`, or a token's name in the configuration.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) custodian: Option<String>,
    /// When the material is to go, of a destruction: seconds since the Unix epoch.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) destroy_at: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) distrust: Option<DistrustBody>,
    /// The key's epoch that the permit was made under.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) epoch: Option<u64>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) forms: Vec<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) key: Option<String>,
    kind: &'static str,
    /// `sign`, `create`, `rotate`, `enable`, …
    pub(crate) operation: &'static str,
    /// The policies that allowed it.
    pub(crate) policies: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) policy_revision: Option<String>,
    /// SHA-256 of each exact preimage, in the order of the forms.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) preimages: Vec<String>,
    pub(crate) principal: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) purpose: Option<&'static str>,
    /// The intent that this one retries.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) retry_of: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) subject: Option<SubjectBody>,
    /// Milliseconds since the Unix epoch.
    pub(crate) time: u64,
    v: u8,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) version: Option<u32>,
}

impl IntentLeaf {
    /// An intent of `principal`; the operation describes itself into it.
    pub(crate) fn new(time: u64, principal: &Principal) -> Self {
        Self {
            algorithm: None,
            batch: None,
            custodian: None,
            destroy_at: None,
            distrust: None,
            epoch: None,
            forms: Vec::new(),
            key: None,
            kind: "intent",
            operation: "",
            policies: Vec::new(),
            policy_revision: None,
            preimages: Vec::new(),
            principal: principal.to_string(),
            purpose: None,
            retry_of: None,
            subject: None,
            time,
            v: FORMAT,
            version: None,
        }
    }

    /// Names key and version.
    pub(crate) fn name_key(&mut self, key: KeyRef) {
        self.key = Some(key.id.to_string());
        self.version = Some(key.version.number());
    }
}

/// How an intent ended.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct OutcomeLeaf {
    /// The key's epoch after a completed key operation.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) epoch: Option<u64>,
    /// Indexes of the items of a batch that custody could not sign.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) failed: Vec<u64>,
    /// Index of the intent.
    pub(crate) intent: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) key: Option<String>,
    kind: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) reason: Option<String>,
    /// `done`, `failed`, `not-started` or `unknown`.
    pub(crate) result: &'static str,
    /// SHA-256 of each signature; of a batch, one RFC 6962 root over the hashes.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) signatures: Vec<String>,
    /// SHA-256 of the public key that was made.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) spki: Option<String>,
    pub(crate) time: u64,
    v: u8,
    /// The key's newest version after a completed key operation.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) version: Option<u32>,
}

impl OutcomeLeaf {
    /// The end of `intent`.
    pub(crate) const fn new(time: u64, intent: u64, result: Ended) -> Self {
        Self {
            epoch: None,
            failed: Vec::new(),
            intent,
            key: None,
            kind: "outcome",
            reason: None,
            result: result.name(),
            signatures: Vec::new(),
            spki: None,
            time,
            v: FORMAT,
            version: None,
        }
    }

    /// The end of a completed change of a key.
    pub(crate) fn of_key(time: u64, intent: u64, newest: KeyRef, epoch: u64) -> Self {
        let mut outcome = Self::new(time, intent, Ended::Done);
        outcome.name_key(newest, epoch);
        outcome
    }

    /// Names the key with its newest version, and its epoch, afterwards.
    pub(crate) fn name_key(&mut self, newest: KeyRef, epoch: u64) {
        self.epoch = Some(epoch);
        self.key = Some(newest.id.to_string());
        self.version = Some(newest.version.number());
    }
}

/// How an intent can end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ended {
    /// The change is made and stored.
    Done,
    /// It was begun, and failed with a known end.
    Failed,
    /// The key was not used, nothing was changed.
    NotStarted,
    /// Signed, and verified under the registered key (a batch: with the failures it names).
    Signed,
    /// Nobody knows whether the key was used.
    Unknown,
}

impl Ended {
    /// The word for it in leaves.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::Failed => "failed",
            Self::NotStarted => "not-started",
            Self::Signed => "signed",
            Self::Unknown => "unknown",
        }
    }
}

/// A policy came into force; its texts are archived under these hashes (D27).
#[derive(Debug, Clone, Serialize)]
pub(crate) struct PolicyLeaf {
    kind: &'static str,
    pub(crate) policy: String,
    pub(crate) revision: String,
    pub(crate) schema: String,
    pub(crate) time: u64,
    v: u8,
}

impl PolicyLeaf {
    /// The policy of `revision`, with the hashes of its two texts.
    pub(crate) fn new(time: u64, revision: Sha256Digest, policy: Sha256Digest, schema: Sha256Digest) -> Self {
        Self {
            kind: "policy",
            policy: policy.to_hex(),
            revision: revision.to_hex(),
            schema: schema.to_hex(),
            time,
            v: FORMAT,
        }
    }
}

/// A store that had been put back was brought together with the log again (D17): what the log completed before this
/// leaf is done again in the store, or lost to it.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct RecoveryLeaf {
    kind: &'static str,
    /// Completed changes that could not be done again.
    pub(crate) lost: u64,
    pub(crate) principal: String,
    /// Changes that were done again, each with leaves of its own.
    pub(crate) reapplied: u64,
    pub(crate) time: u64,
    v: u8,
}

impl RecoveryLeaf {
    /// What `principal` had recovered.
    pub(crate) fn new(time: u64, principal: &Principal, reapplied: u64, lost: u64) -> Self {
        Self { kind: "recovery", lost, principal: principal.to_string(), reapplied, time, v: FORMAT }
    }
}

/// What was refused, `count` times between `first` and `last`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct RefusalLeaf {
    pub(crate) action: &'static str,
    pub(crate) count: u64,
    pub(crate) first: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) key: Option<String>,
    kind: &'static str,
    pub(crate) last: u64,
    pub(crate) principal: String,
    pub(crate) reason: &'static str,
    /// Of trust data: which repository it was about.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) repository: Option<String>,
    v: u8,
}

impl RefusalLeaf {
    /// One refusal.
    pub(crate) fn new(
        time: u64,
        principal: &Principal,
        action: &'static str,
        reason: &'static str,
        key: Option<KeyId>,
    ) -> Self {
        Self {
            action,
            count: 1,
            first: time,
            key: key.map(|id| id.to_string()),
            kind: "refusal",
            last: time,
            principal: principal.to_string(),
            reason,
            repository: None,
            v: FORMAT,
        }
    }
}

/// The daemon started.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct StartLeaf {
    kind: &'static str,
    pub(crate) time: u64,
    v: u8,
    /// The daemon's version.
    pub(crate) version: &'static str,
}

impl StartLeaf {
    /// A start now, of this version.
    pub(crate) const fn new(time: u64) -> Self {
        Self { kind: "start", time, v: FORMAT, version: env!("CARGO_PKG_VERSION") }
    }
}

impl Leaf {
    /// The exact bytes of the leaf.
    ///
    /// # Errors
    /// Only if a field cannot be written as JSON, which no field of ours can cause.
    pub(crate) fn to_bytes(&self) -> Result<Vec<u8>, serde_json::Error> {
        match self {
            Self::Init(leaf) => serde_json::to_vec(leaf),
            Self::Intent(leaf) => serde_json::to_vec(leaf),
            Self::Outcome(leaf) => serde_json::to_vec(leaf),
            Self::Policy(leaf) => serde_json::to_vec(leaf),
            Self::Recovery(leaf) => serde_json::to_vec(leaf),
            Self::Refusal(leaf) => serde_json::to_vec(leaf),
            Self::Start(leaf) => serde_json::to_vec(leaf),
        }
    }
}

#[cfg(test)]
mod tests;
