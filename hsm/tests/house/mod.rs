//! A directory with a root key and a ring, and a custodian before it.
#![allow(
    dead_code,
    unreachable_pub,
    missing_docs,
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::disallowed_methods,
    reason = "shared by several test programs"
)]

pub mod scene;
pub mod token;

use std::ffi::OsString;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use tempfile::TempDir;
use trust::{Algorithm, KeyId, KeyRef, KeyVersion, Purpose, Scheme, Sha256Digest, Signable};
use trust_hsm::worker::{Supervisor, WorkerConfig, WorkerCustodian};
use trust_hsm::{
    Custodian, CustodyError, Generated, KeyRing, PassphraseCost, RootSource, SealContext, SigningOrder,
    SoftwareCustodian, Unsealed,
};

pub const STORE: [u8; 16] = [3; 16];

#[derive(Clone, Copy)]
pub enum Mount {
    InProcess,
    Worker,
}

pub struct House {
    pub custodian: Arc<dyn Custodian>,
    pub ring: Arc<dyn KeyRing>,
    pub worker: Option<Arc<WorkerCustodian>>,
    pub ring_path: PathBuf,
    pub root_file: PathBuf,
    pub directory: TempDir,
}

impl House {
    /// A new ring under a root key file, unsealed.
    pub fn open(mount: Mount) -> Self {
        let directory = TempDir::new().unwrap();
        let root_file = directory.path().join("root.key");
        trust_hsm::create_root_file(&root_file).unwrap();
        let root = RootSource::File { path: root_file.clone() };
        let house = Self::with(directory, mount, &root);
        let _ = house.unseal().unwrap();
        house
    }

    /// A new ring under `root`, still sealed.
    pub fn with(directory: TempDir, mount: Mount, root: &RootSource) -> Self {
        let ring_path = directory.path().join("ring").join("kek.ring");
        std::fs::create_dir(ring_path.parent().unwrap()).unwrap();
        let _ = trust_hsm::init_ring(&ring_path, STORE, root, PassphraseCost::FLOOR).unwrap();
        let root_file = directory.path().join("root.key");
        let (custodian, ring, worker): (Arc<dyn Custodian>, Arc<dyn KeyRing>, _) = match mount {
            Mount::InProcess => {
                let software = Arc::new(SoftwareCustodian::new(&ring_path, 64));
                (software.clone(), software, None)
            }
            Mount::Worker => {
                let worker = Supervisor::spawn(config(&ring_path, &root_file)).unwrap();
                (worker.clone(), worker.clone(), Some(worker))
            }
        };
        Self { custodian, ring, worker, ring_path, root_file, directory }
    }

    pub fn unseal(&self) -> Result<Unsealed, CustodyError> {
        self.ring.unseal(RootSource::File { path: self.root_file.clone() })
    }

    pub fn another_root_file(&self) -> PathBuf {
        let path = self.directory.path().join("another.key");
        trust_hsm::create_root_file(&path).unwrap();
        path
    }
}

pub fn config(ring: &Path, root_file: &Path) -> WorkerConfig {
    WorkerConfig {
        program: PathBuf::from(env!("CARGO_BIN_EXE_custody-worker")),
        arguments: Vec::<OsString>::new(),
        ring: ring.to_owned(),
        root_file: Some(root_file.to_owned()),
        sessions_max: 8,
        opened_keys_max: 64,
        hang_after: Duration::from_secs(20),
    }
}

pub fn context(algorithm: Algorithm, purpose: Purpose) -> SealContext {
    SealContext {
        store: STORE,
        key: KeyRef { id: KeyId::from_bytes([0xab; 16]), version: KeyVersion::FIRST },
        algorithm,
        purpose,
        scope_hash: Sha256Digest::of(b"a scope"),
    }
}

pub fn order(context: &SealContext, key: &Generated, inputs: Vec<Signable>) -> SigningOrder {
    SigningOrder {
        context: Arc::new(context.clone()),
        spki_sha256: key.public_key.spki_sha256(),
        material: key.material.clone(),
        inputs,
    }
}

/// A second opinion on a signature over a message.
pub fn openssl_verifies(algorithm: Algorithm, spki: &[u8], message: &[u8], signature: &[u8]) -> bool {
    let directory = TempDir::new().unwrap();
    let file = |name: &str, bytes: &[u8]| {
        let path = directory.path().join(name);
        std::fs::File::create(&path).unwrap().write_all(bytes).unwrap();
        path
    };
    let (key, text, signed) = (file("key.der", spki), file("text", message), file("signature", signature));
    let mut command = Command::new("openssl");
    if algorithm.scheme() == Scheme::Ed25519 {
        command.args(["pkeyutl", "-verify", "-pubin", "-keyform", "DER", "-rawin", "-inkey"]).arg(key);
        command.arg("-in").arg(text).arg("-sigfile").arg(signed);
    } else {
        let hash = if algorithm == Algorithm::EcdsaP384Sha384 { "-sha384" } else { "-sha256" };
        command.args(["dgst", hash, "-keyform", "DER", "-verify"]).arg(key);
        if algorithm.scheme() == Scheme::RsaPss {
            command.args(["-sigopt", "rsa_padding_mode:pss", "-sigopt", "rsa_pss_saltlen:32"]);
        }
        command.arg("-signature").arg(signed).arg(text);
    }
    command.output().unwrap().status.success()
}

pub fn contains(haystack: &[u8], needle: &[u8]) -> bool {
    haystack.windows(needle.len()).any(|window| window == needle)
}
