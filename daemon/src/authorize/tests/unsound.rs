//! Policies that are not taken.

use super::*;

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
