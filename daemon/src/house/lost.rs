//! A worker that died after a passphrase comes back without the root key: the store is then closed, too. Where a token
//! has the root key wrapped, it is asked first.
//!
//! The daemon still holds the store key, and could go on telling which keys are trusted; but nothing is reported
//! as trusted while sealed (D21), whoever sealed it.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tracing::{info, warn};
use trust_hsm::{CustodianState, RootPlace};

use super::House;

/// How often custody is looked at.
const INTERVAL: Duration = Duration::from_millis(50);

impl House {
    /// Seals the store whenever custody has lost the root key by itself. Never returns.
    pub(crate) async fn follow_custody(self: Arc<Self>) {
        loop {
            tokio::time::sleep(INTERVAL).await;
            if !self.is_left_open() {
                continue;
            }
            let _one = self.sealing.lock().await;
            // Somebody may have unsealed it while this waited.
            if self.is_left_open() && !self.is_reopened().await {
                self.records().seal();
                self.audit().set_signer(None);
                warn!(stage = "custody", "the worker came back without the root key: sealed until `trustctl unseal`");
            }
        }
    }

    /// Whether a token has opened the new worker's ring.
    async fn is_reopened(&self) -> bool {
        let is_by_token = matches!(self.root_place(), Ok(RootPlace::Token { .. }));
        if !is_by_token || self.held.load(Ordering::Relaxed) {
            return false;
        }
        match self.unseal_by_token().await {
            Ok(unsealed) if unsealed.store == self.store_uuid() => {
                info!(stage = "custody", "the new worker has the root key from the token again");
                true
            }
            Ok(_) | Err(_) => false,
        }
    }

    fn is_left_open(&self) -> bool {
        self.custody().status().1 == CustodianState::Sealed && !self.records().is_sealed()
    }
}
