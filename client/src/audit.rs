//! `trustctl audit …`: the log, as far as its signed checkpoints and our own memory let us judge it.

mod shown;
mod whole;

use std::path::Path;

use trust::tlog::{SignedCheckpoint, leaf_hash, verify_consistency, verify_inclusion};
use trust_proto::v1;

use crate::checkpoint::{self, Seen, hashes};
use crate::command_line::AuditCommand;
use crate::connect::Daemon;
use crate::context::Context;
use crate::failure::Failure;
use crate::files::{self, Existing};
use shown::{CheckpointView, Entry, LogView, ProofView, VerifiedLog};

/// Runs `trustctl audit …`.
pub(crate) async fn run(context: &Context, command: AuditCommand) -> Result<(), Failure> {
    let daemon = context.daemon().await?;
    match command {
        AuditCommand::Checkpoint => {
            let seen = checkpoint::observe(context, &daemon).await?;
            context.output.show(&CheckpointView::of(&seen))
        }
        AuditCommand::Log { from, count } => log(context, &daemon, from, count).await,
        AuditCommand::Verify => {
            let seen = checkpoint::observe(context, &daemon).await?;
            let counted = whole::verify(context, &daemon, seen.now.checkpoint()).await?;
            context.output.show(&VerifiedLog::of(&seen, counted))
        }
        AuditCommand::Prove { leaf, file } => prove(context, &daemon, leaf, file.as_deref()).await,
    }
}

async fn log(context: &Context, daemon: &Daemon, from: Option<u64>, count: u64) -> Result<(), Failure> {
    let first = match from {
        Some(leaf) => leaf,
        None => {
            let request = v1::ListEntriesRequest { first_leaf: 0, count: 1 };
            let size = daemon.audit().list_entries(request).await?.into_inner().size;
            size.saturating_sub(count)
        }
    };
    let mut entries = Vec::new();
    let mut next = first;
    let mut left = count;
    while left > 0 {
        let page = whole::page(daemon, next, left).await?;
        if page.entries.is_empty() {
            break;
        }
        for bytes in &page.entries {
            entries.push(Entry::read(next, bytes));
            next = next.saturating_add(1);
            left = left.saturating_sub(1);
        }
    }
    context.output.show(&LogView { entries })
}

/// That `leaf` is in the tree of a checkpoint which continues the one we remember.
async fn prove(context: &Context, daemon: &Daemon, leaf: u64, file: Option<&Path>) -> Result<(), Failure> {
    let seen = checkpoint::observe(context, daemon).await?;
    let answer = daemon.audit().get_inclusion_proof(v1::GetInclusionProofRequest { leaf }).await.map_err(|status| {
        Failure::from(status).refusal_remedied_by("`trustctl audit checkpoint` says how many leaves the log has")
    })?;
    let proof = answer.into_inner().proof.ok_or_else(|| not_proven(leaf))?;
    let note = SignedCheckpoint::open(&proof.checkpoint, &seen.key).map_err(|error| not_proven(leaf).because(error))?;
    let head = note.checkpoint();
    let siblings = hashes(&proof.hashes).ok_or_else(|| not_proven(leaf))?;
    verify_inclusion(leaf, &leaf_hash(&proof.entry), head.size, &head.root, &siblings)
        .map_err(|error| not_proven(leaf).because(error))?;
    same_log(daemon, &seen, &note)
        .await
        .map_err(|failure| not_proven(leaf).because(std::io::Error::other(failure.what())))?;
    let view = ProofView::of(leaf, &proof.entry, &siblings, &note);
    if let Some(path) = file {
        let bytes = view.to_json()?;
        files::write(path, &bytes, 0o644, Existing::Keep).map_err(|error| {
            Failure::other(format!("write {}", path.display()), "it must not be there yet; may you write there?")
                .because(error)
        })?;
    }
    context.output.show(&view)
}

/// The proof's checkpoint and the one we just remembered are of one log, whichever is the newer.
async fn same_log(daemon: &Daemon, seen: &Seen, other: &SignedCheckpoint) -> Result<(), Failure> {
    let (a, b) = (seen.now.checkpoint(), other.checkpoint());
    let (old, new) = if a.size <= b.size { (a, b) } else { (b, a) };
    let path = if old.size == new.size || old.size == 0 {
        Vec::new()
    } else {
        checkpoint::consistency(daemon, old.size, new.size).await?
    };
    verify_consistency(old.size, &old.root, new.size, &new.root, &path)
        .map_err(|error| Failure::refused("the two checkpoints are not of one log", "do not rely on it").because(error))
}

fn not_proven(leaf: u64) -> Failure {
    Failure::refused(
        format!("leaf {leaf} is not proven"),
        "do not rely on what the daemon says of it; ask whoever runs the daemon",
    )
}
