//! What a leaf says. Leaves are RFC 8785 JSON: fields in the order of their
//! names, integers only, no spaces. They carry key ids, not names (D16).

use serde::Serialize;
use trust::format::tuf::{Gun, Version};
use trust::{KeyId, KeyRef, Principal, Sha256Digest};

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

/// Many items under one leaf (D13).
#[derive(Debug, Clone, Serialize)]
pub(crate) struct BatchBody {
    pub(crate) count: u64,
    /// RFC 6962 root over the items' canonical statements, hexadecimal.
    pub(crate) root: String,
}

/// Why the signatures of a key count no more, and from which leaf on.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct DistrustBody {
    pub(crate) reason: &'static str,
    pub(crate) since_leaf: u64,
}

/// What is signed, in words.
#[derive(Debug, Clone, Default, Serialize)]
pub(crate) struct SubjectBody {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) digest: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) evidence: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) name: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) reference: Option<String>,
    /// Of a release's source.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) revision: Option<String>,
    /// Decimal text: a size may be larger than JSON's exact integers.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) size: Option<String>,
    #[serde(rename = "type")]
    pub(crate) kind: &'static str,
    /// Of a release, or of a file of trust data; of its deletion, of its last timestamp.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) version: Option<String>,
}

impl SubjectBody {
    /// The type of trust data that the daemon publishes.
    pub(crate) const TRUST_DATA: &str = "tuf";
    /// The type of trust data that is published elsewhere, and only signed here: others number its versions.
    pub(crate) const TRUST_DATA_ELSEWHERE: &str = "tuf-elsewhere";

    /// Of a repository that is deleted: the highest version that its timestamp ever had.
    pub(crate) fn deletion(gun: &Gun, timestamp: Option<Version>) -> Self {
        Self {
            reference: Some(gun.to_string()),
            kind: Self::TRUST_DATA,
            version: timestamp.map(|version| version.number().to_string()),
            ..Self::default()
        }
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

    /// The end of a completed change of a key: the key with its newest version, and its epoch, afterwards.
    pub(crate) fn of_key(time: u64, intent: u64, newest: KeyRef, epoch: u64) -> Self {
        Self {
            epoch: Some(epoch),
            key: Some(newest.id.to_string()),
            version: Some(newest.version.number()),
            ..Self::new(time, intent, Ended::Done)
        }
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
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn everything() -> Vec<Leaf> {
        let principal = Principal::LocalUid(1000);
        let mut intent = IntentLeaf::new(7, &principal);
        intent.name_key(KeyRef { id: KeyId::from_bytes([7; 16]), version: trust::KeyVersion::FIRST });
        intent.algorithm = Some("ed25519");
        intent.batch = Some(BatchBody { count: 2, root: "00".into() });
        intent.custodian = Some("hsm".into());
        intent.destroy_at = Some(9);
        intent.distrust = Some(DistrustBody { reason: "superseded", since_leaf: 2 });
        intent.epoch = Some(1);
        intent.forms = vec!["bundle", "sig"];
        intent.operation = "sign";
        intent.policies = vec!["policy0".into()];
        intent.policy_revision = Some("11".into());
        intent.preimages = vec!["22".into()];
        intent.purpose = Some("image");
        intent.retry_of = Some(3);
        intent.subject = Some(SubjectBody {
            digest: Some("sha256:33".into()),
            evidence: Some("shown"),
            name: Some("a \"file\"\u{1}\u{7f}\u{e9}\u{1f600}".into()),
            reference: Some("r.example/a:1".into()),
            revision: Some("9f2c".into()),
            size: Some(u64::MAX.to_string()),
            kind: "image",
            version: Some("1.0".into()),
        });
        let mut outcome = OutcomeLeaf::new(8, 1, Ended::Done);
        outcome.epoch = Some(2);
        outcome.failed = vec![1];
        outcome.key = Some("44".into());
        outcome.reason = Some("late".into());
        outcome.signatures = vec!["55".into()];
        outcome.spki = Some("66".into());
        outcome.version = Some(2);
        let mut refusal = RefusalLeaf::new(3, &principal, "sign-image", "denied", Some(KeyId::from_bytes([8; 16])));
        refusal.repository = Some("r.example/a".into());
        let hash = Sha256Digest::of(b"x");
        vec![
            Leaf::Init(InitLeaf::new(1, "log.example", &[1; 16], Some("cited\nlines\n".into()))),
            Leaf::Intent(intent),
            Leaf::Outcome(outcome),
            Leaf::Policy(PolicyLeaf::new(2, hash, hash, hash)),
            Leaf::Recovery(RecoveryLeaf::new(3, &principal, 1, 2)),
            Leaf::Refusal(refusal),
            Leaf::Start(StartLeaf::new(4)),
        ]
    }

    /// Sorts every object's names, as RFC 8785 §3.2.3 does for ASCII names.
    fn sorted(value: &serde_json::Value) -> String {
        match value {
            serde_json::Value::Object(map) => {
                let fields: BTreeMap<_, _> = map.iter().collect();
                let fields: Vec<_> = fields
                    .iter()
                    .map(|(name, value)| format!("{}:{}", serde_json::to_string(name).unwrap(), sorted(value)))
                    .collect();
                format!("{{{}}}", fields.join(","))
            }
            serde_json::Value::Array(items) => {
                format!("[{}]", items.iter().map(sorted).collect::<Vec<_>>().join(","))
            }
            other => other.to_string(),
        }
    }

    #[test]
    fn every_leaf_is_canonical_and_says_its_kind_and_format() {
        for leaf in everything() {
            let bytes = leaf.to_bytes().unwrap();
            let value: serde_json::Value = serde_json::from_slice(&bytes).unwrap();

            assert_eq!(String::from_utf8(bytes).unwrap(), sorted(&value));
            assert_eq!(value["v"], 1);
            assert!(value["kind"].is_string());
        }
    }

    #[test]
    fn control_characters_are_written_as_the_standard_has_them() {
        let Leaf::Intent(leaf) = &everything()[1] else { unreachable!() };

        let text = serde_json::to_string(&leaf.subject).unwrap();

        assert!(text.contains("\"a \\\"file\\\"\\u0001\u{7f}\u{e9}\u{1f600}\""), "{text}");
    }
}
