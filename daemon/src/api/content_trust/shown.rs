//! What trust data says, and what waits to become some, on the wire.

use trust_proto::v1;

use crate::publish::{Shown, ShownKey, ShownProposal, ShownProposed, ShownQuorum, ShownRole, ShownTarget};

/// Whether the bytes of what waits are sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Bytes {
    LeftOut,
    Sent,
}

pub(super) fn shown_to_wire(shown: Shown, bytes: Bytes) -> v1::InspectTrustResponse {
    v1::InspectTrustResponse {
        roles: shown.roles.into_iter().map(role_to_wire).collect(),
        targets: shown.targets.into_iter().map(target_to_wire).collect(),
        next_page_token: shown.next.unwrap_or_default(),
        proposal: shown.proposal.map(|proposal| proposal_to_wire(proposal, bytes)),
    }
}

pub(super) fn proposal_to_wire(proposal: ShownProposal, bytes: Bytes) -> v1::TrustProposal {
    v1::TrustProposal {
        digest: proposal.digest.to_string(),
        begun_by: proposal.begun_by,
        begun_at_unix_seconds: proposal.begun_at_unix_seconds,
        ends_at_unix_seconds: proposal.ends_at_unix_seconds,
        operation: proposal.operation,
        files: proposal.files.into_iter().map(|file| proposed_to_wire(file, bytes)).collect(),
        over: proposal.over.unwrap_or_default(),
        lapses: proposal.lapses.iter().map(ToString::to_string).collect(),
    }
}

pub(super) fn key_to_wire(key: ShownKey) -> v1::TrustKey {
    v1::TrustKey { id: key.id.to_hex(), name: key.name.unwrap_or_default() }
}

fn proposed_to_wire(file: ShownProposed, bytes: Bytes) -> v1::ProposedFile {
    let signed = file.file.filter(|_| bytes == Bytes::Sent).map(|file| file.signed_bytes().to_vec());
    v1::ProposedFile {
        role: file.role.to_string(),
        version: file.version.number(),
        digest: file.digest.to_string(),
        quorums: file.quorums.into_iter().map(quorum_to_wire).collect(),
        signs: file.signs.into_iter().map(target_to_wire).collect(),
        revokes: file.revokes,
        // Of their files nothing is proposed by naming them here.
        roles: file.roles.into_iter().map(|role| role_to_wire(ShownRole { file: None, ..role })).collect(),
        removes: file.removes.iter().map(ToString::to_string).collect(),
        anew: file.is_anew,
        left_out: u32::try_from(file.left_out).unwrap_or(u32::MAX),
        signed: signed.unwrap_or_default().into(),
    }
}

fn quorum_to_wire(quorum: ShownQuorum) -> v1::ProposedQuorum {
    v1::ProposedQuorum {
        threshold: quorum.threshold,
        signed: quorum.signed.into_iter().map(key_to_wire).collect(),
        open: quorum.open.into_iter().map(key_to_wire).collect(),
    }
}

fn role_to_wire(role: ShownRole) -> v1::TrustRole {
    let (version, expires_at_unix_seconds) = role.file.unwrap_or_default();
    v1::TrustRole {
        name: role.name.to_string(),
        version,
        expires_at_unix_seconds,
        threshold: role.threshold,
        keys: role.keys.into_iter().map(key_to_wire).collect(),
        paths: role.paths,
    }
}

fn target_to_wire(target: ShownTarget) -> v1::TrustTarget {
    v1::TrustTarget {
        name: target.name,
        digest: target.sha256.to_string(),
        length: target.length_bytes,
        roles: target.roles.iter().map(ToString::to_string).collect(),
    }
}
