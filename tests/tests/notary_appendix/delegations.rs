//! Files of delegations, with keys of every kind.

use serde_json::{Value, json};
use tempfile::TempDir;

use super::openssl::OpensslKey;
use super::owner::{Owner, delegating, targets};
use super::scene::Door;
use super::sheet::Sheet;
use super::workshop::{Certificate, TestKey, file};
use super::{lined, post};

/// A role, its keys (id and entry), and how many of them have to sign.
type Delegation<'a> = (&'a str, &'a [(&'a str, &'a Value)], u32);

/// Targets that delegate roles, each to these keys (id and entry) and with this threshold.
fn delegating_to(version: u32, roles: &[Delegation<'_>]) -> Value {
    let mut signed = targets(version);
    let keys: serde_json::Map<_, _> =
        roles.iter().flat_map(|(_, keys, _)| *keys).map(|(id, entry)| ((*id).to_owned(), (*entry).clone())).collect();
    let lines: Vec<_> = roles
        .iter()
        .map(|(role, keys, threshold)| {
            let ids: Vec<&str> = keys.iter().map(|(id, _)| *id).collect();
            json!({"name": role, "keyids": ids, "threshold": threshold, "paths": [""]})
        })
        .collect();
    signed["delegations"] = json!({"keys": keys, "roles": lines});
    signed
}

pub(crate) fn delegations(door: &Door, sheet: &mut Sheet) {
    let at = TempDir::new().unwrap();
    let owner = Owner::of(door, "delegations");
    owner.taken(&[("root", &owner.signed_root(1)), ("targets", &owner.signed_targets(1))]);
    let post = |role: &str, bytes: &[u8]| post(door, &owner.gun, &[(role, bytes)]);
    let parent = |value: &Value| post("targets", &file(value, &[&owner.targets]));
    let alice = TestKey::certified(&Certificate { name: "alice", years: [2020, 2096], ca: false });
    let (bob, rsa) = (TestKey::ed25519(6), OpensslKey::rsa(at.path(), 2048));
    sheet.note("delegation meta w/o delegation defined", &post("targets/a", &file(&targets(1), &[&alice])));
    let keys = [(&*alice.id, &alice.entry), (&*bob.id, &bob.entry), (&*rsa.id, &rsa.entry)];
    let defined = parent(&delegating_to(2, &[("targets/a", &keys, 1)]));
    sheet.note("targets adds delegation targets/a (ecdsa-x509,thr1)", &defined);
    sheet.note("delegation OK signed ecdsa-x509", &post("targets/a", &file(&targets(1), &[&alice])));
    sheet.note("delegation OK signed ed25519", &post("targets/a", &file(&targets(2), &[&bob])));
    sheet.note("delegation OK signed rsa pss", &post("targets/a", &lined(&targets(3), &[rsa.sign(&targets(3))])));
    sheet.note("delegation wrong key", &post("targets/a", &file(&targets(4), &[&TestKey::ed25519(5)])));
    sheet.note("delegation rollback", &post("targets/a", &file(&targets(1), &[&bob])));
    let orphan = post("targets/zz/b", &file(&targets(1), &[&bob]));
    sheet.note("nested delegation without parent meta", &orphan);
    let skipping = parent(&delegating(3, "targets/a/b", &bob));
    sheet.note("targets adds nested deleg role directly (targets/a/b) invalid", &skipping);
    let nested = post("targets/a", &file(&delegating(4, "targets/a/b", &bob), &[&bob]));
    sheet.note("targets/a delegates targets/a/b", &nested);
    sheet.note("nested targets/a/b publish", &post("targets/a/b", &file(&targets(1), &[&bob])));
    sheet.note("GET targets/none.json", &owner.get("targets/none.json"));
    // The appendix calls it by another path; its detail names the role that was asked for.
    sheet.note("GET targets/../x.json", &owner.get("targets/UP.json"));

    let gone = TestKey::certified(&Certificate { name: "gone", years: [2020, 2021], ca: false });
    let short = OpensslKey::rsa(at.path(), 1024);
    let (p384, p256) = (OpensslKey::p384(at.path()), TestKey::p256());
    let expired = [(&*gone.id, &gone.entry)];
    let (a, e): (&[_], (&str, &[_], u32)) = (&keys, ("targets/e", &expired, 1));
    sheet.note("targets adds delegation w/ EXPIRED cert", &parent(&delegating_to(3, &[("targets/a", a, 1), e])));
    sheet.note("delegation with expired cert key publishes", &post("targets/e", &file(&targets(1), &[&gone])));
    let weak = [(&*short.id, &short.entry)];
    let r: (&str, &[_], u32) = ("targets/r", &weak, 1);
    sheet.note("targets adds delegation w/ rsa1024", &parent(&delegating_to(4, &[("targets/a", a, 1), e, r])));
    let by_weak = lined(&targets(1), &[short.sign(&targets(1))]);
    sheet.note("delegation rsa1024 publishes", &post("targets/r", &by_weak));
    let two = [(&*p384.id, &p384.entry), (&*p256.id, &p256.entry)];
    let both: (&str, &[_], u32) = ("targets/t2", &two, 2);
    let defined = parent(&delegating_to(5, &[("targets/a", a, 1), e, r, both]));
    sheet.note("targets adds thr2 delegation p384+ecdsa", &defined);
    let line = p384.sign(&targets(1));
    sheet.note("thr2 delegation with 1 sig", &post("targets/t2", &lined(&targets(1), std::slice::from_ref(&line))));
    let again = lined(&targets(1), &[line.clone(), p384.sign(&targets(1))]);
    sheet.note("thr2 delegation dup sig of same key", &post("targets/t2", &again));
    let whole = post("targets/t2", &lined(&targets(1), &[line, p256.sign(&targets(1))]));
    assert_eq!(whole.status, 200, "{}", whole.text());
    sheet.note("snapshot drops removed delegation? (targets v24 none)", &parent(&targets(6)));
}
