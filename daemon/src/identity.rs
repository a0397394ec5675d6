//! Who asks: from what the connection proves to a principal (D26). Of a request nothing is believed but a token that the
//! registry's issuer has signed, at the Notary door.

mod bearer;

use std::sync::Arc;

use tracing::{error, info};
use trust::{Fault, FaultKind, Principal};

use crate::clock::Clock;
use crate::config::{NotaryAuth, NotaryConfig};
use crate::tls::{Asked, Manner, Peer, TlsFaults, TlsState};

pub(crate) use bearer::{Bearer, Grant};

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
    notary: Option<NotaryIdentity>,
    workers: WorkerPids,
}

/// How clients of the Notary door are known.
pub(crate) struct NotaryIdentity {
    /// Whose certificates are believed there; authorities of its own.
    tls: Arc<TlsState>,
    /// Whose tokens are, if any.
    bearer: Option<Bearer>,
}

impl NotaryIdentity {
    /// Reads the files that `config` names.
    ///
    /// # Errors
    /// Every fault of them.
    pub(crate) fn load(config: &NotaryConfig, clock: &Clock) -> Result<Self, TlsFaults> {
        let asked = match (&config.auth, config.tls.client_cas.is_empty()) {
            (NotaryAuth::Certificate, _) => Asked::Everybody,
            (NotaryAuth::None | NotaryAuth::Token(_), false) => Asked::Whoever,
            (NotaryAuth::None | NotaryAuth::Token(_), true) => Asked::Nobody,
        };
        let tls = Arc::new(TlsState::load(&config.tls, Manner::Public(asked), clock.clone())?);
        let bearer = match &config.auth {
            NotaryAuth::Token(config) => Some(Bearer::load(config).map_err(|fault| TlsFaults(vec![fault]))?),
            NotaryAuth::None | NotaryAuth::Certificate => None,
        };
        Ok(Self { tls, bearer })
    }
}

impl Identity {
    /// `workers` answers the process ids that are never let in.
    pub(crate) fn new(tls: Option<Arc<TlsState>>, notary: Option<NotaryIdentity>, workers: WorkerPids) -> Self {
        Self { tls, notary, workers }
    }

    /// Takes certificates and revocation lists anew; what does not load leaves the old in force.
    pub(crate) fn reload(&self) {
        for tls in self.tls.iter().chain(self.notary.as_ref().map(|notary| &notary.tls)) {
            match tls.reload() {
                Ok(()) => info!("certificates and revocation lists reloaded"),
                Err(error) => error!(%error, "certificates are refused; the old ones stay in force"),
            }
        }
        if let Some(Err(fault)) = self.bearer().map(Bearer::reload) {
            error!(%fault, "the certificates of the token issuer are refused; the old ones stay in force");
        }
    }

    /// What the TLS listener shows and asks for, where there is one.
    pub(crate) fn tls(&self) -> Option<Arc<TlsState>> {
        self.tls.clone()
    }

    /// What the Notary listener shows and asks for, where there is one.
    pub(crate) fn notary_tls(&self) -> Option<Arc<TlsState>> {
        self.notary.as_ref().map(|notary| Arc::clone(&notary.tls))
    }

    /// What reads the tokens of the Notary door, where it takes tokens.
    pub(crate) fn bearer(&self) -> Option<&Bearer> {
        self.notary.as_ref()?.bearer.as_ref()
    }

    /// Who shows this certificate at the Notary door; expiry and revocation are looked at each time.
    ///
    /// # Errors
    /// [`Fault`] of kind unauthenticated.
    pub(crate) fn notary_certificate(&self, peer: &Peer, now_unix_seconds: u64) -> Result<Principal, Fault> {
        let notary = self.notary.as_ref().ok_or_else(|| Fault::internal("a certificate without a Notary listener"))?;
        certified(&notary.tls, peer, now_unix_seconds)
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
                certified(tls, peer, now_unix_seconds)
            }
        }
    }
}

fn certified(tls: &TlsState, peer: &Peer, now_unix_seconds: u64) -> Result<Principal, Fault> {
    tls.recheck(peer, now_unix_seconds)
        .map(Principal::Spiffe)
        .map_err(|refusal| unknown("the client certificate is not accepted").because(refusal))
}

fn unknown(text: &str) -> Fault {
    Fault::new(FaultKind::Unauthenticated, text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn identity() -> Identity {
        Identity::new(None, None, Box::new(|| vec![4711]))
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
