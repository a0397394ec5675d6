//! Store and log know each other (D17): the comparison at every start, and `trustd recover`, which brings them
//! together again when one of them was put back.
//!
//! Recovery does again what restricts: a key that the log saw disabled, retired, scheduled, destroyed or distrusted
//! is so afterwards. It never widens, and what is gone (keys and versions made after the store was copied, leaves
//! missing from an older log) it names and does not invent. Trust data has its own file.

mod published;

use std::collections::BTreeMap;

use anyhow::{Context as _, Result};
use trust::format::tuf::{Gun, RoleName};
use trust::state::DistrustReason;
use trust::{KeyId, KeyRef, KeyVersion, Principal, Trust, Use, UseChange};

use crate::audit::{
    Audit, DistrustBody, History, IntentLeaf, KeyOperation, KeyOperations, Leaf, OutcomeLeaf, RecoveryLeaf, Versions,
};
use crate::clock::Clock;
use crate::records::{KeyView, LogAnchor, RecordError, Records, StateChange};

/// Leaves that are read at once.
const PAGE_LEAVES: u64 = 4096;
/// Bytes of leaves that are read at once.
const PAGE_BYTES_MAX: usize = 8 * 1024 * 1024;

/// Why store and log are not of one time.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Apart {
    /// An older log.
    #[error(
        "the log has {size} leaves, but the store was last changed under one of {anchored}: an older log was put back \
         beside a newer store"
    )]
    LogOlder { size: u64, anchored: u64 },
    /// Another log.
    #[error(
        "the log is not the one that the store was last changed under (they differ within the first {anchored} \
         leaves): the log or the store was put back"
    )]
    LogOther { anchored: u64 },
    /// An older store.
    #[error(
        "leaf {leaf} of the log completes version {version}, epoch {epoch} of key {key}, which the store does not \
         know: an older store was put back beside a newer log"
    )]
    StoreOlder { leaf: u64, key: KeyId, version: u32, epoch: u64 },
    /// A store that would sign a version of trust data again.
    #[error(
        "leaf {leaf} of the log has version {version} of the {role} of {gun} signed, which the store does not know: an \
         older store was put back beside a newer log"
    )]
    StoreOlderThanVersion { leaf: u64, gun: Gun, role: RoleName, version: u32 },
    /// A store that has trust data which was deleted.
    #[error(
        "leaf {leaf} of the log deletes the trust data of {gun}, which the store still has: an older store was put back \
         beside a newer log"
    )]
    StoreOlderThanDeletion { leaf: u64, gun: Gun },
    /// A store from before a recovery.
    #[error(
        "leaf {leaf} of the log recovered a store, and this store does not know of it: an older store was put back \
         beside a newer log, or the recovery was cut off"
    )]
    StoreNotRecovered { leaf: u64 },
    /// The store cannot be asked.
    #[error("read the store")]
    Records(#[from] RecordError),
}

/// The log must contain the tree that the store was anchored to, and the store every completed operation of the log
/// and every version of trust data that was to be signed.
///
/// # Errors
/// [`Apart`], naming both.
pub(crate) async fn compare(records: &Records, audit: &Audit, history: &History) -> Result<(), Apart> {
    let anchor = records.anchor()?;
    begins_with(audit, anchor)?;
    if let Some(leaf) = history.recovered().filter(|leaf| anchor.size <= *leaf) {
        return Err(Apart::StoreNotRecovered { leaf });
    }
    for (key, completed) in history.completed() {
        let (version, epoch) = (completed.version, completed.epoch);
        if !knows(records, key, version, epoch)? {
            return Err(Apart::StoreOlder { leaf: completed.leaf, key, version, epoch });
        }
    }
    published::compare(records, history).await
}

fn begins_with(audit: &Audit, anchor: LogAnchor) -> Result<(), Apart> {
    let (size, _) = audit.durable();
    if anchor.size > size {
        return Err(Apart::LogOlder { size, anchored: anchor.size });
    }
    // A store that was just made or imported is anchored to the empty log.
    if anchor.size > 0 && audit.root_at(anchor.size).ok() != Some(anchor.root) {
        return Err(Apart::LogOther { anchored: anchor.size });
    }
    Ok(())
}

fn knows(records: &Records, id: KeyId, version: u32, epoch: u64) -> Result<bool, RecordError> {
    let Some(version) = KeyVersion::new(version) else { return Ok(false) };
    Ok(records.knows_version(KeyRef { id, version })? && records.knows_epoch(id, epoch)?)
}

/// What a recovery did and could not do.
#[derive(Debug, Default)]
pub(crate) struct Report {
    /// One sentence each, for the operator.
    pub(crate) lines: Vec<String>,
    reapplied: u64,
    lost: u64,
}

impl Report {
    /// Whether everything the log knows is true of the store again.
    pub(crate) const fn is_whole(&self) -> bool {
        self.lost == 0
    }
}

/// The opened parts that recovery works on; nobody else has them open.
pub(crate) struct Recovery<'a> {
    pub(crate) records: &'a Records,
    pub(crate) audit: &'a Audit,
    pub(crate) history: &'a History,
    pub(crate) clock: &'a Clock,
    pub(crate) principal: Principal,
}

impl Recovery<'_> {
    /// Compares store and log and does again what restricts. Afterwards the daemon starts, unless the log is not
    /// the store's: leaves that are missing nobody can make again.
    ///
    /// # Errors
    /// When the store is beside an older or another log, or either cannot be read or written.
    pub(crate) async fn run(&self) -> Result<Report> {
        let mut report = Report::default();
        let anchor = self.records.anchor()?;
        begins_with(self.audit, anchor).context(
            "no recovery is possible from here: missing leaves cannot be made again. Bring the newer log back, or \
             import a backup into a new directory",
        )?;
        if compare(self.records, self.audit, self.history).await.is_ok() {
            report.lines.push("store and log belong together: nothing to recover".to_owned());
            return Ok(report);
        }
        let (operations, versions) = self.told().await?;
        for (key, operations) in self.unknown(&operations, anchor)? {
            match self.records.key_by_id(key).await? {
                Some(view) => self.one_key(view, &operations, &mut report).await?,
                None => {
                    report.lost = report.lost.saturating_add(count(&operations));
                    report.lines.push(format!(
                        "lost: key {key} with all its versions; the log knows it from leaf {}",
                        operations.first().map_or(0, |operation| operation.intent)
                    ));
                }
            }
        }
        self.trust_data(&versions, &mut report).await?;
        let leaf = RecoveryLeaf::new(self.clock.now_unix_ms(), &self.principal, report.reapplied, report.lost);
        let leaf = self.audit.append(Leaf::Recovery(leaf)).await?;
        // From here on a store that does not know of this leaf is one from before.
        self.records.note_log(self.durable()).await?;
        report.lines.push(format!(
            "leaf {leaf} notes this recovery: {} changes done again, {} lost; the daemon starts again",
            report.reapplied, report.lost
        ));
        Ok(report)
    }

    /// What the whole log says of keys, and of versions of trust data.
    async fn told(&self) -> Result<(KeyOperations, Versions)> {
        let (mut operations, mut versions) = (KeyOperations::default(), Versions::default());
        let (size, _) = self.audit.durable();
        let mut next = 0;
        while next < size {
            let entries = self.audit.entries(next, PAGE_LEAVES, PAGE_BYTES_MAX).await?;
            anyhow::ensure!(!entries.is_empty(), "the log ends at leaf {next} of {size}");
            for entry in &entries {
                operations.read(next, entry);
                versions.read(next, entry);
                next = next.saturating_add(1);
            }
        }
        Ok((operations, versions))
    }

    /// The completed operations that the store does not know, key by key, each in the order of the log.
    fn unknown(&self, log: &KeyOperations, anchor: LogAnchor) -> Result<BTreeMap<KeyId, Vec<KeyOperation>>> {
        let mut unknown: BTreeMap<KeyId, Vec<KeyOperation>> = BTreeMap::new();
        for operation in log.since(anchor.size) {
            let known = knows(self.records, operation.key, operation.version, operation.epoch)?;
            if !known || operation.intent >= anchor.size {
                unknown.entry(operation.key).or_default().push(operation.clone());
            }
        }
        Ok(unknown)
    }

    async fn one_key(&self, mut view: KeyView, operations: &[KeyOperation], report: &mut Report) -> Result<()> {
        let name = format!("key {} ({})", view.record.id, view.record.name);
        for operation in operations
            .iter()
            .filter(|operation| matches!(&*operation.operation, "adopt" | "create" | "import" | "rotate"))
        {
            report.lost = report.lost.saturating_add(1);
            report.lines.push(format!("lost: version {} of {name}, of leaf {}", operation.version, operation.intent));
        }
        let was = view.state.use_;
        let goal = operations.iter().filter_map(verb).fold(was, |state, verb| state.after(verb).unwrap_or(state));
        if strictness(goal) < strictness(was) {
            report.lines.push(format!(
                "not done again: {name} was {} in the log; it stays {}, do what widens yourself",
                goal.name(),
                was.name()
            ));
        }
        for operation in operations {
            let mut to = StateChange { use_: view.state.use_, trust: view.state.trust.clone() };
            if let Some(verb) = verb(operation).filter(|_| goal != was && strictness(goal) >= strictness(was)) {
                to.use_ = to.use_.after(verb).unwrap_or(to.use_);
            }
            if operation.operation == "distrust" && to.trust == Trust::Trusted {
                let (reason, since_leaf) = operation.distrust.unwrap_or((DistrustReason::Unspecified, 0));
                to.trust = Trust::Distrusted { reason, since_leaf };
            }
            if to.use_ != view.state.use_ || to.trust != view.state.trust {
                view = self.again(&view, operation, to).await?;
                report.reapplied = report.reapplied.saturating_add(1);
                report
                    .lines
                    .push(format!("done again: {} of {name}, of leaf {}", operation.operation, operation.intent));
            }
        }
        Ok(())
    }

    /// Does one change again, with an intent and an outcome of its own.
    async fn again(&self, view: &KeyView, operation: &KeyOperation, to: StateChange) -> Result<KeyView> {
        let key = KeyRef { id: view.record.id, version: view.state.newest };
        let mut intent = IntentLeaf::new(self.clock.now_unix_ms(), &self.principal);
        intent.operation = known_word(&operation.operation);
        intent.name_key(key);
        intent.epoch = Some(view.state.epoch);
        intent.retry_of = Some(operation.intent);
        intent.destroy_at = operation.destroy_at;
        if let (Trust::Trusted, Trust::Distrusted { reason, since_leaf }) = (&view.state.trust, &to.trust) {
            intent.distrust = Some(DistrustBody { reason: reason.name(), since_leaf: *since_leaf });
        }
        let leaf = self.audit.append(Leaf::Intent(intent)).await?;
        let changed = self.records.set_state(key.id, view.state.epoch, to, self.durable(), None).await?;
        let outcome = OutcomeLeaf::of_key(self.clock.now_unix_ms(), leaf, key, changed.state.epoch);
        self.audit.append(Leaf::Outcome(outcome)).await?;
        Ok(changed)
    }

    fn durable(&self) -> LogAnchor {
        let (size, root) = self.audit.durable();
        LogAnchor { size, root }
    }
}

fn count(operations: &[KeyOperation]) -> u64 {
    u64::try_from(operations.len()).unwrap_or(u64::MAX)
}

fn verb(operation: &KeyOperation) -> Option<UseChange> {
    match &*operation.operation {
        "cancel-destroy" => Some(UseChange::CancelDestroy),
        // A leaf that does not say when: at once is what restricts most.
        "destroy" => Some(UseChange::Destroy { at_unix_seconds: operation.destroy_at.unwrap_or(0) }),
        "disable" => Some(UseChange::Disable),
        "enable" => Some(UseChange::Enable),
        "finish-destroy" => Some(UseChange::FinishDestroy),
        "retire" => Some(UseChange::Retire),
        _ => None,
    }
}

/// The word of a leaf as a leaf is written with it.
fn known_word(operation: &str) -> &'static str {
    ["cancel-destroy", "destroy", "disable", "distrust", "enable", "finish-destroy", "retire"]
        .into_iter()
        .find(|word| *word == operation)
        .unwrap_or("unknown")
}

/// How much a state forbids.
const fn strictness(state: Use) -> u8 {
    match state {
        Use::Active => 0,
        Use::Disabled => 1,
        Use::Retired => 2,
        Use::DestroyScheduled { .. } => 3,
        Use::Destroyed => 4,
    }
}
