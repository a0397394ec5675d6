//! The door of the Signing service.

use std::sync::Arc;

use bytes::Bytes;
use tonic::{Request, Response, Status};
use trust::format::oci;
use trust::format::release::{FILES_MAX, FileDigests, FileName, Label, Release, ReleaseFile};
use trust::{Algorithm, Digest, Fault, FaultKind, HashFunction, Reference, Scheme, Sha256Digest, Signable};
use trust_proto::v1;
use trust_proto::words::Word as _;

use super::{Door, answer, forms, idempotency, malformed, selector};
use crate::authorize::Evidence;
use crate::custody;
use crate::order::Shape;
use crate::signing::{Receipt, SignedForm, SigningRequest};
use crate::statement::Statement;

/// The longest manifest, in bytes (OCI distribution-spec: registries take at least 4 MiB).
pub(super) const MANIFEST_BYTES_MAX: usize = 4 * 1024 * 1024;
/// The longest raw message, in bytes.
const RAW_MESSAGE_BYTES_MAX: usize = 64 * 1024;
/// The longest file name, in bytes.
const FILE_NAME_BYTES_MAX: usize = 255;

#[tonic::async_trait]
impl v1::signing_server::Signing for Door {
    async fn sign(&self, request: Request<v1::SignRequest>) -> Result<Response<v1::SignResponse>, Status> {
        let principal = self.caller(&request)?;
        let deadline = self.deadline(&request);
        let wire = request.into_inner();
        let with_proof = wire.with_proof;
        let request = SigningRequest {
            principal,
            key: selector(&wire.key).map_err(answer)?,
            statements: vec![statement(wire.statement).map_err(answer)?],
            shape: Shape::Single,
            forms: forms(&wire.forms).map_err(answer)?,
            idempotency: idempotency(&wire.idempotency_key).map_err(answer)?,
            deadline,
        };
        let receipt = self.house.sign(request).await.map_err(answer)?;
        let proof = if with_proof { Some(self.proof(receipt.leaf).await.map_err(answer)?) } else { None };
        sign_response(receipt, proof).map(Response::new).map_err(answer)
    }

    async fn sign_batch(
        &self,
        request: Request<v1::SignBatchRequest>,
    ) -> Result<Response<v1::SignBatchResponse>, Status> {
        let principal = self.caller(&request)?;
        let deadline = self.deadline(&request);
        let wire = request.into_inner();
        let (statements, packed) = batch(wire.items, self.house.limits().batch_items_max).map_err(answer)?;
        let request = SigningRequest {
            principal,
            key: selector(&wire.key).map_err(answer)?,
            statements,
            shape: Shape::Batch,
            forms: forms(&wire.forms).map_err(answer)?,
            idempotency: idempotency(&wire.idempotency_key).map_err(answer)?,
            deadline,
        };
        let receipt = match packed {
            Packing::List | Packing::Packed => self.house.sign(request).await,
            Packing::Release => self.house.sign_release(request).await,
        };
        Ok(Response::new(batch_response(receipt.map_err(answer)?, packed)))
    }

    async fn may_sign(&self, request: Request<v1::MaySignRequest>) -> Result<Response<v1::MaySignResponse>, Status> {
        let principal = self.caller(&request)?;
        let wire = request.into_inner();
        let key = selector(&wire.key).map_err(answer)?;
        let reference = Reference::parse(&wire.reference).map_err(Fault::from).map_err(answer)?;
        let reason = match self.house.may_sign(&principal, &key, &reference).await {
            Ok(_) => None,
            Err(fault) if matches!(fault.kind(), FaultKind::Forbidden | FaultKind::Missing | FaultKind::Refused) => {
                Some(fault.public().to_owned())
            }
            Err(fault) => return Err(answer(fault)),
        };
        Ok(Response::new(v1::MaySignResponse { allowed: reason.is_none(), reason: reason.unwrap_or_default() }))
    }
}

fn statement(wire: Option<v1::Statement>) -> Result<Statement, Fault> {
    match wire.and_then(|statement| statement.kind).ok_or_else(|| malformed("statement: one of image, blob, raw"))? {
        v1::statement::Kind::Image(image) => self::image(image),
        v1::statement::Kind::Blob(blob) => self::blob(blob),
        v1::statement::Kind::Raw(raw) => self::raw(raw),
    }
}

fn image(wire: v1::ImageStatement) -> Result<Statement, Fault> {
    let reference = Reference::parse(&wire.reference)?;
    let (digest, evidence) = match wire.evidence.ok_or_else(|| malformed("image: manifest or claimed digest"))? {
        v1::image_statement::Evidence::Manifest(bytes) => {
            if bytes.len() > MANIFEST_BYTES_MAX {
                return Err(malformed("manifest: at most 4 MiB"));
            }
            // Signing something that no engine could run would make the signature a lie about what was shown.
            oci::parse(&bytes)?;
            (Sha256Digest::of(&bytes), Evidence::Shown)
        }
        v1::image_statement::Evidence::ClaimedDigest(text) => (text.parse()?, Evidence::Claimed),
    };
    Ok(Statement::Image { reference, digest, evidence })
}

fn blob(wire: v1::BlobStatement) -> Result<Statement, Fault> {
    let sha256: [u8; 32] = wire.sha256.as_ref().try_into().map_err(|_| malformed("blob: sha256 of 32 bytes"))?;
    let fits = (1..=FILE_NAME_BYTES_MAX).contains(&wire.name.len());
    if !fits || wire.name.chars().any(|c| c.is_control() || c == '/') || matches!(wire.name.as_str(), "." | "..") {
        return Err(malformed("blob: a file name of 1 to 255 bytes, without '/' and control characters"));
    }
    Ok(Statement::Blob { sha256: Sha256Digest::from_bytes(sha256), name: wire.name, size: wire.size })
}

/// The statements of a release: one for each file, then one for the whole.
fn release(wire: v1::Release) -> Result<Vec<Statement>, Fault> {
    if wire.files.len() > FILES_MAX {
        return Err(malformed("release: at most 1024 files"));
    }
    let label = |text: &str| if text.is_empty() { Ok(None) } else { Label::parse(text).map(Some) };
    let files = wire.files.iter().map(release_file).collect::<Result<Vec<_>, _>>()?;
    let release = Release::new(files.clone(), label(&wire.version)?, label(&wire.source_revision)?)?;
    let release = Arc::new(release.with_blob_forms(forms(&wire.blob_forms)?)?);
    let each = files.into_iter().map(|file| Statement::ReleaseFile { file, release: Arc::clone(&release) });
    Ok(each.chain([Statement::Release(Arc::clone(&release))]).collect())
}

fn release_file(wire: &v1::ReleaseFile) -> Result<ReleaseFile, Fault> {
    let long = || malformed("release: digests of 32 (SHA-256) and 64 bytes (SHA-512, BLAKE2b)");
    let digests = FileDigests {
        size_bytes: wire.size,
        sha256: Sha256Digest::from_bytes(wire.sha256.as_ref().try_into().map_err(|_| long())?),
        sha512: wire.sha512.as_ref().try_into().map_err(|_| long())?,
        blake2b512: wire.blake2b512.as_ref().try_into().map_err(|_| long())?,
    };
    Ok(ReleaseFile::new(FileName::parse(&wire.name)?, digests)?)
}

fn raw(wire: v1::RawStatement) -> Result<Statement, Fault> {
    match wire.input.ok_or_else(|| malformed("raw: message or digest"))? {
        v1::raw_statement::Input::Message(bytes) if bytes.len() > RAW_MESSAGE_BYTES_MAX => {
            Err(malformed("raw: a message of at most 64 KiB"))
        }
        v1::raw_statement::Input::Message(bytes) => Ok(Statement::Raw(Signable::Message(bytes.into()))),
        v1::raw_statement::Input::Digest(bytes) => {
            let function = match bytes.len() {
                32 => HashFunction::Sha256,
                48 => HashFunction::Sha384,
                _ => return Err(malformed("raw: a digest of 32 or 48 bytes")),
            };
            Ok(Statement::Raw(Signable::Digest(Digest::from_bytes(function, &bytes)?)))
        }
    }
}

/// Whether a batch is answered packed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Packing {
    List,
    Packed,
    /// A list, of which the daemon made the items itself.
    Release,
}

fn batch(items: Option<v1::sign_batch_request::Items>, items_max: usize) -> Result<(Vec<Statement>, Packing), Fault> {
    let too_many = || malformed("items: 1 to the daemon's batch_items_max");
    match items.ok_or_else(|| malformed("items: statements or raw_messages32"))? {
        v1::sign_batch_request::Items::Statements(list) => {
            if list.statements.is_empty() || list.statements.len() > items_max {
                return Err(too_many());
            }
            let statements =
                list.statements.into_iter().map(|item| statement(Some(item))).collect::<Result<Vec<_>, _>>()?;
            Ok((statements, Packing::List))
        }
        v1::sign_batch_request::Items::Release(release) => {
            // The whole is an item, too.
            if release.files.len() >= items_max {
                return Err(too_many());
            }
            Ok((self::release(release)?, Packing::Release))
        }
        v1::sign_batch_request::Items::RawMessages32(bytes) => {
            let (messages, rest) = bytes.as_chunks::<32>();
            if !rest.is_empty() || messages.is_empty() || messages.len() > items_max {
                return Err(too_many());
            }
            let statements =
                messages.iter().map(|message| Statement::Raw(Signable::Message(message.to_vec()))).collect();
            Ok((statements, Packing::Packed))
        }
    }
}

fn sign_response(receipt: Receipt, proof: Option<v1::InclusionProof>) -> Result<v1::SignResponse, Fault> {
    let mut wire = receipt_to_wire(&receipt);
    wire.proof = proof;
    let (spki_der, algorithm) =
        (Bytes::copy_from_slice(receipt.public_key.spki_der()), receipt.public_key.algorithm().to_wire());
    let signatures = receipt.into_single()?;
    Ok(v1::SignResponse {
        receipt: Some(wire),
        spki_der,
        algorithm,
        signatures: signatures.into_iter().map(form_to_wire).collect(),
    })
}

fn batch_response(receipt: Receipt, packing: Packing) -> v1::SignBatchResponse {
    let wire = receipt_to_wire(&receipt);
    let second_leaf = receipt.second_leaf;
    let (spki_der, algorithm) =
        (Bytes::copy_from_slice(receipt.public_key.spki_der()), receipt.public_key.algorithm().to_wire());
    let items = match packing {
        Packing::List | Packing::Release => v1::sign_batch_response::Items::List(v1::SignedItemList {
            items: receipt
                .items
                .into_iter()
                .map(|item| match item {
                    Ok(forms) => v1::SignedItem {
                        signatures: forms.into_iter().map(form_to_wire).collect(),
                        failure: String::new(),
                    },
                    Err(error) => {
                        v1::SignedItem { signatures: Vec::new(), failure: custody::fault(error).public().to_owned() }
                    }
                })
                .collect(),
        }),
        Packing::Packed => v1::sign_batch_response::Items::Packed(pack(receipt)),
    };
    v1::SignBatchResponse { receipt: Some(wire), spki_der, algorithm, items: Some(items), second_leaf }
}

fn pack(receipt: Receipt) -> v1::PackedSignatures {
    let mut packed = v1::PackedSignatures::default();
    let mut signatures = Vec::new();
    let mut lengths = Vec::with_capacity(receipt.items.len());
    for (index, item) in (0_u32..).zip(&receipt.items) {
        match item.as_ref().ok().and_then(|forms| forms.first()) {
            Some(form) => signatures.extend_from_slice(form.signature.as_bytes()),
            None => packed.failed.push(index),
        }
        lengths.push(u32::try_from(signatures.len()).unwrap_or(u32::MAX));
    }
    if !has_fixed_signatures(receipt.public_key.algorithm()) || !packed.failed.is_empty() {
        packed.ends = lengths;
    }
    packed.signatures = signatures.into();
    packed
}

/// Whether all signatures of an algorithm have one length: ECDSA in DER has not.
const fn has_fixed_signatures(algorithm: Algorithm) -> bool {
    !matches!(algorithm.scheme(), Scheme::EcdsaP256 | Scheme::EcdsaP384)
}

fn receipt_to_wire(receipt: &Receipt) -> v1::Receipt {
    v1::Receipt {
        log_origin: receipt.origin.clone(),
        leaf: receipt.leaf,
        key_id: receipt.key.id.to_string(),
        key_version: receipt.key.version.number(),
        proof: None,
    }
}

fn form_to_wire(signed: SignedForm) -> v1::SignedForm {
    v1::SignedForm {
        form: signed.form.to_wire(),
        payload: signed.payload.into(),
        signature: Bytes::copy_from_slice(signed.signature.as_bytes()),
    }
}
