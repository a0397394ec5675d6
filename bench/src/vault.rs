//! Keys of every algorithm and what they signed, made by the custodian that the daemon has, in this process.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result, anyhow};
use trust::{Algorithm, KeyId, KeyRef, KeyVersion, PublicKey, Purpose, Sha256Digest, Signable};
use trust_hsm::{
    Custodian as _, KeyRing as _, PassphraseCost, RootSource, SealContext, Session, SigningOrder, SoftwareCustodian,
};

/// The store that its keys are bound to.
const STORE: [u8; 16] = [3; 16];
/// Nobody waits for these.
const DEADLINE: Duration = Duration::from_secs(60);
/// Inputs of one order.
const ORDER: usize = 256;

/// A custodian of its own.
pub(crate) struct Vault {
    session: Box<dyn Session>,
    made: u64,
}

/// One key in it.
pub(crate) struct VaultKey {
    /// Its public half.
    pub(crate) public: PublicKey,
    order: SigningOrder,
}

impl Vault {
    /// A new one below `directory`.
    ///
    /// # Errors
    /// When its files cannot be written.
    pub(crate) fn new(directory: &Path) -> Result<Self> {
        let (root, ring) = (directory.join("vault.key"), directory.join("vault").join("kek.ring"));
        trust_hsm::create_root_file(&root).context("make a root key")?;
        std::fs::create_dir(directory.join("vault")).context("make the ring's directory")?;
        let source = || RootSource::File { path: root.clone() };
        let _ = trust_hsm::init_ring(&ring, STORE, &source(), PassphraseCost::FLOOR).context("make a ring")?;
        let custodian = SoftwareCustodian::new(&ring, 64);
        let _ = custodian.unseal(source()).context("unseal")?;
        Ok(Self { session: custodian.open().context("open a session")?, made: 0 })
    }

    /// A new key.
    ///
    /// # Errors
    /// When the custodian refuses.
    pub(crate) fn key(&mut self, algorithm: Algorithm) -> Result<VaultKey> {
        self.made = self.made.saturating_add(1);
        let mut id = [0; 16];
        for (place, byte) in id.iter_mut().zip(self.made.to_be_bytes()) {
            *place = byte;
        }
        let context = SealContext {
            store: STORE,
            key: KeyRef { id: KeyId::from_bytes(id), version: KeyVersion::FIRST },
            algorithm,
            purpose: Purpose::Raw,
            scope_hash: Sha256Digest::of(b"bench"),
        };
        let made = self.session.generate(&context).with_context(|| format!("make a key of {algorithm}"))?;
        let order = SigningOrder {
            context: Arc::new(context),
            spki_sha256: made.public_key.spki_sha256(),
            material: made.material,
            inputs: Vec::new(),
        };
        Ok(VaultKey { public: made.public_key, order })
    }

    /// A signature over each.
    ///
    /// # Errors
    /// When one is not made.
    pub(crate) fn sign(&mut self, key: &VaultKey, inputs: &[Signable]) -> Result<Vec<Vec<u8>>> {
        let mut signatures = Vec::with_capacity(inputs.len());
        for some in inputs.chunks(ORDER) {
            let order = SigningOrder { inputs: some.to_vec(), ..key.order.clone() };
            for answer in self.session.sign(&[order], DEADLINE) {
                for signature in answer.map_err(|error| anyhow!("sign: {error}"))? {
                    let signature = signature.map_err(|error| anyhow!("sign: {error}"))?;
                    signatures.push(signature.as_bytes().to_vec());
                }
            }
        }
        Ok(signatures)
    }
}
