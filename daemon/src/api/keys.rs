//! The door of the Keys service.

use tonic::{Request, Response, Status};
use trust::state::DistrustReason;
use trust::{Algorithm, Fault, FaultKind, Form, KeyName, Purpose, Scope, Sha256Digest, envelope};
use trust_hsm::AdoptedId;
use trust_proto::v1;
use trust_proto::words::Word as _;

use super::{Door, answer, forms, idempotency, key_to_wire, malformed, selector};
use crate::keys::{Change, ChangeRequest, Envelope, KeyReceipt, NewKey, Sought};

/// Keys of a page that asks for none.
const PAGE_SIZE_DEFAULT: usize = 100;
/// The most keys of a page.
const PAGE_SIZE_MAX: usize = 1000;

#[tonic::async_trait]
impl v1::keys_server::Keys for Door {
    async fn create_key(
        &self,
        request: Request<v1::CreateKeyRequest>,
    ) -> Result<Response<v1::CreateKeyResponse>, Status> {
        let principal = self.caller(&request)?;
        let deadline = self.deadline(&request);
        let wire = request.into_inner();
        let key = idempotency(&wire.idempotency_key).map_err(answer)?;
        let new = new_key(wire).map_err(answer)?;
        let receipt = self.house.create_key(&principal, new, key, deadline).await.map_err(answer)?;
        let (key, receipt) = self.key_response(receipt);
        Ok(Response::new(v1::CreateKeyResponse { key, receipt }))
    }

    async fn offer_import(
        &self,
        request: Request<v1::OfferImportRequest>,
    ) -> Result<Response<v1::OfferImportResponse>, Status> {
        let principal = self.caller(&request)?;
        let new = imported_key(request.into_inner().imported).map_err(answer)?;
        let made = self.house.offer_import(&principal, new).await.map_err(answer)?;
        Ok(Response::new(v1::OfferImportResponse {
            offer_id: made.offer.id.to_string(),
            public_key: bytes::Bytes::copy_from_slice(&made.offer.public_key),
            expires_at_unix_seconds: made.expires_at_unix_seconds,
            store: bytes::Bytes::copy_from_slice(&made.store),
            principal: made.principal,
        }))
    }

    async fn import_key(
        &self,
        request: Request<v1::ImportKeyRequest>,
    ) -> Result<Response<v1::ImportKeyResponse>, Status> {
        let principal = self.caller(&request)?;
        let deadline = self.deadline(&request);
        let wire = request.into_inner();
        let retry = idempotency(&wire.idempotency_key).map_err(answer)?;
        let (new, envelope) = new_import(wire).map_err(answer)?;
        let receipt = self.house.import_key(&principal, new, envelope, retry, deadline).await.map_err(answer)?;
        let (key, receipt) = self.key_response(receipt);
        Ok(Response::new(v1::ImportKeyResponse { key, receipt }))
    }

    async fn adopt_key(&self, request: Request<v1::AdoptKeyRequest>) -> Result<Response<v1::AdoptKeyResponse>, Status> {
        let principal = self.caller(&request)?;
        let deadline = self.deadline(&request);
        let wire = request.into_inner();
        let retry = idempotency(&wire.idempotency_key).map_err(answer)?;
        let (new, sought) = new_adoption(wire).map_err(answer)?;
        let receipt = self.house.adopt_key(&principal, new, sought, retry, deadline).await.map_err(answer)?;
        let (key, receipt) = self.key_response(receipt);
        Ok(Response::new(v1::AdoptKeyResponse { key, receipt }))
    }

    async fn get_key(&self, request: Request<v1::GetKeyRequest>) -> Result<Response<v1::GetKeyResponse>, Status> {
        let principal = self.caller(&request)?;
        let key = selector(&request.into_inner().key).map_err(answer)?;
        let view = self.house.key(&principal, &key).await.map_err(answer)?;
        Ok(Response::new(v1::GetKeyResponse { key: Some(key_to_wire(&view)) }))
    }

    async fn list_keys(&self, request: Request<v1::ListKeysRequest>) -> Result<Response<v1::ListKeysResponse>, Status> {
        let principal = self.caller(&request)?;
        let wire = request.into_inner();
        let size = match usize::try_from(wire.page_size) {
            Ok(0) => PAGE_SIZE_DEFAULT,
            Ok(size) if size <= PAGE_SIZE_MAX => size,
            _ => return Err(answer(malformed("page size: 1 to 1000"))),
        };
        let after = if wire.page_token.is_empty() {
            None
        } else {
            Some(
                wire.page_token
                    .parse::<KeyName>()
                    .map_err(|_| answer(malformed("page token: one from the page before")))?,
            )
        };
        let page = self.house.list_keys(&principal, after, size).await.map_err(answer)?;
        Ok(Response::new(v1::ListKeysResponse {
            keys: page.keys.iter().map(key_to_wire).collect(),
            next_page_token: page.next.map(|name| name.to_string()).unwrap_or_default(),
        }))
    }

    async fn rotate_key(
        &self,
        request: Request<v1::RotateKeyRequest>,
    ) -> Result<Response<v1::RotateKeyResponse>, Status> {
        let principal = self.caller(&request)?;
        let deadline = self.deadline(&request);
        let wire = request.into_inner();
        let key = selector(&wire.key).map_err(answer)?;
        let retry = idempotency(&wire.idempotency_key).map_err(answer)?;
        let receipt = self.house.rotate_key(&principal, &key, retry, deadline).await.map_err(answer)?;
        let (key, receipt) = self.key_response(receipt);
        Ok(Response::new(v1::RotateKeyResponse { key, receipt }))
    }

    async fn change_use(
        &self,
        request: Request<v1::ChangeUseRequest>,
    ) -> Result<Response<v1::ChangeUseResponse>, Status> {
        let principal = self.caller(&request)?;
        let deadline = self.deadline(&request);
        let wire = request.into_inner();
        let change = match v1::UseChange::try_from(wire.change) {
            Ok(v1::UseChange::Enable) => Change::Enable,
            Ok(v1::UseChange::Disable) => Change::Disable,
            Ok(v1::UseChange::Retire) => Change::Retire,
            Ok(v1::UseChange::Destroy) => Change::Destroy,
            Ok(v1::UseChange::CancelDestroy) => Change::CancelDestroy,
            Ok(v1::UseChange::Unspecified) | Err(_) => {
                return Err(answer(malformed("change: enable, disable, retire, destroy or cancel-destroy")));
            }
        };
        let request = ChangeRequest {
            principal,
            key: selector(&wire.key).map_err(answer)?,
            change,
            idempotency: idempotency(&wire.idempotency_key).map_err(answer)?,
            deadline,
        };
        let receipt = self.house.change_key(request).await.map_err(answer)?;
        let (key, receipt) = self.key_response(receipt);
        Ok(Response::new(v1::ChangeUseResponse { key, receipt }))
    }

    async fn distrust_key(
        &self,
        request: Request<v1::DistrustKeyRequest>,
    ) -> Result<Response<v1::DistrustKeyResponse>, Status> {
        let principal = self.caller(&request)?;
        let deadline = self.deadline(&request);
        let wire = request.into_inner();
        let reason = DistrustReason::from_wire(wire.reason).map_err(|malformed| answer(malformed.into()))?;
        let request = ChangeRequest {
            principal,
            key: selector(&wire.key).map_err(answer)?,
            change: Change::Distrust { reason, since_leaf: wire.since_leaf.unwrap_or(0) },
            idempotency: idempotency(&wire.idempotency_key).map_err(answer)?,
            deadline,
        };
        let receipt = self.house.change_key(request).await.map_err(answer)?;
        let (key, receipt) = self.key_response(receipt);
        Ok(Response::new(v1::DistrustKeyResponse { key, receipt }))
    }
}

impl Door {
    fn key_response(&self, receipt: KeyReceipt) -> (Option<v1::Key>, Option<v1::Receipt>) {
        let key = key_to_wire(&receipt.view);
        let wire = v1::Receipt {
            log_origin: self.house.log_origin().to_owned(),
            leaf: receipt.leaf,
            key_id: key.id.clone(),
            key_version: key.versions.last().map_or(0, |version| version.version),
            proof: None,
        };
        (Some(key), Some(wire))
    }
}

fn new_import(wire: v1::ImportKeyRequest) -> Result<(NewKey, Envelope), Fault> {
    let offer = wire.offer_id.parse()?;
    if wire.envelope.len() > envelope::BYTES_MAX {
        return Err(malformed("envelope: at most 16,432 bytes"));
    }
    Ok((imported_key(wire.imported)?, Envelope { offer, sealed: wire.envelope.to_vec() }))
}

fn new_adoption(wire: v1::AdoptKeyRequest) -> Result<(NewKey, Sought), Fault> {
    if wire.token.is_empty() {
        return Err(malformed("token: the one that has the key"));
    }
    if !(1..=AdoptedId::BYTES_MAX).contains(&wire.id.len()) {
        return Err(malformed("id: the key's CKA_ID, 1 to 64 bytes"));
    }
    let spki_sha256 = match (wire.spki_sha256.len(), wire.spki_sha256.first_chunk()) {
        (0, _) => None,
        (32, Some(bytes)) => Some(Sha256Digest::from_bytes(*bytes)),
        _ => return Err(malformed("spki_sha256: 32 bytes, or none")),
    };
    let sought = Sought { id: wire.id.to_vec(), spki_sha256, may_do_more: wire.may_do_more };
    let key = imported_key(Some(v1::ImportedKey {
        name: wire.name,
        purpose: wire.purpose,
        algorithm: wire.algorithm,
        scope: wire.scope,
        forms: wire.forms,
        token: wire.token,
    }))?;
    Ok((key, sought))
}

fn imported_key(wire: Option<v1::ImportedKey>) -> Result<NewKey, Fault> {
    let wire = wire.ok_or_else(|| malformed("imported: what the key is to be"))?;
    if wire.algorithm == 0 {
        return Err(malformed("algorithm: that of the private key"));
    }
    new_key(v1::CreateKeyRequest {
        name: wire.name,
        purpose: wire.purpose,
        algorithm: wire.algorithm,
        scope: wire.scope,
        forms: wire.forms,
        token: wire.token,
        idempotency_key: String::new(),
    })
}

fn new_key(wire: v1::CreateKeyRequest) -> Result<NewKey, Fault> {
    let name: KeyName = wire.name.parse()?;
    let purpose = Purpose::from_wire(wire.purpose)?;
    let algorithm =
        if wire.algorithm == 0 { purpose.default_algorithm() } else { Algorithm::from_wire(wire.algorithm)? };
    if wire.scope.len() > Scope::PATTERNS_MAX {
        return Err(malformed("scope: at most 64 patterns"));
    }
    let scope = Scope::read(purpose, wire.scope.iter().map(String::as_str))?;
    let asked = forms(&wire.forms)?;
    let possible = purpose.forms(algorithm);
    // A pair that is refused has no forms: what is wrong with it is said where it is refused.
    if let Some(form) = asked.iter().find(|form| purpose.allows(algorithm) && !possible.contains(form)) {
        let fault = format!("forms: a {purpose} key of {algorithm} leaves {}, and no {form}", words(possible));
        return Err(Fault::new(FaultKind::Malformed, fault));
    }
    let forms = if asked.is_empty() { possible.to_vec() } else { asked };
    let token = if wire.token.is_empty() { None } else { Some(wire.token.parse()?) };
    Ok(NewKey { name, purpose, algorithm, scope, forms, token })
}

fn words(forms: &[Form]) -> String {
    forms.iter().map(|form| form.name()).collect::<Vec<_>>().join(", ")
}
