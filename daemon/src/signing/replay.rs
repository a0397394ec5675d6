//! Retries of a sign (D14): the stored receipt, or a new signature that says which intent it retries.
//!
//! The intent is kept under the idempotency key before the private key is used, the receipt in its place before it is
//! answered: whatever a crash cut off in between, the retry knows what it retries.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use serde::{Deserialize, Serialize};
use trust::format::release::ReleaseFile;
use trust::{Fault, Form, KeyRef, KeyVersion, Sha256Digest, Signature};

use super::{Receipt, SignedForm, SigningRequest};
use crate::house::House;
use crate::idempotency::{RequestHash, Turn, other_content};
use crate::order::{Shape, SignOrder};
use crate::records::{Replay, record_fault};
use crate::statement::Statement;

pub(super) const METHOD: &str = "sign";

/// What is known of a request's idempotency key.
pub(super) struct Found {
    keep: Option<Keep>,
    stored: Option<Stored>,
}

/// Under what the receipt is to be kept; until then the next request under that key waits.
#[derive(Clone)]
pub(crate) struct Keep {
    turn: Arc<Turn>,
    request_hash: Sha256Digest,
    /// Whether something is kept there already, of this request or of one before.
    is_kept: Arc<AtomicBool>,
}

/// A receipt as it is kept. Without items only the intent is known: nothing has come of it yet, or what came was too
/// large or had a failure.
#[derive(Serialize, Deserialize)]
struct Stored {
    leaf: u64,
    version: u32,
    items: Vec<StoredItem>,
}

/// What failed is kept of no receipt.
#[derive(Serialize, Deserialize)]
enum StoredItem {
    Signed(Vec<StoredForm>),
}

#[derive(Serialize, Deserialize)]
struct StoredForm {
    form: String,
    payload: Vec<u8>,
    signature: Vec<u8>,
}

impl Found {
    /// The intent that a new signature would retry.
    pub(super) fn retry_of(&self) -> Option<u64> {
        self.stored.as_ref().map(|stored| stored.leaf)
    }

    /// What the new receipt is to be kept under.
    pub(super) fn keep(&self) -> Option<Keep> {
        self.keep.clone()
    }

    /// The stored receipt, for a caller who was authorized afresh for `order`.
    pub(super) fn receipt(&self, order: &SignOrder, origin: &str) -> Option<Receipt> {
        let stored = self.stored.as_ref()?;
        // After a rotation another version would answer: that is a new signature.
        if stored.items.is_empty() || stored.version != order.key.version.number() {
            return None;
        }
        let algorithm = order.public_key.algorithm();
        let items = stored
            .items
            .iter()
            .map(|StoredItem::Signed(forms)| {
                let signed = forms.iter().map(|stored| {
                    Some(SignedForm {
                        form: stored.form.parse::<Form>().ok()?,
                        payload: stored.payload.clone(),
                        signature: Signature::new(algorithm, stored.signature.clone()).ok()?,
                    })
                });
                signed.collect::<Option<Vec<_>>>().map(Ok)
            })
            .collect::<Option<Vec<_>>>()?;
        Some(Receipt {
            key: KeyRef { id: order.key.id, version: KeyVersion::new(stored.version)? },
            public_key: order.public_key.clone(),
            origin: origin.to_owned(),
            leaf: stored.leaf,
            shape: order.shape,
            items,
            second_leaf: None,
        })
    }
}

impl House {
    /// Looks the request's idempotency key up.
    pub(super) async fn find_receipt(&self, turn: Option<Turn>, request: &SigningRequest) -> Result<Found, Fault> {
        let Some(turn) = turn else { return Ok(Found { keep: None, stored: None }) };
        let request_hash = hash(request);
        let found = self.records().find_replay(turn.principal(), turn.method(), turn.key().as_str()).await;
        let stored = match found.map_err(record_fault)? {
            None => None,
            Some(replay) if replay.request_hash != request_hash => return Err(other_content()),
            Some(replay) => Some(postcard::from_bytes(&replay.response).map_err(Fault::internal)?),
        };
        let is_kept = Arc::new(AtomicBool::new(stored.is_some()));
        let keep = Keep { turn: Arc::new(turn), request_hash, is_kept };
        Ok(Found { keep: Some(keep), stored })
    }

    /// Keeps the intent, durably, before the key is used. Refused where another request has kept one meanwhile.
    pub(super) async fn keep_intent(&self, keep: &Keep, leaf: u64, version: KeyVersion) -> Result<(), Fault> {
        let response = postcard::to_stdvec(&Stored { leaf, version: version.number(), items: Vec::new() });
        let replay = keep.to_store(response.map_err(Fault::internal)?);
        if keep.is_kept.load(Ordering::Relaxed) {
            return self.records().replace_replay(replay).await.map_err(record_fault);
        }
        self.records().remember_replay(replay).await.map_err(record_fault)?;
        keep.is_kept.store(true, Ordering::Relaxed);
        Ok(())
    }

    /// Keeps the receipt, durably, before it is answered.
    pub(super) async fn keep_receipt(&self, keep: &Keep, receipt: &Receipt) -> Result<(), Fault> {
        let form = |signed: &SignedForm| StoredForm {
            form: signed.form.name().to_owned(),
            payload: signed.payload.clone(),
            signature: signed.signature.as_bytes().to_vec(),
        };
        let item = |forms: &Vec<SignedForm>| StoredItem::Signed(forms.iter().map(form).collect());
        // What failed is not the answer to a retry: that signs anew, and says what it retries.
        let items: Result<Vec<StoredItem>, _> = receipt.items.iter().map(|signed| signed.as_ref().map(item)).collect();
        let mut stored =
            Stored { leaf: receipt.leaf, version: receipt.key.version.number(), items: items.unwrap_or_default() };
        let mut response = postcard::to_stdvec(&stored).map_err(Fault::internal)?;
        if response.len() > Replay::RESPONSE_BYTES_MAX {
            stored.items.clear();
            response = postcard::to_stdvec(&stored).map_err(Fault::internal)?;
        }
        self.records().replace_replay(keep.to_store(response)).await.map_err(record_fault)
    }
}

impl Keep {
    fn to_store(&self, response: Vec<u8>) -> Replay {
        Replay {
            principal: self.turn.principal().clone(),
            method: self.turn.method().to_owned(),
            key: self.turn.key().as_str().to_owned(),
            request_hash: self.request_hash,
            response,
        }
    }
}

fn add_file(hash: RequestHash, file: &ReleaseFile) -> RequestHash {
    let digests = file.digests();
    hash.add(file.name().as_str().as_bytes())
        .add(&digests.size_bytes.to_le_bytes())
        .add(digests.sha256.as_bytes())
        .add(&digests.sha512)
        .add(&digests.blake2b512)
}

fn hash(request: &SigningRequest) -> Sha256Digest {
    let shape: &[u8] = match request.shape {
        Shape::Single => b"single",
        Shape::Batch => b"batch",
    };
    let mut hash = RequestHash::default().add(request.key.to_string().as_bytes()).add(shape);
    for form in &request.forms {
        hash = hash.add(form.name().as_bytes());
    }
    for statement in &request.statements {
        hash = match statement {
            Statement::Image { reference, digest, evidence } => hash
                .add(b"image")
                .add(reference.to_string().as_bytes())
                .add(digest.as_bytes())
                .add(evidence.name().as_bytes()),
            Statement::Blob { sha256, name, size } => {
                hash.add(b"blob").add(sha256.as_bytes()).add(name.as_bytes()).add(&size.to_le_bytes())
            }
            Statement::Raw(trust::Signable::Message(bytes)) => hash.add(b"message").add(bytes),
            Statement::Raw(trust::Signable::Digest(digest)) => hash.add(b"digest").add(digest.as_bytes()),
            // The release behind each file is the same, and last in the list.
            Statement::Release(release) => hash
                .add(b"release")
                .add(release.version().unwrap_or_default().as_bytes())
                .add(release.source_revision().unwrap_or_default().as_bytes())
                .add(
                    release
                        .blob_forms()
                        .unwrap_or_default()
                        .iter()
                        .map(|form| form.name())
                        .collect::<String>()
                        .as_bytes(),
                ),
            Statement::ReleaseComment { file, signature, comment, .. } => {
                add_file(hash.add(b"comment").add(signature).add(comment.as_bytes()), file)
            }
            Statement::ReleaseFile { file, .. } => add_file(hash.add(b"file"), file),
        };
    }
    hash.finish()
}
