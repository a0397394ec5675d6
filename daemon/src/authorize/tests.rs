#![expect(clippy::unwrap_used, clippy::panic, reason = "a test may fail")]

use std::io::Write as _;
use std::path::PathBuf;

use trust::principal::SpiffeId;
use trust::{Algorithm, Form, KeyId, Purpose, Reference, Scope};

use super::*;
use crate::records::KeyRecord;
use crate::statement::Evidence;

fn record(name: &str) -> KeyRecord {
    KeyRecord {
        id: KeyId::from_bytes([1; 16]),
        name: name.parse().unwrap(),
        purpose: Purpose::Image,
        algorithm: Algorithm::Ed25519,
        scope: Scope::new(Purpose::Image, vec!["r.example/acme/*".parse().unwrap()]).unwrap(),
        forms: vec![Form::Bundle, Form::Sig],
        created_at_unix_seconds: 0,
    }
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
    let statement = match action {
        Action::SignImage => Some(StatementFacts::Image { reference: &reference, shown: Some((&digest, evidence)) }),
        Action::SignBlob => Some(StatementFacts::Blob { name: "file", size: 7, digest: &digest }),
        Action::SignRaw => Some(StatementFacts::Raw),
        _ => None,
    };
    let request = RequestFacts { statement, forms: &[Form::Sig], items: 1 };
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
        let looks = matches!(action, Action::Verify | Action::ReadLog | Action::ReadStatus);
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
fn every_fault_of_a_policy_is_named_at_once() {
    let found = faults(
        "permit (principal, action == Action::\"fly\", resource);\n\
         permit (principal is Admiral, action, resource);\n\
         permit (principal, action == Action::\"sign-raw\", resource) when { context.repository == \"x\" };\n",
    );

    assert!(found.len() >= 3, "{found:?}");
    assert!(found.iter().any(|fault| fault.contains("fly")), "{found:?}");
    assert!(found.iter().any(|fault| fault.contains("Admiral")), "{found:?}");
    assert!(found.iter().any(|fault| fault.contains("repository")), "{found:?}");
}

#[test]
fn a_policy_that_does_not_parse_names_the_line() {
    let found = faults("permit (principal, action, resource);\n\npermit (principal, action resource);\n");

    assert!(found.iter().any(|fault| fault.contains("line 3")), "{found:?}");
}

#[test]
fn a_broken_policy_is_kept_out_and_the_old_one_decides() {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(b"permit (principal, action, resource);").unwrap();
    let authorizer = Authorizer::load(PolicySource::File(file.path().to_owned())).unwrap();
    let before = authorizer.revision();

    std::fs::write(file.path(), "permit (principal, action, resource) when { 1 };").unwrap();

    assert!(authorizer.reload().is_err());
    assert_eq!(authorizer.revision(), before);
    assert!(allows(&authorizer, 7, Action::SignImage));
    std::fs::write(file.path(), "forbid (principal, action, resource);").unwrap();
    assert!(authorizer.reload().unwrap());
    assert!(!allows(&authorizer, 7, Action::SignImage));
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
fn a_policy_file_that_is_not_there_is_a_fault() {
    let error = Authorizer::load(PolicySource::File(PathBuf::from("/nonexistent/policy.cedar"))).err().unwrap();

    assert_eq!(error.faults().count(), 1);
}
