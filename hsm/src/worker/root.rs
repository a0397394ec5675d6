//! A root KEK between two workers: sealed to an offer of the one that receives it, so that the daemon only passes it on.

use std::sync::Arc;
use std::time::Duration;

use super::live::Live;
use super::message::{Bytes, Control, ControlAnswer};
use super::supervisor::Shared;
use super::token::TokenWorker;
use crate::{CustodyError, KeyRing, Offer, OfferId, Unsealed, WrappedRoot};

/// What making a wrapping key may take beyond the patience with any call: a token may have RSA keys only.
const MAKING_PATIENCE: Duration = Duration::from_secs(60);

/// Opens the ring with the root key that `token` unwraps. Blocks.
///
/// # Errors
/// [`CustodyError::Unavailable`] while the token does not serve; [`CustodyError::Refused`] where it does not have the
/// wrapping key, and for a root key that is not the ring's; [`CustodyError::Corrupt`] for a wrap that was altered.
pub fn unseal_through(
    ring: &dyn KeyRing,
    token: &TokenWorker,
    wrapped: &WrappedRoot,
) -> Result<Unsealed, CustodyError> {
    let offer = ring.offer()?;
    match token.unwrap_root(wrapped, &offer) {
        Ok(sealed) => ring.unseal_offered(offer.id, &sealed),
        Err(error) => {
            // Spends the offer, of which there are few: a token that is away is tried again and again.
            let _ = ring.unseal_offered(offer.id, &[]);
            Err(error)
        }
    }
}

/// Draws another root key and has each of `tokens` wrap it. Blocks. What tokens had made when one of them fails is
/// deleted again, as far as they still can.
///
/// # Errors
/// What [`KeyRing::draw_root`] and `TokenWorker::wrap_root` answer.
pub fn draw_and_wrap(ring: &dyn KeyRing, tokens: &[Arc<TokenWorker>]) -> Result<Vec<WrappedRoot>, CustodyError> {
    let offers = tokens.iter().map(|token| token.offer()).collect::<Result<Vec<_>, _>>()?;
    let sealed = ring.draw_root(&offers).inspect_err(|_| {
        for (token, offer) in tokens.iter().zip(&offers) {
            let _ = token.wrap_root(offer.id, &[]); // spends it
        }
    })?;
    let mut wraps: Vec<WrappedRoot> = Vec::with_capacity(tokens.len());
    for ((token, offer), sealed) in tokens.iter().zip(&offers).zip(&sealed) {
        match token.wrap_root(offer.id, sealed) {
            Ok(wrapped) => wraps.push(wrapped),
            Err(error) => {
                for (token, wrapped) in tokens.iter().zip(&wraps) {
                    // The error that is answered is the first one.
                    let _ = token.destroy_wrap_key(wrapped);
                }
                return Err(error);
            }
        }
    }
    Ok(wraps)
}

impl TokenWorker {
    fn offer(&self) -> Result<Offer, CustodyError> {
        self.ask(&Control::Offer, Duration::ZERO, read_offer)
    }

    /// Makes a key in the token and wraps under it the root key that was sealed to `offer`.
    ///
    /// # Errors
    /// [`CustodyError::Refused`] for a token without a mechanism for it; [`CustodyError::Unavailable`].
    fn wrap_root(&self, offer: OfferId, sealed: &[u8]) -> Result<WrappedRoot, CustodyError> {
        // Others who wait for the token meanwhile are told why it is silent.
        let _made = self.shared().making.begin();
        let request = Control::WrapRoot { offer: *offer.as_bytes(), sealed: Bytes(sealed) };
        self.ask(&request, MAKING_PATIENCE, |answer| match answer {
            ControlAnswer::Wrapped(wrapped) => Some(wrapped),
            _ => None,
        })
    }

    /// Unwraps a root key; what comes back is sealed to `receiver`.
    fn unwrap_root(&self, wrapped: &WrappedRoot, receiver: &Offer) -> Result<Vec<u8>, CustodyError> {
        let request = Control::UnwrapRoot { wrapped: wrapped.clone(), receiver: receiver.public_key };
        self.ask(&request, Duration::ZERO, |answer| match answer {
            ControlAnswer::Drawn(sealed) => sealed.first().map(|sealed| sealed.0.to_vec()),
            _ => None,
        })
    }

    /// Deletes the key under which a root key was wrapped: copies of the wrap never open again. Blocks.
    ///
    /// # Errors
    /// [`CustodyError::Unavailable`], and [`CustodyError::Refused`] where the token does not delete it.
    pub fn destroy_wrap_key(&self, wrapped: &WrappedRoot) -> Result<(), CustodyError> {
        self.ask(&Control::DestroyWrapKey(wrapped.clone()), Duration::ZERO, |answer| {
            matches!(answer, ControlAnswer::Done).then_some(())
        })
    }

    fn ask<T>(
        &self,
        request: &Control<'_>,
        more: Duration,
        read: impl FnOnce(ControlAnswer<'_>) -> Option<T>,
    ) -> Result<T, CustodyError> {
        ask(self.shared(), request, self.shared().launch.hang_after().saturating_add(more), |_, answer| {
            read(answer).map(Ok)
        })
    }
}

pub(super) fn read_offer(answer: ControlAnswer<'_>) -> Option<Offer> {
    match answer {
        ControlAnswer::Offered { id, public_key } => Some(Offer { id: OfferId::from_bytes(id), public_key }),
        _ => None,
    }
}

/// Asks a worker over its control connection; an answer out of protocol costs it its life.
pub(super) fn ask<T>(
    shared: &Shared,
    request: &Control<'_>,
    patience: Duration,
    read: impl FnOnce(&Arc<Live>, ControlAnswer<'_>) -> Option<Result<T, CustodyError>>,
) -> Result<T, CustodyError> {
    let (live, frame) = shared.control(request, patience)?;
    let answer = postcard::from_bytes(&frame).ok().and_then(|answer| match answer {
        ControlAnswer::Failed(error) => Some(Err(error)),
        other => read(&live, other),
    });
    if answer.is_some() {
        live.proved_useful();
    }
    answer.unwrap_or_else(|| Err(shared.judge(&live, &std::io::ErrorKind::InvalidData.into())))
}
