//! Single-use public keys that a custodian hands out, so that a secret reaches it unread by everybody it passes.
//!
//! The private half is derived from 32 random bytes in locked memory (RFC 9180
//! §7.1.3) and never leaves this process. An offer is spent by the first try to open
//! something under it, also by one that fails; it is gone after [`Offer::LASTS`], when
//! the custodian is sealed and when its process ends. Envelopes are made by
//! [`seal_to`], or by `trust::envelope` where this crate is not.

use std::fmt;
use std::str::FromStr;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use getrandom::SysRng;
use hpke::aead::{AeadTag, ChaCha20Poly1305};
use hpke::kdf::HkdfSha256;
use hpke::kem::X25519HkdfSha256;
use hpke::rand_core::UnwrapErr;
use hpke::{Deserializable as _, Kem, OpModeR, Serializable as _, single_shot_open_inout_detached};
use trust::{Malformed, envelope};
use zeroize::Zeroizing;

use crate::CustodyError;
use crate::cipher::{Key, random, scrub_stack};

/// Names one offer: 16 random bytes, 32 lower-case hexadecimal digits as text.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct OfferId([u8; 16]);

impl OfferId {
    /// Takes 16 bytes.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }

    /// The 16 bytes.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }
}

impl fmt::Display for OfferId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

impl fmt::Debug for OfferId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for OfferId {
    type Err = Malformed;

    fn from_str(text: &str) -> Result<Self, Malformed> {
        const EXPECTED: Malformed = Malformed::new("offer id", "32 lower-case hexadecimal digits");
        if text.len() != 32 || text.bytes().any(|byte| byte.is_ascii_uppercase()) {
            return Err(EXPECTED);
        }
        let mut bytes = [0; 16];
        hex::decode_to_slice(text, &mut bytes).map_err(|_| EXPECTED)?;
        Ok(Self(bytes))
    }
}

/// The public half of an offer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
#[expect(clippy::exhaustive_structs, reason = "read by the caller")]
pub struct Offer {
    /// Which one.
    pub id: OfferId,
    /// The X25519 key to seal to, 32 bytes.
    pub public_key: [u8; envelope::PUBLIC_KEY_BYTES],
}

impl Offer {
    /// How long an offer stands.
    pub const LASTS: Duration = Duration::from_secs(5 * 60);
    /// The most offers of one custodian at once, to whoever brings keys.
    pub const OPEN_MAX: usize = 16;
    /// How many more there may be for a root key: who brings keys does not hold up who unseals.
    const OPEN_FOR_ROOT: usize = 4;
}

/// Seals `secret` to the public half of an offer; it opens under exactly this `info`.
///
/// # Errors
/// [`CustodyError::Refused`] for a public key that is none, and for a secret or an `info` over the bounds of [`envelope`].
pub fn seal_to(
    public_key: &[u8; envelope::PUBLIC_KEY_BYTES],
    info: &[u8],
    secret: &[u8],
) -> Result<Vec<u8>, CustodyError> {
    let sealed = envelope::seal(public_key, info, secret, &mut UnwrapErr(SysRng));
    scrub_stack();
    sealed.map_err(|error| CustodyError::refused(error.to_string()))
}

/// The offers that a custodian has handed out.
pub(crate) struct Offers(Mutex<Vec<Standing>>);

/// One offer that stands, and what its private half is derived from.
struct Standing {
    id: OfferId,
    seed: Key,
    until: Instant,
}

impl Offers {
    pub(crate) const fn new() -> Self {
        Self(Mutex::new(Vec::new()))
    }

    /// Makes an offer.
    ///
    /// # Errors
    /// [`CustodyError::Unavailable`] when [`Offer::OPEN_MAX`] stand: an older one is somebody's who is about to use it.
    pub(crate) fn make(&self) -> Result<Offer, CustodyError> {
        self.make_at(now(), Offer::OPEN_MAX)
    }

    /// Makes an offer for a root key, also where no more are made for others.
    ///
    /// # Errors
    /// [`CustodyError::Unavailable`] when too many stand.
    pub(crate) fn make_for_root(&self) -> Result<Offer, CustodyError> {
        self.make_at(now(), Offer::OPEN_MAX.saturating_add(Offer::OPEN_FOR_ROOT))
    }

    /// Spends an offer, and opens the envelope that was sealed to it under `info`.
    ///
    /// # Errors
    /// [`CustodyError::Refused`] for an offer that does not stand, and for an envelope that does not open: altered,
    /// or sealed to another offer or under another `info`. The offer is spent all the same.
    pub(crate) fn open(&self, id: OfferId, info: &[u8], sealed: &[u8]) -> Result<Zeroizing<Vec<u8>>, CustodyError> {
        self.open_at(now(), id, info, sealed)
    }

    /// Takes back every offer.
    pub(crate) fn clear(&self) {
        self.standing().clear();
    }

    fn make_at(&self, now: Instant, most: usize) -> Result<Offer, CustodyError> {
        let mut id = [0; 16];
        random(&mut id)?;
        let id = OfferId(id);
        let mut standing = self.standing();
        standing.retain(|offer| offer.until > now);
        if standing.len() >= most {
            return Err(CustodyError::unavailable(format!("{most} offers stand, the most at once")));
        }
        let seed = Key::random()?;
        let (_, public) = X25519HkdfSha256::derive_keypair(seed.expose());
        scrub_stack();
        let mut public_key = [0; envelope::PUBLIC_KEY_BYTES];
        public.write_exact(&mut public_key);
        let until = now.checked_add(Offer::LASTS).ok_or(CustodyError::failed("tell when an offer ends"))?;
        standing.push(Standing { id, seed, until });
        Ok(Offer { id, public_key })
    }

    fn open_at(
        &self,
        now: Instant,
        id: OfferId,
        info: &[u8],
        sealed: &[u8],
    ) -> Result<Zeroizing<Vec<u8>>, CustodyError> {
        let mut standing = self.standing();
        standing.retain(|offer| offer.until > now);
        let place = standing.iter().position(|offer| offer.id == id);
        let spent = place.map(|place| standing.swap_remove(place));
        drop(standing);
        let offer =
            spent.ok_or_else(|| CustodyError::refused("the offer does not stand: it is spent, too old or not ours"))?;
        let opened = open(&offer.seed, info, &[], sealed);
        scrub_stack();
        opened.ok_or_else(|| {
            CustodyError::refused("what came does not open: it was altered, or sealed for something else")
        })
    }

    fn standing(&self) -> MutexGuard<'_, Vec<Standing>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Decrypts where it will stay; the answer has no spare capacity.
fn open(seed: &Key, info: &[u8], aad: &[u8], sealed: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
    if sealed.len() > envelope::BYTES_MAX || info.len() > envelope::INFO_BYTES_MAX {
        return None;
    }
    let (encapsulated, rest) = sealed.split_first_chunk::<{ envelope::ENCAPSULATED_BYTES }>()?;
    let (body, tag) = rest.split_last_chunk::<{ envelope::TAG_BYTES }>()?;
    let encapsulated = <X25519HkdfSha256 as Kem>::EncappedKey::from_bytes(encapsulated).ok()?;
    let tag = AeadTag::<ChaCha20Poly1305>::from_bytes(tag).ok()?;
    let (private, _) = X25519HkdfSha256::derive_keypair(seed.expose());
    let mut secret = Zeroizing::new(body.to_vec());
    single_shot_open_inout_detached::<ChaCha20Poly1305, HkdfSha256, X25519HkdfSha256>(
        &OpModeR::Base,
        &private,
        &encapsulated,
        info,
        secret.as_mut_slice().into(),
        aad,
        &tag,
    )
    .ok()?;
    Some(secret)
}

#[expect(clippy::disallowed_methods, reason = "the one look at the clock; tests say what it shows")]
fn now() -> Instant {
    Instant::now()
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn refused<T>(answer: Result<T, CustodyError>) -> String {
        match answer {
            Err(CustodyError::Refused { why }) => why,
            Err(other) => panic!("{other}"),
            Ok(_) => panic!("not refused"),
        }
    }

    /// RFC 9180 A.2.1: DHKEM(X25519, HKDF-SHA256), HKDF-SHA256, ChaCha20-Poly1305, base mode, sequence number 0.
    #[test]
    fn the_rfcs_own_vector_opens() {
        let bytes = |text: &str| -> Vec<u8> {
            (0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap()).collect()
        };
        let seed = bytes("1ac01f181fdf9f352797655161c58b75c656a6cc2716dcb66372da835542e1df");
        let encapsulated = bytes("1afa08d3dec047a643885163f1180476fa7ddb54c6a8029ea33f95796bf2ac4a");
        let ciphertext =
            bytes("1c5250d8034ec2b784ba2cfd69dbdb8af406cfe3ff938e131f0def8c8b60b4db21993c62ce81883d2dd1b51a28");
        let (info, aad) = (b"Ode on a Grecian Urn", b"Count-0");
        let seed = Key::copy(seed.first_chunk().unwrap()).unwrap();
        let envelope = [encapsulated, ciphertext].concat();

        assert_eq!(*open(&seed, info, aad, &envelope).unwrap(), b"Beauty is truth, truth beauty");
        assert!(open(&seed, info, b"Count-1", &envelope).is_none());
    }

    #[test]
    fn an_offer_is_spent_by_the_first_try_also_by_one_that_fails() {
        let offers = Offers::new();
        let (used, failed) = (offers.make().unwrap(), offers.make().unwrap());
        let sealed = seal_to(&used.public_key, b"for this", b"secret").unwrap();
        let other = seal_to(&failed.public_key, b"for this", b"secret").unwrap();

        assert_eq!(*offers.open(used.id, b"for this", &sealed).unwrap(), b"secret");
        assert!(refused(offers.open(used.id, b"for this", &sealed)).contains("does not stand"));
        assert!(refused(offers.open(failed.id, b"for that", &other)).contains("does not open"));
        assert!(refused(offers.open(failed.id, b"for this", &other)).contains("does not stand"));
    }

    #[test]
    fn what_was_sealed_to_another_offer_does_not_open() {
        let offers = Offers::new();
        let (one, another) = (offers.make().unwrap(), offers.make().unwrap());
        let sealed = seal_to(&one.public_key, b"", b"secret").unwrap();

        assert_ne!(one, another);
        assert!(refused(offers.open(another.id, b"", &sealed)).contains("does not open"));
        assert!(refused(offers.open(OfferId::from_bytes([1; 16]), b"", &sealed)).contains("does not stand"));
    }

    #[test]
    fn an_envelope_with_any_byte_changed_or_cut_off_does_not_open() {
        let offers = Offers::new();
        let sealed = |change: &dyn Fn(&mut Vec<u8>)| {
            let offer = offers.make().unwrap();
            let mut sealed = seal_to(&offer.public_key, b"info", b"secret").unwrap();
            change(&mut sealed);
            offers.open(offer.id, b"info", &sealed)
        };
        let length = envelope::ENCAPSULATED_BYTES + 6 + envelope::TAG_BYTES;

        assert!(sealed(&|_| {}).is_ok());
        for byte in 0..length {
            // The last bit of the encapsulated key is none of its (RFC 7748 §5), but the key schedule has it.
            refused(sealed(&|sealed| sealed[byte] ^= 0x80));
            refused(sealed(&|sealed| sealed.truncate(byte)));
        }
        refused(sealed(&|sealed| sealed.push(0)));
        refused(sealed(&|sealed| sealed.resize(envelope::BYTES_MAX + 1, 0)));
        refused(sealed(&|sealed| sealed[..32].fill(0)));
    }

    #[test]
    fn an_offer_ends_by_time_and_by_being_taken_back() {
        let (offers, start) = (Offers::new(), now());
        let sealed = |offer: &Offer| seal_to(&offer.public_key, b"", b"secret").unwrap();
        let [in_time, late, cleared] = [0; 3].map(|_| offers.make_at(start, Offer::OPEN_MAX).unwrap());

        assert!(offers.open_at(start + Offer::LASTS - SECOND, in_time.id, b"", &sealed(&in_time)).is_ok());
        let answer = offers.open_at(start + Offer::LASTS, late.id, b"", &sealed(&late));
        assert!(refused(answer).contains("does not stand"));
        offers.clear();
        assert!(refused(offers.open_at(start, cleared.id, b"", &sealed(&cleared))).contains("does not stand"));
    }

    #[test]
    fn no_more_offers_stand_than_the_bound() {
        let (offers, start) = (Offers::new(), now());
        for _ in 0..Offer::OPEN_MAX {
            let _ = offers.make_at(start, Offer::OPEN_MAX).unwrap();
        }

        let full = offers.make_at(start + SECOND, Offer::OPEN_MAX);

        assert!(matches!(full, Err(CustodyError::Unavailable { .. })), "{full:?}");
        for _ in 0..Offer::OPEN_FOR_ROOT {
            let _ = offers.make_for_root().unwrap();
        }
        assert!(offers.make_for_root().is_err());
        let _ = offers.make_at(start + Offer::LASTS, Offer::OPEN_MAX).unwrap();
    }

    #[test]
    fn a_public_key_that_everybody_could_open_is_refused() {
        refused(seal_to(&[0; 32], b"", b"secret"));
        refused(seal_to(&[9; 32], &[0; envelope::INFO_BYTES_MAX + 1], b"secret"));
        refused(seal_to(&[9; 32], b"", &[0; envelope::SECRET_BYTES_MAX + 1]));
    }

    #[test]
    fn an_offer_id_is_read_as_it_is_written() {
        let id = OfferId::from_bytes([0xa5; 16]);
        assert_eq!(id.to_string().parse::<OfferId>().unwrap(), id);
        for bad in ["", "a5", &"A5".repeat(16), &"a5".repeat(17), &"+5".repeat(16), "éééééééééééééééé"]
        {
            assert!(bad.parse::<OfferId>().is_err(), "{bad}");
        }
    }
}
