//! The root key in a token: opened by it, without anybody, as soon as it serves; and its exchange for another.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::PoisonError;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::sync::mpsc;
use tracing::{info, warn};
use trust::{Fault, FaultKind, Principal};
use trust_hsm::worker::{TokenWorker, draw_and_wrap};
use trust_hsm::{
    Custodian as _, CustodianState, CustodyError, KeyRing, Passphrase, RootChange, RootPlace, TokenName, Unsealed,
    WrappedRoot, make_root_file, root_place,
};

use super::sealing::{Opening, Progress};
use super::start::unseal_fault;
use super::{House, blocking};
use crate::authorize::Action;
use crate::root;

/// How often is looked whether a token may open the ring.
const INTERVAL: Duration = Duration::from_millis(250);
/// How many looks are let pass after a try that failed.
const LOOKS_BETWEEN_TRIES: u32 = 20;
/// How often is looked whether custody answers again after a change that failed.
const LOOKS_FOR_REST_MAX: u32 = 40;

/// Where another root key is to be.
pub(crate) enum RootTarget {
    /// In a new file, absolute.
    File(PathBuf),
    /// Under a passphrase.
    Passphrase(Passphrase),
    /// Wrapped by a token, and by what opens when that is lost.
    Token(TokenName, Recovery),
}

/// What opens when the token is lost (D20).
pub(crate) enum Recovery {
    /// A passphrase.
    Passphrase(Passphrase),
    /// Another token.
    Token(TokenName),
    /// Nothing: the operator has said so.
    Nothing,
}

impl House {
    /// Where the root key is.
    pub(crate) fn root_place(&self) -> Result<RootPlace, CustodyError> {
        root_place(&self.config().ring()).map(|(_, place)| place)
    }

    /// The same in words.
    pub(crate) fn root_words(&self) -> String {
        self.root_place().map_or_else(|error| error.to_string(), |place| root::words(&place))
    }

    /// Why a sealed daemon does not open by itself, where its root key is in a token.
    pub(crate) fn root_trouble(&self) -> Option<String> {
        if !self.is_sealed() {
            return None;
        }
        let RootPlace::Token { wraps, .. } = self.root_place().ok()? else { return None };
        if self.held.load(Ordering::Relaxed) {
            return Some("sealed by an operator, until `trustctl unseal`".to_owned());
        }
        let met = self.root_trouble.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let place = format!("the root key is wrapped by the token {}", root::names(&wraps));
        Some(met.map_or_else(|| place.clone(), |met| format!("{place}: {met}")))
    }

    /// Opens the ring, and nothing else, by the tokens that have its root key wrapped.
    pub(super) async fn unseal_by_token(&self) -> Result<Unsealed, Fault> {
        let place = self.root_place().map_err(unseal_fault)?;
        let RootPlace::Token { wraps, .. } = place else {
            return Err(Fault::new(FaultKind::Refused, "no token has the root key of this daemon wrapped"));
        };
        let (keyring, workers) = (Arc::clone(&self.parts.keyring), self.custodians().workers());
        // One that is still being mounted may yet serve.
        let mounting = wraps.iter().find_map(|wrap| self.custodians().token(&wrap.token)?.err());
        let opened = blocking(move || root::unseal_by_token(&*keyring, &workers, &wraps)).await?;
        let opened = match (opened, mounting) {
            (Err(CustodyError::Refused { .. }), Some(mounting)) => Err(mounting),
            (opened, _) => opened,
        };
        let met = opened.as_ref().err().map(ToString::to_string);
        *self.root_trouble.lock().unwrap_or_else(PoisonError::into_inner) = met;
        opened.map_err(root_fault)
    }

    /// Opens custody and store whenever they are sealed though nobody has said so and the token serves. Never returns.
    pub(crate) async fn follow_token(self: Arc<Self>) {
        let (mut wait, mut told) = (0_u32, None);
        loop {
            tokio::time::sleep(INTERVAL).await;
            // A worker that died leaves the store open for a moment: that is looked after elsewhere.
            if self.held.load(Ordering::Relaxed) || !self.records().is_sealed() || !self.may_open() {
                wait = 0;
                continue;
            }
            wait = wait.saturating_sub(1);
            if wait > 0 {
                continue;
            }
            match self.open_up(Opening::Token).await {
                Ok(()) => told = None,
                Err(fault) => {
                    wait = LOOKS_BETWEEN_TRIES;
                    let why = fault.to_string();
                    if told.as_ref() != Some(&why) {
                        warn!(stage = "custody", why, "the root key's token does not open the daemon; tried again");
                    }
                    told = Some(why);
                }
            }
        }
    }

    /// Whether a token that has the root key wrapped serves, and the worker that wants it runs.
    fn may_open(&self) -> bool {
        let Ok(RootPlace::Token { wraps, .. }) = self.root_place() else { return false };
        let serves = |wrap: &WrappedRoot| {
            self.custodians().worker(&wrap.token).is_some_and(|worker| worker.state() == CustodianState::Ready)
        };
        self.custody().status().1 != CustodianState::Unavailable && wraps.iter().any(serves)
    }

    /// Puts everything under another root key, and makes what was under the old one useless to whoever has that.
    pub(crate) async fn change_root(
        self: &Arc<Self>,
        principal: &Principal,
        deadline: Duration,
        target: RootTarget,
        progress: mpsc::Sender<Progress>,
    ) -> Result<(), Fault> {
        let house = Arc::clone(self);
        let work = async move {
            house.exchange_root(target).await?;
            // The older ring and root still open what was wrapped before: nothing is, afterwards.
            house.rewrap_all(progress).await
        };
        self.administer(principal, Action::ManageKek, "root-rotate", deadline, work).await
    }

    async fn exchange_root(&self, target: RootTarget) -> Result<(), Fault> {
        let _one = self.sealing.lock().await;
        let older = self.root_place().map_err(root_fault)?;
        match target {
            RootTarget::File(path) => self.put_in_file(path).await?,
            RootTarget::Passphrase(passphrase) => self.take_root(RootChange::Passphrase(passphrase)).await?,
            RootTarget::Token(name, recovery) => self.put_in_token(&name, recovery).await?,
        }
        info!(stage = "custody", root = self.root_words(), "another root key");
        if let RootPlace::Token { wraps, .. } = older {
            self.destroy_wraps(wraps).await?;
        }
        Ok(())
    }

    async fn put_in_file(&self, path: PathBuf) -> Result<(), Fault> {
        let (keyring, store, place) = (Arc::clone(&self.parts.keyring), self.store_uuid(), path.clone());
        let made = blocking(move || {
            let offer = keyring.offer()?;
            let sealed = make_root_file(&path, &offer, &store);
            if sealed.is_err() {
                let _ = keyring.unseal_offered(offer.id, &[]); // spends it
            }
            sealed.map(|sealed| RootChange::File { path, offer: offer.id, sealed })
        });
        let change = made.await?.map_err(root_fault)?;
        let before = ring_bytes(&self.config().ring());
        let changed = self.take_root(change).await;
        if changed.is_err() {
            if self.is_untouched(before).await {
                let _ = std::fs::remove_file(place); // it is the root of nothing
            } else {
                let place = place.display();
                warn!(stage = "custody", %place, "whether the ring is under this root key is not known: the file stays");
            }
        }
        changed
    }

    async fn put_in_token(&self, name: &TokenName, recovery: Recovery) -> Result<(), Fault> {
        let mut names = vec![name];
        if let Recovery::Token(spare) = &recovery {
            names.push(spare);
        }
        let workers = names.into_iter().map(|name| self.token_worker(name)).collect::<Result<Vec<_>, _>>()?;
        if let [one, other] = workers.as_slice()
            && one.name() == other.name()
        {
            return Err(Fault::new(FaultKind::Malformed, "recovery_token: another token than the first"));
        }
        let keyring = Arc::clone(&self.parts.keyring);
        let wrapped = blocking(move || draw_and_wrap(&*keyring, &workers)).await?;
        let wraps = wrapped.map_err(root_fault)?;
        let recovery = match recovery {
            Recovery::Passphrase(passphrase) => Some(passphrase),
            Recovery::Token(_) | Recovery::Nothing => None,
        };
        let before = ring_bytes(&self.config().ring());
        let changed = self.take_root(RootChange::Token { wraps: wraps.clone(), recovery }).await;
        if changed.is_err() {
            if self.is_untouched(before).await {
                self.destroy_wraps(wraps).await?;
            } else {
                for WrappedRoot { token, key, .. } in &wraps {
                    warn!(stage = "custody", %token, %key, "whether the ring needs this wrapping key is not known: it stays");
                }
            }
        }
        changed
    }

    fn token_worker(&self, name: &TokenName) -> Result<Arc<TokenWorker>, Fault> {
        let missing = || Fault::new(FaultKind::Missing, format!("no token with the name {name} is configured"));
        self.custodians().worker(name).ok_or_else(missing)
    }

    async fn take_root(&self, change: RootChange) -> Result<(), Fault> {
        let keyring = Arc::clone(&self.parts.keyring);
        blocking(move || keyring.change_root(change)).await?.map_err(root_fault)
    }

    /// Whether a change that failed has provably left the ring as it was `before`. Only then what was made for the change
    /// may be deleted: otherwise it may be all that opens the ring.
    async fn is_untouched(&self, before: Option<Vec<u8>>) -> bool {
        is_at_rest(&self.parts.keyring).await && is_proven_same(before, ring_bytes(&self.config().ring()))
    }

    /// Deletes wrapping keys that no ring needs any more. One that stays behind is named: only older copies of the
    /// ring are of use with it.
    async fn destroy_wraps(&self, wraps: Vec<WrappedRoot>) -> Result<(), Fault> {
        for wrapped in wraps {
            let (token, key) = (wrapped.token.to_string(), wrapped.key.to_string());
            let Some(worker) = self.custodians().worker(&wrapped.token) else {
                warn!(stage = "custody", token, key, "an older wrapping key stays in a token that is not configured");
                continue;
            };
            if let Err(error) = blocking(move || worker.destroy_wrap_key(&wrapped)).await? {
                warn!(stage = "custody", token, key, %error, "an older wrapping key stays in the token: delete it there");
            }
        }
        Ok(())
    }
}

/// What the ring's file holds; `None` where it cannot be read, which proves nothing.
fn ring_bytes(ring: &Path) -> Option<Vec<u8>> {
    std::fs::read(ring).ok()
}

fn is_proven_same(before: Option<Vec<u8>>, after: Option<Vec<u8>>) -> bool {
    before.zip(after).is_some_and(|(before, after)| before == after)
}

/// Waits until custody answers again, at most some [`LOOKS_FOR_REST_MAX`] looks. Then nobody writes the ring any more: a
/// worker answers one request after the other, and a new one is started only after the last has ended.
async fn is_at_rest(keyring: &Arc<dyn KeyRing>) -> bool {
    for _ in 0..LOOKS_FOR_REST_MAX {
        let asked = Arc::clone(keyring);
        if let Ok(Ok(_) | Err(CustodyError::Sealed)) = blocking(move || asked.list()).await {
            return true;
        }
        tokio::time::sleep(INTERVAL).await;
    }
    false
}

/// What whoever administers reads: what the token says is of use to them.
fn root_fault(error: CustodyError) -> Fault {
    match error {
        CustodyError::Refused { why } => Fault::new(FaultKind::Refused, why),
        CustodyError::Unavailable { ref why } => Fault::new(FaultKind::Unavailable, why.clone()).because(error),
        CustodyError::Corrupt { ref what } => Fault::new(FaultKind::Refused, format!("{what} does not open")),
        error => unseal_fault(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ring_that_cannot_be_read_is_not_proven_to_be_the_same() {
        let directory = tempfile::TempDir::new().unwrap();
        let ring = directory.path().join("ring");
        let unreadable = ring_bytes(&ring);
        std::fs::write(&ring, b"older").unwrap();
        let older = ring_bytes(&ring);

        assert!(is_proven_same(older.clone(), ring_bytes(&ring)));
        assert!(!is_proven_same(unreadable.clone(), ring_bytes(&directory.path().join("ring"))));
        assert!(!is_proven_same(older.clone(), unreadable.clone()));
        assert!(!is_proven_same(unreadable.clone(), unreadable));
        std::fs::write(&ring, b"newer").unwrap();
        assert!(!is_proven_same(older, ring_bytes(&ring)));
    }
}
