//! Delegations: in which order they are asked, for which paths, and where it ends.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use trust::Sha256Digest;
use trust::format::tuf::standard::{Client, Distrust, Finding};

use super::house::{House, TestKey, delegation, file, keys, role, targets};

/// Answers what a client asks from these files until it knows.
fn find(client: &mut Client, files: &BTreeMap<&str, Vec<u8>>, path: &str) -> Result<(Finding, Vec<String>), Distrust> {
    let mut asked = Vec::new();
    loop {
        match client.find(path)? {
            Finding::Needs { role, parent, .. } => {
                client.take_targets(&role, &parent, &files[role.as_str()])?;
                asked.push(role);
            }
            found => return Ok((found, asked)),
        }
    }
}

#[test]
fn delegations_are_asked_in_order_and_a_terminating_one_is_the_last() {
    let house = House::new();
    let [a, b] = [21, 22].map(TestKey::new);
    let named = [("targets", 1), ("a", 1), ("b", 1)];
    let top = |terminating| {
        let mut signed = targets(1, &["x"]);
        let roles = [delegation("a", &a, terminating), delegation("b", &b, false)];
        signed["delegations"] = json!({"keys": keys(&[&a, &b]), "roles": roles});
        file(&signed, &[&house.targets])
    };
    let files = |terminating| {
        BTreeMap::from([
            ("targets", top(terminating)),
            ("a", file(&targets(1, &[]), &[&a])),
            ("b", file(&targets(1, &["d/1", "e/1"]), &[&b])),
        ])
    };

    let (found, asked) = find(&mut house.ready(&named), &files(false), "d/1").unwrap();
    assert!(matches!(found, Finding::Target(_)));
    assert_eq!(asked, ["targets", "a", "b"]);
    let (found, asked) = find(&mut house.ready(&named), &files(true), "d/1").unwrap();
    assert_eq!((found, asked.len()), (Finding::NotSigned, 2));
    // It signs for what is not its to sign.
    let (found, asked) = find(&mut house.ready(&named), &files(false), "e/1").unwrap();
    assert_eq!((found, asked.len()), (Finding::NotSigned, 1));
    let hidden = find(&mut house.ready(&named[..2]), &files(false), "d/1").unwrap_err();
    assert_eq!(hidden, Distrust::Hidden("b".to_owned()));
    let forged = BTreeMap::from([("targets", top(false)), ("a", file(&targets(1, &["d/1"]), &[&b]))]);
    let refused = find(&mut house.ready(&named), &forged, "d/1").unwrap_err();
    assert_eq!(refused, Distrust::NotSigned("a".to_owned()));
}

#[test]
fn a_role_in_a_diamond_is_verified_under_whoever_leads_to_it() {
    let house = House::new();
    let [a, b, own, other] = [21, 22, 23, 24].map(TestKey::new);
    let named = [("targets", 1), ("a", 1), ("b", 1), ("shared", 1)];
    let patterned = |name: &str, key: &TestKey, pattern: &str| {
        let mut line = delegation(name, key, false);
        line["paths"] = json!([pattern]);
        line
    };
    let mut top = targets(1, &[]);
    top["delegations"] =
        json!({"keys": keys(&[&a, &b]), "roles": [patterned("a", &a, "d/1"), patterned("b", &b, "d/2")]});
    let below = |shared: &TestKey, signer: &TestKey| {
        let mut signed = targets(1, &[]);
        signed["delegations"] = json!({"keys": keys(&[shared]), "roles": [delegation("shared", shared, false)]});
        file(&signed, &[signer])
    };
    let files = BTreeMap::from([
        ("targets", file(&top, &[&house.targets])),
        ("a", below(&own, &a)),
        ("b", below(&other, &b)),
        ("shared", file(&targets(1, &["d/1", "d/2"]), &[&own])),
    ]);
    let mut client = house.ready(&named);

    assert!(matches!(find(&mut client, &files, "d/1").unwrap().0, Finding::Target(_)));
    assert_eq!(find(&mut client, &files, "d/2").unwrap_err(), Distrust::NotSigned("shared".to_owned()));
}

#[test]
fn roles_that_delegate_in_a_circle_or_without_end_are_left() {
    let house = House::new();
    let key = TestKey::new(21);
    let names: Vec<String> = (0..40).map(|index| format!("r{index}")).collect();
    let mut named = vec![("targets", 1)];
    named.extend(names.iter().map(|name| (name.as_str(), 1)));
    let to = |signed: &mut Value, next: &str| {
        signed["delegations"] = json!({"keys": keys(&[&key]), "roles": [delegation(next, &key, false)]});
    };
    let mut files = BTreeMap::new();
    let mut top = targets(1, &[]);
    to(&mut top, "r0");
    files.insert("targets", file(&top, &[&house.targets]));
    for (index, name) in names.iter().enumerate() {
        let mut signed = targets(1, &[]);
        to(&mut signed, &names[(index + 1) % names.len()]);
        files.insert(name.as_str(), file(&signed, &[&key]));
    }

    let (found, asked) = find(&mut house.ready(&named), &files, "d/1").unwrap();

    assert_eq!((found, asked.len()), (Finding::NotSigned, 32));
}

#[test]
fn a_bin_signs_for_the_paths_whose_hashes_fall_into_it() {
    let house = House::new();
    let key = TestKey::new(21);
    let bin = format!("bin-{}", &Sha256Digest::of(b"d/1").to_hex()[..1]);
    let mut top = targets(1, &[]);
    let mut bins = role(&[&key], 1);
    bins["bit_length"] = json!(4);
    bins["name_prefix"] = json!("bin");
    top["delegations"] = json!({"keys": keys(&[&key]), "succinct_roles": bins});
    let files = BTreeMap::from([
        ("targets", file(&top, &[&house.targets])),
        (bin.as_str(), file(&targets(1, &["d/1"]), &[&key])),
    ]);

    let (found, asked) = find(&mut house.ready(&[("targets", 1), (&bin, 1)]), &files, "d/1").unwrap();

    assert!(matches!(found, Finding::Target(_)));
    assert_eq!(asked, ["targets", &bin]);
}
