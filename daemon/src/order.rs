//! What a permit to sign is for: one key, exact preimages, and nothing a later stage could choose.

use std::sync::Arc;

use trust::{Form, KeyRef, PublicKey, Sha256Digest, Signable};
use trust_hsm::{Material, SealContext, SigningOrder};

use crate::audit::{BatchBody, IntentLeaf, SubjectBody, batch_root};
use crate::permit::Operation;
use crate::statement::{BatchItem, Preimage};

/// What the evidence of a request looks like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Shape {
    /// A leaf with the one statement in it.
    Single,
    /// A leaf with the count and root of its items, which stand in a file of their own (D13).
    Batch,
}

/// Made by the authorize stage, read by the log, carried out by custody.
#[derive(Debug)]
pub(crate) struct SignOrder {
    pub(crate) key: KeyRef,
    pub(crate) public_key: PublicKey,
    pub(crate) spki_sha256: Sha256Digest,
    pub(crate) purpose: &'static str,
    pub(crate) context: Arc<SealContext>,
    pub(crate) material: Material,
    pub(crate) epoch: u64,
    /// The forms that were asked for.
    pub(crate) forms: Vec<Form>,
    /// One for each item.
    pub(crate) subjects: Vec<SubjectBody>,
    /// Item by item, each in all forms that it has.
    pub(crate) preimages: Vec<Preimage>,
    /// How many preimages each item has.
    pub(crate) lengths: Vec<usize>,
    pub(crate) shape: Shape,
    pub(crate) retry_of: Option<u64>,
    /// The canonical statements of a batch.
    pub(crate) batch: Vec<Vec<u8>>,
}

impl Operation for SignOrder {
    fn describe(&self, leaf: &mut IntentLeaf) {
        leaf.custodian = Some(self.material.custodian().to_owned());
        leaf.operation = "sign";
        leaf.name_key(self.key);
        leaf.algorithm = Some(self.public_key.algorithm().name());
        leaf.epoch = Some(self.epoch);
        leaf.purpose = Some(self.purpose);
        // Those of which there is something to sign: a release's second visit is for one form alone.
        let signed = |form: &&Form| self.preimages.iter().any(|preimage| preimage.form == **form);
        leaf.forms = self.forms.iter().filter(signed).map(|form| form.name()).collect();
        leaf.retry_of = self.retry_of;
        match self.shape {
            Shape::Single => {
                leaf.subject = self.subjects.first().cloned();
                leaf.preimages = self.preimages.iter().map(|preimage| preimage.hash().to_hex()).collect();
            }
            Shape::Batch => {
                leaf.batch = Some(BatchBody {
                    count: u64::try_from(self.subjects.len()).unwrap_or(u64::MAX),
                    root: batch_root(self.batch.iter().map(Vec::as_slice)).to_hex(),
                });
            }
        }
    }
}

impl SignOrder {
    /// Key and version.
    pub(crate) const fn key(&self) -> KeyRef {
        self.key
    }

    /// The sealed key as the permit found it.
    pub(crate) const fn material(&self) -> &Material {
        &self.material
    }

    /// The key's epoch that the permit was made under.
    pub(crate) const fn epoch(&self) -> u64 {
        self.epoch
    }

    /// The registered public key.
    pub(crate) const fn public_key(&self) -> &PublicKey {
        &self.public_key
    }

    /// How many signatures it takes.
    pub(crate) const fn inputs(&self) -> usize {
        self.preimages.len()
    }

    /// How long all preimages are together, in bytes.
    pub(crate) fn input_bytes(&self) -> usize {
        let length = |preimage: &Preimage| match &preimage.input {
            Signable::Digest(_) => 0,
            Signable::Message(message) => message.len(),
        };
        self.preimages.iter().map(length).fold(0, usize::saturating_add)
    }

    /// The order as custody takes it.
    pub(crate) fn to_custody(&self) -> SigningOrder {
        SigningOrder {
            context: Arc::clone(&self.context),
            spki_sha256: self.spki_sha256,
            material: self.material.clone(),
            inputs: self.preimages.iter().map(|preimage| preimage.input.clone()).collect(),
        }
    }

    /// The canonical statements of a batch; `None` for a single one.
    pub(crate) fn batch_items(&self) -> Option<Vec<Vec<u8>>> {
        (self.shape == Shape::Batch).then(|| self.batch.clone())
    }
}

/// The canonical statement of one item: what stands under the batch's root.
pub(crate) fn batch_item(subject: SubjectBody, preimages: &[Preimage]) -> Vec<u8> {
    let item = BatchItem { preimages: preimages.iter().map(|preimage| preimage.hash().to_hex()).collect(), subject };
    // Texts and integers only: this cannot fail, and an empty item would still be under the root.
    serde_json::to_vec(&item).unwrap_or_default()
}
