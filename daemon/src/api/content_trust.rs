//! The door of the ContentTrust service.

mod shown;
mod wishes;

use std::collections::BTreeMap;

use tonic::{Request, Response, Status};
use trust::format::oci;
use trust::format::tuf::{Gun, RoleName};
use trust::{Fault, Sha256Digest, Tag};
use trust_proto::v1;

use super::signing::MANIFEST_BYTES_MAX;
use super::{Door, answer, malformed, selector};
use crate::keys::KeySelector;
use crate::publish::{Adoption, Beginning, Changed, Wish};

use shown::{Bytes, key_to_wire};

/// The most roles that one request names.
const ROLES_MAX: usize = 64;
/// The most roots, and files of targets and delegations, of another server.
const ROOTS_MAX: usize = 1024;
const FILES_MAX: usize = 512;
/// Tags of a page that asks for none.
const PAGE_SIZE_DEFAULT: usize = 100;
/// The most tags of a page.
const PAGE_SIZE_MAX: usize = 1000;

#[tonic::async_trait]
impl v1::content_trust_server::ContentTrust for Door {
    async fn init_trust(
        &self,
        request: Request<v1::InitTrustRequest>,
    ) -> Result<Response<v1::InitTrustResponse>, Status> {
        let principal = self.caller(&request)?;
        let deadline = self.deadline(&request);
        let wire = request.into_inner();
        let gun = gun(&wire.repository).map_err(answer)?;
        let beginning = beginning(&wire).map_err(answer)?;
        let changed = self.house.publisher().begin(&principal, &gun, beginning, deadline).await.map_err(answer)?;
        Ok(Response::new(v1::InitTrustResponse { change: Some(self.change_to_wire(changed)) }))
    }

    async fn adopt_trust(
        &self,
        request: Request<v1::AdoptTrustRequest>,
    ) -> Result<Response<v1::AdoptTrustResponse>, Status> {
        let principal = self.caller(&request)?;
        let deadline = self.deadline(&request);
        let wire = request.into_inner();
        let gun = gun(&wire.repository).map_err(answer)?;
        let adoption = adoption(wire).map_err(answer)?;
        let mut changed = self.house.publisher().adopt(&principal, &gun, adoption, deadline).await.map_err(answer)?;
        let snapshot_keys = std::mem::take(&mut changed.snapshot_keys).into_iter().map(key_to_wire).collect();
        Ok(Response::new(v1::AdoptTrustResponse { change: Some(self.change_to_wire(changed)), snapshot_keys }))
    }

    async fn sign_target(
        &self,
        request: Request<v1::SignTargetRequest>,
    ) -> Result<Response<v1::SignTargetResponse>, Status> {
        let principal = self.caller(&request)?;
        let deadline = self.deadline(&request);
        let wire = request.into_inner();
        let gun = gun(&wire.repository).map_err(answer)?;
        let roles = roles(&wire.roles).map_err(answer)?;
        let (wish, digest) = signed(&wire).map_err(answer)?;
        let changed = self.house.publisher().change(&principal, &gun, wish, roles, deadline).await.map_err(answer)?;
        let change = Some(self.change_to_wire(changed));
        Ok(Response::new(v1::SignTargetResponse { change, digest: digest.to_string() }))
    }

    async fn revoke_target(
        &self,
        request: Request<v1::RevokeTargetRequest>,
    ) -> Result<Response<v1::RevokeTargetResponse>, Status> {
        let principal = self.caller(&request)?;
        let deadline = self.deadline(&request);
        let wire = request.into_inner();
        let gun = gun(&wire.repository).map_err(answer)?;
        let roles = roles(&wire.roles).map_err(answer)?;
        let wish = Wish::Revoke { name: tag(&wire.tag).map_err(answer)?.to_string() };
        let changed = self.house.publisher().change(&principal, &gun, wish, roles, deadline).await.map_err(answer)?;
        Ok(Response::new(v1::RevokeTargetResponse { change: Some(self.change_to_wire(changed)) }))
    }

    async fn inspect_trust(
        &self,
        request: Request<v1::InspectTrustRequest>,
    ) -> Result<Response<v1::InspectTrustResponse>, Status> {
        let principal = self.caller(&request)?;
        let wire = request.into_inner();
        let gun = gun(&wire.repository).map_err(answer)?;
        let size = match usize::try_from(wire.page_size) {
            Ok(0) => PAGE_SIZE_DEFAULT,
            Ok(size) if size <= PAGE_SIZE_MAX => size,
            _ => return Err(answer(malformed("page size: 1 to 1000"))),
        };
        let some = |text: &str| (!text.is_empty()).then(|| text.to_owned());
        let (only, after) = (some(&wire.tag), some(&wire.page_token));
        let shown = self.house.publisher().shown(&principal, &gun, only.as_deref(), (after.as_deref(), size)).await;
        let bytes = if wire.with_bytes { Bytes::Sent } else { Bytes::LeftOut };
        Ok(Response::new(shown::shown_to_wire(shown.map_err(answer)?, bytes)))
    }

    async fn add_delegation(
        &self,
        request: Request<v1::AddDelegationRequest>,
    ) -> Result<Response<v1::AddDelegationResponse>, Status> {
        let principal = self.caller(&request)?;
        let deadline = self.deadline(&request);
        let wire = request.into_inner();
        let gun = gun(&wire.repository).map_err(answer)?;
        let new = wishes::delegating(&wire).map_err(answer)?;
        let changed = self.house.publisher().delegate(&principal, &gun, new, deadline).await.map_err(answer)?;
        Ok(Response::new(v1::AddDelegationResponse { change: Some(self.change_to_wire(changed)) }))
    }

    async fn remove_delegation(
        &self,
        request: Request<v1::RemoveDelegationRequest>,
    ) -> Result<Response<v1::RemoveDelegationResponse>, Status> {
        let principal = self.caller(&request)?;
        let deadline = self.deadline(&request);
        let wire = request.into_inner();
        let gun = gun(&wire.repository).map_err(answer)?;
        let going = wishes::undelegating(&wire).map_err(answer)?;
        let changed = self.house.publisher().undelegate(&principal, &gun, going, deadline).await.map_err(answer)?;
        Ok(Response::new(v1::RemoveDelegationResponse { change: Some(self.change_to_wire(changed)) }))
    }

    async fn rotate_trust(
        &self,
        request: Request<v1::RotateTrustRequest>,
    ) -> Result<Response<v1::RotateTrustResponse>, Status> {
        let principal = self.caller(&request)?;
        let deadline = self.deadline(&request);
        let wire = request.into_inner();
        let gun = gun(&wire.repository).map_err(answer)?;
        let rotation = wishes::rotation(&wire).map_err(answer)?;
        let changed = self.house.publisher().rotate(&principal, &gun, rotation, deadline).await.map_err(answer)?;
        Ok(Response::new(v1::RotateTrustResponse { change: Some(self.change_to_wire(changed)) }))
    }

    async fn witness_trust(
        &self,
        request: Request<v1::WitnessTrustRequest>,
    ) -> Result<Response<v1::WitnessTrustResponse>, Status> {
        let principal = self.caller(&request)?;
        let deadline = self.deadline(&request);
        let wire = request.into_inner();
        let gun = gun(&wire.repository).map_err(answer)?;
        let roles = wishes::witnessed(&wire.roles).map_err(answer)?;
        let changed = self.house.publisher().witness(&principal, &gun, roles, deadline).await.map_err(answer)?;
        Ok(Response::new(v1::WitnessTrustResponse { change: Some(self.change_to_wire(changed)) }))
    }

    async fn approve_proposal(
        &self,
        request: Request<v1::ApproveProposalRequest>,
    ) -> Result<Response<v1::ApproveProposalResponse>, Status> {
        let principal = self.caller(&request)?;
        let deadline = self.deadline(&request);
        let wire = request.into_inner();
        let gun = gun(&wire.repository).map_err(answer)?;
        let digest = digest(&wire.digest).map_err(answer)?;
        let approved = (digest, wishes::brought(&wire.signatures).map_err(answer)?);
        let changed = self.house.publisher().approve(&principal, &gun, approved, deadline).await.map_err(answer)?;
        Ok(Response::new(v1::ApproveProposalResponse { change: Some(self.change_to_wire(changed)) }))
    }

    async fn withdraw_proposal(
        &self,
        request: Request<v1::WithdrawProposalRequest>,
    ) -> Result<Response<v1::WithdrawProposalResponse>, Status> {
        let principal = self.caller(&request)?;
        let deadline = self.deadline(&request);
        let wire = request.into_inner();
        let gun = gun(&wire.repository).map_err(answer)?;
        let digest = digest(&wire.digest).map_err(answer)?;
        self.house.publisher().withdraw(&principal, &gun, digest, deadline).await.map_err(answer)?;
        Ok(Response::new(v1::WithdrawProposalResponse {}))
    }
}

impl Door {
    fn change_to_wire(&self, changed: Changed) -> v1::TrustChange {
        let file = |(role, version): (RoleName, trust::format::tuf::Version)| v1::TrustFile {
            role: role.to_string(),
            version: version.number(),
        };
        v1::TrustChange {
            files: changed.files.into_iter().map(file).collect(),
            log_origin: self.house.log_origin().to_owned(),
            leaves: changed.leaves,
            lapsed: changed.lapsed.iter().map(ToString::to_string).collect(),
            keys: changed.keys.into_iter().map(key_to_wire).collect(),
            proposal: changed.proposal.map(|proposal| shown::proposal_to_wire(proposal, Bytes::LeftOut)),
        }
    }
}

fn gun(text: &str) -> Result<Gun, Fault> {
    Ok(text.parse()?)
}

fn tag(text: &str) -> Result<Tag, Fault> {
    Ok(text.parse()?)
}

fn digest(text: &str) -> Result<Sha256Digest, Fault> {
    Ok(text.parse()?)
}

fn beginning(wire: &v1::InitTrustRequest) -> Result<Beginning, Fault> {
    let key = |text: &str| -> Result<Option<KeySelector>, Fault> {
        if text.is_empty() { Ok(None) } else { selector(text).map(Some) }
    };
    let token = if wire.token.is_empty() { None } else { Some(wire.token.parse()?) };
    Ok(Beginning { root: key(&wire.root_key)?, targets: key(&wire.targets_key)?, token })
}

/// What is shown of another server; how long a file may be says whoever reads it.
fn adoption(wire: v1::AdoptTrustRequest) -> Result<Adoption, Fault> {
    const FILES: &str = "targets: at most 512 of targets and targets/…, each once";
    if !(1..=ROOTS_MAX).contains(&wire.roots.len()) {
        return Err(malformed("roots: 1 to 1024"));
    }
    let mut targets = BTreeMap::new();
    for file in wire.targets {
        let role: RoleName = file.role.parse()?;
        let is_targets = matches!(role, RoleName::Targets | RoleName::Delegation(_));
        if !is_targets || targets.len() == FILES_MAX || targets.insert(role, file.file.to_vec()).is_some() {
            return Err(malformed(FILES));
        }
    }
    let roots = wire.roots.iter().map(|root| root.to_vec()).collect();
    Ok(Adoption { roots, timestamp: wire.timestamp.to_vec(), snapshot: wire.snapshot.to_vec(), targets })
}

fn roles(names: &[String]) -> Result<Vec<RoleName>, Fault> {
    const TARGETS_ONLY: &str = "roles: at most 64 of targets and targets/…, each once";
    let mut roles = Vec::with_capacity(names.len().min(ROLES_MAX));
    for name in names {
        let role: RoleName = name.parse()?;
        let is_targets = matches!(role, RoleName::Targets | RoleName::Delegation(_));
        if !is_targets || roles.contains(&role) || roles.len() == ROLES_MAX {
            return Err(malformed(TARGETS_ONLY));
        }
        roles.push(role);
    }
    Ok(roles)
}

fn signed(wire: &v1::SignTargetRequest) -> Result<(Wish, Sha256Digest), Fault> {
    if wire.manifest.len() > MANIFEST_BYTES_MAX {
        return Err(malformed("manifest: at most 4 MiB"));
    }
    // Signing something that no engine could run would make the signature a lie about what was shown.
    oci::parse(&wire.manifest)?;
    let sha256 = Sha256Digest::of(&wire.manifest);
    let length_bytes = u64::try_from(wire.manifest.len()).unwrap_or(u64::MAX);
    Ok((Wish::Sign { name: tag(&wire.tag)?.to_string(), sha256, length_bytes }, sha256))
}
