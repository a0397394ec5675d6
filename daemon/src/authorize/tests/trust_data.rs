//! Questions about repositories of trust data.

use super::*;

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
fn what_was_allowed_once_is_asked_again_under_another_policy() {
    const READ: &str = "permit (principal, action == Action::\"read-trust\", resource);";
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), READ).unwrap();
    let authorizer = Authorizer::load(PolicySource::File(file.path().to_owned())).unwrap();
    let who = Principal::LocalUid(1);
    let ask = |who: &Principal, action| authorizer.decide_plainly_on(who, action, &gun()).0;
    let denied = |denial| Decision::Deny(denial);

    let first = ask(&who, Action::ReadTrust);
    assert!(matches!(&first, Decision::Allow(grounds) if grounds.revision == authorizer.revision()), "{first:?}");
    assert_eq!(ask(&who, Action::ReadTrust), first);
    // Of another action, and of somebody else, nothing was said.
    assert_eq!(ask(&who, Action::DeleteTrust), denied(Denial::NotPermitted));

    std::fs::write(file.path(), format!("{READ}\nforbid (principal == LocalUid::\"1\", action, resource);")).unwrap();
    assert!(authorizer.reload().unwrap());
    assert_eq!(ask(&who, Action::ReadTrust), denied(Denial::Forbidden));
    assert!(matches!(ask(&Principal::LocalUid(2), Action::ReadTrust), Decision::Allow(_)));

    std::fs::write(file.path(), READ).unwrap();
    assert!(authorizer.reload().unwrap());
    assert_eq!(ask(&who, Action::ReadTrust), first);
}
