//! Whom the daemon lets in: a chain to an authority, and an id of the one trust domain that this authority speaks for.
//!
//! The order is turned round on purpose: the name is read first, and then only the authorities of its trust domain are
//! asked. So no authority can vouch for another's domain, whatever its certificates say.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::client::danger::HandshakeSignatureValid;
use rustls::crypto::{CryptoProvider, WebPkiSupportedAlgorithms, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, CertificateRevocationListDer, UnixTime};
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{
    CertificateError, DigitallySignedStruct, DistinguishedName, Error, OtherError, PeerIncompatible, RootCertStore,
    SignatureScheme,
};
use thiserror::Error;
use trust::principal::SpiffeId;
use x509_parser::prelude::FromDer as _;
use x509_parser::revocation_list::CertificateRevocationList;

use super::certificate::{NameFault, spiffe_id};
use super::chain::one_way;
use super::files::{self, Lifetime};
use crate::config::{ClientCaConfig, ConfigFault};

/// Why a chain is not accepted. For our log: the peer learns only that it is not.
#[derive(Debug, Error)]
pub(crate) enum TlsRefusal {
    #[error(transparent)]
    Name(#[from] NameFault),
    #[error("{id}: no authority speaks for this trust domain")]
    Domain { id: SpiffeId },
    #[error("{id}: its authority is out of date")]
    AuthorityOutOfDate { id: SpiffeId },
    #[error("{id}: {source}")]
    Chain {
        id: SpiffeId,
        #[source]
        source: Error,
    },
}

/// The authorities of one reading of the files.
#[derive(Debug)]
pub(super) struct Gate {
    load: u64,
    authorities: Vec<Authority>,
    hints: Vec<DistinguishedName>,
    algorithms: WebPkiSupportedAlgorithms,
}

/// One certificate of an authority, bound to one trust domain.
#[derive(Debug)]
struct Authority {
    trust_domain: String,
    file: PathBuf,
    lifetime: Lifetime,
    lists: Option<Lists>,
    verifier: Arc<dyn ClientCertVerifier>,
}

/// The revocation lists of an authority and of those below it.
#[derive(Debug)]
struct Lists {
    file: PathBuf,
    /// Until when the last of its own counts, in seconds since the Unix epoch.
    own_until: i64,
    /// When any of them ends.
    ends: Vec<i64>,
}

/// Somebody who is let in.
#[derive(Debug)]
pub(super) struct Admitted {
    pub(super) id: SpiffeId,
    /// From this second on the same certificates may not be accepted any more; before it, they are.
    pub(super) until_unix_seconds: u64,
}

impl Gate {
    /// Reads authorities and lists; `None` leaves at least one fault.
    pub(super) fn read(
        authorities: &[ClientCaConfig],
        provider: &Arc<CryptoProvider>,
        load: u64,
        faults: &mut Vec<ConfigFault>,
    ) -> Option<Self> {
        let before = faults.len();
        let mut gate = Self {
            load,
            authorities: Vec::new(),
            hints: Vec::new(),
            algorithms: provider.signature_verification_algorithms,
        };
        let mut speaks_for = HashMap::new();
        for config in authorities {
            gate.take(config, provider, &mut speaks_for, faults);
        }
        (faults.len() == before).then_some(gate)
    }

    /// The number of the reading, so that a verdict is known to be of this one.
    pub(super) const fn load(&self) -> u64 {
        self.load
    }

    fn take(
        &mut self,
        config: &ClientCaConfig,
        provider: &Arc<CryptoProvider>,
        speaks_for: &mut HashMap<Vec<u8>, String>,
        faults: &mut Vec<ConfigFault>,
    ) {
        let certificates = files::certificates(&config.certificate).unwrap_or_else(|what| {
            faults.push(files::fault(&config.certificate, what));
            Vec::new()
        });
        let lists = config.crl.as_ref().and_then(|path| match files::revocation_lists(path) {
            Ok(lists) => Some((path, lists)),
            Err(what) => {
                faults.push(files::fault(path, what));
                None
            }
        });
        for der in &certificates {
            if let Err(fault) = self.add(config, der, lists.as_ref(), provider, speaks_for) {
                faults.push(fault);
            }
        }
    }

    fn add(
        &mut self,
        config: &ClientCaConfig,
        der: &CertificateDer<'static>,
        lists: Option<&(&PathBuf, Vec<CertificateRevocationListDer<'static>>)>,
        provider: &Arc<CryptoProvider>,
        speaks_for: &mut HashMap<Vec<u8>, String>,
    ) -> Result<(), ConfigFault> {
        let bad = |what: String| files::fault(&config.certificate, what);
        let certificate = files::certificate(der).map_err(bad)?;
        let subject = certificate.subject().to_string();
        if !certificate.is_ca() {
            return Err(bad(format!("{subject} is no certificate authority (basicConstraints CA:TRUE)")));
        }
        let key = certificate.public_key().raw.to_vec();
        let domain = speaks_for.entry(key).or_insert_with(|| config.trust_domain.clone());
        if *domain != config.trust_domain {
            return Err(bad(format!("{subject} already speaks for {domain}, expected one trust domain")));
        }
        let mut roots = RootCertStore::empty();
        roots.add(der.clone()).map_err(|error| bad(format!("{subject}: {error}")))?;
        let mut builder = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(provider));
        let mut own_lists = None;
        if let Some((path, lists)) = lists {
            own_lists = Some(Lists::of(path, lists, certificate.subject().as_raw()).ok_or_else(|| {
                files::fault(path, format!("no revocation list of {subject} that can be read: nobody could come in"))
            })?);
            builder = builder.with_crls(lists.iter().cloned()).enforce_revocation_expiration();
        }
        let verifier = builder.build().map_err(|error| {
            let file = lists.map_or(&config.certificate, |(path, _)| path);
            files::fault(file, error.to_string())
        })?;
        self.hints.extend_from_slice(verifier.root_hint_subjects());
        self.authorities.push(Authority {
            trust_domain: config.trust_domain.clone(),
            file: config.certificate.clone(),
            lifetime: Lifetime::from(certificate.validity()),
            lists: own_lists,
            verifier,
        });
        Ok(())
    }

    /// Who stands behind a chain at `now`.
    pub(super) fn admit(
        &self,
        leaf: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<Admitted, TlsRefusal> {
        let id = spiffe_id(leaf)?;
        if let Err(why) = one_way(intermediates) {
            return Err(TlsRefusal::Chain { id, source: Error::General(why) });
        }
        let mut refusal = None;
        for authority in self.authorities.iter().filter(|authority| authority.trust_domain == id.trust_domain()) {
            if !authority.lifetime.covers(now.as_secs()) {
                refusal.get_or_insert(TlsRefusal::AuthorityOutOfDate { id: id.clone() });
                continue;
            }
            match authority.verifier.verify_client_cert(leaf, intermediates, now) {
                Ok(_) => {
                    let until_unix_seconds = authority.until(leaf, intermediates, now.as_secs());
                    return Ok(Admitted { id, until_unix_seconds });
                }
                // The authority that issued the chain says more than those that did not.
                Err(Error::InvalidCertificate(CertificateError::UnknownIssuer)) if refusal.is_some() => {}
                Err(source) => refusal = Some(TlsRefusal::Chain { id: id.clone(), source }),
            }
        }
        Err(refusal.unwrap_or(TlsRefusal::Domain { id }))
    }

    /// Authorities and lists that let nobody in at `now_unix_seconds`.
    pub(super) fn untimely(&self, now_unix_seconds: u64) -> Vec<ConfigFault> {
        let now = i64::try_from(now_unix_seconds).unwrap_or(i64::MAX);
        let mut faults = Vec::new();
        for authority in &self.authorities {
            if !authority.lifetime.covers(now_unix_seconds) {
                let what = format!("an authority of {} is out of date: nobody comes in by it", authority.trust_domain);
                faults.push(files::fault(&authority.file, what));
            }
            match &authority.lists {
                Some(Lists { file, own_until, .. }) if *own_until <= now => {
                    let what =
                        format!("a revocation list of {} is stale: nobody comes in by it", authority.trust_domain);
                    faults.push(files::fault(file, what));
                }
                _ => {}
            }
        }
        faults
    }
}

impl Authority {
    /// The next moment at which a date could change the verdict about a chain that was just accepted.
    fn until(&self, leaf: &CertificateDer<'_>, intermediates: &[CertificateDer<'_>], now_unix_seconds: u64) -> u64 {
        let chain = std::iter::once(leaf).chain(intermediates);
        let ends = chain.filter_map(|der| Some(Lifetime::from(files::certificate(der).ok()?.validity()).until));
        let lists = self.lists.iter().flat_map(|lists| lists.ends.iter().copied());
        ends.chain(lists)
            .chain([self.lifetime.until])
            .filter_map(|end| u64::try_from(end).ok())
            // What has ended already did not count when the chain was accepted.
            .filter(|end| *end >= now_unix_seconds)
            .min()
            .unwrap_or(now_unix_seconds)
    }
}

impl Lists {
    /// `None` where no list is the issuer's own.
    fn of(file: &Path, lists: &[CertificateRevocationListDer<'_>], issuer: &[u8]) -> Option<Self> {
        let (mut own_until, mut ends) = (None, Vec::with_capacity(lists.len()));
        for der in lists {
            let Ok(([], list)) = CertificateRevocationList::from_der(der) else { continue };
            let Some(end) = list.next_update().map(|time| time.timestamp()) else { continue };
            ends.push(end);
            if list.issuer().as_raw() == issuer {
                own_until = own_until.max(Some(end));
            }
        }
        Some(Self { file: file.to_owned(), own_until: own_until?, ends })
    }
}

impl ClientCertVerifier for Gate {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &self.hints
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        match self.admit(end_entity, intermediates, now) {
            Ok(_) => Ok(ClientCertVerified::assertion()),
            // The peer gets the alert that fits: expired, revoked, unknown authority.
            Err(TlsRefusal::Chain { source, .. }) => Err(source),
            Err(refusal) => Err(CertificateError::Other(OtherError(Arc::new(refusal))).into()),
        }
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _cert: &CertificateDer<'_>,
        _dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Err(Error::PeerIncompatible(PeerIncompatible::SupportedVersionsExtensionRequired))
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, cert, dss, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}
