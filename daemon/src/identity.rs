//! Who asks: from what the connection proves to a principal (D26). Nothing in a request is believed.

use std::sync::Arc;

use tracing::{error, info};
use trust::{Fault, FaultKind, Principal};

use crate::tls::{Peer, TlsState};

/// The overflow uid: what the kernel says of a user it cannot map. It could be anybody.
const NOBODY: u32 = 65_534;

/// What a connection knows of its peer.
#[derive(Debug, Clone)]
pub(crate) enum Caller {
    /// A process on this machine, as the kernel vouches for it.
    Local {
        /// Its effective user when it connected.
        uid: u32,
        /// Its process, where the kernel says.
        pid: Option<i32>,
    },
    /// A client that proved in its handshake that these certificates are its own.
    Certified(Arc<Peer>),
}

impl Caller {
    /// True over the Unix socket.
    pub(crate) const fn is_local(&self) -> bool {
        matches!(self, Self::Local { .. })
    }
}

/// Our own worker processes, by their process ids now.
pub(crate) type WorkerPids = Box<dyn Fn() -> Vec<u32> + Send + Sync>;

/// Turns callers into principals.
pub(crate) struct Identity {
    tls: Option<Arc<TlsState>>,
    workers: WorkerPids,
}

impl Identity {
    /// `workers` answers the process ids that are never let in.
    pub(crate) fn new(tls: Option<Arc<TlsState>>, workers: WorkerPids) -> Self {
        Self { tls, workers }
    }

    /// Takes certificates and revocation lists anew; what does not load leaves the old in force.
    pub(crate) fn reload(&self) {
        if let Some(tls) = &self.tls {
            match tls.reload() {
                Ok(()) => info!("certificates and revocation lists reloaded"),
                Err(error) => error!(%error, "certificates are refused; the old ones stay in force"),
            }
        }
    }

    /// The principal of a caller at `now_unix_seconds`; expiry and revocation are looked at each time.
    ///
    /// # Errors
    /// [`Fault`] of kind unauthenticated.
    pub(crate) fn principal(&self, caller: &Caller, now_unix_seconds: u64) -> Result<Principal, Fault> {
        match caller {
            Caller::Local { uid: NOBODY, .. } => Err(unknown("the user behind the socket cannot be told (uid 65534)")),
            Caller::Local { uid, pid } => {
                let is_worker =
                    pid.and_then(|pid| u32::try_from(pid).ok()).is_some_and(|pid| (self.workers)().contains(&pid));
                if is_worker {
                    Err(unknown("a custody worker has no business here"))
                } else {
                    Ok(Principal::LocalUid(*uid))
                }
            }
            Caller::Certified(peer) => {
                let tls = self.tls.as_ref().ok_or_else(|| Fault::internal("a certificate without a TLS listener"))?;
                tls.recheck(peer, now_unix_seconds)
                    .map(Principal::Spiffe)
                    .map_err(|refusal| unknown("the client certificate is not accepted").because(refusal))
            }
        }
    }
}

fn unknown(text: &str) -> Fault {
    Fault::new(FaultKind::Unauthenticated, text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn identity() -> Identity {
        Identity::new(None, Box::new(|| vec![4711]))
    }

    #[test]
    fn a_local_user_is_who_the_kernel_says() {
        let principal = identity().principal(&Caller::Local { uid: 1000, pid: Some(1) }, 0);

        assert_eq!(principal.ok(), Some(Principal::LocalUid(1000)));
    }

    #[test]
    fn nobody_and_our_own_worker_are_refused() {
        for caller in [Caller::Local { uid: NOBODY, pid: None }, Caller::Local { uid: 0, pid: Some(4711) }] {
            let fault = identity().principal(&caller, 0).err();

            assert_eq!(fault.map(|fault| fault.kind()), Some(FaultKind::Unauthenticated));
        }
    }
}
