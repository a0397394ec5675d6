//! What a daemon acknowledged, kept outside of it: whatever dies, all of this must be true afterwards.
//!
//! Writers create, sign and rotate as fast as they are answered. Only answers
//! count; a call that the daemon's end cut off may have happened or not.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result, anyhow, ensure};
use tokio::task::JoinSet;
use tonic::transport::Channel;
use tonic::{Code, Status};
use trust::{PublicKey, Sha256Digest, Signable, verify};
use trust_proto::v1::audit_client::AuditClient;
use trust_proto::v1::keys_client::KeysClient;
use trust_proto::v1::raw_statement::Input;
use trust_proto::v1::signing_client::SigningClient;
use trust_proto::v1::statement::Kind;
use trust_proto::v1::{
    Algorithm, CreateKeyRequest, GetCheckpointRequest, GetConsistencyProofRequest, GetKeyRequest, ListEntriesRequest,
    Purpose, RawStatement, RotateKeyRequest, SignRequest, SignResponse, Statement,
};

use crate::daemon::connect;
use crate::merkle::{TreeHead, extends};
use crate::wait::until;

const SIGNS_PER_KEY: u32 = 8;
/// No key takes longer to be made and used, however busy the machine is.
const KEY_LIMIT: Duration = Duration::from_secs(60);
/// A loaded machine whose disk is a file needs it.
const WORK_LIMIT: Duration = Duration::from_secs(120);

/// A signature that a client holds.
#[derive(Debug, Clone)]
struct Held {
    key: String,
    spki: Vec<u8>,
    message: Vec<u8>,
    signature: Vec<u8>,
    leaf: u64,
}

/// Name → id and SPKI of each acknowledged version.
type Keys = BTreeMap<String, (String, Vec<Vec<u8>>)>;

#[derive(Debug, Default)]
struct Book {
    keys: Keys,
    signatures: Vec<Held>,
    /// Names of keys, and how many signatures, that the last check has not seen.
    fresh_keys: BTreeSet<String>,
    fresh_signatures: usize,
    checkpoint: Option<TreeHead>,
    /// Answers that no dying daemon gives.
    wrong: Vec<String>,
    /// Why the last writer ended that did.
    last_end: Option<String>,
}

/// The book of everything acknowledged, over many lives of one daemon.
#[derive(Debug, Clone, Default)]
pub struct Ledger {
    book: Arc<Mutex<Book>>,
    acknowledged: Arc<AtomicUsize>,
    lives: Arc<AtomicUsize>,
    closed: Arc<AtomicBool>,
}

/// Writers at work. They end by themselves when the daemon does, or when asked.
#[derive(Debug)]
pub struct Writers {
    stop: Arc<AtomicBool>,
    tasks: JoinSet<()>,
}

impl Writers {
    /// Waits for all of them; each finishes the call it is in.
    pub async fn done(mut self) {
        self.stop.store(true, Ordering::Relaxed);
        while self.tasks.join_next().await.is_some() {}
    }
}

impl Ledger {
    /// How many answers were counted so far.
    #[must_use]
    pub fn acknowledged(&self) -> usize {
        self.acknowledged.load(Ordering::Relaxed)
    }

    /// From now on answers do not count, until writers work again. To be called right before the power is cut: a
    /// kernel whose file system was shut down in the middle of an fsync may say that it succeeded (ext4 does, when
    /// the journal's transaction was aborted meanwhile), and a machine without power says nothing at all.
    pub fn close(&self) {
        self.closed.store(true, Ordering::SeqCst);
    }

    /// Lets `count` writers work on the daemon behind `socket`, each over a connection of its own. Raw keys must be
    /// allowed there.
    ///
    /// # Errors
    /// When nobody listens.
    pub async fn write(&self, socket: PathBuf, count: usize) -> Result<Writers> {
        let life = self.lives.fetch_add(1, Ordering::Relaxed);
        self.closed.store(false, Ordering::SeqCst);
        let stop = Arc::new(AtomicBool::new(false));
        let mut tasks = JoinSet::new();
        for writer in 0..count {
            let channel = connect(socket.clone()).await?;
            let (ledger, stop) = (self.clone(), Arc::clone(&stop));
            tasks.spawn(async move {
                let mut turn = 0;
                while !stop.load(Ordering::Relaxed) {
                    let name = format!("ledger/{life}-{writer}-{turn}");
                    let done = tokio::time::timeout(KEY_LIMIT, ledger.one_key(&channel, &name)).await;
                    // A call that meets a connection on its way down may be answered by nobody.
                    let ended = done.unwrap_or_else(|_| Err(Status::cancelled("no answer, and no end")));
                    if let Err(status) = ended {
                        ledger.ended(&name, &status);
                        return;
                    }
                    turn += 1;
                }
            });
        }
        Ok(Writers { stop, tasks })
    }

    /// The life of one key: created, used, rotated, used.
    async fn one_key(&self, channel: &Channel, name: &str) -> Result<(), Status> {
        let mut keys = KeysClient::new(channel.clone());
        let request = CreateKeyRequest {
            name: name.to_owned(),
            purpose: Purpose::Raw.into(),
            algorithm: Algorithm::Ed25519.into(),
            ..CreateKeyRequest::default()
        };
        self.note_key(keys.create_key(request).await?.into_inner().key);
        for turn in 0..SIGNS_PER_KEY {
            self.sign(channel, name, turn).await?;
        }
        let request = RotateKeyRequest { key: name.to_owned(), ..RotateKeyRequest::default() };
        self.note_key(keys.rotate_key(request).await?.into_inner().key);
        self.sign(channel, name, SIGNS_PER_KEY).await
    }

    async fn sign(&self, channel: &Channel, name: &str, turn: u32) -> Result<(), Status> {
        let message = format!("{name} signs {turn}").into_bytes();
        let signed = sign(channel, name, &message).await?;
        let held = signed.signatures.first().map(|form| form.signature.to_vec()).unwrap_or_default();
        let leaf = signed.receipt.map_or(u64::MAX, |receipt| receipt.leaf);
        let spki = signed.spki_der.to_vec();
        self.note(|book| {
            book.signatures.push(Held { key: name.to_owned(), spki, message, signature: held, leaf });
            book.fresh_signatures += 1;
        });
        Ok(())
    }

    fn note_key(&self, key: Option<trust_proto::v1::Key>) {
        let key = key.unwrap_or_default();
        let versions = key.versions.iter().map(|version| version.spki_der.to_vec()).collect();
        self.note(|book| {
            book.fresh_keys.insert(key.name.clone());
            book.keys.insert(key.name, (key.id, versions));
        });
    }

    fn note(&self, change: impl FnOnce(&mut Book)) {
        let mut book = self.book.lock().unwrap_or_else(PoisonError::into_inner);
        if self.closed.load(Ordering::SeqCst) {
            return;
        }
        change(&mut book);
        drop(book);
        self.acknowledged.fetch_add(1, Ordering::Relaxed);
    }

    /// A daemon that dies breaks the connection, or says that it is going; anything else is a fault of its own.
    fn ended(&self, name: &str, status: &Status) {
        let dying = matches!(status.code(), Code::Unavailable | Code::Unknown | Code::Cancelled | Code::Internal);
        let mut book = self.book.lock().unwrap_or_else(PoisonError::into_inner);
        book.last_end = Some(format!("{name}: {status:?}"));
        if !dying {
            book.wrong.push(format!("{name}: {status:?}"));
        }
    }

    /// Remembers the newest signed checkpoint, as a client would.
    ///
    /// # Errors
    /// When there is none.
    pub async fn remember_checkpoint(&self, channel: &Channel) -> Result<()> {
        let text = AuditClient::new(channel.clone()).get_checkpoint(GetCheckpointRequest {}).await?.into_inner();
        let head = TreeHead::of_checkpoint(&text.checkpoint)?;
        self.book.lock().unwrap_or_else(PoisonError::into_inner).checkpoint = Some(head);
        Ok(())
    }

    /// Checks what was acknowledged since the last check, and the log, against a daemon that has come back.
    ///
    /// # Errors
    /// Names the first acknowledged thing that is not true any more.
    pub async fn check_fresh(&self, channel: &Channel) -> Result<()> {
        let (keys, signatures) = {
            let mut book = self.book.lock().unwrap_or_else(PoisonError::into_inner);
            let names = std::mem::take(&mut book.fresh_keys);
            let keys: Keys = names.iter().filter_map(|name| book.keys.get_key_value(name)).map(owned).collect();
            let first = book.signatures.len().saturating_sub(std::mem::take(&mut book.fresh_signatures));
            (keys, book.signatures.get(first..).unwrap_or_default().to_vec())
        };
        self.check(channel, &keys, &signatures).await
    }

    /// Checks everything that was ever acknowledged.
    ///
    /// # Errors
    /// Names the first acknowledged thing that is not true any more.
    pub async fn check_all(&self, channel: &Channel) -> Result<()> {
        let (keys, signatures) = {
            let book = self.book.lock().unwrap_or_else(PoisonError::into_inner);
            (book.keys.clone(), book.signatures.clone())
        };
        self.check(channel, &keys, &signatures).await
    }

    async fn check(&self, channel: &Channel, keys: &Keys, signatures: &[Held]) -> Result<()> {
        let checkpoint = {
            let book = self.book.lock().unwrap_or_else(PoisonError::into_inner);
            ensure!(book.wrong.is_empty(), "answers that no dying daemon gives: {:#?}", book.wrong);
            book.checkpoint
        };
        for (name, (id, versions)) in keys {
            check_key(channel, name, id, versions).await.with_context(|| format!("the acknowledged key {name}"))?;
        }
        for held in signatures {
            check_signature(channel, held).await.with_context(|| format!("a signature by {}", held.key))?;
        }
        if let Some(old) = checkpoint {
            check_checkpoint(channel, old).await.context("the checkpoint from before")?;
        }
        self.remember_checkpoint(channel).await
    }

    /// Signs once with every acknowledged key: slow, for the end of a test.
    ///
    /// # Errors
    /// Names the first key that does not.
    pub async fn use_every_key(&self, channel: &Channel) -> Result<()> {
        let names: Vec<String> =
            self.book.lock().unwrap_or_else(PoisonError::into_inner).keys.keys().cloned().collect();
        for name in names {
            sign(channel, &name, b"still there").await.with_context(|| format!("sign with {name}"))?;
        }
        Ok(())
    }
}

fn owned<A: Clone, B: Clone>((name, value): (&A, &B)) -> (A, B) {
    (name.clone(), value.clone())
}

async fn sign(channel: &Channel, key: &str, message: &[u8]) -> Result<SignResponse, Status> {
    let statement = RawStatement { input: Some(Input::Message(message.to_vec().into())) };
    let request = SignRequest {
        key: key.to_owned(),
        statement: Some(Statement { kind: Some(Kind::Raw(statement)) }),
        ..SignRequest::default()
    };
    Ok(SigningClient::new(channel.clone()).sign(request).await?.into_inner())
}

async fn check_key(channel: &Channel, name: &str, id: &str, versions: &[Vec<u8>]) -> Result<()> {
    let request = GetKeyRequest { key: name.to_owned() };
    let key = KeysClient::new(channel.clone()).get_key(request).await?.into_inner().key.context("an empty answer")?;
    ensure!(key.id == id, "its id was {id} and is {}", key.id);
    let now: Vec<&[u8]> = key.versions.iter().map(|version| version.spki_der.as_ref()).collect();
    // A rotation that was cut off may have happened: more versions are fine, other ones are not.
    let kept = versions.iter().zip(&now).all(|(then, now)| then == now) && now.len() >= versions.len();
    ensure!(kept, "{} acknowledged versions, {} now, or others", versions.len(), now.len());
    Ok(())
}

async fn check_signature(channel: &Channel, held: &Held) -> Result<()> {
    let public = PublicKey::from_spki_der(trust::Algorithm::Ed25519, &held.spki)?;
    verify::one(&public, &Signable::Message(held.message.clone()), &held.signature)
        .map_err(|why| anyhow!("it does not verify: {why:?}"))?;
    let request = ListEntriesRequest { first_leaf: held.leaf, count: 1 };
    let page = AuditClient::new(channel.clone()).list_entries(request).await?.into_inner();
    let entry = page.entries.first().with_context(|| format!("no leaf {}", held.leaf))?;
    let entry = String::from_utf8_lossy(entry);
    let preimage = Sha256Digest::of(&held.message).to_hex();
    ensure!(entry.contains(&preimage), "leaf {} does not hold the hash {preimage}: {entry}", held.leaf);
    Ok(())
}

async fn check_checkpoint(channel: &Channel, old: TreeHead) -> Result<()> {
    let mut audit = AuditClient::new(channel.clone());
    let text = audit.get_checkpoint(GetCheckpointRequest {}).await?.into_inner().checkpoint;
    let new = TreeHead::of_checkpoint(&text)?;
    let request = GetConsistencyProofRequest { from_size: old.size, to_size: new.size };
    let proof = audit.get_consistency_proof(request).await?.into_inner();
    let hashes: Option<Vec<Sha256Digest>> =
        proof.hashes.iter().map(|hash| Some(Sha256Digest::from_bytes(hash.as_ref().try_into().ok()?))).collect();
    extends(old, new, &hashes.context("a hash that has not 32 bytes")?)
}

/// Waits until the ledger has counted `more` answers than now.
///
/// # Errors
/// When the daemon does not give them within two minutes; with the reason for which a writer ended, if one did.
pub fn wait_for(ledger: &Ledger, more: usize) -> Result<()> {
    let before = ledger.acknowledged();
    let goal = before + more;
    let waited = until("acknowledged work", WORK_LIMIT, || Ok((ledger.acknowledged() >= goal).then_some(())));
    waited.with_context(|| {
        let book = ledger.book.lock().unwrap_or_else(PoisonError::into_inner);
        let got = ledger.acknowledged() - before;
        format!("{got} of {more} answers; the last writer that ended: {:?}", book.last_end)
    })
}
