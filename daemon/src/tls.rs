//! TLS with client certificates: what the daemon shows, whom it believes, both replaced without a restart.
//!
//! The custody listener has TLS 1.3 and nothing else: no tickets, no resumption, no early data, for a session that
//! could be resumed would outlive the revocation of its certificate. [`public`] is what docker and notary speak to.
//! What is merely out of date (an expired authority, a stale revocation list) does not stop the start:
//! it denies whom it concerns, and the log says so. What does not load stops the start, and names the file.

#[cfg(test)]
pub(crate) mod authority;
mod certificate;
mod chain;
mod files;
mod gate;
mod public;

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use arc_swap::ArcSwap;
use rustls::ServerConfig;
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::pki_types::{CertificateDer, UnixTime};
use rustls::server::NoServerSessionStorage;
use rustls::time_provider::TimeProvider;
use tracing::warn;
use trust::principal::SpiffeId;

use crate::clock::Clock;
use crate::config::{ConfigFault, TlsConfig};

pub(crate) use chain::one_way;
pub(crate) use files::certificates;
pub(crate) use gate::TlsRefusal;
pub(crate) use public::Asked;

use gate::Gate;

/// The one protocol that is spoken inside: HTTP/2 (RFC 9113 §3.2).
pub(crate) const ALPN: &[u8] = b"h2";

/// Which listener it is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Manner {
    /// The custody listener: TLS 1.3, HTTP/2, nobody without a certificate, nothing resumed.
    Custody,
    /// The Notary listener: as [`public`] says.
    Public(Asked),
}

/// Certificates, authorities and revocation lists in force.
pub(crate) struct TlsState {
    config: TlsConfig,
    manner: Manner,
    clock: Clock,
    loads: AtomicU64,
    current: ArcSwap<Loaded>,
}

/// What one reading of the files gave.
struct Loaded {
    server: Arc<ServerConfig>,
    gate: Arc<Gate>,
    own: files::Lifetime,
}

impl TlsState {
    /// Reads every file that `config` names.
    ///
    /// # Errors
    /// Every fault of every file.
    pub(crate) fn load(config: &TlsConfig, manner: Manner, clock: Clock) -> Result<Self, TlsFaults> {
        let loaded = Loaded::read(config, manner, &clock, 0)?;
        loaded.warn(config, clock.now_unix_seconds());
        let (loads, current) = (AtomicU64::new(0), ArcSwap::from_pointee(loaded));
        Ok(Self { config: config.clone(), manner, clock, loads, current })
    }

    /// Reads the files anew and puts all of them in force at once; connections that are open are held to them, too.
    ///
    /// # Errors
    /// Every fault of every file; then all of the old stay in force.
    pub(crate) fn reload(&self) -> Result<(), TlsFaults> {
        let load = self.loads.fetch_add(1, Ordering::Relaxed).saturating_add(1);
        let loaded = Loaded::read(&self.config, self.manner, &self.clock, load)?;
        loaded.warn(&self.config, self.clock.now_unix_seconds());
        self.current.store(Arc::new(loaded));
        Ok(())
    }

    /// What the next handshake uses.
    pub(crate) fn server(&self) -> Arc<ServerConfig> {
        Arc::clone(&self.current.load().server)
    }

    /// Whom these certificates stand for at `now_unix_seconds`, by what is in force now.
    ///
    /// # Errors
    /// [`TlsRefusal`] when they are not accepted, or no longer.
    pub(crate) fn recheck(&self, peer: &Peer, now_unix_seconds: u64) -> Result<SpiffeId, Arc<TlsRefusal>> {
        let gate = Arc::clone(&self.current.load().gate);
        peer.verdict(&gate, now_unix_seconds)
    }
}

/// Every fault of the files that `config` names, whichever listener it is for, those of the calendar at `now_unix_seconds` included.
pub(crate) fn faults(config: &TlsConfig, clock: &Clock) -> Vec<ConfigFault> {
    match Loaded::read(config, Manner::Custody, clock, 0) {
        Ok(loaded) => loaded.untimely(config, clock.now_unix_seconds()),
        Err(TlsFaults(faults)) => faults,
    }
}

/// Every fault that keeps the listener from opening; the calendar is not asked, for it may be right again tomorrow.
pub(crate) fn obstacles(config: &TlsConfig, clock: &Clock) -> Vec<ConfigFault> {
    Loaded::read(config, Manner::Custody, clock, 0).err().map(|TlsFaults(faults)| faults).unwrap_or_default()
}

impl Loaded {
    fn read(config: &TlsConfig, manner: Manner, clock: &Clock, load: u64) -> Result<Self, TlsFaults> {
        let provider = Arc::new(provider());
        let mut faults = Vec::new();
        let gate = Gate::read(&config.client_cas, &provider, load, &mut faults).map(Arc::new);
        let own = files::own(config, &mut faults);
        let (Some(gate), Some(own), true) = (gate, own, faults.is_empty()) else {
            return Err(TlsFaults(faults));
        };
        let files::Own { chain, key, lifetime } = own;
        let time = Arc::new(TlsTime(clock.clone()));
        let verifier = Arc::clone(&gate);
        let server = match manner {
            Manner::Custody => ServerConfig::builder_with_details(provider, time)
                .with_protocol_versions(&[&rustls::version::TLS13])
                .map(|builder| builder.with_client_cert_verifier(verifier))
                .and_then(|builder| builder.with_single_cert(chain, key))
                .map(narrowed),
            Manner::Public(asked) => public::server(&gate, asked, time, chain, key),
        };
        match server {
            Ok(server) => Ok(Self { server: Arc::new(server), gate, own: lifetime }),
            Err(error) => {
                let what = format!("not the key of {}: {error}", config.certificate.display());
                Err(TlsFaults(vec![files::fault(&config.key, what)]))
            }
        }
    }

    /// What has loaded and is of no use at `now_unix_seconds`.
    fn untimely(&self, config: &TlsConfig, now_unix_seconds: u64) -> Vec<ConfigFault> {
        let mut faults = self.gate.untimely(now_unix_seconds);
        if !self.own.covers(now_unix_seconds) {
            faults.push(files::fault(&config.certificate, "expired or not yet valid: clients refuse it"));
        }
        faults
    }

    fn warn(&self, config: &TlsConfig, now_unix_seconds: u64) {
        for fault in self.untimely(config, now_unix_seconds) {
            warn!(file = fault.place, "{}", fault.what);
        }
    }
}

/// TLS 1.3's suites and three groups, the hybrid one first: recorded traffic stays closed to a later quantum computer.
fn provider() -> CryptoProvider {
    use aws_lc_rs::{cipher_suite, kx_group};
    CryptoProvider {
        cipher_suites: vec![
            cipher_suite::TLS13_AES_256_GCM_SHA384,
            cipher_suite::TLS13_AES_128_GCM_SHA256,
            cipher_suite::TLS13_CHACHA20_POLY1305_SHA256,
        ],
        kx_groups: vec![kx_group::X25519MLKEM768, kx_group::X25519, kx_group::SECP256R1],
        ..aws_lc_rs::default_provider()
    }
}

/// Takes away what would let a connection begin without a full handshake.
fn narrowed(mut server: ServerConfig) -> ServerConfig {
    server.alpn_protocols = vec![ALPN.to_vec()];
    server.session_storage = Arc::new(NoServerSessionStorage {});
    server.send_tls13_tickets = 0;
    server.max_early_data_size = 0;
    server
}

/// The daemon's clock, as rustls asks for it.
#[derive(Debug)]
pub(crate) struct TlsTime(pub(crate) Clock);

impl TimeProvider for TlsTime {
    fn current_time(&self) -> Option<UnixTime> {
        Some(UnixTime::since_unix_epoch(Duration::from_millis(self.0.now_unix_ms())))
    }
}

/// The certificates that a peer proved to be its own, with the last verdict about them.
///
/// Each call is judged as if alone, but signatures are not checked for each: a yes holds until the next moment at which
/// a certificate or list ends, a no for the second in which it was said, and neither when other files are in force.
#[derive(Debug)]
pub(crate) struct Peer {
    leaf: CertificateDer<'static>,
    intermediates: Vec<CertificateDer<'static>>,
    last: std::sync::Mutex<Option<Verdict>>,
}

#[derive(Debug, Clone)]
struct Verdict {
    load: u64,
    at_unix_seconds: u64,
    until_unix_seconds: u64,
    who: Result<SpiffeId, Arc<TlsRefusal>>,
}

impl Peer {
    /// A peer by the chain of its handshake, its own certificate first.
    pub(crate) fn new(chain: &[CertificateDer<'_>]) -> Option<Self> {
        let (leaf, intermediates) = chain.split_first()?;
        Some(Self {
            leaf: leaf.clone().into_owned(),
            intermediates: intermediates.iter().map(|der| der.clone().into_owned()).collect(),
            last: std::sync::Mutex::new(None),
        })
    }

    fn verdict(&self, gate: &Gate, now_unix_seconds: u64) -> Result<SpiffeId, Arc<TlsRefusal>> {
        let mut last = self.last.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        match &*last {
            Some(known) if known.load == gate.load() && known.covers(now_unix_seconds) => known.who.clone(),
            _ => {
                let now = UnixTime::since_unix_epoch(Duration::from_secs(now_unix_seconds));
                let (until_unix_seconds, who) = match gate.admit(&self.leaf, &self.intermediates, now) {
                    Ok(admitted) => (admitted.until_unix_seconds, Ok(admitted.id)),
                    Err(refusal) => (now_unix_seconds, Err(Arc::new(refusal))),
                };
                let verdict = Verdict {
                    load: gate.load(),
                    at_unix_seconds: now_unix_seconds,
                    until_unix_seconds,
                    who: who.clone(),
                };
                *last = Some(verdict);
                who
            }
        }
    }
}

impl Verdict {
    /// Verification counts in whole seconds; a clock that was put back is asked anew.
    const fn covers(&self, now_unix_seconds: u64) -> bool {
        now_unix_seconds == self.at_unix_seconds
            || (self.at_unix_seconds < now_unix_seconds && now_unix_seconds < self.until_unix_seconds)
    }
}

/// Everything that is wrong with the files of `[tls]`.
#[derive(Debug)]
pub(crate) struct TlsFaults(pub(crate) Vec<ConfigFault>);

impl fmt::Display for TlsFaults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, fault) in self.0.iter().enumerate() {
            write!(f, "{}{fault}", if index == 0 { "" } else { "; " })?;
        }
        Ok(())
    }
}

impl std::error::Error for TlsFaults {}

#[cfg(test)]
mod tests;
