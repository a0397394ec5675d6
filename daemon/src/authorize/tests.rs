//! What policies say.

mod documents;
mod trust_data;
mod unsound;

use cedar_policy::Entities;
use std::io::Write as _;
use std::path::PathBuf;

use trust::format::release::{FileDigests, FileName, Label, Release, ReleaseFile};
use trust::format::tuf::RoleName;
use trust::principal::{Name, RegistryAccount, SpiffeId};
use trust::{Algorithm, Form, KeyId, Purpose, Reference, Scope};

use super::*;
use crate::records::KeyRecord;

fn record(name: &str) -> KeyRecord {
    KeyRecord {
        id: KeyId::from_bytes([1; 16]),
        name: name.parse().unwrap(),
        purpose: Purpose::Image,
        algorithm: Algorithm::Ed25519,
        scope: Scope::new(Purpose::Image, vec!["r.example/acme/*".parse().unwrap()]).unwrap(),
        forms: vec![Form::Bundle, Form::Sig],
        created_at_unix_seconds: 0,
        token: None,
    }
}

fn release() -> Release {
    let digests =
        FileDigests { size_bytes: 7, sha256: Sha256Digest::of(b"file"), sha512: [0xff; 64], blake2b512: [0xff; 64] };
    let file = ReleaseFile::new(FileName::parse("app.tar").unwrap(), digests).unwrap();
    let label = |text| Some(Label::parse(text).unwrap());
    Release::new(vec![file], label("1.2.0"), label("9f2c")).unwrap()
}

fn from_text(text: &str) -> Result<Authorizer, PolicyError> {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(text.as_bytes()).unwrap();
    Authorizer::load(PolicySource::File(file.path().to_owned()))
}

fn faults(text: &str) -> Vec<String> {
    from_text(text).err().unwrap().faults().collect()
}

/// Asks about an action with everything its context needs.
fn ask(authorizer: &Authorizer, principal: &Principal, action: Action, evidence: Evidence) -> Decision {
    let record = record("acme/release");
    let key = action.is_on_key().then_some(KeyFacts::Known(&record));
    let reference = Reference::parse("r.example/acme/app:1.0").unwrap();
    let digest = Sha256Digest::of(b"manifest");
    let release = release();
    let publication = PublicationFacts { role: &RoleName::Root, version: Some(1), sent: &[], is_new: true };
    let gun = gun();
    let speakers = SpeakerFacts::default();
    let metadata = metadata((&gun, &RoleName::Root), "init", &[], &speakers);
    let statement = match action {
        Action::SignImage => Some(StatementFacts::Image { reference: &reference, shown: Some((&digest, evidence)) }),
        Action::SignRelease => Some(StatementFacts::Release { file: &release.files()[0], release: &release }),
        Action::SignBlob => Some(StatementFacts::Blob { name: "file", size: 7, digest: &digest }),
        Action::Publish => Some(StatementFacts::Publication(&publication)),
        Action::SignMetadata => Some(StatementFacts::Metadata(&metadata)),
        Action::SignRaw => Some(StatementFacts::Raw),
        Action::SignTrust => Some(StatementFacts::Elsewhere { role: &RoleName::Timestamp, version: Some(1) }),
        _ => None,
    };
    let request = RequestFacts { statement, forms: &[Form::Sig], items: 1 };
    if action.is_on_gun() {
        return authorizer.decide_on(principal, action, &gun, &request).0;
    }
    authorizer.decide(principal, action, key.as_ref(), &request)
}

fn allows(authorizer: &Authorizer, uid: u32, action: Action) -> bool {
    matches!(ask(authorizer, &Principal::LocalUid(uid), action, Evidence::Shown), Decision::Allow(_))
}

#[test]
fn by_default_root_may_all_but_sign_raw_and_others_may_look() {
    let authorizer = Authorizer::load(PolicySource::Default).unwrap();

    for action in Action::ALL {
        assert_eq!(allows(&authorizer, 0, action), action != Action::SignRaw, "root: {}", action.name());
        let looks = matches!(
            action,
            Action::ListTrust | Action::ReadLog | Action::ReadStatus | Action::ReadTrust | Action::Verify
        );
        assert_eq!(allows(&authorizer, 1000, action), looks, "1000: {}", action.name());
    }
}

#[test]
fn without_a_configuration_the_owner_administers_too() {
    let authorizer = Authorizer::load(PolicySource::DefaultFor(1000)).unwrap();

    for action in Action::ALL {
        assert_eq!(allows(&authorizer, 1000, action), action != Action::SignRaw, "{}", action.name());
    }
    assert!(!allows(&authorizer, 1001, Action::SignImage));
}

#[test]
fn a_claimed_digest_is_denied_even_to_root() {
    let authorizer = Authorizer::load(PolicySource::Default).unwrap();

    let decision = ask(&authorizer, &Principal::LocalUid(0), Action::SignImage, Evidence::Claimed);

    assert_eq!(decision, Decision::Deny(Denial::Forbidden));
}

#[test]
fn the_grounds_name_the_policy_and_its_revision() {
    let authorizer = Authorizer::load(PolicySource::Default).unwrap();

    let Decision::Allow(grounds) = ask(&authorizer, &Principal::LocalUid(0), Action::SignImage, Evidence::Shown) else {
        panic!("denied")
    };

    assert_eq!(grounds.policies, ["root-administers"]);
    assert_eq!(grounds.revision, authorizer.revision());
}

#[test]
fn an_error_in_any_policy_denies_what_another_permits() {
    // Sound by its types, and overflows when it is evaluated.
    let authorizer = from_text(
        "permit (principal, action, resource);\n\
         forbid (principal, action == Action::\"sign-blob\", resource) when { context.file_size * 9223372036854775807 > 1 };",
    )
    .unwrap();

    let decision = ask(&authorizer, &Principal::LocalUid(0), Action::SignBlob, Evidence::Shown);

    assert_eq!(decision, Decision::Deny(Denial::Error));
    assert!(allows(&authorizer, 0, Action::SignImage));
}

#[test]
fn a_policy_sees_what_is_signed_and_with_which_key() {
    let authorizer = from_text(
        "permit (principal is Spiffe, action == Action::\"sign-image\", resource) when {\n\
           principal.trust_domain == \"acme.example\" && principal.path like \"/ci/*\" &&\n\
           resource.name == \"acme/release\" && resource.scope.contains(\"r.example/acme/*\") &&\n\
           resource.algorithm == \"ed25519\" && resource.purpose == \"image\" && resource.binds_name &&\n\
           context.repository == \"r.example/acme/app\" && context.registry == \"r.example\" &&\n\
           context.tag == \"1.0\" && context.digest like \"sha256:*\" && context.evidence == \"shown\" &&\n\
           context.forms.contains(\"sig\") && context.items == 1 && context.statement_type == \"image\" };",
    )
    .unwrap();
    let ci = |text: &str| Principal::Spiffe(SpiffeId::parse(text).unwrap());

    let allowed =
        |who: &Principal| matches!(ask(&authorizer, who, Action::SignImage, Evidence::Shown), Decision::Allow(_));

    assert!(allowed(&ci("spiffe://acme.example/ci/build")));
    assert!(!allowed(&ci("spiffe://evil.example/ci/build")));
    assert!(!allowed(&ci("spiffe://acme.example/people/eve")));
    assert!(!allowed(&Principal::LocalUid(0)));
}

#[test]
fn a_policy_sees_name_version_revision_and_forms_of_a_release() {
    let policy = |version: &str| {
        from_text(&format!(
            "permit (principal, action == Action::\"sign-release\", resource) when {{\n\
               context.file_name == \"app.tar\" && context.file_size == 7 && context.digest like \"sha256:*\" &&\n\
               context.version == \"{version}\" && context.source_revision == \"9f2c\" &&\n\
               context.forms.contains(\"sig\") && context.items == 1 && context.statement_type == \"release\" }};"
        ))
        .unwrap()
    };

    assert!(allows(&policy("1.2.0"), 7, Action::SignRelease));
    assert!(!allows(&policy("1.3.0"), 7, Action::SignRelease));
}

#[test]
fn whoever_may_get_a_name_may_ask_whether_it_is_there() {
    let authorizer = from_text(
        "permit (principal, action == Action::\"get-key\", resource) when { resource.name like \"acme/*\" };",
    )
    .unwrap();
    let get = |name| {
        let key = KeyFacts::Unknown(name);
        let decision = authorizer.decide(&Principal::LocalUid(7), Action::GetKey, Some(&key), &RequestFacts::default());
        matches!(decision, Decision::Allow(_))
    };

    assert!(get("acme/nobody-made-it"));
    assert!(!get("other/key"));
}

#[test]
fn a_policy_of_many_rules_cites_few() {
    let authorizer = from_text(&"permit (principal, action, resource);\n".repeat(500)).unwrap();

    let Decision::Allow(grounds) = ask(&authorizer, &Principal::LocalUid(0), Action::SignImage, Evidence::Shown) else {
        panic!("denied")
    };

    assert_eq!(grounds.policies.len(), NAMED_MAX);
}

#[test]
fn every_question_is_one_that_the_schema_knows() {
    let policy = Policy::load(&PolicySource::Default).unwrap();
    let (schema, _) = cedar_policy::Schema::from_cedarschema_str(policy.texts().1).unwrap();
    let record = record("acme/release");
    let reference = Reference::parse("r.example/acme/app:1.0").unwrap();
    let digest = Sha256Digest::of(b"manifest");
    let release = release();

    let (gun, role) = (gun(), RoleName::Targets);
    let publication = PublicationFacts { role: &role, version: Some(2), sent: &[RoleName::Targets], is_new: true };
    let targets = ["1.0".to_owned()];
    let speakers = SpeakerFacts {
        roles: vec!["targets/releases".to_owned()],
        keys_in: vec!["0a".repeat(32)],
        keys_out: vec!["0b".repeat(32)],
        keys_elsewhere: true,
        paths: vec![String::new()],
        threshold: u32::MAX,
    };
    let metadata = metadata((&gun, &role), "delegate", &targets, &speakers);
    let known = [Principal::LocalUid(7), Principal::Spiffe(SpiffeId::parse("spiffe://a.example/b").unwrap())];

    for principal in known.into_iter().chain(notary_clients()) {
        // Those of the Notary listener reach what is about trust data, and the making of keys for it.
        let reaches = |action: &Action| {
            !matches!(principal, Principal::Anonymous(_) | Principal::RegistryAccount(_))
                || (action.is_on_gun() && !matches!(action, Action::AdoptTrust | Action::SignTrust))
                || matches!(action, Action::CreateKey | Action::ListTrust)
        };
        for action in Action::ALL.into_iter().filter(reaches) {
            let statement = match action {
                Action::SignImage => Some(StatementFacts::Image { reference: &reference, shown: None }),
                Action::SignBlob => Some(StatementFacts::Blob { name: "file", size: u64::MAX, digest: &digest }),
                Action::Publish => Some(StatementFacts::Publication(&publication)),
                Action::SignMetadata => Some(StatementFacts::Metadata(&metadata)),
                Action::SignRaw => Some(StatementFacts::Raw),
                Action::SignTrust => Some(StatementFacts::Elsewhere { role: &role, version: None }),
                Action::SignRelease => Some(StatementFacts::Release { file: &release.files()[0], release: &release }),
                _ => None,
            };
            let facts = RequestFacts { statement, forms: &[Form::Sig], items: 1 };
            for key in [KeyFacts::Known(&record), KeyFacts::Unknown("acme/none")] {
                let key = action.is_on_key().then_some(&key);
                let who = facts::principal(&principal).unwrap();
                let what = match key {
                    Some(key) => facts::key(key).unwrap(),
                    None if action.is_on_gun() => facts::gun(&gun).unwrap(),
                    None => facts::daemon(),
                };
                let context = Context::from_pairs(facts::context(action, &facts)).unwrap();

                let asked = Request::new(who.uid(), action.uid(), what.uid(), context, Some(&schema));
                let known = Entities::from_entities([who, what], Some(&schema));

                assert!(asked.is_ok() && known.is_ok(), "{}: {:?} {:?}", action.name(), asked.err(), known.err());
            }
        }
    }
}

fn metadata<'a>(
    (gun, role): (&'a Gun, &'a RoleName),
    operation: &'static str,
    targets: &'a [String],
    speakers: &'a SpeakerFacts,
) -> MetadataFacts<'a> {
    MetadataFacts { gun, role, operation, targets, is_approval: false, speakers }
}

fn gun() -> Gun {
    "r.example/acme/app".parse().unwrap()
}

fn notary_clients() -> [Principal; 2] {
    let account = RegistryAccount::new("auth.example", "alice").unwrap();
    [Principal::Anonymous(Name::parse("notary").unwrap()), Principal::RegistryAccount(account)]
}

#[test]
fn a_policy_sees_where_a_key_is() {
    let authorizer = from_text(
        "permit (principal, action == Action::\"create-key\", resource) when { resource.custodian == \"hsm\" };\n\
         permit (principal, action == Action::\"get-key\", resource) when { resource.custodian == \"software\" };",
    )
    .unwrap();
    let software = record("acme/release");
    let in_token = KeyRecord { token: Some("hsm".parse().unwrap()), ..software.clone() };
    let allows = |action, key| {
        let decision = authorizer.decide(&Principal::LocalUid(1), action, Some(&key), &RequestFacts::default());
        matches!(decision, Decision::Allow(_))
    };

    assert!(allows(Action::CreateKey, KeyFacts::New(&in_token)) && !allows(Action::GetKey, KeyFacts::New(&in_token)));
    assert!(allows(Action::GetKey, KeyFacts::New(&software)) && !allows(Action::CreateKey, KeyFacts::New(&software)));
    assert!(!allows(Action::GetKey, KeyFacts::Unknown("acme/release")));
}
