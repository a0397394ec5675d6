//! The door of Notary's signer: what a stock notary-server asks (`proto.KeyManagement`, `proto.Signer`; SPEC §1).
//!
//! Texts and codes are those of the original where it has some. What made the original die or use another key (SPEC
//! §1.6) is malformed here: a key id that is not there, or is none.

use std::sync::Arc;

use bytes::Bytes;
use tonic::{Code, Request, Response, Status};
use trust::format::tuf::{Gun, Key, KeyKind, RoleName};
use trust::{Algorithm, Fault, FaultKind, Principal, Sha256Digest};
use trust_proto::notary;

use super::{Door, FromDoor, answer, malformed};
use crate::keys::{Change, ChangeRequest, KeySelector};
use crate::publish::PublishError;

/// The longest message of either service, in bytes: the original's bound.
pub(crate) const MESSAGE_BYTES_MAX: usize = 4 * 1024 * 1024;

#[tonic::async_trait]
impl notary::key_management_server::KeyManagement for Door {
    async fn create_key(
        &self,
        request: Request<notary::CreateKeyRequest>,
    ) -> Result<Response<notary::PublicKey>, Status> {
        let principal = self.caller(&request)?;
        let deadline = self.deadline(&request);
        let notary::CreateKeyRequest { algorithm, gun, role } = request.into_inner();
        let algorithm = match algorithm.as_str() {
            "ecdsa" => Algorithm::EcdsaP256Sha256,
            "ed25519" => Algorithm::Ed25519,
            other => {
                let words = format!("algorithm {} not supported for create key", shown(other));
                return Err(said(Code::Unknown, words));
            }
        };
        let role = role.parse().ok().filter(|role| matches!(role, RoleName::Snapshot | RoleName::Timestamp));
        let role = role.ok_or_else(|| answer(malformed("role: snapshot or timestamp")))?;
        let gun = gun.parse::<Gun>().map_err(|malformed| answer(malformed.into()))?;
        let made = self.house.publisher().signer_key(&principal, &gun, &role, algorithm, deadline).await;
        let key = made.map_err(|error| status(error, || "Key creation failed".to_owned()))?;
        Ok(Response::new(notary::PublicKey { key_info: Some(info(&key)), public_key: public(&key) }))
    }

    async fn delete_key(&self, request: Request<notary::KeyId>) -> Result<Response<notary::Void>, Status> {
        let principal = self.caller(&request)?;
        let deadline = self.deadline(&request);
        let id = request.into_inner().id;
        let found = self.house.publisher().signer_key_info(&principal, key_id(&id)?);
        let key = match found {
            Ok(key) if !key.has_ended => key,
            // As if it had been: so the original has it.
            Ok(_) | Err(PublishError::NotFound) => return Ok(Response::new(notary::Void {})),
            Err(error) => return Err(status(error, String::new)),
        };
        self.retire(principal, key.record, deadline).await.map_err(answer)?;
        Ok(Response::new(notary::Void {}))
    }

    async fn get_key_info(
        &self,
        request: Request<notary::KeyId>,
    ) -> Result<Response<notary::GetKeyInfoResponse>, Status> {
        let principal = self.caller(&request)?;
        let id = request.into_inner().id;
        let not_found = || format!("key {id} not found");
        if id.is_empty() {
            return Err(said(Code::NotFound, not_found()));
        }
        let found = self.house.publisher().signer_key_info(&principal, key_id(&id)?);
        let found = found.map_err(|error| status(error, not_found))?;
        Ok(Response::new(notary::GetKeyInfoResponse {
            key_info: Some(info(&found.key)),
            public_key: public(&found.key),
            role: found.role.to_string(),
        }))
    }
}

#[tonic::async_trait]
impl notary::signer_server::Signer for Door {
    async fn sign(&self, request: Request<notary::SignatureRequest>) -> Result<Response<notary::Signature>, Status> {
        let principal = self.caller(&request)?;
        let deadline = self.deadline(&request);
        let notary::SignatureRequest { key_id: named, content } = request.into_inner();
        let id = named.ok_or_else(|| answer(malformed("keyID: the id of a key")))?.id;
        let signed = self.house.publisher().sign_elsewhere(&principal, key_id(&id)?, &content, deadline).await;
        let (key, signature) =
            signed.map_err(|error| status(error, || format!("signing key not found: {}", shown(&id))))?;
        let line = key.key.stamp(&signature).map_err(|error| answer(Fault::internal(error)))?;
        Ok(Response::new(notary::Signature {
            key_info: Some(info(&key.key)),
            algorithm: Some(notary::Algorithm { algorithm: line.method().to_owned() }),
            content: Bytes::copy_from_slice(line.signature()),
        }))
    }
}

impl Door {
    /// A key that nobody wants any more signs nothing any more; its public half stays.
    async fn retire(
        &self,
        principal: Principal,
        key: trust::KeyId,
        deadline: std::time::Duration,
    ) -> Result<(), Fault> {
        let key = KeySelector::Id(key);
        let request = ChangeRequest { principal, key, change: Change::Retire, idempotency: None, deadline };
        self.house.change_key(request).await.map(drop)
    }
}

/// Reads TUF's id of a key.
fn key_id(text: &str) -> Result<Sha256Digest, Status> {
    Sha256Digest::from_hex(text).map_err(|_| answer(malformed("key id: 64 lower-case hexadecimal digits")))
}

/// At most the start of what somebody sent, as far as it prints.
fn shown(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(64).collect()
}

fn info(key: &Key) -> notary::KeyInfo {
    notary::KeyInfo {
        key_id: Some(notary::KeyId { id: key.id().to_hex() }),
        algorithm: Some(notary::Algorithm { algorithm: key.kind().map_or("", KeyKind::name).to_owned() }),
    }
}

fn public(key: &Key) -> Bytes {
    Bytes::copy_from_slice(key.public())
}

/// An answer in the original's own words, marked as ours.
fn said(code: Code, words: String) -> Status {
    let mut status = Status::new(code, words);
    status.set_source(Arc::new(FromDoor));
    status
}

/// What the caller reads of a fault. What it may not know of is not there.
fn status(error: PublishError, not_found: impl FnOnce() -> String) -> Status {
    match error {
        PublishError::NotFound => said(Code::NotFound, not_found()),
        PublishError::Denied { words } => {
            answer(Fault::new(FaultKind::Forbidden, words.unwrap_or_else(|| "the policy does not allow it".to_owned())))
        }
        PublishError::Refused(refusal) => answer(Fault::new(FaultKind::Refused, refusal.to_string())),
        PublishError::Busy => answer(Fault::new(FaultKind::Busy, "too much at once")),
        PublishError::Unavailable(fault) | PublishError::Internal(fault) => answer(fault),
    }
}
