//! The door of the Verification service: public data in, verdicts out.

mod stream;

use std::sync::Arc;

use bytes::Bytes;
use tonic::{Request, Response, Status, Streaming};
use trust::verify::NotValid;
use trust::{
    Algorithm, Digest, Fault, HashFunction, KeyVersion, MlDsa65Key, Principal, PublicKey, Purpose, Repository, Signable,
};
use trust_proto::codec::VERIFY_KEYS_MAX;
use trust_proto::v1;
use trust_proto::words::Word as _;

use super::{Door, answer, malformed, selector};
use crate::authorize::Action;
use crate::house::{House, blocking};
use crate::verification::{Batch, BatchKey, Refusal, Verdict, VerificationKey, VerifyRequest};

/// The most trusted keys of a page, and those of a page that asks for none: before there were pages there was this one.
const PAGE_SIZE_MAX: usize = 1024;

#[tonic::async_trait]
impl v1::verification_server::Verification for Door {
    type VerifyStreamStream = stream::Answers;

    async fn verify(&self, request: Request<v1::VerifyRequest>) -> Result<Response<v1::VerifyResponse>, Status> {
        let principal = self.caller(&request)?;
        let request = verify_request(request.into_inner()).map_err(answer)?;
        let verdict = self.house.verify(&principal, request).await.map_err(answer)?;
        Ok(Response::new(match verdict {
            Verdict::Valid(version) => {
                v1::VerifyResponse { valid: true, reason: String::new(), version: version.number() }
            }
            Verdict::NotValid(refusal) => v1::VerifyResponse { valid: false, reason: refusal.to_string(), version: 0 },
        }))
    }

    async fn verify_batch(
        &self,
        request: Request<v1::VerifyBatchRequest>,
    ) -> Result<Response<v1::VerifyBatchResponse>, Status> {
        let principal = self.caller(&request)?;
        let items_max = self.house.limits().verify_items_max;
        let batch = read(&self.house, &principal, request.into_inner(), None, items_max).await.map_err(answer)?;
        let verdicts = self.house.verify_batch(&principal, batch).await.map_err(answer)?;
        Ok(Response::new(to_wire(&verdicts)))
    }

    async fn verify_stream(
        &self,
        request: Request<Streaming<v1::VerifyBatchRequest>>,
    ) -> Result<Response<Self::VerifyStreamStream>, Status> {
        let principal = self.caller(&request)?;
        // Asked for each message, too; whoever may verify nothing hears it before sending anything.
        self.house.allow(&principal, Action::Verify).map_err(answer)?;
        stream::begin(self, request)
    }

    async fn list_trusted_keys(
        &self,
        request: Request<v1::ListTrustedKeysRequest>,
    ) -> Result<Response<v1::ListTrustedKeysResponse>, Status> {
        let principal = self.caller(&request)?;
        let wire = request.into_inner();
        let purpose = Purpose::from_wire(wire.purpose).map_err(|malformed| answer(malformed.into()))?;
        let repository = match wire.repository.as_str() {
            "" => None,
            text => Some(Repository::parse(text).map_err(|malformed| answer(malformed.into()))?),
        };
        let size = match usize::try_from(wire.page_size) {
            Ok(0) => PAGE_SIZE_MAX,
            Ok(size) if size <= PAGE_SIZE_MAX => size,
            _ => return Err(answer(malformed("page size: 1 to 1024"))),
        };
        // Ids, not names as of ListKeys: whoever may not get a key does not learn its name from the token.
        let after = match wire.page_token.as_str() {
            "" => None,
            token => Some(token.parse().map_err(|_| answer(malformed("page token: one from the page before")))?),
        };
        let page = self.house.trusted_keys(&principal, repository.as_ref(), purpose, after, size).await;
        let page = page.map_err(answer)?;
        let keys = page
            .keys
            .into_iter()
            .map(|key| v1::TrustedKey {
                key_id: key.key.id.to_string(),
                name: key.name.map(|name| name.to_string()).unwrap_or_default(),
                version: key.key.version.number(),
                algorithm: key.public_key.algorithm().to_wire(),
                spki_der: Bytes::copy_from_slice(key.public_key.spki_der()),
            })
            .collect();
        let next_page_token = page.next.map(|id| id.to_string()).unwrap_or_default();
        Ok(Response::new(v1::ListTrustedKeysResponse { keys, next_page_token }))
    }
}

fn verify_request(wire: v1::VerifyRequest) -> Result<VerifyRequest, Fault> {
    let input = match wire.input.ok_or_else(|| malformed("input: message or digest"))? {
        v1::verify_request::Input::Message(bytes) => Signable::Message(bytes.into()),
        v1::verify_request::Input::Digest(bytes) => {
            let function = match bytes.len() {
                32 => HashFunction::Sha256,
                48 => HashFunction::Sha384,
                _ => return Err(malformed("digest: 32 or 48 bytes")),
            };
            Signable::Digest(Digest::from_bytes(function, &bytes)?)
        }
    };
    Ok(VerifyRequest {
        key: selector(&wire.key)?,
        version: KeyVersion::new(wire.version),
        input,
        signature: wire.signature.into(),
    })
}

/// Keys of a batch that are read where its call is, at most: below a tenth of a millisecond.
const KEYS_READ_HERE_MAX: usize = 4;
/// Keys that are read at once on a core, before others have their turn there: some milliseconds of the dearest.
const KEYS_OF_A_TURN: usize = 64;
/// Key indexes and ends of a batch that is read where its call is, at most; all of them are looked at.
const NUMBERS_READ_HERE_MAX: usize = 4096;

/// Reads a batch, a large one off the async threads, where it would hold up every other request. Of a stream most messages
/// have no keys, and another thread would cost more than they do. `keys_before` are those of a stream's message before.
async fn read(
    house: &House,
    principal: &Principal,
    mut wire: v1::VerifyBatchRequest,
    keys_before: Option<Arc<[BatchKey]>>,
    items_max: usize,
) -> Result<Batch, Fault> {
    let keys = match keys_before {
        Some(keys) if wire.keys.is_empty() => keys,
        _ => read_keys(house, principal, std::mem::take(&mut wire.keys)).await?,
    };
    let ends = match &wire.messages {
        Some(v1::verify_batch_request::Messages::Packed(packed)) => packed.ends.len(),
        _ => 0,
    };
    let numbers = wire.key_indexes.len().saturating_add(wire.signature_ends.len()).saturating_add(ends);
    if numbers <= NUMBERS_READ_HERE_MAX {
        return batch(wire, keys, items_max);
    }
    blocking(move || batch(wire, keys, items_max)).await?
}

/// Reads the keys of a batch. Thousands of them take as long as thousands of signatures, so they wait for the cores as these
/// do, and are not read at all for whoever may verify nothing.
async fn read_keys(house: &House, principal: &Principal, keys: Vec<v1::BatchKey>) -> Result<Arc<[BatchKey]>, Fault> {
    if keys.is_empty() || keys.len() > VERIFY_KEYS_MAX {
        return Err(malformed("keys: 1 to 4096"));
    }
    if keys.len() <= KEYS_READ_HERE_MAX {
        return keys.into_iter().map(batch_key).collect();
    }
    house.allow(principal, Action::Verify)?;
    let mut read = Vec::with_capacity(keys.len());
    let mut keys = keys.into_iter();
    loop {
        let some: Vec<_> = keys.by_ref().take(KEYS_OF_A_TURN).collect();
        if some.is_empty() {
            return Ok(read.into());
        }
        // Of a name there is nothing to read.
        let place = if some.iter().any(is_given) { Some(house.cores().place_of_one(principal).await?) } else { None };
        let some = blocking(move || {
            let _place = place;
            some.into_iter().map(batch_key).collect::<Result<Vec<_>, _>>()
        });
        read.extend(some.await??);
    }
}

const fn is_given(key: &v1::BatchKey) -> bool {
    matches!(key.kind, Some(v1::batch_key::Kind::PublicKey(_) | v1::batch_key::Kind::MlDsa65SpkiDer(_)))
}

fn batch(wire: v1::VerifyBatchRequest, keys: Arc<[BatchKey]>, items_max: usize) -> Result<Batch, Fault> {
    let messages = match wire.messages.ok_or_else(|| malformed("messages: items32 or packed"))? {
        v1::verify_batch_request::Messages::Items32(bytes) => Batch::items32(bytes)?,
        v1::verify_batch_request::Messages::Packed(packed) => Batch::packed(packed.bytes, packed.ends)?,
    };
    Batch::new(keys, wire.key_indexes, messages, wire.signatures, wire.signature_ends, items_max)
}

fn batch_key(wire: v1::BatchKey) -> Result<BatchKey, Fault> {
    match wire.kind.ok_or_else(|| malformed("key: a name, an id or a public key"))? {
        v1::batch_key::Kind::Key(text) => Ok(BatchKey::Kept(selector(&text)?, None)),
        v1::batch_key::Kind::VersionOfKey(of) => {
            let version = KeyVersion::new(of.version).ok_or_else(|| malformed("version of a key: 1 or more"))?;
            Ok(BatchKey::Kept(selector(&of.key)?, Some(version)))
        }
        v1::batch_key::Kind::PublicKey(key) => {
            let algorithm = Algorithm::from_wire(key.algorithm)?;
            let key = PublicKey::from_spki_der(algorithm, &key.spki_der)?;
            Ok(BatchKey::Given(VerificationKey::Signs(key)))
        }
        v1::batch_key::Kind::MlDsa65SpkiDer(der) => {
            Ok(BatchKey::Given(VerificationKey::MlDsa65(MlDsa65Key::from_spki_der(&der)?)))
        }
    }
}

/// The answer to a batch.
fn to_wire(verdicts: &[Option<Refusal>]) -> v1::VerifyBatchResponse {
    let mut valid = vec![0_u8; verdicts.len().div_ceil(8)];
    let mut failures = Vec::new();
    for (index, verdict) in (0_u32..).zip(verdicts) {
        match verdict {
            None => set_bit(&mut valid, index),
            Some(refusal) => failures.push(v1::BatchFailure { index, reason: failure(*refusal).into() }),
        }
    }
    v1::VerifyBatchResponse { valid: valid.into(), failures }
}

fn set_bit(bits: &mut [u8], index: u32) {
    let place = usize::try_from(index / 8).unwrap_or(usize::MAX);
    if let Some(byte) = bits.get_mut(place) {
        *byte |= 1 << (index % 8);
    }
}

const fn failure(refusal: Refusal) -> v1::VerifyFailure {
    match refusal {
        Refusal::Distrusted => v1::VerifyFailure::Distrusted,
        Refusal::NotValid(NotValid::Encoding) => v1::VerifyFailure::Encoding,
        Refusal::NotValid(NotValid::Input) => v1::VerifyFailure::Input,
        Refusal::NotValid(NotValid::Wrong) | Refusal::Veiled => v1::VerifyFailure::Wrong,
    }
}
