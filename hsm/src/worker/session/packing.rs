//! What fits into a frame, how long it may take, and what comes back in one.

use std::time::Duration;

use trust::{Algorithm, Signature};

use super::super::frame;
use super::super::message::{Bytes, SignedBytes};
use crate::{CustodyError, SealedKey, SignedOrder, SigningOrder};

/// What one record, its context and the lengths of both take in a frame, in bytes, at most.
const RECORD_BYTES: usize = SealedKey::BYTES_MAX + 256;
/// What one input takes besides its own bytes.
const INPUT_BYTES: usize = 8;
/// The longest message that a frame packs, in bytes: the bound of a frame less room for what is around.
const PACKED_MAX: usize = frame::BYTES_MAX - 64 * 1024;
/// The most records in one rewrap frame.
pub(super) const RECORDS_MAX: usize = PACKED_MAX / RECORD_BYTES;

/// How many of the first orders go into one frame: at least one, none of a size that is refused.
pub(super) fn fit_in_a_frame(orders: &[SigningOrder]) -> usize {
    let (mut bytes, mut inputs) = (0_usize, 0_usize);
    let fits = |order: &&SigningOrder| {
        bytes = bytes.saturating_add(order_bytes(order));
        inputs = inputs.saturating_add(order.inputs.len());
        bytes <= PACKED_MAX && inputs <= SigningOrder::INPUTS_MAX && order.check_size().is_ok()
    };
    orders.iter().take_while(fits).count().max(1)
}

fn order_bytes(order: &SigningOrder) -> usize {
    let around = RECORD_BYTES.saturating_add(order.inputs.len().saturating_mul(INPUT_BYTES));
    around.saturating_add(order.input_bytes())
}

/// What an order may take, generously, beyond the patience with any call.
pub(super) fn cost(order: &SigningOrder) -> Duration {
    let each = match order.context.algorithm {
        Algorithm::Rsa3072Pkcs1Sha256 | Algorithm::Rsa3072PssSha256 => Duration::from_millis(20),
        Algorithm::Rsa4096Pkcs1Sha256 | Algorithm::Rsa4096PssSha256 => Duration::from_millis(40),
        Algorithm::EcdsaP256Sha256 | Algorithm::EcdsaP384Sha256 | Algorithm::EcdsaP384Sha384 | Algorithm::Ed25519 => {
            Duration::from_millis(1)
        }
    };
    each.saturating_mul(u32::try_from(order.inputs.len()).unwrap_or(u32::MAX))
}

/// One order's answer; `None` when it is none to this order.
pub(super) fn read_signed(order: &SigningOrder, signed: SignedBytes<'_>) -> Option<SignedOrder> {
    let signatures = match signed {
        Ok(signatures) => signatures,
        Err(error) => return Some(Err(error)),
    };
    if signatures.len() != order.inputs.len() {
        return None;
    }
    let read = |signature: Result<Bytes<'_>, CustodyError>| match signature {
        Ok(bytes) => Signature::new(order.context.algorithm, bytes.0.to_vec()).ok().map(Ok),
        Err(error) => Some(Err(error)),
    };
    signatures.into_iter().map(read).collect::<Option<Vec<_>>>().map(Ok)
}
