//! A worker that died after a passphrase comes back without the root key: the store is then closed, too.
//!
//! The daemon still holds the store key, and could go on telling which keys are trusted; but nothing is reported
//! as trusted while sealed (D21), whoever sealed it.

use std::sync::Arc;
use std::time::Duration;

use tracing::warn;
use trust_hsm::CustodianState;

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
            if self.is_left_open() {
                self.records().seal();
                self.audit().set_signer(None);
                warn!(stage = "custody", "the worker came back without the root key: sealed until `trustctl unseal`");
            }
        }
    }

    fn is_left_open(&self) -> bool {
        self.custody().status().1 == CustodianState::Sealed && !self.records().is_sealed()
    }
}
