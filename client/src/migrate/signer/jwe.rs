//! The encryption of the original signer's keys: a compact JWE under a passphrase (RFC 7516, RFC 7518 §4.8), of the one
//! kind that it writes: PBES2-HS256+A128KW around A256GCM.

use std::num::NonZeroU32;

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use aws_lc_rs::key_wrap::{AES_128, AesKek, KeyWrap as _};
use aws_lc_rs::pbkdf2;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Deserialize;
use zeroize::Zeroizing;

const ALGORITHM: &str = "PBES2-HS256+A128KW";
const ENCRYPTION: &str = "A256GCM";
/// The longest part, in bytes.
const PART_BYTES_MAX: usize = 16 * 1024;
/// The most rounds that are gone; the original goes 8,192.
const ROUNDS_MAX: u32 = 10_000_000;
/// The longest salt, in bytes.
const SALT_BYTES_MAX: usize = 1024;

/// Why it does not open.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum NotOpened {
    /// It is no JWE of this kind.
    #[error("it is not encrypted as the signer does it: {ALGORITHM} around {ENCRYPTION}")]
    Other,
    /// It is, and the passphrase is another, or somebody changed it.
    #[error("it does not open with that passphrase")]
    Wrong,
}

#[derive(Deserialize)]
struct Header {
    alg: String,
    enc: String,
    p2s: String,
    p2c: u32,
}

/// Decrypts it.
pub(super) fn open(jwe: &str, passphrase: &[u8]) -> Result<Zeroizing<Vec<u8>>, NotOpened> {
    let parts: Vec<&str> = jwe.trim_end().split('.').take(6).collect();
    let [protected, wrapped, nonce, ciphertext, tag] = parts.as_slice() else { return Err(NotOpened::Other) };
    let header: Header = serde_json::from_slice(&bytes(protected)?).map_err(|_| NotOpened::Other)?;
    let rounds = NonZeroU32::new(header.p2c).filter(|rounds| rounds.get() <= ROUNDS_MAX).ok_or(NotOpened::Other)?;
    let salt = bytes(&header.p2s)?;
    if header.alg != ALGORITHM || header.enc != ENCRYPTION || salt.len() > SALT_BYTES_MAX {
        return Err(NotOpened::Other);
    }
    // The salt begins with the algorithm's name, so that no two algorithms make one key (RFC 7518 §4.8.1.1).
    let salt = [ALGORITHM.as_bytes(), &[0], &salt].concat();
    let mut wrapping = Zeroizing::new([0; 16]);
    pbkdf2::derive(pbkdf2::PBKDF2_HMAC_SHA256, rounds, &salt, passphrase, wrapping.as_mut_slice());
    let mut content = Zeroizing::new([0; 40]);
    let kek = AesKek::new(&AES_128, wrapping.as_slice()).map_err(|_| NotOpened::Other)?;
    let key = kek.unwrap(&bytes(wrapped)?, content.as_mut_slice()).map_err(|_| NotOpened::Wrong)?;
    let key = UnboundKey::new(&AES_256_GCM, key).map_err(|_| NotOpened::Other)?;
    let nonce = Nonce::try_assume_unique_for_key(&bytes(nonce)?).map_err(|_| NotOpened::Other)?;
    let mut sealed = Zeroizing::new([bytes(ciphertext)?, bytes(tag)?].concat());
    let opened = LessSafeKey::new(key).open_in_place(nonce, Aad::from(protected.as_bytes()), &mut sealed);
    let length = opened.map_err(|_| NotOpened::Wrong)?.len();
    sealed.truncate(length);
    Ok(sealed)
}

fn bytes(part: &str) -> Result<Vec<u8>, NotOpened> {
    if part.len() > PART_BYTES_MAX {
        return Err(NotOpened::Other);
    }
    URL_SAFE_NO_PAD.decode(part).map_err(|_| NotOpened::Other)
}

#[cfg(test)]
mod tests {
    use super::super::dump::rows;
    use super::*;

    fn of_the_signer() -> String {
        let dump = include_bytes!("../../../../tests/samples/notary-signer/private_keys.sql");
        rows(dump).unwrap()[0].text("private").unwrap().to_owned()
    }

    #[test]
    fn a_key_of_the_signer_opens_with_its_passphrase_alone() {
        let jwe = of_the_signer();

        let opened = open(&jwe, b"a passphrase for tests").unwrap();

        assert!(opened.starts_with(&[0x30]) && opened.len() > 100, "an ECPrivateKey");
        assert_eq!(open(&jwe, b"another").unwrap_err(), NotOpened::Wrong);
    }

    #[test]
    fn what_was_changed_or_is_another_kind_does_not_open() {
        let jwe = of_the_signer();
        let parts: Vec<&str> = jwe.split('.').collect();
        for part in 1..parts.len() {
            let mut changed: Vec<String> = parts.iter().map(|&part| part.to_owned()).collect();
            let first = if changed[part].starts_with('A') { "B" } else { "A" };
            changed[part].replace_range(..1, first);
            assert_eq!(open(&changed.join("."), b"a passphrase for tests").unwrap_err(), NotOpened::Wrong, "{part}");
        }
        let header = |alg: &str, rounds: u64| {
            let header = serde_json::json!({"alg": alg, "enc": ENCRYPTION, "p2c": rounds, "p2s": "AAAA"});
            [&[URL_SAFE_NO_PAD.encode(header.to_string()).as_str()], &parts[1..]].concat().join(".")
        };
        for other in [
            header("dir", 8192),
            header(ALGORITHM, 0),
            header(ALGORITHM, 1 << 31),
            header(ALGORITHM, 1 << 40),
            "a.b".to_owned(),
            format!("{jwe}.x"),
            String::new(),
        ] {
            assert_eq!(open(&other, b"a passphrase for tests").unwrap_err(), NotOpened::Other, "{other}");
        }
    }
}
