//! A repository of trust data whose root and targets keys are here, as they are on a docker user's machine. It is
//! planned and signed by the pure part of this project; what it costs is small, and the same for every server.

use anyhow::{Context as _, Result, anyhow};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, KeyPair as _};
use ed25519_dalek::{Signer as _, SigningKey};
use trust::format::json::Integer;
use trust::format::tuf::plan::{Change, NewTarget, Speakers, Unsigned};
use trust::format::tuf::{Document, Expires, Key, Repository, RoleName, UnsignedCertificate};
use trust::{Algorithm, Gun, PublicKey, Sha256Digest, Signature};

/// 2025-01-01 and 2096-01-01 in Unix time: no file ends while a run lasts.
const TIMES: [i64; 2] = [1_735_689_600, 3_976_214_400];
/// The DER of an Ed25519 or P-256 key begins with these bytes (RFC 8410 §4; RFC 5480 §2.1.1.1).
const P256_SPKI: [u8; 26] = [
    0x30, 0x59, 0x30, 0x13, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x08, 0x2a, 0x86, 0x48, 0xce,
    0x3d, 0x03, 0x01, 0x07, 0x03, 0x42, 0x00,
];

/// A repository, and what signs its next targets.
pub(crate) struct Collection {
    /// Its name.
    pub(crate) gun: Gun,
    signer: SigningKey,
    key: Key,
    repository: Repository,
    count: u64,
}

/// A role's name and its file.
pub(crate) type Part = (&'static str, Vec<u8>);

impl Collection {
    /// A new one under the server's keys, with the files that publish it.
    ///
    /// # Errors
    /// When the name is none, or randomness fails.
    pub(crate) fn begin(gun: &str, snapshot: Key, timestamp: Key) -> Result<(Self, Vec<Part>)> {
        let gun: Gun = gun.parse().context("a repository's name")?;
        let mut seed = [0; 32];
        getrandom::fill(&mut seed).map_err(|error| anyhow!("random bytes: {error}"))?;
        let signer = SigningKey::from_bytes(&seed);
        let key = Key::of(&PublicKey::from_ed25519_bytes(signer.verifying_key().as_bytes())?)?;
        let root = RootKey::new(&gun)?;
        let speakers = [
            (RoleName::Root, Speakers::one(root.key.clone())),
            (RoleName::Targets, Speakers::one(key.clone())),
            (RoleName::Snapshot, Speakers::one(snapshot)),
            (RoleName::Timestamp, Speakers::one(timestamp)),
        ];
        let unsigned = Repository::default().next_root(&speakers, &Expires::at(TIMES[1])?)?;
        let document = signed(&unsigned, &root.key, &root.sign(unsigned.document().signed_bytes())?)?;
        let part = ("root", document.raw().to_vec());
        let repository = Repository::default().with(document);
        let mut made = Self { gun, signer, key, repository, count: 0 };
        let targets = made.next()?;
        Ok((made, vec![part, targets]))
    }

    /// The next targets: one more tag, up to ten of them, then each in turn means another image.
    ///
    /// # Errors
    /// When there is no next version.
    pub(crate) fn next(&mut self) -> Result<Part> {
        let name = format!("v{}", self.count % 10);
        let sha256 = Sha256Digest::of(&self.count.to_be_bytes());
        self.count += 1;
        let target = NewTarget { sha256, length_bytes: Integer::new(1234)?, custom: None };
        let change = Change::Put { name, target };
        let unsigned = self.repository.next_targets(&RoleName::Targets, &[change], &Expires::at(TIMES[1])?)?;
        let signature = self.signer.sign(unsigned.document().signed_bytes()).to_bytes().to_vec();
        let document = signed(&unsigned, &self.key, &Signature::new(Algorithm::Ed25519, signature)?)?;
        let part = ("targets", document.raw().to_vec());
        self.repository = std::mem::take(&mut self.repository).with(document);
        Ok(part)
    }
}

fn signed(unsigned: &Unsigned, key: &Key, signature: &Signature) -> Result<Document> {
    Ok(unsigned.signed(&[key.stamp(signature)?])?)
}

/// A root key in its certificate.
struct RootKey {
    pair: EcdsaKeyPair,
    key: Key,
}

impl RootKey {
    fn new(gun: &Gun) -> Result<Self> {
        let pair = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_ASN1_SIGNING).map_err(|_| anyhow!("make a root key"))?;
        let der = [&P256_SPKI[..], pair.public_key().as_ref()].concat();
        let public = PublicKey::from_spki_der(Algorithm::EcdsaP256Sha256, &der)?;
        let certificate = UnsignedCertificate::new(&public, gun, [1; 16], TIMES)?;
        let key = certificate.certified(&ecdsa(&pair, certificate.signed_bytes())?)?;
        Ok(Self { pair, key })
    }

    fn sign(&self, message: &[u8]) -> Result<Signature> {
        ecdsa(&self.pair, message)
    }
}

fn ecdsa(pair: &EcdsaKeyPair, message: &[u8]) -> Result<Signature> {
    let signature = pair.sign(&SystemRandom::new(), message).map_err(|_| anyhow!("sign with a root key"))?;
    Ok(Signature::new(Algorithm::EcdsaP256Sha256, signature.as_ref().to_vec())?)
}
