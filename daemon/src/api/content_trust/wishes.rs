//! What is asked about roles and their keys, read into what cannot be wrong.

use std::collections::BTreeSet;

use trust::format::tuf::{Key, RoleName};
use trust::{Fault, Sha256Digest, Signature};
use trust_proto::v1;

use super::{ROLES_MAX, malformed, selector};
use crate::publish::{Brought, DelegateName, Delegating, Rotation};

/// The most keys that one request names.
const KEYS_MAX: usize = 64;
/// The longest PEM of a key, in bytes.
const PEM_BYTES_MAX: usize = 16 * 1024;
/// The most beginnings of names in one request.
const PATHS_MAX: usize = 64;
/// The longest of them, in bytes.
const PATH_BYTES_MAX: usize = 255;

pub(super) fn delegating(wire: &v1::AddDelegationRequest) -> Result<Delegating, Fault> {
    let name: DelegateName = wire.name.parse()?;
    if wire.keys.len().saturating_add(wire.public_keys.len()) > KEYS_MAX {
        return Err(malformed("keys: at most 64"));
    }
    let is_for_all = wire.paths.is_empty() && wire.threshold == 0;
    if matches!(name, DelegateName::Signer(_)) && !is_for_all {
        return Err(malformed("paths and threshold: of a role targets/…, a signer has every name and signs alone"));
    }
    let is_path = |path: &String| path.len() <= PATH_BYTES_MAX && !path.chars().any(char::is_control);
    if wire.paths.len() > PATHS_MAX || !wire.paths.iter().all(is_path) {
        return Err(malformed("paths: at most 64, each of at most 255 bytes and without control characters"));
    }
    if wire.public_keys.iter().any(|pem| pem.len() > PEM_BYTES_MAX) {
        return Err(malformed("public keys: at most 16 KiB each"));
    }
    let public_keys = wire.public_keys.iter().map(|pem| Key::read_pem(pem)).collect::<Result<_, _>>()?;
    let keys = wire.keys.iter().map(|key| selector(key)).collect::<Result<_, _>>()?;
    let token = if wire.token.is_empty() { None } else { Some(wire.token.parse()?) };
    let threshold = Some(wire.threshold).filter(|threshold| *threshold > 0);
    Ok(Delegating { name, keys, public_keys, paths: wire.paths.clone(), threshold, token })
}

pub(super) fn undelegating(
    wire: &v1::RemoveDelegationRequest,
) -> Result<(DelegateName, BTreeSet<Sha256Digest>), Fault> {
    if wire.keys.len() > KEYS_MAX {
        return Err(malformed("keys: at most 64"));
    }
    let keys = wire.keys.iter().map(|id| Sha256Digest::from_hex(id)).collect::<Result<_, _>>()?;
    Ok((wire.name.parse()?, keys))
}

pub(super) fn rotation(wire: &v1::RotateTrustRequest) -> Result<Rotation, Fault> {
    let role: RoleName = wire.role.parse()?;
    let is_own = matches!(role, RoleName::Snapshot | RoleName::Timestamp);
    if is_own && !(wire.new_key.is_empty() && wire.token.is_empty()) {
        return Err(malformed("new key and token: the daemon makes the keys of snapshot and timestamp by itself"));
    }
    let some = |text: &str| (!text.is_empty()).then(|| text.to_owned());
    let key = some(&wire.new_key).map(|key| selector(&key)).transpose()?;
    let old = some(&wire.old_key).map(|id| Sha256Digest::from_hex(&id)).transpose()?;
    let token = some(&wire.token).map(|token| token.parse()).transpose()?;
    Ok(Rotation { role, key, old, token })
}

pub(super) fn witnessed(names: &[String]) -> Result<Vec<RoleName>, Fault> {
    const OF_OWNERS: &str = "roles: 1 to 64 of root, targets and targets/…, each once";
    let mut roles = Vec::with_capacity(names.len().min(ROLES_MAX));
    for name in names {
        let role: RoleName = name.parse()?;
        let is_own = matches!(role, RoleName::Snapshot | RoleName::Timestamp);
        if is_own || roles.contains(&role) || roles.len() == ROLES_MAX {
            return Err(malformed(OF_OWNERS));
        }
        roles.push(role);
    }
    if roles.is_empty() { Err(malformed(OF_OWNERS)) } else { Ok(roles) }
}

/// Signatures that are brought: few, each of one key for one role, and none longer than signatures are.
pub(super) fn brought(signatures: &[v1::BroughtSignature]) -> Result<Vec<Brought>, Fault> {
    const EXPECTED: &str = "signatures: at most 64, of each key and role one, of 1 to 512 bytes";
    let mut brought: Vec<Brought> = Vec::with_capacity(signatures.len().min(KEYS_MAX));
    for one in signatures {
        let (role, key): (RoleName, _) = (one.role.parse()?, Sha256Digest::from_hex(&one.key_id)?);
        let is_there = brought.iter().any(|other| other.role == role && other.key == key);
        let is_long = one.signature.is_empty() || one.signature.len() > Signature::BYTES_MAX;
        if is_there || is_long || brought.len() == KEYS_MAX {
            return Err(malformed(EXPECTED));
        }
        brought.push(Brought { role, key, signature: one.signature.to_vec() });
    }
    Ok(brought)
}

#[cfg(test)]
mod tests {
    use trust::FaultKind;

    use super::*;

    fn kind<T>(read: Result<T, Fault>) -> Option<FaultKind> {
        read.err().map(|fault| fault.kind())
    }

    #[test]
    fn a_signer_signs_alone_and_for_every_name() {
        let wire = |name: &str, paths: &[&str], threshold| v1::AddDelegationRequest {
            name: name.to_owned(),
            paths: paths.iter().map(|path| (*path).to_owned()).collect(),
            threshold,
            ..v1::AddDelegationRequest::default()
        };

        assert_eq!(kind(delegating(&wire("alice", &[], 0))), None);
        assert_eq!(kind(delegating(&wire("targets/alice", &["v"], 2))), None);
        for bad in [
            wire("alice", &["v"], 0),
            wire("alice", &[], 2),
            wire("targets/alice", &["a\n"], 0),
            wire("targets/alice", &[&"a".repeat(256)], 0),
            wire("targets/alice", &["a"; 65], 0),
        ] {
            assert_eq!(kind(delegating(&bad)), Some(FaultKind::Malformed), "{bad:?}");
        }
    }

    #[test]
    fn keys_are_public_few_and_no_files_of_anything() {
        let with = |keys: usize, pem: &[u8]| v1::AddDelegationRequest {
            name: "alice".to_owned(),
            keys: vec!["team/alice".to_owned(); keys],
            public_keys: vec![pem.to_vec().into()],
            ..v1::AddDelegationRequest::default()
        };

        for bad in [with(64, b""), with(0, b"no key"), with(0, &[b'a'; PEM_BYTES_MAX + 1])] {
            assert_eq!(kind(delegating(&bad)), Some(FaultKind::Malformed));
        }
    }

    #[test]
    fn what_is_brought_is_one_signature_of_each_key_for_each_role() {
        let wire = |role: &str, key: &str, bytes: usize| v1::BroughtSignature {
            role: role.to_owned(),
            key_id: key.repeat(32),
            signature: vec![7; bytes].into(),
        };

        assert_eq!(brought(&[wire("targets", "ab", 64), wire("root", "ab", 512)]).unwrap().len(), 2);
        for bad in [
            vec![wire("targets", "ab", 64), wire("targets", "ab", 64)],
            vec![wire("targets", "ab", 0)],
            vec![wire("targets", "ab", 513)],
            vec![wire("mirrors", "ab", 64)],
            vec![wire("targets", "a", 64)],
            (0..65).map(|of| wire(&format!("targets/{of}"), "ab", 64)).collect(),
        ] {
            assert_eq!(kind(brought(&bad)), Some(FaultKind::Malformed), "{bad:?}");
        }
    }

    #[test]
    fn the_daemons_own_keys_are_not_chosen_nor_witnessed() {
        let wire = |role: &str, key: &str| v1::RotateTrustRequest {
            role: role.to_owned(),
            new_key: key.to_owned(),
            ..v1::RotateTrustRequest::default()
        };
        assert_eq!(kind(rotation(&wire("timestamp", ""))), None);
        assert_eq!(kind(rotation(&wire("root", "team/root"))), None);
        assert_eq!(kind(rotation(&wire("timestamp", "team/root"))), Some(FaultKind::Malformed));
        assert_eq!(kind(rotation(&wire("mirrors", ""))), Some(FaultKind::Malformed));

        let names = |names: &[&str]| witnessed(&names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>());
        assert_eq!(kind(names(&["root", "targets", "targets/a"])), None);
        for bad in [&[][..], &["snapshot"], &["targets", "targets"]] {
            assert_eq!(kind(names(bad)), Some(FaultKind::Malformed), "{bad:?}");
        }
    }
}
