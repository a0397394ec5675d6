//! What session threads do, and what each of it costs.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::oneshot;
use trust::{KeyId, Scheme};
use trust_hsm::{
    AdoptOrder, CustodyError, DestroyOrder, Generated, ImportOrder, Material, Offer, Removed, RewrapOrder, SealContext,
    TokenObjects,
};

use super::Visit;
use super::spread::Spread;
use crate::order::SignOrder;
use crate::permit::Intent;

/// One piece of work for a session thread. Whoever takes `Leave` ends: there are to be fewer sessions.
#[expect(clippy::large_enum_variant, reason = "nearly all of it is Sign; a box would be one more allocation for each")]
pub(super) enum Work {
    Sign { intent: Intent<SignOrder>, answer: oneshot::Sender<Visit> },
    Share(Arc<Spread>),
    Generate { context: SealContext, answer: oneshot::Sender<Result<Generated, CustodyError>> },
    Import { order: Box<ImportOrder>, answer: oneshot::Sender<Result<Generated, CustodyError>> },
    Adopt { order: Box<AdoptOrder>, answer: oneshot::Sender<Result<Generated, CustodyError>> },
    Offer { answer: oneshot::Sender<Result<Offer, CustodyError>> },
    Rewrap { orders: Vec<RewrapOrder>, answer: oneshot::Sender<Vec<Result<Material, CustodyError>>> },
    Forget { key: KeyId, answer: oneshot::Sender<Result<(), CustodyError>> },
    Destroy { order: DestroyOrder, answer: oneshot::Sender<Result<Removed, CustodyError>> },
    Objects { answer: oneshot::Sender<Result<TokenObjects, CustodyError>> },
    Leave,
}

impl Work {
    /// About how long a session thread is busy with it, verification and all: what the queue plans by.
    pub(super) fn cost(&self) -> Duration {
        match self {
            Self::Sign { intent, .. } => {
                let order = intent.operation();
                if is_in_token(order) {
                    return TOKEN_VISIT;
                }
                let each = match order.public_key().algorithm().scheme() {
                    Scheme::Ed25519 | Scheme::EcdsaP256 => Duration::from_micros(60),
                    Scheme::EcdsaP384 => Duration::from_micros(300),
                    Scheme::RsaPkcs1 | Scheme::RsaPss => Duration::from_millis(4),
                };
                // Hashed twice to sign and once to verify, and copied through two frames: about 6 ns a byte.
                let bytes = u64::try_from(order.input_bytes()).unwrap_or(u64::MAX);
                each.saturating_mul(u32::try_from(order.inputs()).unwrap_or(u32::MAX))
                    .saturating_add(Duration::from_nanos(bytes.saturating_mul(6)))
            }
            Self::Generate { .. }
            | Self::Import { .. }
            | Self::Adopt { .. }
            | Self::Rewrap { .. }
            | Self::Destroy { .. }
            | Self::Objects { .. } => Duration::from_secs(1),
            Self::Share(_) => TOKEN_VISIT,
            Self::Forget { .. } | Self::Offer { .. } => Duration::from_millis(1),
            // Alone, and by somebody else than whoever is back soon.
            Self::Leave => Duration::from_secs(1),
        }
    }
}

/// A token takes its time and does several things at once: each order gets the next free session.
const TOKEN_VISIT: Duration = Duration::from_secs(1);

pub(super) const fn is_in_token(order: &SignOrder) -> bool {
    matches!(order.material(), Material::Token(_))
}
