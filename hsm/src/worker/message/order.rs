//! Orders, and what they are about, as bytes that borrow from their frame.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use trust::{Algorithm, Digest, KeyId, KeyRef, KeyVersion, Malformed, Purpose, Sha256Digest, Signable};

use super::{Bytes, Kept};
use crate::{DestroyOrder, Material, RewrapOrder, SealContext, SigningOrder};

/// [`SealContext`] as bytes.
#[derive(Serialize, Deserialize)]
pub(in crate::worker) struct Context<'a> {
    store: [u8; 16],
    id: [u8; 16],
    version: u32,
    algorithm: &'a str,
    purpose: &'a str,
    scope_hash: [u8; 32],
}

/// [`RewrapOrder`], or a [`SigningOrder`] without its inputs, as bytes.
#[derive(Serialize, Deserialize)]
pub(in crate::worker) struct Record<'a> {
    #[serde(borrow)]
    context: Context<'a>,
    spki_sha256: [u8; 32],
    material: Kept<'a>,
}

/// [`SigningOrder`] as bytes.
#[derive(Serialize, Deserialize)]
pub(in crate::worker) struct Order<'a> {
    #[serde(borrow)]
    record: Record<'a>,
    inputs: Vec<Input<'a>>,
}

/// [`Signable`] as bytes.
#[derive(Serialize, Deserialize)]
pub(in crate::worker) enum Input<'a> {
    Message(#[serde(borrow)] Bytes<'a>),
    Sha256(Bytes<'a>),
    Sha384(Bytes<'a>),
}

impl<'a> From<&'a SealContext> for Context<'a> {
    fn from(context: &'a SealContext) -> Self {
        Self {
            store: context.store,
            id: *context.key.id.as_bytes(),
            version: context.key.version.number(),
            algorithm: context.algorithm.name(),
            purpose: context.purpose.name(),
            scope_hash: *context.scope_hash.as_bytes(),
        }
    }
}

impl Context<'_> {
    pub(in crate::worker) fn read(&self) -> Result<SealContext, Malformed> {
        let version = KeyVersion::new(self.version).ok_or(Malformed::new("key version", "1 or more"))?;
        Ok(SealContext {
            store: self.store,
            key: KeyRef { id: KeyId::from_bytes(self.id), version },
            algorithm: self.algorithm.parse::<Algorithm>()?,
            purpose: self.purpose.parse::<Purpose>()?,
            scope_hash: Sha256Digest::from_bytes(self.scope_hash),
        })
    }
}

impl<'a> Record<'a> {
    fn of(context: &'a SealContext, spki_sha256: Sha256Digest, material: &'a Material) -> Self {
        Self { context: context.into(), spki_sha256: *spki_sha256.as_bytes(), material: material.into() }
    }

    pub(in crate::worker) fn read(&self) -> Result<RewrapOrder, Malformed> {
        Ok(RewrapOrder {
            context: Arc::new(self.context.read()?),
            spki_sha256: Sha256Digest::from_bytes(self.spki_sha256),
            material: self.material.read()?,
        })
    }
}

impl<'a> From<&'a RewrapOrder> for Record<'a> {
    fn from(order: &'a RewrapOrder) -> Self {
        Self::of(&order.context, order.spki_sha256, &order.material)
    }
}

impl<'a> From<&'a DestroyOrder> for Record<'a> {
    fn from(order: &'a DestroyOrder) -> Self {
        Self::of(&order.context, order.spki_sha256, &order.material)
    }
}

impl<'a> From<&'a SigningOrder> for Order<'a> {
    fn from(order: &'a SigningOrder) -> Self {
        let inputs = order.inputs.iter().map(|input| match input {
            Signable::Message(message) => Input::Message(Bytes(message)),
            Signable::Digest(Digest::Sha256(value)) => Input::Sha256(Bytes(value)),
            Signable::Digest(Digest::Sha384(value)) => Input::Sha384(Bytes(value)),
        });
        Self { record: Record::of(&order.context, order.spki_sha256, &order.material), inputs: inputs.collect() }
    }
}

impl Order<'_> {
    pub(in crate::worker) fn read(&self) -> Result<SigningOrder, Malformed> {
        let RewrapOrder { context, spki_sha256, material } = self.record.read()?;
        let inputs = self.inputs.iter().map(Input::read).collect::<Result<_, _>>()?;
        Ok(SigningOrder { context, spki_sha256, material, inputs })
    }
}

impl Input<'_> {
    fn read(&self) -> Result<Signable, Malformed> {
        use trust::HashFunction::{Sha256, Sha384};
        Ok(match self {
            Self::Message(message) => Signable::Message(message.0.to_vec()),
            Self::Sha256(value) => Signable::Digest(Digest::from_bytes(Sha256, value.0)?),
            Self::Sha384(value) => Signable::Digest(Digest::from_bytes(Sha384, value.0)?),
        })
    }
}
