//! A private key that somebody brings: read strictly, and refused where it is weak.
//!
//! PKCS#8 (RFC 5208, RFC 5958), unencrypted, DER, of exactly the algorithm that was
//! announced. What is read stays where the envelope was opened; nothing here copies a
//! secret but into memory that is wiped. Whether p and q are prime is not asked: that
//! a signature verifies says enough of a key that its owner brings, and no test here
//! finds a Carmichael number that was made to deceive him.

pub(crate) mod weakness;

use der::asn1::{BitStringRef, ObjectIdentifier, OctetStringRef, UintRef};
use der::{Decode as _, Encode as _, Sequence};
use pkcs8::PrivateKeyInfoRef;
use trust::{Algorithm, PublicKey, Scheme};
use zeroize::Zeroizing;

use crate::CustodyError;
use crate::software::key::{Plain, PrivateKey};

/// The longest PKCS#8 that is read, in bytes; RSA-4096 has about 2,400.
pub(crate) const BYTES_MAX: usize = 8192;

const ED25519: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.101.112");
const EC_PUBLIC_KEY: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.2.1");
const P256: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.3.1.7");
const P384: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.132.0.34");
const RSA: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.1");

/// `ECPrivateKey` of RFC 5915 §3.
#[derive(Sequence)]
struct EcPrivateKey<'a> {
    version: u8,
    scalar: &'a OctetStringRef,
    #[asn1(context_specific = "0", tag_mode = "EXPLICIT", optional = "true")]
    curve: Option<ObjectIdentifier>,
    #[asn1(context_specific = "1", tag_mode = "EXPLICIT", optional = "true")]
    point: Option<BitStringRef<'a>>,
}

/// `RSAPrivateKey` of RFC 8017 §A.1.2, with two primes.
#[derive(Sequence)]
struct RsaPrivateKey<'a> {
    version: u8,
    modulus: UintRef<'a>,
    public_exponent: UintRef<'a>,
    private_exponent: UintRef<'a>,
    prime_1: UintRef<'a>,
    prime_2: UintRef<'a>,
    exponent_1: UintRef<'a>,
    exponent_2: UintRef<'a>,
    coefficient: UintRef<'a>,
}

/// The parts of a private key, where they lie.
pub(crate) enum Parts<'a> {
    /// The seed, 32 bytes.
    Ed25519(&'a [u8; 32]),
    /// The scalar, as many bytes as the curve's order has.
    Ec(&'a [u8]),
    /// The numbers, big-endian without leading zeros.
    Rsa(RsaParts<'a>),
}

/// The numbers of an RSA key (RFC 8017 §3.2), big-endian without leading zeros.
#[derive(Clone, Copy)]
pub(crate) struct RsaParts<'a> {
    pub(crate) modulus: &'a [u8],
    pub(crate) public_exponent: &'a [u8],
    pub(crate) private_exponent: &'a [u8],
    pub(crate) prime_1: &'a [u8],
    pub(crate) prime_2: &'a [u8],
    pub(crate) exponent_1: &'a [u8],
    pub(crate) exponent_2: &'a [u8],
    pub(crate) coefficient: &'a [u8],
}

/// A key that was read and found sound.
pub(crate) struct Imported<'a> {
    pub(crate) parts: Parts<'a>,
    /// Derived from the private half, never taken from the file.
    pub(crate) public_key: PublicKey,
    /// What software custody seals.
    pub(crate) plain: Plain,
}

/// Reads a key of `algorithm`, refuses a weak one, and has it make one signature that verifies under the public
/// key that is derived from it (FIPS 140-3, pairwise consistency).
///
/// # Errors
/// [`CustodyError::Refused`] with what is wrong with the key, in words without any of it.
pub(crate) fn read(algorithm: Algorithm, pkcs8: &[u8]) -> Result<Imported<'_>, CustodyError> {
    if pkcs8.len() > BYTES_MAX {
        return Err(refused("it is longer than 8,192 bytes"));
    }
    let info = PrivateKeyInfoRef::from_der(pkcs8).map_err(|_| refused("it is not PKCS#8 in DER"))?;
    let curve = info.algorithm.parameters.map(|parameters| parameters.decode_as::<ObjectIdentifier>());
    let has_null = info.algorithm.parameters.is_some_and(|parameters| parameters.is_null());
    let (oid, secret) = (info.algorithm.oid, info.private_key.as_bytes());
    let (parts, told) = match algorithm.scheme() {
        Scheme::Ed25519 if oid == ED25519 && info.algorithm.parameters.is_none() => (ed25519(secret)?, None),
        Scheme::EcdsaP256 if oid == EC_PUBLIC_KEY && curve == Some(Ok(P256)) => ec(secret, P256, 32)?,
        Scheme::EcdsaP384 if oid == EC_PUBLIC_KEY && curve == Some(Ok(P384)) => ec(secret, P384, 48)?,
        Scheme::RsaPkcs1 | Scheme::RsaPss if oid == RSA && has_null => (rsa(algorithm, secret)?, None),
        Scheme::EcdsaP256 | Scheme::EcdsaP384 | Scheme::Ed25519 | Scheme::RsaPkcs1 | Scheme::RsaPss => {
            return Err(refused(&format!("it is no key of {algorithm}")));
        }
    };
    let (private, plain) = make(algorithm, &parts, secret)?;
    let public_key = private.public_key().map_err(|_| refused("its public half is none that verifies"))?;
    for told in [told, info.public_key.and_then(|bits| bits.as_bytes())].into_iter().flatten() {
        if !public_key.spki_der().ends_with(told) || told.len() < 32 {
            return Err(refused("the public key beside it is another one's"));
        }
    }
    crate::software::prove(&private, &public_key)
        .map_err(|_| refused("what it signs does not verify under its public half"))?;
    Ok(Imported { parts, public_key, plain })
}

fn ed25519(secret: &[u8]) -> Result<Parts<'_>, CustodyError> {
    // RFC 8410 §7: an OCTET STRING in the OCTET STRING.
    let seed =
        <&OctetStringRef>::from_der(secret).ok().and_then(|octets| <&[u8; 32]>::try_from(octets.as_bytes()).ok());
    let seed = seed.ok_or_else(|| refused("its private key is not 32 bytes"))?;
    if weakness::is_no_random_number(seed) {
        return Err(refused("its private key is no random number"));
    }
    Ok(Parts::Ed25519(seed))
}

/// The scalar, and the point beside it, if there is one.
fn ec(secret: &[u8], curve: ObjectIdentifier, length: usize) -> Result<(Parts<'_>, Option<&[u8]>), CustodyError> {
    let key = EcPrivateKey::from_der(secret).map_err(|_| refused("its private key is no ECPrivateKey of RFC 5915"))?;
    if key.version != 1 || key.curve.is_some_and(|inner| inner != curve) || key.scalar.as_bytes().len() != length {
        return Err(refused("its private key is not of the curve it names"));
    }
    let scalar = key.scalar.as_bytes();
    if weakness::is_no_random_number(scalar) {
        return Err(refused("its private key is no random number"));
    }
    let point = key.point.map(|bits| bits.as_bytes().ok_or_else(|| refused("its point is none"))).transpose()?;
    Ok((Parts::Ec(scalar), point))
}

fn rsa(algorithm: Algorithm, secret: &[u8]) -> Result<Parts<'_>, CustodyError> {
    let key =
        RsaPrivateKey::from_der(secret).map_err(|_| refused("its private key is no RSAPrivateKey with two primes"))?;
    if key.version != 0 {
        return Err(refused("it has more than two primes"));
    }
    let parts = RsaParts {
        modulus: key.modulus.as_bytes(),
        public_exponent: key.public_exponent.as_bytes(),
        private_exponent: key.private_exponent.as_bytes(),
        prime_1: key.prime_1.as_bytes(),
        prime_2: key.prime_2.as_bytes(),
        exponent_1: key.exponent_1.as_bytes(),
        exponent_2: key.exponent_2.as_bytes(),
        coefficient: key.coefficient.as_bytes(),
    };
    let bits = algorithm.rsa_modulus_bits().and_then(|bits| usize::try_from(bits).ok()).unwrap_or_default();
    match weakness::of_rsa(&parts, bits) {
        None => Ok(Parts::Rsa(parts)),
        Some(why) => Err(refused(why)),
    }
}

/// The key ready to sign, which checks that its parts fit each other, and the bytes it is sealed as.
fn make(algorithm: Algorithm, parts: &Parts<'_>, secret: &[u8]) -> Result<(PrivateKey, Plain), CustodyError> {
    let unfit = |_| refused("its parts do not fit each other");
    match parts {
        Parts::Ed25519(seed) => {
            let plain = Zeroizing::new(seed.to_vec());
            Ok((PrivateKey::parse(algorithm, &plain).map_err(unfit)?, plain))
        }
        Parts::Ec(scalar) => PrivateKey::of_scalar(algorithm, scalar).map_err(unfit),
        // AWS-LC checks n = pq, d·e = 1 mod p − 1 and q − 1, and the numbers for the Chinese remainder theorem.
        Parts::Rsa(_) => PrivateKey::of_rsa(algorithm, secret).map_err(unfit),
    }
}

/// `ECPrivateKey` with nothing but the scalar: AWS-LC derives the point.
pub(crate) fn bare_ec_private_key(scalar: &[u8]) -> Result<Zeroizing<Vec<u8>>, CustodyError> {
    let octets = OctetStringRef::new(scalar).map_err(|_| refused("its private key is too long"))?;
    let key = EcPrivateKey { version: 1, scalar: octets, curve: None, point: None };
    key.to_der().map(Zeroizing::new).map_err(|_| CustodyError::failed("encode a private key"))
}

fn refused(why: &str) -> CustodyError {
    CustodyError::refused(format!("the key is not taken: {why}"))
}

#[cfg(test)]
mod tests {
    use aws_lc_rs::encoding::{AsDer as _, Pkcs8V1Der};
    use aws_lc_rs::rsa::{KeyPair, KeySize};

    use super::*;

    /// The numbers of a key, to be changed.
    struct Numbers([Vec<u8>; 8]);

    impl Numbers {
        fn parts(&self) -> RsaParts<'_> {
            let [modulus, public_exponent, private_exponent, prime_1, prime_2, exponent_1, exponent_2, coefficient] =
                self.0.each_ref().map(Vec::as_slice);
            RsaParts {
                modulus,
                public_exponent,
                private_exponent,
                prime_1,
                prime_2,
                exponent_1,
                exponent_2,
                coefficient,
            }
        }

        fn judged(&self, change: impl FnOnce(&mut [Vec<u8>; 8])) -> Option<&'static str> {
            let mut other = Self(self.0.clone());
            change(&mut other.0);
            weakness::of_rsa(&other.parts(), 3072)
        }
    }

    fn a_sound_key() -> (Vec<u8>, Numbers) {
        let pair = KeyPair::generate(KeySize::Rsa3072).unwrap();
        let der: Pkcs8V1Der<'_> = pair.as_der().unwrap();
        let pkcs8 = der.as_ref().to_vec();
        let info = PrivateKeyInfoRef::from_der(&pkcs8).unwrap();
        let Ok(Parts::Rsa(parts)) = rsa(Algorithm::Rsa3072PssSha256, info.private_key.as_bytes()) else {
            panic!("a sound key is refused")
        };
        let numbers = [
            parts.modulus,
            parts.public_exponent,
            parts.private_exponent,
            parts.prime_1,
            parts.prime_2,
            parts.exponent_1,
            parts.exponent_2,
            parts.coefficient,
        ];
        let numbers = Numbers(numbers.map(<[u8]>::to_vec));
        (pkcs8, numbers)
    }

    #[test]
    fn each_weakness_of_an_rsa_key_has_its_words() {
        let (_, numbers) = a_sound_key();
        let says = |answer: Option<&'static str>, words: &str| assert!(answer.unwrap().contains(words), "{answer:?}");

        assert_eq!(numbers.judged(|_| {}), None);
        says(numbers.judged(|key| key[0].truncate(383)), "another size");
        says(numbers.judged(|key| key[1] = vec![3]), "not 65537");
        says(numbers.judged(|key| key[2] = vec![0xff; 192]), "private exponent is too small");
        says(numbers.judged(|key| key[3].truncate(191)), "half as long");
        says(numbers.judged(|key| key[4] = key[3].clone()), "too near");
        says(
            numbers.judged(|key| {
                key[4] = key[3].clone();
                key[4][13..].fill(0x55);
            }),
            "too near",
        );
        says(numbers.judged(|key| *key[0].last_mut().unwrap() &= 0xfe), "small number");
    }

    #[test]
    fn numbers_that_do_not_belong_together_are_refused() {
        let (pkcs8, numbers) = a_sound_key();
        assert!(read(Algorithm::Rsa3072PssSha256, &pkcs8).is_ok());
        for number in 2..8 {
            let mut other = pkcs8.clone();
            let number = &numbers.0[number];
            let place = other.windows(number.len()).position(|window| window == number.as_slice()).unwrap();
            // A byte in the middle: sizes stay, and no small factor needs to come in.
            other[place + number.len() / 2] ^= 0x10;

            assert!(read(Algorithm::Rsa3072PssSha256, &other).is_err(), "number {number:02x?}");
        }
    }

    #[test]
    fn nothing_that_is_cut_off_or_changed_panics() {
        let seed = [&[0x30, 0x2e, 2, 1, 0, 0x30, 5, 6, 3, 0x2b, 0x65, 0x70, 4, 0x22, 4, 0x20][..], &[7, 9].repeat(16)]
            .concat();
        assert!(read(Algorithm::Ed25519, &seed).is_ok());
        for at in 0..seed.len() {
            assert!(read(Algorithm::Ed25519, &seed[..at]).is_err(), "{at} bytes");
            for bit in 0..8 {
                let mut other = seed.clone();
                other[at] ^= 1 << bit;
                let _ = read(Algorithm::Ed25519, &other);
            }
        }
    }
}
