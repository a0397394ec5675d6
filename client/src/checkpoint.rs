//! What is remembered of each log: its key and the last checkpoint that was seen.
//!
//! A log that is shorter than it was, or is not the continuation of what it was, has forgotten or rewritten evidence;
//! a daemon behind it was put back, and what it says about trusted keys may be old.

use std::path::Path;

use serde::{Deserialize, Serialize};
use trust::Sha256Digest;
use trust::tlog::{ProofError, SignedCheckpoint, VerifierKey, verify_consistency};
use trust_proto::v1::{GetCheckpointRequest, GetCheckpointResponse, GetConsistencyProofRequest};

use crate::connect::Daemon;
use crate::context::Context;
use crate::failure::{Exit, Failure};
use crate::files::{self, Existing, Lock};

/// No remembered checkpoint is longer.
const MEMORY_BYTES_MAX: u64 = 128 * 1024;
/// A proof for 2⁶⁴ leaves has at most two hashes a level.
const HASHES_MAX: usize = 128;

/// The checkpoint a daemon shows now, and what was remembered before.
#[derive(Debug)]
pub(crate) struct Seen {
    /// Its checkpoint, signed by `key`.
    pub(crate) now: SignedCheckpoint,
    /// The log's key.
    pub(crate) key: VerifierKey,
    /// The size of the log when it was last seen; `None` at the first time.
    pub(crate) before: Option<u64>,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Memory {
    key: String,
    checkpoint: String,
}

/// Asks for the checkpoint, holds it against the one remembered for this log, and remembers it.
pub(crate) async fn observe(context: &Context, daemon: &Daemon) -> Result<Seen, Failure> {
    let directory = context.config.places.state_or_fail()?.join("checkpoints");
    // Before asking: of two calls at once, the one with the older answer must not look like a log put back.
    let _lock = Lock::of(&directory).map_err(|error| unkept(&directory, error))?;
    let answer = daemon.audit().get_checkpoint(GetCheckpointRequest {}).await?.into_inner();
    held(&directory, daemon, &answer).await
}

/// The same where the log is not the question: whoever may not read the log is not held up by that.
pub(crate) async fn look(context: &Context, daemon: &Daemon) -> Result<(), Failure> {
    let directory = context.config.places.state_or_fail()?.join("checkpoints");
    let _lock = Lock::of(&directory).map_err(|error| unkept(&directory, error))?;
    match daemon.audit().get_checkpoint(GetCheckpointRequest {}).await {
        Ok(answer) => held(&directory, daemon, answer.get_ref()).await.map(|_| ()),
        Err(status) if status.code() == tonic::Code::PermissionDenied => Ok(()),
        Err(status) => Err(status.into()),
    }
}

async fn held(directory: &Path, daemon: &Daemon, answer: &GetCheckpointResponse) -> Result<Seen, Failure> {
    let key: VerifierKey = answer.verifier_key.parse().map_err(|error| unfit(&daemon.address).because(error))?;
    let now =
        SignedCheckpoint::open(&answer.checkpoint, &key).map_err(|error| unfit(&daemon.address).because(error))?;
    // The origin is the daemon's choice, and no name for a file.
    let file = directory.join(format!("{}.toml", Sha256Digest::of(key.origin().as_bytes()).to_hex()));
    let Some(before) = recall(&file)? else {
        remember(&file, &key, &now)?;
        return Ok(Seen { now, key, before: None });
    };
    if before.key != key.to_string() {
        return Err(in_place(
            Failure::refused(format!("the log {} has another key than it had", key.origin()), String::new()),
            &file,
        ));
    }
    let old = SignedCheckpoint::open(&before.checkpoint, &key).map_err(|error| damaged(&file).because(error))?;
    extends(daemon, &old, &now).await.map_err(|failure| in_place(failure, &file))?;
    remember(&file, &key, &now)?;
    Ok(Seen { now, key, before: Some(old.checkpoint().size) })
}

/// That the log that showed `old` has only grown since.
async fn extends(daemon: &Daemon, old: &SignedCheckpoint, now: &SignedCheckpoint) -> Result<(), Failure> {
    let (from, to) = (old.checkpoint(), now.checkpoint());
    if to.size < from.size {
        return Err(Failure::refused(
            format!("the log {} has {} leaves, and had {} before: it was put back", to.origin, to.size, from.size),
            String::new(),
        ));
    }
    let hashes = if from.size == to.size || from.size == 0 {
        Vec::new()
    } else {
        consistency(daemon, from.size, to.size).await?
    };
    let changed = |error: ProofError| {
        Failure::refused(
            format!("the log {} is not the continuation of what it was: it was rewritten", to.origin),
            String::new(),
        )
        .because(error)
    };
    verify_consistency(from.size, &from.root, to.size, &to.root, &hashes).map_err(changed)
}

/// The proof that the tree of one size begins the tree of another.
pub(crate) async fn consistency(daemon: &Daemon, from_size: u64, to_size: u64) -> Result<Vec<Sha256Digest>, Failure> {
    let request = GetConsistencyProofRequest { from_size, to_size };
    let answer = daemon.audit().get_consistency_proof(request).await?.into_inner();
    hashes(&answer.hashes).ok_or_else(|| unfit(&daemon.address))
}

/// Hashes of a proof from the wire; `None` for other lengths, or for more than a proof can have.
pub(crate) fn hashes(wire: &[impl AsRef<[u8]>]) -> Option<Vec<Sha256Digest>> {
    if wire.len() > HASHES_MAX {
        return None;
    }
    wire.iter().map(|hash| hash.as_ref().try_into().ok().map(Sha256Digest::from_bytes)).collect()
}

fn recall(file: &Path) -> Result<Option<Memory>, Failure> {
    let Some((bytes, _)) = files::read(file, MEMORY_BYTES_MAX).map_err(|error| unkept(file, error))? else {
        return Ok(None);
    };
    let text = String::from_utf8(bytes).map_err(|error| damaged(file).because(error))?;
    toml::from_str(&text).map(Some).map_err(|error| damaged(file).because(error))
}

fn remember(file: &Path, key: &VerifierKey, checkpoint: &SignedCheckpoint) -> Result<(), Failure> {
    let memory = Memory { key: key.to_string(), checkpoint: checkpoint.note().to_owned() };
    let text = toml::to_string(&memory)
        .map_err(|error| Failure::other("write the checkpoint", "this is a fault of trustctl").because(error))?;
    files::write(file, text.as_bytes(), 0o600, Existing::Replace).map_err(|error| unkept(file, error))
}

fn unfit(address: &str) -> Failure {
    Failure::refused(
        format!("the daemon at {address} shows no checkpoint that its log's key signed"),
        "do not rely on it; ask whoever runs the daemon",
    )
}

fn in_place(failure: Failure, file: &Path) -> Failure {
    if failure.exit() != Exit::Refused {
        return failure;
    }
    failure.remedied_by(format!(
        "ask whoever runs the daemon; only if they made it anew on purpose, forget the old log: rm {}",
        file.display()
    ))
}

fn damaged(file: &Path) -> Failure {
    Failure::other(
        format!("the remembered checkpoint in {} cannot be read", file.display()),
        "if you know why, remove the file; the next call remembers anew",
    )
}

fn unkept(file: &Path, error: std::io::Error) -> Failure {
    Failure::other(
        format!("keep the last checkpoint in {}", file.display()),
        "is there space, and may you write there?",
    )
    .because(error)
}
