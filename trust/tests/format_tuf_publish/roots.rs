//! Roots: their rules, the certificates of their keys, and how they are rotated.

use serde_json::{Value, json};
use trust::format::tuf::publish::Refusal;

use super::workshop::{self, Certificate, GUN, House, TestKey, certificate, entry, file, id_of};
use super::{NEW_REPOSITORY, changed, outdated, publish, refused, set};

const PATH: &str = "could not validate the path to a trusted root";

#[test]
fn a_root_that_breaks_a_rule_is_refused_in_notarys_words() {
    let house = House::new();
    let targets = house.signed_targets(1);
    let unknown = "0".repeat(64);
    let invalid = |why: &str| format!("root type metadata invalid: {why}");
    let next = |new: i64| format!("Root modifications must increment the version. Current 1, new {new}");
    let cases = [
        ("/version", json!(5), next(5)),
        ("/version", json!(0), next(0)),
        ("/version", json!(-1), next(-1)),
        ("/version", json!(0x7fff_ffff), next(0x7fff_ffff)),
        ("/version", Value::Null, next(0)),
        ("/_type", json!("root"), invalid("expected type Root, not root")),
        ("/roles/snapshot", Value::Null, invalid("missing snapshot role specification")),
        ("/roles/targets/threshold", json!(0), invalid("invalid threshold specified for targets: 0 ")),
        (
            "/roles/targets/keyids",
            json!([unknown]),
            invalid(&format!("key ID {unknown} specified in targets without corresponding key")),
        ),
        ("/expires", json!("2026-11-22T05:36:01Z"), "root expired at Sun Nov 22 05:36:01 UTC 2026".to_owned()),
        ("/expires", Value::Null, "root expired at Mon Jan 1 00:00:00 UTC 0001".to_owned()),
        ("/roles/root/threshold", json!(2), format!("{PATH}: failed to validate integrity of roots")),
    ];
    for (place, value, why) in cases {
        let mut signed = house.root_of(1);
        set(&mut signed, place, value);
        let root = file(&signed, &[&house.root]);

        let answer = refused(&NEW_REPOSITORY(), &[("root", &root), ("targets", &targets)]);

        assert_eq!(answer, (Some("ErrBadRoot"), why), "{place}");
    }
    assert_eq!(refused(&NEW_REPOSITORY(), &[("root", b"{}")]), (Some("ErrBadRoot"), next(0)));
}

#[test]
fn a_root_is_signed_by_its_own_keys() {
    let (house, stranger) = (House::new(), TestKey::root());
    let targets = house.signed_targets(1);
    let signed = house.root_of(1);
    let why = (Some("ErrBadRoot"), format!("{PATH}: failed to validate integrity of roots"));

    for root in [file(&signed, &[]), file(&signed, &[&stranger]), file(&signed, &[&house.targets])] {
        assert_eq!(refused(&NEW_REPOSITORY(), &[("root", &root), ("targets", &targets)]), why);
    }
}

#[test]
fn certificates_that_are_not_good_for_the_repository_are_passed_over() {
    let says = |name, years, ca| TestKey::certified(&Certificate { name, years, ca });
    let mut house = House::new();
    let targets = house.signed_targets(1);
    let mut attempt = |key: TestKey| {
        house.root = key;
        let root = house.signed_root(1);
        publish(&NEW_REPOSITORY(), &[("root", &root), ("targets", &targets)])
    };
    let none = Refusal::BadRoot(format!("{PATH}: unable to retrieve valid leaf certificates"));

    for name in [GUN, "registry.example.com/team/*", "registry.example.com/team/app*", "*"] {
        assert!(attempt(says(name, [2026, 2036], false)).is_ok(), "{name}");
    }
    for name in ["", "registry.example.com/team", "registry.example.com/*/app", "Registry.example.com/team/app"] {
        assert_eq!(attempt(says(name, [2026, 2036], false)).unwrap_err(), none, "{name}");
    }
    for (years, ca) in [([2020, 2026], false), ([2028, 2036], false), ([2036, 2026], false), ([2026, 2036], true)] {
        assert_eq!(attempt(says(GUN, years, ca)).unwrap_err(), none, "{years:?} {ca}");
    }
    assert_eq!(attempt(TestKey::p256()).unwrap_err(), none);
    assert_eq!(attempt(TestKey::ed25519(9)).unwrap_err(), none);
}

/// Good for the repository but for this; made with `openssl req -x509 -sha1 -subj '/CN=registry.example.com\/team\/app'`.
const SIGNED_WITH_SHA_1: &str = "\
-----BEGIN CERTIFICATE-----
MIIBoDCCAUegAwIBAgIUJ8qUfUjmay1Y61Dl06Rk7aApKQkwCQYHKoZIzj0EATAo
MSYwJAYDVQQDDB1yZWdpc3RyeS5leGFtcGxlLmNvbS90ZWFtL2FwcDAeFw0yNjEx
MjcwMTI2MzFaFw0zNjExMjQwMTI2MzFaMCgxJjAkBgNVBAMMHXJlZ2lzdHJ5LmV4
YW1wbGUuY29tL3RlYW0vYXBwMFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEKD7D
VIqAUwKy86J3+nCzPV8zTeK2qfxD4KBxBVV+w6n8a5C89nQQFGDaFNZYuNWz5s+N
Yeie1KbQY/YS05UeXaNQME4wHQYDVR0OBBYEFBm2gJ0xldTn9wwdBvUPOwtg8p3V
MB8GA1UdIwQYMBaAFBm2gJ0xldTn9wwdBvUPOwtg8p3VMAwGA1UdEwEB/wQCMAAw
CQYHKoZIzj0EAQNIADBFAiBOkVawgFwFlALdR0gFfGWukzkok+LG+lbyirGHM8X3
aQIhAK37JQ0YWN/E/bP/q1lMjYrGUilsGneJJcSb0KPXpnOi
-----END CERTIFICATE-----
";

#[test]
fn a_chain_has_one_leaf_and_that_comes_first() {
    let pair = rcgen::KeyPair::generate().unwrap();
    let leaf = certificate(&Certificate { name: GUN, years: [2026, 2036], ca: false }, &pair);
    let ca = certificate(&Certificate { name: "authority", years: [2020, 2021], ca: true }, &pair);
    let house = House::new();
    let targets = house.signed_targets(1);
    let attempt = |pem: String| {
        let entry = entry("ecdsa-x509", pem.as_bytes());
        let id = id_of(&entry);
        let mut signed = house.root_of(1);
        signed["keys"][&id] = entry;
        signed["roles"]["root"]["keyids"] = json!([id]);
        let root = file(&signed, &[&house.root]);
        refused(&NEW_REPOSITORY(), &[("root", &root), ("targets", &targets)]).1
    };
    let (unsigned, none) = ("failed to validate integrity of roots", "unable to retrieve valid leaf certificates");

    for (pem, why) in [
        (leaf.clone(), unsigned),
        (format!("{leaf}{ca}{ca}"), unsigned),
        (format!("{ca}{leaf}"), none),
        (format!("{leaf}{leaf}"), none),
        (format!("{leaf}{}", "-----BEGIN X-----\nAAAA\n-----END X-----\n"), none),
        (format!("{leaf}{}", ca.repeat(16)), none),
        (SIGNED_WITH_SHA_1.to_owned(), none),
        ("no certificate".to_owned(), none),
    ] {
        assert_eq!(attempt(pem), format!("{PATH}: {why}"));
    }
}

#[test]
fn a_root_key_signs_in_vain_where_docker_would_not_find_it() {
    let mut house = House::new();
    let leaf = String::from_utf8(house.root.key().public().to_vec()).unwrap();
    let pair = rcgen::KeyPair::generate().unwrap();
    let ca = |years| certificate(&Certificate { name: "authority", years, ca: true }, &pair);
    let mut attempt = |pem: &str| {
        house.root.entry = entry("ecdsa-x509", pem.as_bytes());
        house.root.id = id_of(&house.root.entry);
        let root = file(&house.root_of(1), &[&house.root]);
        publish(&NEW_REPOSITORY(), &[("root", &root), ("targets", &house.signed_targets(1))])
    };

    for found in [leaf.clone(), format!("{leaf}{}", ca([2020, 2036]))] {
        assert!(attempt(&found).is_ok(), "{found}");
    }
    for other in [
        leaf.replace('\n', "\r\n"),
        leaf.trim_end().to_owned(),
        format!("text\n{leaf}"),
        format!("{leaf}text\n"),
        format!("{leaf}{}", ca([2020, 2021])),
    ] {
        let refused = attempt(&other).unwrap_err().to_string();
        assert_eq!(refused, format!("{PATH}: failed to validate integrity of roots"), "{other}");
    }
}

#[test]
fn a_root_key_beside_a_good_one_needs_no_certificate() {
    let (house, bare) = (House::new(), TestKey::p256());
    let mut signed = house.root_of(1);
    signed["keys"][&bare.id] = bare.entry.clone();
    signed["roles"]["root"]["keyids"] = json!([house.root.id, bare.id]);
    let targets = house.signed_targets(1);
    let attempt = |signed: &Value, keys: &[&TestKey]| {
        let root = file(signed, keys);
        publish(&NEW_REPOSITORY(), &[("root", &root), ("targets", &targets)])
    };

    assert!(attempt(&signed, &[&house.root]).is_ok());
    assert!(attempt(&signed, &[&bare]).is_err());
    signed["roles"]["root"]["threshold"] = json!(2);
    assert!(attempt(&signed, &[&house.root, &bare]).is_err());
}

#[test]
fn a_root_is_rotated_by_the_old_and_the_new_key_together() {
    let (house, new) = (House::new(), TestKey::root());
    let (root, targets) = (house.signed_root(1), house.signed_targets(1));
    let held = house.repository(&root, &[("targets", &targets)]);
    let mut signed = house.root_of(2);
    signed["keys"][&new.id] = new.entry.clone();
    signed["roles"]["root"]["keyids"] = json!([new.id]);
    let answer = |keys: &[&TestKey]| publish(&held, &[("root", &file(&signed, keys))]);

    assert_eq!(changed(&answer(&[&new, &house.root]).unwrap()), ["root 2"]);
    assert_eq!(
        answer(&[&new]).unwrap_err().to_string(),
        "could not rotate trust to a new trusted root: failed to validate data with current trusted certificates"
    );
    assert_eq!(
        answer(&[&house.root]).unwrap_err().to_string(),
        format!("{PATH}: failed to validate integrity of roots")
    );
    let skipped = file(&house.root_of(3), &[&house.root]);
    assert_eq!(
        refused(&held, &[("root", &skipped)]).1,
        "Root modifications must increment the version. Current 1, new 3"
    );
    let mut same = house.root_of(1);
    same["x-other"] = json!(1);
    outdated(&held, &[("root", &file(&same, &[&house.root]))], "root");
}

#[test]
fn an_old_roots_certificate_may_have_ended_and_a_new_ones_not() {
    let mut house = House::new();
    house.root = TestKey::certified(&Certificate { name: GUN, years: [2020, 2025], ca: false });
    let (root, targets) = (house.signed_root(1), house.signed_targets(1));
    let held = house.repository(&root, &[("targets", &targets)]);
    let new = TestKey::root();
    let mut signed = house.root_of(2);
    signed["keys"][&new.id] = new.entry.clone();

    signed["roles"]["root"]["keyids"] = json!([new.id]);
    assert!(publish(&held, &[("root", &file(&signed, &[&new, &house.root]))]).is_ok());

    let kept = file(&house.root_of(2), &[&house.root]);
    assert_eq!(refused(&held, &[("root", &kept)]).1, format!("{PATH}: unable to retrieve valid leaf certificates"));
}

#[test]
fn a_root_that_takes_the_targets_key_away_comes_with_targets_of_the_new_one() {
    let (house, new) = (House::new(), TestKey::ed25519(8));
    let (root, targets) = (house.signed_root(1), house.signed_targets(1));
    let held = house.repository(&root, &[("targets", &targets)]);
    let mut signed = house.root_of(2);
    signed["keys"][&new.id] = new.entry.clone();
    signed["roles"]["targets"]["keyids"] = json!([new.id]);
    let root = file(&signed, &[&house.root]);
    let few = (Some("ErrBadTargets"), "valid signatures did not meet threshold for targets".to_owned());

    assert_eq!(refused(&held, &[("root", &root)]), few);
    assert_eq!(refused(&held, &[("root", &root), ("targets", &house.signed_targets(2))]), few);
    let anew = file(&workshop::targets(2), &[&new]);
    assert_eq!(changed(&publish(&held, &[("root", &root), ("targets", &anew)]).unwrap()), ["root 2", "targets 2"]);
}
