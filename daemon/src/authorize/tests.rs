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
fn a_policy_that_nests_too_deeply_is_refused_before_cedar_reads_it() {
    let when = |condition: &str| format!("permit (principal, action, resource) when {{ {condition} }};");
    let nested = |depth: usize| when(&format!("{}true{}", "(".repeat(depth), ")".repeat(depth)));
    let ifs = |count: usize| when(&format!("{}true", "if context.items == 1 then true else ".repeat(count)));

    for text in [nested(500), nested(60_000), ifs(5000), when(&["context.items > 0"; 3000].join(" || "))] {
        let faults = faults(&text);
        assert!(faults.len() == 1 && faults[0].contains("more than"), "{faults:?}");
    }
}

#[test]
fn what_may_nest_overflows_no_stack_where_it_is_decided() {
    let when = |condition: &str| {
        format!("permit (principal, action == Action::\"sign-image\", resource) when {{ {condition} }};")
    };
    let parens = when(&format!("{}true{}", "(".repeat(30), ")".repeat(30)));
    let ifs = |count: usize| when(&format!("{}true", "if context.items == 7 then false else ".repeat(count)));
    let chain = |count: usize| when(&format!("{}true", "context.items == 7 || ".repeat(count)));
    let sum = |count: usize| when(&format!("1{} > 0", " + context.items".repeat(count)));

    // Cedar denies what its own bound of the stack does not let it decide; how much that is, is not looked at here.
    for text in [parens, ifs(10), ifs(32), chain(50), chain(1300), sum(2000)] {
        let run = move || {
            let authorizer = from_text(&text).unwrap();
            allows(&authorizer, 7, Action::SignImage);
        };
        std::thread::Builder::new().stack_size(2 << 20).spawn(run).unwrap().join().unwrap();
    }
}

#[test]
fn a_policy_file_that_is_not_there_is_a_fault() {
    let error = Authorizer::load(PolicySource::File(PathBuf::from("/nonexistent/policy.cedar"))).err().unwrap();

    assert_eq!(error.faults().count(), 1);
}

#[test]
fn what_is_sound_cedar_and_cannot_be_meant_is_a_fault() {
    let two = "@id(\"one\") permit (principal, action, resource);\n@id(\"one\") forbid (principal, action, resource);";
    let long = format!("@id(\"{}\") permit (principal, action, resource);", "x".repeat(65));
    for (sin, text, word) in [
        ("empty", "// nothing\n", "no policy"),
        ("a template", "permit (principal == ?principal, action, resource);", "template"),
        ("two of one name", two, "two policies"),
        ("a long name", &long, "64"),
        ("never true", "permit (principal is LocalUid, action, resource) when { principal is Spiffe };", "policy"),
    ] {
        let found = faults(text);

        assert!(found.iter().any(|fault| fault.contains(word)), "{sin}: {found:?}");
    }
}

#[test]
fn a_policy_that_everybody_may_write_is_refused() {
    use std::os::unix::fs::PermissionsExt as _;
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(b"permit (principal, action, resource);").unwrap();
    std::fs::set_permissions(file.path(), std::fs::Permissions::from_mode(0o666)).unwrap();

    let error = Authorizer::load(PolicySource::File(file.path().to_owned())).err().unwrap();

    assert!(error.to_string().contains("chmod o-w"), "{error}");
}

#[test]
fn a_policy_of_many_rules_cites_few() {
    let authorizer = from_text(&"permit (principal, action, resource);\n".repeat(500)).unwrap();

    let Decision::Allow(grounds) = ask(&authorizer, &Principal::LocalUid(0), Action::SignImage, Evidence::Shown) else {
        panic!("denied")
    };

    assert_eq!(grounds.policies.len(), NAMED_MAX);
}

/// A document or packaged file of the checkout.
fn text_of(path: &str) -> String {
    std::fs::read_to_string(PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("..").join(path)).unwrap()
}

fn samples(document: &str) -> Vec<String> {
    text_of(document).split("```cedar\n").skip(1).map(|rest| rest.split("```").next().unwrap().to_owned()).collect()
}

#[test]
fn every_sample_of_the_documents_loads() {
    let samples =
        [samples("docs/policy.md"), samples("docs/permissions.md"), samples("docs/content-trust.md")].concat();

    assert!(samples.len() >= 6, "{}", samples.len());
    for sample in samples {
        from_text(&sample).unwrap_or_else(|error| panic!("{error}\n{sample}"));
    }
}

#[test]
fn the_packaged_policy_and_the_documented_one_are_the_default() {
    let bare = |text: &str| -> Vec<String> {
        let lines = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with("//"));
        lines.map(ToOwned::to_owned).collect()
    };
    let default = bare(Authorizer::load(PolicySource::Default).unwrap().policy().texts().0);

    assert_eq!(bare(&text_of("packaging/policy.cedar")), default);
    assert_eq!(bare(&samples("docs/policy.md")[0]), default);
}

#[test]
fn the_example_in_the_packaged_policy_loads_when_its_comment_goes() {
    let text = text_of("packaging/policy.cedar");
    let example = text.split("// @id(").nth(1).unwrap().lines().map(|line| line.trim_start_matches("//"));

    let example = format!("@id({}", example.collect::<Vec<_>>().join("\n"));

    assert!(example.contains("team/release"), "{example}");
    from_text(&example).unwrap_or_else(|error| panic!("{error}\n{example}"));
}

#[test]
fn the_document_names_every_action_and_attribute() {
    let document = text_of("docs/policy.md");
    let policy = Policy::load(&PolicySource::Default).unwrap();
    let (_, schema) = policy.texts();
    let attributes = schema.lines().filter_map(|line| line.trim().split_once(": ")).filter_map(|(name, kind)| {
        let is_attribute = ["String", "Long", "Bool", "Set<"].iter().any(|known| kind.starts_with(known));
        is_attribute.then(|| name.trim_start_matches("context: { ").to_owned())
    });
    let names: Vec<String> = attributes.chain(Action::ALL.iter().map(|action| action.name().to_owned())).collect();

    assert!(names.len() > 35, "{names:?}");
    let missing: Vec<&String> = names.iter().filter(|name| !document.contains(&format!("`{name}`"))).collect();
    assert_eq!(missing, Vec::<&String>::new());
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

#[test]
fn a_policy_decides_by_whose_keys_come_into_which_roles_for_which_names() {
    let alice = || SpeakerFacts {
        roles: vec!["targets/alice".to_owned(), "targets/releases".to_owned()],
        keys_in: vec!["0a".repeat(32)],
        paths: vec![String::new()],
        threshold: 1,
        ..SpeakerFacts::default()
    };
    let prod = |paths: &[&str], threshold| SpeakerFacts {
        roles: vec!["targets/prod".to_owned()],
        paths: paths.iter().map(|path| (*path).to_owned()).collect(),
        threshold,
        ..SpeakerFacts::default()
    };
    let others = || SpeakerFacts { keys_elsewhere: true, ..alice() };
    let leaving = || SpeakerFacts { keys_out: vec!["0b".repeat(32)], ..alice() };
    let comes = format!("context.keys_in.contains(\"{}\")", "0a".repeat(32));
    let goes = format!("context.keys_out.contains(\"{}\")", "0b".repeat(32));
    // Each rule with what it refuses, and what it lets pass.
    for (rule, is_approval, refused, passes) in [
        ("context.roles.contains(\"targets/releases\")", false, alice(), prod(&["v"], 1)),
        (comes.as_str(), false, alice(), prod(&["v"], 1)),
        (goes.as_str(), false, leaving(), alice()),
        ("context.keys_elsewhere", false, others(), alice()),
        ("context.paths.contains(\"\")", false, prod(&["v", ""], 2), prod(&["v"], 2)),
        ("context.roles.contains(\"targets/prod\") && context.threshold < 2", false, prod(&["v"], 0), prod(&["v"], 2)),
        ("context.is_approval && context.roles.contains(\"targets/prod\")", true, prod(&["v"], 2), alice()),
    ] {
        let text = format!(
            "permit (principal, action, resource);\n\
             forbid (principal, action == Action::\"sign-metadata\", resource) when {{ {rule} }};"
        );
        let authorizer = from_text(&text).unwrap();
        let (gun, record) = (gun(), record("acme/targets"));
        let decide = |speakers: &SpeakerFacts| {
            let facts = metadata((&gun, &RoleName::Targets), "delegate", &[], speakers);
            let facts = MetadataFacts { is_approval, ..facts };
            let request = RequestFacts { statement: Some(StatementFacts::Metadata(&facts)), ..RequestFacts::default() };
            let key = KeyFacts::Known(&record);
            authorizer.decide(&Principal::LocalUid(7), Action::SignMetadata, Some(&key), &request)
        };

        assert_eq!(decide(&refused), Decision::Deny(Denial::Forbidden), "{rule}");
        assert!(matches!(decide(&passes), Decision::Allow(_)), "{rule}");
    }
}

fn gun() -> Gun {
    "r.example/acme/app".parse().unwrap()
}

fn notary_clients() -> [Principal; 2] {
    let account = RegistryAccount::new("auth.example", "alice").unwrap();
    [Principal::Anonymous(Name::parse("notary").unwrap()), Principal::RegistryAccount(account)]
}

#[test]
fn without_a_policy_of_ones_own_strangers_publish_and_only_accounts_delete() {
    let authorizer = Authorizer::load(PolicySource::Default).unwrap();
    let [anonymous, account] = notary_clients();
    let publication = PublicationFacts { role: &RoleName::Root, version: Some(1), sent: &[], is_new: true };
    let publishing =
        RequestFacts { statement: Some(StatementFacts::Publication(&publication)), ..RequestFacts::default() };
    let nothing = RequestFacts::default();
    let allows = |who: &Principal, action, facts: &RequestFacts<'_>| {
        matches!(authorizer.decide_on(who, action, &gun(), facts).0, Decision::Allow(_))
    };
    let makes = |who: &Principal, purpose| {
        let record = KeyRecord { purpose, ..record("acme/release") };
        let decision = authorizer.decide(who, Action::CreateKey, Some(&KeyFacts::New(&record)), &nothing);
        matches!(decision, Decision::Allow(_))
    };

    for who in [&anonymous, &account] {
        assert!(allows(who, Action::Publish, &publishing) && allows(who, Action::ReadTrust, &nothing));
        assert!(makes(who, Purpose::Timestamp) && makes(who, Purpose::Snapshot) && !makes(who, Purpose::Image));
    }
    for action in [Action::DeleteTrust, Action::RotateTrustKey] {
        assert!(allows(&account, action, &nothing) && !allows(&anonymous, action, &nothing));
    }
    assert!(!allows(&Principal::LocalUid(1000), Action::Publish, &publishing));
}

#[test]
fn what_a_policy_says_when_it_forbids_reaches_whoever_is_refused() {
    let authorizer = from_text(
        "permit (principal, action, resource);\n\
         @message(\"the freeze ends on Monday\")\n\
         forbid (principal, action == Action::\"publish\", resource) when { context.role == \"targets\" };\n\
         forbid (principal, action == Action::\"publish\", resource) when { context.version > 7 };",
    )
    .unwrap();
    let ask = |role: &RoleName, version| {
        let publication = PublicationFacts { role, version: Some(version), sent: &[], is_new: false };
        let statement = Some(StatementFacts::Publication(&publication));
        let facts = RequestFacts { statement, ..RequestFacts::default() };
        authorizer.decide_on(&Principal::LocalUid(1), Action::Publish, &gun(), &facts)
    };
    let denied = Decision::Deny(Denial::Forbidden);

    assert_eq!(ask(&RoleName::Targets, 1), (denied.clone(), Some("the freeze ends on Monday".to_owned())));
    assert_eq!(ask(&RoleName::Root, 8), (denied, None));
    assert!(matches!(ask(&RoleName::Root, 1), (Decision::Allow(_), None)));
}

#[test]
fn words_that_nobody_would_read_are_refused() {
    let long = format!("@message(\"{}\") forbid (principal, action, resource);", "a".repeat(301));
    for text in [
        "@message(\"hello\") permit (principal, action, resource);",
        &long,
        "@message(\"\") forbid (principal, action, resource);",
    ] {
        assert!(from_text(text).err().unwrap().to_string().contains("@message"), "{text}");
    }
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
