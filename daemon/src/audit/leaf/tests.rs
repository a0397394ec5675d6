//! The exact bytes of leaves.

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
