//! The file of the index: when it is written, and the reading of the rows that a quick start left out.

use std::sync::Arc;
use std::time::Duration;

use tracing::{error, info, warn};

use super::House;
use crate::records::SaveError;

/// How often it is looked whether the index has changed.
const SAVE_LOOK: Duration = Duration::from_secs(60);
/// Looks after which an index that never rests is written all the same.
const SAVE_LOOKS_MAX: u32 = 10;

impl House {
    /// After each quick start reads every row, and shuts the house when they are not as they were left. Never returns.
    pub(crate) async fn check_rows(self: Arc<Self>) {
        loop {
            self.unread.notified().await;
            match self.records().check_rows().await {
                Ok(Some(rows)) => info!(stage = "store", rows, "every row of the store is as it was left"),
                Ok(None) => {}
                Err(fault) => self.shut_for(&fault.to_string()).await,
            }
        }
    }

    /// The next unseal reads every row itself, and says what is wrong with them.
    async fn shut_for(&self, fault: &str) {
        error!(stage = "store", fault, "the daemon seals itself: start it again and read what it says");
        let file = self.config().index_file();
        if let Err(error) = std::fs::remove_file(&file) {
            warn!(stage = "store", file = %file.display(), %error, "the file of the index could not be removed");
        }
        let _one = self.sealing.lock().await;
        if let Err(fault) = self.shut().await {
            error!(stage = "custody", %fault, "custody could not be sealed");
        }
    }

    /// Writes the file of the index from time to time: when changes rest, and else every ten minutes. After a crash
    /// it may then still be that of the last change. Never returns.
    pub(crate) async fn save_index_at_times(self: Arc<Self>) {
        let (mut saved, mut seen, mut looks) = (None, None, 0_u32);
        loop {
            tokio::time::sleep(SAVE_LOOK).await;
            let now = self.records().last_change().ok();
            looks = looks.saturating_add(1);
            if now.is_none() || now == saved || (now != seen && looks < SAVE_LOOKS_MAX) {
                seen = now;
                continue;
            }
            saved = self.save_index().await.or(now);
            looks = 0;
        }
    }

    /// Writes the file of the index; the last change in it. Without it the next start takes longer, and no more.
    pub(crate) async fn save_index(&self) -> Option<u64> {
        let (file, free_bytes_min) = (self.config().index_file(), self.limits().log_free_bytes_min);
        match self.records().save_index(&file, free_bytes_min).await {
            Ok(change) => Some(change),
            // Nothing to save: the file of the time before the seal stands.
            Err(SaveError::Records(_)) => None,
            Err(error) => {
                let error = anyhow::Error::new(error);
                warn!(stage = "store", error = format!("{error:#}"), "the file of the index was not written");
                None
            }
        }
    }
}
