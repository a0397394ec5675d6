//! Encrypted private keys as notary before 0.4 and openssl before 1.0 write them: in lines before the body stands how
//! (RFC 1421 §4.6.1.3), and the passphrase becomes a key by MD5 (openssl's `EVP_BytesToKey`, one round).
//!
//! Such a file protects little: its passphrases can be tried as fast as MD5 is computed. So it is read, and nothing is
//! written so here.

use aws_lc_rs::cipher::{AES_256, DecryptionContext, PaddedBlockDecryptingKey, UnboundCipherKey};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use md5::{Digest as _, Md5};
use pkcs8::der::asn1::{AnyRef, OctetStringRef};
use pkcs8::der::{Decode as _, Tag, Tagged as _};
use pkcs8::spki::AlgorithmIdentifier;
use pkcs8::{PrivateKeyInfoRef, SecretDocument};
use zeroize::Zeroizing;

use super::{EC_PUBLIC_KEY, P256, RSA};

/// The one cipher that notary took.
const CIPHER: &str = "AES-256-CBC,";
const HALF: usize = 16;
/// The salt is the beginning of the initialisation vector.
const SALT: usize = 8;

/// What such a file holds.
pub(super) struct OlderPem {
    family: Family,
    iv: [u8; HALF],
    locked: Vec<u8>,
}

/// Of which kind the key is, as the first line says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Family {
    /// RFC 5915; notary made P-256 only.
    Ec,
    /// RFC 8017 §A.1.2.
    Rsa,
}

impl OlderPem {
    /// A PEM without the lines before its body, of which `how` was the word of `DEK-Info`.
    pub(super) fn read(pem: &str, how: &str) -> Option<Self> {
        let body = pem.trim_end().strip_prefix("-----BEGIN ")?;
        let (label, body) = body.split_once("-----\n")?;
        let family = match label {
            "EC PRIVATE KEY" => Family::Ec,
            "RSA PRIVATE KEY" => Family::Rsa,
            _ => return None,
        };
        let body = body.strip_suffix(&format!("-----END {label}-----"))?;
        let locked = STANDARD.decode(body.lines().collect::<String>()).ok()?;
        let mut iv = [0; HALF];
        hex::decode_to_slice(how.strip_prefix(CIPHER)?, &mut iv).ok()?;
        Some(Self { family, iv, locked })
    }

    /// The key as PKCS#8; `None` where it does not open with the passphrase.
    pub(super) fn open(&self, passphrase: &[u8]) -> Option<SecretDocument> {
        let key = self.key(passphrase)?;
        let key = UnboundCipherKey::new(&AES_256, key.as_slice()).and_then(PaddedBlockDecryptingKey::cbc_pkcs7).ok()?;
        let mut bytes = Zeroizing::new(self.locked.clone());
        let plain: &[u8] = key.decrypt(&mut bytes, DecryptionContext::Iv128((&self.iv).into())).ok()?;
        // What a wrong passphrase leaves may have a right padding, and is still no sequence of its own length.
        AnyRef::from_der(plain).ok().filter(|any| any.tag() == Tag::Sequence)?;
        let algorithm = match self.family {
            Family::Ec => AlgorithmIdentifier { oid: EC_PUBLIC_KEY, parameters: Some((&P256).into()) },
            Family::Rsa => AlgorithmIdentifier { oid: RSA, parameters: Some(AnyRef::NULL) },
        };
        SecretDocument::encode_msg(&PrivateKeyInfoRef::new(algorithm, OctetStringRef::new(plain).ok()?)).ok()
    }

    fn key(&self, passphrase: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
        let salt = self.iv.get(..SALT)?;
        let mut key = Zeroizing::new(Vec::with_capacity(HALF.saturating_mul(2)));
        for _ in 0..2 {
            let digest = Md5::new().chain_update(&*key).chain_update(passphrase).chain_update(salt).finalize();
            let half = Zeroizing::new(<[u8; HALF]>::from(digest));
            key.extend_from_slice(&*half);
        }
        Some(key)
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Held, Kind};
    use super::*;

    /// `openssl ec -aes-256-cbc` made it, passphrase "a passphrase for tests".
    const HOW: &str = "AES-256-CBC,7DEDD3D739CC3B2D517923AF99726A3E";
    const PEM: &str = "-----BEGIN EC PRIVATE KEY-----\n\
        MnBb7uaSeE/nBH8Hl0XOQG112g7j4udrOwe083dFtrnpsv4C3THynL5Ey3QfRec2\n\
        ebA7SvIUmdJMDrExXiwymFjVeEopxdfqtDd9NsC96FTi8G5uHiwG4pFMI0KRkdpf\n\
        yfm3NqIYMgZngNFqBFgX2/DUoEOj0GsJOTEtZQkxkfA=\n\
        -----END EC PRIVATE KEY-----\n";

    #[test]
    fn what_openssl_locked_opens_with_its_passphrase_and_with_no_other() {
        let held = Held::older(std::path::Path::new("old.key"), PEM, HOW).unwrap();

        assert!(held.is_locked() && held.plain().is_err());
        assert_eq!(held.open(b"a passphrase for tests").unwrap().kind, Kind::EcdsaP256);
        for wrong in [&b""[..], b"a passphrase for test", b"another"] {
            assert_eq!(held.open(wrong).err().unwrap().exit().code(), 1);
        }
    }

    #[test]
    fn what_is_locked_otherwise_is_not_taken_for_this() {
        for (pem, how) in [
            (PEM, "DES-EDE3-CBC,0123456789abcdef"),
            (PEM, "AES-256-CBC,00"),
            (PEM, ""),
            (PEM.replace("EC PRIVATE", "DSA PRIVATE").as_str(), HOW),
            (PEM.replacen("EC PRIVATE", "RSA PRIVATE", 1).as_str(), HOW),
            ("-----BEGIN EC PRIVATE KEY-----\n", HOW),
            ("", HOW),
        ] {
            assert!(OlderPem::read(pem, how).is_none(), "{how} {pem}");
        }
        let cut = PEM.replacen('\n', "\nAAAA", 1);
        assert!(OlderPem::read(&cut, HOW).is_none_or(|older| older.open(b"a passphrase for tests").is_none()));
    }
}
