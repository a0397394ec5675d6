//! How the intents ended that the last run of the daemon left open (D12).

use std::collections::HashMap;
use std::sync::Arc;

use trust::format::tuf::{Gun, Version};
use trust::{Fault, KeyId, KeyRef, KeyVersion, Sha256Digest, Trust, Use};

use super::House;
use crate::audit::{Ended, History, OpenIntent, OutcomeLeaf};
use crate::records::KeyState;

/// What the log says of keys.
struct Told {
    open: Vec<OpenIntent>,
    /// The epoch after the last change of each key whose outcome is in the log.
    closed: HashMap<KeyId, u64>,
}

impl Told {
    fn of(history: &History) -> Self {
        let closed = history.completed().map(|(key, completed)| (key, completed.epoch)).collect();
        Self { open: history.open().cloned().collect(), closed }
    }

    /// Whether a change permitted at `epoch` was made, of which the state now is known. Each epoch is left by exactly
    /// one change, and of two that were permitted at the same one the other was refused.
    fn end_of_change(&self, intent: &OpenIntent, key: KeyId, epoch: u64, now: &KeyState) -> Ended {
        let next = epoch.saturating_add(1);
        let closed = self.closed.get(&key).copied().unwrap_or_default();
        if now.epoch < next || closed == next {
            return Ended::NotStarted;
        }
        let is_rival = |other: &&OpenIntent| {
            other.key == Some(key)
                && other.epoch == Some(epoch)
                && other.leaf != intent.leaf
                && other.operation != "sign"
        };
        let rivals: Vec<&OpenIntent> = self.open.iter().filter(is_rival).collect();
        if rivals.is_empty() && closed < next {
            return Ended::Done;
        }
        // The state after it is there no more, or what left this epoch may have its outcome in the log.
        if now.epoch > next {
            return Ended::Unknown;
        }
        match (leads_to(intent, now), rivals.iter().any(|rival| leads_to(rival, now))) {
            (false, _) => Ended::NotStarted,
            (true, false) => Ended::Done,
            (true, true) => Ended::Unknown,
        }
    }
}

/// Whether the state is one that the change leaves.
fn leads_to(intent: &OpenIntent, now: &KeyState) -> bool {
    match intent.operation.as_str() {
        "cancel-destroy" | "retire" => now.use_ == Use::Retired,
        "destroy" => matches!(now.use_, Use::DestroyScheduled { .. }),
        "disable" => now.use_ == Use::Disabled,
        "distrust" => now.trust != Trust::Trusted,
        "enable" => now.use_ == Use::Active,
        "finish-destroy" => now.use_ == Use::Destroyed,
        "rotate" => intent.version == Some(now.newest.number()),
        _ => true,
    }
}

impl House {
    /// Writes an outcome for each intent without one.
    pub(super) async fn close_open_intents(&self, history: Option<Arc<History>>) -> Result<(), Fault> {
        let Some(history) = history else { return Ok(()) };
        let told = Told::of(&history);
        for intent in &told.open {
            let outcome = if let Some((gun, version)) = history.deletion(intent.leaf) {
                self.end_of_deletion(intent, gun, version)?
            } else if let Some((gun, proposal)) = history.proposal_that_goes(intent.leaf) {
                self.end_of_removal(intent, gun, proposal).await
            } else {
                self.end_of(intent, &told)
            };
            self.write_outcome(outcome).await?;
        }
        Ok(())
    }

    /// A deletion is one write of the store: trust data is gone, or has been published behind it, or nothing was begun.
    fn end_of_deletion(&self, intent: &OpenIntent, gun: &Gun, version: Version) -> Result<OutcomeLeaf, Fault> {
        let marks = self.records().own_marks(gun).map_err(Fault::internal)?;
        let ended = if marks.is_no_later_than(version) { Ended::NotStarted } else { Ended::Done };
        Ok(OutcomeLeaf::new(self.clock().now_unix_ms(), intent.leaf, ended))
    }

    /// A proposal goes in one write of the store, in its repository's turn: it waits still, or that was made. None comes twice
    /// under one digest, for its files have versions of their own, and root's a time.
    async fn end_of_removal(&self, intent: &OpenIntent, gun: &Gun, proposal: Sha256Digest) -> OutcomeLeaf {
        let ended = match self.records().head(gun).await {
            Ok(head) if head.proposal.as_ref().is_some_and(|waits| waits.digest() == proposal) => Ended::NotStarted,
            Ok(_) => Ended::Done,
            // One that does not read tells nothing; whoever asks for the repository learns why.
            Err(_) => Ended::Unknown,
        };
        OutcomeLeaf::new(self.clock().now_unix_ms(), intent.leaf, ended)
    }

    fn end_of(&self, intent: &OpenIntent, told: &Told) -> OutcomeLeaf {
        let leaf = |ended| OutcomeLeaf::new(self.clock().now_unix_ms(), intent.leaf, ended);
        // The intent is durable before a key is used, and nobody knows how far custody came. An object is removed from
        // its token again, as long as the store does not know that it is gone.
        let is_of_custody = matches!(intent.operation.as_str(), "remove-object" | "sign");
        let (Some(id), false) = (intent.key, is_of_custody) else { return leaf(Ended::Unknown) };
        let Ok(now) = self.records().state_now(id) else {
            // A change of state is one write of the store alone: nothing was begun. A birth has its key made first.
            let was_birth = matches!(intent.operation.as_str(), "adopt" | "create" | "import" | "rotate");
            return leaf(if was_birth { Ended::Unknown } else { Ended::NotStarted });
        };
        let (ended, epoch) = match (intent.operation.as_str(), intent.epoch) {
            ("adopt" | "create" | "import", _) => {
                let version = intent.version.and_then(KeyVersion::new);
                (
                    if version.is_some_and(|version| version <= now.newest) { Ended::Done } else { Ended::Unknown },
                    now.epoch,
                )
            }
            (_, Some(epoch)) => (told.end_of_change(intent, id, epoch, &now), epoch.saturating_add(1)),
            (_, None) => (Ended::Unknown, now.epoch),
        };
        match (ended, intent.operation.as_str()) {
            (Ended::Done, _) => {
                let key = KeyRef { id, version: now.newest };
                OutcomeLeaf::of_key(self.clock().now_unix_ms(), intent.leaf, key, epoch)
            }
            // A version may have been made that is in no record.
            (Ended::NotStarted, "rotate") => leaf(Ended::Unknown),
            (ended, _) => leaf(ended),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: [u8; 16] = [7; 16];

    fn open(leaf: u64, operation: &str, epoch: u64) -> OpenIntent {
        let key = Some(KeyId::from_bytes(KEY));
        OpenIntent { leaf, operation: operation.to_owned(), key, version: Some(2), epoch: Some(epoch) }
    }

    fn state(use_: Use, trust: Trust, epoch: u64) -> KeyState {
        KeyState { use_, trust, epoch, newest: KeyVersion::FIRST, shred_pending: false }
    }

    /// How each open intent ended, of a key in this state whose last closed change left it at `closed`.
    fn ends(open: &[OpenIntent], closed: Option<u64>, now: &KeyState) -> Vec<Ended> {
        let key = KeyId::from_bytes(KEY);
        let told = Told { open: open.to_vec(), closed: closed.map(|epoch| (key, epoch)).into_iter().collect() };
        open.iter().map(|intent| told.end_of_change(intent, key, intent.epoch.unwrap(), now)).collect()
    }

    #[test]
    fn of_two_open_changes_the_one_that_left_the_state_was_made() {
        let both = [open(4, "disable", 3), open(5, "retire", 3)];

        assert_eq!(ends(&both, None, &state(Use::Retired, Trust::Trusted, 4)), [Ended::NotStarted, Ended::Done]);
        assert_eq!(ends(&both, None, &state(Use::Disabled, Trust::Trusted, 4)), [Ended::Done, Ended::NotStarted]);
        assert_eq!(ends(&both, None, &state(Use::Active, Trust::Trusted, 3)), [Ended::NotStarted, Ended::NotStarted]);
        let rotate = [open(4, "rotate", 3), open(5, "disable", 3)];
        assert_eq!(ends(&rotate, None, &state(Use::Disabled, Trust::Trusted, 4)), [Ended::NotStarted, Ended::Done]);
    }

    #[test]
    fn of_two_of_the_same_kind_or_before_a_later_change_nobody_knows() {
        let same = [open(4, "disable", 3), open(5, "disable", 3)];
        let both = [open(4, "disable", 3), open(5, "retire", 3)];

        assert_eq!(ends(&same, None, &state(Use::Disabled, Trust::Trusted, 4)), [Ended::Unknown; 2]);
        assert_eq!(ends(&both, Some(5), &state(Use::Retired, Trust::Trusted, 5)), [Ended::Unknown; 2]);
    }

    #[test]
    fn a_change_alone_was_made_when_its_epoch_is_reached_and_no_closed_one_reached_it() {
        let one = [open(4, "disable", 3)];
        let next = [open(4, "disable", 3), open(5, "enable", 4)];

        assert_eq!(ends(&one, Some(3), &state(Use::Disabled, Trust::Trusted, 4)), [Ended::Done]);
        assert_eq!(ends(&one, Some(4), &state(Use::Disabled, Trust::Trusted, 4)), [Ended::NotStarted]);
        assert_eq!(ends(&next, Some(3), &state(Use::Active, Trust::Trusted, 5)), [Ended::Done, Ended::Done]);
    }
}
