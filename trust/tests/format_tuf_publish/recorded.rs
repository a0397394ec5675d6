//! Uploads that docker and notary sent.

use std::collections::BTreeSet;

use trust::format::tuf::publish::{SnapshotBy, check};
use trust::format::tuf::{Document, Gun, Part, Repository, RoleName};

use super::beside::beside;
use super::workshop::NOW;
use super::{changed, read_part};

/// The files in an upload of docker's or notary's.
fn upload(name: &str) -> Option<Vec<Part>> {
    let directory = beside("spec/notary/samples/post")?;
    let text = String::from_utf8(std::fs::read(directory.join(format!("{name}.multipart"))).unwrap()).unwrap();
    let parts = text.split("filename=\"").skip(1).map(|piece| {
        let (role, rest) = piece.split_once('"').unwrap();
        let body = rest.split_once("\r\n\r\n").unwrap().1.rsplit_once("\r\n--").unwrap().0;
        read_part(role, body.as_bytes()).unwrap()
    });
    Some(parts.collect())
}

#[test]
fn what_docker_and_notary_send_is_taken() {
    let gun: Gun = "localhost:5001/demo/app".parse().unwrap();
    let mut held = Repository::default();
    for (name, files) in [
        ("init-root-targets-server-snapshot", &["root 1", "targets 2"][..]),
        ("push-targets-only", &["targets 3"]),
        ("EMPTY-update", &[]),
        ("signer-add-targets", &["targets 4"]),
        ("root-rotate-1", &["root 2"]),
        ("root-rotate-2", &["root 3"]),
        ("targets-key-rotate", &["root 4", "targets 6"]),
        ("trust-sign-releases-alice-bob", &["targets/alice 1", "targets/bob 1", "targets/releases 1"]),
        ("trust-revoke", &["targets/alice 2", "targets/bob 2", "targets/releases 2"]),
        ("revoke-all", &["targets/alice 4", "targets/releases 4"]),
    ] {
        let Some(parts) = upload(name) else { return };

        let update =
            check(&gun, &held, parts, &BTreeSet::new(), NOW).unwrap_or_else(|refusal| panic!("{name}: {refusal}"));

        assert_eq!(changed(&update), files, "{name}");
        assert_eq!(update.snapshot_by(), SnapshotBy::Server);
        held = update.into_repository();
    }
    let Some(parts) = upload("root-rotate-1") else { return };
    let other: Gun = "localhost:5001/demo/other".parse().unwrap();
    assert!(check(&other, &Repository::default(), parts, &BTreeSet::new(), NOW).is_err());
}

#[test]
fn a_snapshot_that_notary_manages_itself_is_taken() {
    let Some(parts) = upload("notary-cli-init-root-targets-client-snapshot") else { return };
    let root = parts.iter().find(|part| *part.role() == RoleName::Root).unwrap().clone().document().unwrap();
    let gun = certificate_name(&root);

    let update = check(&gun.parse().unwrap(), &Repository::default(), parts, &BTreeSet::new(), NOW).unwrap();

    assert_eq!(changed(&update), ["root 1", "targets 2", "snapshot 2"]);
    assert_eq!(update.snapshot_by(), SnapshotBy::Client);
}

/// The name in the first certificate of a root.
fn certificate_name(root: &Document) -> String {
    let authority = root.as_root().unwrap().authority(&RoleName::Root).unwrap();
    let (_, pem) = x509_parser::pem::parse_x509_pem(authority.keys()[0].public()).unwrap();
    let certificate = pem.parse_x509().unwrap();
    certificate.subject().iter_common_name().next().unwrap().as_str().unwrap().to_owned()
}
