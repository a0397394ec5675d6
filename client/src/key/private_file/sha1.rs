//! Encrypted private keys as docker, notary and old openssl write them: PBES2 whose key is derived with HMAC-SHA-1.
//!
//! SHA-1 has no weakness there that a passphrase has not more of; but nothing is encrypted so here.

use std::num::NonZeroU32;

use aws_lc_rs::cipher::{AES_128, AES_256, Algorithm, DecryptionContext, PaddedBlockDecryptingKey, UnboundCipherKey};
use aws_lc_rs::pbkdf2;
use pkcs8::pkcs5::EncryptionScheme;
use pkcs8::pkcs5::pbes2::{EncryptionScheme as Cipher, Kdf, Pbkdf2Prf};
use pkcs8::{EncryptedPrivateKeyInfoRef, Error, SecretDocument};
use zeroize::Zeroizing;

/// The most rounds that are gone; docker goes 2,048.
const ROUNDS_MAX: u32 = 10_000_000;

/// Decrypts a key whose encryption is derived with HMAC-SHA-1; `None` for any other.
pub(super) fn decrypt(
    encrypted: &EncryptedPrivateKeyInfoRef<'_>,
    passphrase: &[u8],
) -> Option<Result<SecretDocument, Error>> {
    let EncryptionScheme::Pbes2(parameters) = &encrypted.encryption_algorithm else { return None };
    let Kdf::Pbkdf2(derivation) = &parameters.kdf else { return None };
    let rounds = NonZeroU32::new(derivation.iteration_count).filter(|rounds| rounds.get() <= ROUNDS_MAX)?;
    if derivation.prf != Pbkdf2Prf::HmacWithSha1 {
        return None;
    }
    let (algorithm, iv): (&'static Algorithm, _) = match &parameters.encryption {
        Cipher::Aes128Cbc { iv } => (&AES_128, iv),
        Cipher::Aes256Cbc { iv } => (&AES_256, iv),
        _ => return None,
    };
    let mut key = Zeroizing::new([0; 32]);
    let key = key.get_mut(..parameters.encryption.key_size())?;
    pbkdf2::derive(pbkdf2::PBKDF2_HMAC_SHA1, rounds, derivation.salt.as_bytes(), passphrase, key);
    let mut bytes = Zeroizing::new(encrypted.encrypted_data.as_bytes().to_vec());
    Some(plain(algorithm, key, iv, &mut bytes))
}

fn plain(algorithm: &'static Algorithm, key: &[u8], iv: &[u8; 16], bytes: &mut [u8]) -> Result<SecretDocument, Error> {
    // A wrong passphrase mostly leaves a wrong padding, and else no DER.
    let wrong = |_| Error::EncryptedPrivateKey(pkcs8::pkcs5::Error::DecryptFailed);
    let key = UnboundCipherKey::new(algorithm, key).and_then(PaddedBlockDecryptingKey::cbc_pkcs7).map_err(wrong)?;
    let plain = key.decrypt(bytes, DecryptionContext::Iv128(iv.into())).map_err(wrong)?;
    Ok(SecretDocument::try_from(&*plain)?)
}
