//! Verification after signing: many signatures of one key, made by our own custody.

use curve25519_dalek::constants::ED25519_BASEPOINT_POINT;
use curve25519_dalek::edwards::{CompressedEdwardsY, EdwardsPoint};
use curve25519_dalek::scalar::Scalar;
use curve25519_dalek::traits::{IsIdentity as _, VartimeMultiscalarMul as _};
use ed25519_dalek::VerifyingKey;
use sha2::{Digest as _, Sha512};

use super::one;
use crate::public_key::Parsed;
use crate::{PublicKey, Signable};

/// Below so many signatures the batch costs more than it saves.
const BATCH_MIN: usize = 4;
/// Separates these weights from every other use of SHA-512.
const WEIGHTS: &[u8] = b"trust/verify/own/v1";

/// Verifies signatures that our own custody made with one key; one verdict each, in order.
///
/// Many Ed25519 signatures are tried with one randomised batch equation: a signature that is wrong in
/// the prime-order group (a fault while signing, another key, another message) makes it fail but for
/// a chance of 2⁻¹²⁷, and then each is verified by [`one`]. It is **not** for a stranger's signatures:
/// several `R` with small-order components that cancel out would pass here and not in [`one`].
#[must_use]
pub fn own(key: &PublicKey, items: &[(&Signable, &[u8])]) -> Vec<bool> {
    if items.len() >= BATCH_MIN
        && let Parsed::Ed25519(key) = key.parsed()
        && batch_holds(key, items)
    {
        return vec![true; items.len()];
    }
    items.iter().map(|(input, signature)| one(key, input, signature).is_ok()).collect()
}

/// The parts of one signature, canonical, and its challenge.
struct Parts {
    nonce: EdwardsPoint,
    response: Scalar,
    challenge: Scalar,
}

/// Whether Σ zᵢ·Rᵢ + (Σ zᵢ·kᵢ)·A − (Σ zᵢ·sᵢ)·B is the neutral element. One key, so A is multiplied once.
fn batch_holds(key: &VerifyingKey, items: &[(&Signable, &[u8])]) -> bool {
    // The weights follow from everything they weigh: this floor has no randomness, and none is needed,
    // since nobody can choose a signature after its weight (Fiat–Shamir).
    let mut transcript = Sha512::new_with_prefix(WEIGHTS);
    transcript.update(key.as_bytes());
    let mut parts = Vec::with_capacity(items.len());
    for (input, signature) in items {
        let Some(item) = parts_of(key, input, signature) else { return false };
        transcript.update(signature);
        transcript.update(item.challenge.as_bytes());
        parts.push(item);
    }
    let seed = transcript.finalize();

    let (mut of_base, mut of_key) = (Scalar::ZERO, Scalar::ZERO);
    let mut scalars = Vec::with_capacity(parts.len() + 2);
    let mut points = Vec::with_capacity(parts.len() + 2);
    for (item, weight) in parts.iter().zip(weights(&seed)) {
        of_base -= weight * item.response;
        of_key += weight * item.challenge;
        scalars.push(weight);
        points.push(item.nonce);
    }
    scalars.extend([of_base, of_key]);
    points.extend([ED25519_BASEPOINT_POINT, key.to_edwards()]);
    EdwardsPoint::vartime_multiscalar_mul(scalars, points).is_identity()
}

/// Strict where [`one`] is: `s` below the group order, `R` canonical and not of small order.
fn parts_of(key: &VerifyingKey, input: &Signable, signature: &[u8]) -> Option<Parts> {
    let Signable::Message(message) = input else { return None };
    let (nonce, response) = signature.split_first_chunk::<32>()?;
    let response: Option<Scalar> = Scalar::from_canonical_bytes(response.try_into().ok()?).into();
    let point = CompressedEdwardsY(*nonce).decompress()?;
    if point.is_small_order() || !is_canonical(nonce) {
        return None;
    }
    let challenge = Sha512::new_with_prefix(nonce).chain_update(key.as_bytes()).chain_update(message).finalize();
    Some(Parts { nonce: point, response: response?, challenge: Scalar::from_bytes_mod_order_wide(&challenge.into()) })
}

/// Whether y is below 2²⁵⁵ − 19 (RFC 8032 §5.1.3). The other way to spell a point twice, a sign for x = 0, is open to
/// points of small order only. Comparing with `compress` says the same and costs an inversion, a third of the whole.
fn is_canonical(nonce: &[u8; 32]) -> bool {
    let [low, middle @ .., high] = nonce;
    *low < 0xed || *high & 0x7f != 0x7f || middle.iter().any(|byte| *byte != 0xff)
}

/// 128-bit weights, four of each hash. Odd, so that no single small-order component gets lost (8 divides no weight).
fn weights(seed: &[u8]) -> impl Iterator<Item = Scalar> {
    (0_u64..).flat_map(move |block| {
        let hash: [u8; 64] = Sha512::new_with_prefix(seed).chain_update(block.to_le_bytes()).finalize().into();
        let (quarters, _) = hash.as_chunks::<16>();
        let four: Vec<Scalar> = quarters.iter().map(|bytes| Scalar::from(u128::from_le_bytes(*bytes) | 1)).collect();
        four
    })
}

#[cfg(test)]
mod tests {
    use curve25519_dalek::constants::EIGHT_TORSION;
    use ed25519_dalek::{Signer as _, SigningKey};

    use super::*;

    fn signed(count: u8) -> (PublicKey, Vec<(Signable, Vec<u8>)>) {
        let key = SigningKey::from_bytes(&[7; 32]);
        let items = (0..count)
            .map(|i| {
                let message = vec![i; usize::from(i)];
                let signature = key.sign(&message).to_bytes().to_vec();
                (Signable::Message(message), signature)
            })
            .collect();
        (PublicKey::from_ed25519_bytes(key.verifying_key().as_bytes()).unwrap(), items)
    }

    fn holds(key: &PublicKey, items: &[(Signable, Vec<u8>)]) -> bool {
        let Parsed::Ed25519(key) = key.parsed() else { unreachable!() };
        batch_holds(key, &borrow(items))
    }

    fn borrow(items: &[(Signable, Vec<u8>)]) -> Vec<(&Signable, &[u8])> {
        items.iter().map(|(input, signature)| (input, signature.as_slice())).collect()
    }

    #[test]
    fn sound_signatures_pass_in_one_equation() {
        for count in [1, 4, 5, 64, 200] {
            let (key, items) = signed(count);

            assert!(holds(&key, &items), "{count}");
            assert_eq!(own(&key, &borrow(&items)), vec![true; usize::from(count)]);
        }
    }

    #[test]
    fn one_flipped_bit_anywhere_is_found_and_named() {
        let (key, sound) = signed(9);
        for byte in 0..64 {
            let mut items = sound.clone();
            items[5].1[byte] ^= 1 << (byte % 8);

            let verdicts = own(&key, &borrow(&items));

            assert!(!holds(&key, &items), "byte {byte}");
            assert_eq!(verdicts, (0..9).map(|i| i != 5).collect::<Vec<_>>());
        }
    }

    #[test]
    fn a_swap_a_digest_and_a_wrong_length_are_found() {
        let (key, sound) = signed(6);

        let mut swapped = sound.clone();
        let first = swapped[1].1.clone();
        swapped[1].1 = std::mem::replace(&mut swapped[2].1, first);
        assert_eq!(own(&key, &borrow(&swapped)), [true, false, false, true, true, true]);

        let mut digest = sound.clone();
        digest[0].0 = Signable::Digest(crate::Digest::Sha256([0; 32]));
        assert_eq!(own(&key, &borrow(&digest)), [false, true, true, true, true, true]);

        let mut short = sound.clone();
        short[3].1.pop();
        short[4].1.push(0);
        assert_eq!(own(&key, &borrow(&short)), [true, true, true, false, false, true]);
        assert_eq!(own(&key, &[]), Vec::<bool>::new());
    }

    #[test]
    fn a_response_above_the_group_order_is_found() {
        let (key, mut items) = signed(5);
        // s + l is the same number modulo the order and a second spelling of the signature (RFC 8032 §8.4).
        let order: [u8; 32] = [
            0xed, 0xd3, 0xf5, 0x5c, 0x1a, 0x63, 0x12, 0x58, 0xd6, 0x9c, 0xf7, 0xa2, 0xde, 0xf9, 0xde, 0x14, 0, 0, 0, 0,
            0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x10,
        ];
        let mut carry = 0_u16;
        for (byte, add) in items[2].1[32..].iter_mut().zip(order) {
            let sum = u16::from(*byte) + u16::from(add) + carry;
            *byte = sum.to_le_bytes()[0];
            carry = sum >> 8;
        }

        assert_eq!(own(&key, &borrow(&items)), [true, true, false, true, true]);
    }

    #[test]
    fn a_point_that_is_spelled_otherwise_is_found() {
        let near = |low: u8| std::iter::once(low).chain([0xff; 30]).chain([0x7f]).collect::<Vec<u8>>();
        let small = |low: u8| std::iter::once(low).chain([0; 31]).collect::<Vec<u8>>();
        let mut points = 0;
        for mut bytes in (0..=255).flat_map(|low| [near(low), small(low)]).flat_map(|y| {
            let mut negative = y.clone();
            negative[31] |= 0x80;
            [y, negative]
        }) {
            let nonce: [u8; 32] = std::mem::take(&mut bytes).try_into().unwrap();
            let Some(point) = CompressedEdwardsY(nonce).decompress() else { continue };
            points += 1;
            if !point.is_small_order() {
                assert_eq!(is_canonical(&nonce), point.compress().as_bytes() == &nonce, "{nonce:x?}");
            }
        }
        assert!(points > 400, "{points}");
    }

    #[test]
    fn a_nonce_with_a_small_order_component_is_found() {
        let (key, sound) = signed(8);
        for torsion in &EIGHT_TORSION[1..] {
            let mut items = sound.clone();
            let nonce: [u8; 32] = items[3].1[..32].try_into().unwrap();
            let moved = (CompressedEdwardsY(nonce).decompress().unwrap() + torsion).compress();
            items[3].1[..32].copy_from_slice(moved.as_bytes());

            assert!(!holds(&key, &items));
            assert_eq!(own(&key, &borrow(&items)), (0..8).map(|i| i != 3).collect::<Vec<_>>());
        }
    }
}
