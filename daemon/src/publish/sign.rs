//! The daemon's own files: which of its keys sign them, and the stages of each signature.

use std::sync::Arc;

use trust::format::tuf::plan::{Stamp, Unsigned};
use trust::format::tuf::publish::Refusal;
use trust::format::tuf::{Document, Gun, Key, Repository, RoleName, UnsignedCertificate};
use trust::{Fault, Form, KeyRef, Origin, PublicKey, Purpose, Scope, Sha256Digest, Signable};

use super::authorize::Warrant;
use super::{Asked, PublishError, Publisher, purpose_of};
use crate::audit::SubjectBody;
use crate::custody;
use crate::house::House;
use crate::order::{Shape, SignOrder};
use crate::permit::Permit;
use crate::records::{KeyView, VersionRecord};
use crate::statement::Preimage;

/// How often a signature is asked for anew because the key or the policy changed meanwhile.
const ATTEMPTS_MAX: usize = 3;

/// A key of the daemon, as metadata has it.
#[derive(Debug, Clone)]
pub(super) struct ServerKey {
    pub(super) key: Key,
    pub(super) view: KeyView,
    version: VersionRecord,
}

impl ServerKey {
    /// A version of a key for trust data, with the repository and the role that it is for; none of any other key.
    pub(super) fn of(key: KeyRef, view: KeyView) -> Option<(Self, Gun, RoleName)> {
        let role = match view.record.purpose {
            Purpose::Snapshot => RoleName::Snapshot,
            Purpose::Timestamp => RoleName::Timestamp,
            _ => return None,
        };
        let Scope::Gun(gun) = view.record.scope.clone() else { return None };
        let version = view.versions.iter().find(|version| version.key == key)?.clone();
        let key = Key::of(&version.public_key).ok()?;
        Some((Self { key, view, version }, gun, role))
    }

    /// A key by its newest version; none of one that has none.
    pub(super) fn newest(view: KeyView) -> Result<Self, Fault> {
        let version = view.newest().cloned().ok_or_else(|| Fault::internal("a key without a version"))?;
        let key = Key::of(&version.public_key).map_err(Fault::internal)?;
        Ok(Self { key, view, version })
    }

    /// The same as metadata lists it otherwise: in a certificate.
    pub(super) fn listed_as(&self, key: Key) -> Self {
        Self { key, ..self.clone() }
    }

    /// The public half.
    pub(super) const fn public_key(&self) -> &PublicKey {
        &self.version.public_key
    }

    /// Whether it has never been anywhere else.
    pub(super) fn was_made_here(&self) -> bool {
        self.version.origin == Origin::Generated
    }

    /// Whether its custody could sign with it now, as far as is known.
    ///
    /// # Errors
    /// [`PublishError::Unavailable`] while it is sealed, or away.
    pub(super) fn is_served(&self, house: &House) -> Result<(), PublishError> {
        let material = self.version.materials.first().ok_or_else(|| Fault::internal("a key without material"))?;
        Ok(house.custodians().serves(material).map_err(custody::fault)?)
    }

    /// Whether it may sign now.
    pub(super) fn may_sign(&self) -> bool {
        self.view.state.use_.may_sign() && !self.version.materials.is_empty()
    }
}

impl Publisher<'_> {
    /// Every key of the daemon for a role of a repository, in all versions, the oldest first.
    pub(super) fn server_keys(self, gun: &Gun, role: &RoleName) -> Result<Vec<ServerKey>, PublishError> {
        purpose_of(role).map_or_else(|| Ok(Vec::new()), |purpose| self.held_keys(gun, purpose))
    }

    /// Every key of the daemon of a purpose for a repository, in all versions, the oldest first.
    pub(super) fn held_keys(self, gun: &Gun, purpose: Purpose) -> Result<Vec<ServerKey>, PublishError> {
        let mut keys = Vec::new();
        for view in self.0.records().keys_of(gun, purpose)? {
            for version in view.versions.iter() {
                let key = Key::of(&version.public_key).map_err(Fault::internal)?;
                keys.push(ServerKey { key, view: view.clone(), version: version.clone() });
            }
        }
        Ok(keys)
    }

    /// As many keys of the daemon as root wants for a role, of those that it lists.
    ///
    /// # Errors
    /// [`Refusal::no_key_for`] when the daemon does not hold enough.
    pub(super) fn signers(
        self,
        gun: &Gun,
        repository: &Repository,
        role: &RoleName,
    ) -> Result<Vec<ServerKey>, PublishError> {
        let none = || Refusal::no_key_for(role);
        let authority = repository.authority(role).ok_or_else(none)?;
        let listed = |held: &ServerKey| authority.keys().iter().any(|key| key.id() == held.key.id());
        let held = self.server_keys(gun, role)?;
        let wanted = usize::try_from(authority.threshold()).unwrap_or(usize::MAX);
        let keys: Vec<_> = held.into_iter().filter(|key| key.may_sign() && listed(key)).take(wanted).collect();
        if keys.len() < wanted { Err(none().into()) } else { Ok(keys) }
    }

    /// Has a file signed by each of these keys. With it come the indexes of the intents' leaves.
    pub(super) async fn signed(
        self,
        asked: &Asked,
        warrant: &Warrant,
        file: &Unsigned,
        keys: &[ServerKey],
    ) -> Result<(Document, Vec<u64>), PublishError> {
        let (stamps, leaves) = self.stamps(asked, warrant, file, keys).await?;
        Ok((file.signed(&stamps).map_err(Fault::internal)?, leaves))
    }

    /// The same of a file that may still need signatures of others.
    pub(super) async fn signed_further(
        self,
        asked: &Asked,
        warrant: &Warrant,
        file: &Unsigned,
        keys: &[ServerKey],
    ) -> Result<(Unsigned, Vec<u64>), PublishError> {
        let (stamps, leaves) = self.stamps(asked, warrant, file, keys).await?;
        Ok((file.stamped(&stamps).map_err(Fault::internal)?, leaves))
    }

    async fn stamps(
        self,
        asked: &Asked,
        warrant: &Warrant,
        file: &Unsigned,
        keys: &[ServerKey],
    ) -> Result<(Vec<Stamp>, Vec<u64>), PublishError> {
        let (mut stamps, mut leaves) = (Vec::with_capacity(keys.len()), Vec::with_capacity(keys.len()));
        let said = Said::file(&asked.gun, file.document());
        for key in keys {
            let (signature, leaf) = self.signature(asked, warrant, &said, key).await?;
            stamps.push(key.key.stamp(&signature).map_err(Fault::internal)?);
            leaves.push(leaf);
        }
        Ok((stamps, leaves))
    }

    /// Permit, intent, custody, receipt. With the signature comes the index of the intent's leaf.
    pub(super) async fn signature(
        self,
        asked: &Asked,
        warrant: &Warrant,
        said: &Said,
        key: &ServerKey,
    ) -> Result<(trust::Signature, u64), PublishError> {
        let mut attempt = 1;
        loop {
            let grounds = warrant.grounds(self.0)?;
            let order = self.order(&asked.gun, said, key)?;
            let permit = Permit::grant(warrant.principal(), order, grounds, asked.deadline, self.0.take_flight()?);
            let receipt = self.0.carry_out(permit, None).await;
            let fault = match receipt.and_then(|receipt| Ok((receipt.leaf, receipt.into_single()?))) {
                Ok((leaf, forms)) => {
                    let signed = forms.into_iter().next().ok_or_else(|| Fault::internal("no signature"))?;
                    return Ok((signed.signature, leaf));
                }
                Err(fault) => fault,
            };
            if attempt == ATTEMPTS_MAX || !custody::is_stale(&fault) {
                return Err(fault.into());
            }
            attempt = attempt.saturating_add(1);
        }
    }

    /// The key as it is now, and exactly these bytes.
    fn order(self, gun: &Gun, said: &Said, key: &ServerKey) -> Result<SignOrder, PublishError> {
        let house: &House = self.0;
        let (id, number) = (key.view.record.id, key.version.key);
        let views = house.records().keys_of(gun, key.view.record.purpose)?;
        let view = views.into_iter().find(|view| view.record.id == id && view.state.use_.may_sign());
        let away = || PublishError::from(Refusal::no_key_for(&said.role));
        let view = view.ok_or_else(away)?;
        let version = view.versions.iter().find(|version| version.key == number).ok_or_else(away)?;
        let material = version.materials.first().ok_or_else(away)?;
        let input = Signable::Message(said.bytes.clone());
        Ok(SignOrder {
            key: number,
            public_key: version.public_key.clone(),
            spki_sha256: version.public_key.spki_sha256(),
            purpose: view.record.purpose.name(),
            context: Arc::new(view.record.seal_context(house.store_uuid(), number.version)),
            material: material.clone(),
            epoch: view.state.epoch,
            forms: vec![Form::Tuf],
            subjects: vec![said.subject.clone()],
            preimages: vec![Preimage { form: Form::Tuf, payload: Vec::new(), input }],
            lengths: vec![1],
            shape: Shape::Single,
            retry_of: None,
            batch: Vec::new(),
        })
    }
}

/// What is to be signed for a role: the exact bytes, and what a leaf says of them.
#[derive(Debug, Clone)]
pub(super) struct Said {
    role: RoleName,
    subject: SubjectBody,
    bytes: Vec<u8>,
}

impl Said {
    /// A file of metadata.
    pub(super) fn file(gun: &Gun, file: &Document) -> Self {
        let subject = subject(gun, file, SubjectBody::TRUST_DATA);
        Self { role: file.role().clone(), subject, bytes: file.signed_bytes().to_vec() }
    }

    /// A file of a repository that lies elsewhere: no version of it is reserved here.
    pub(super) fn elsewhere(gun: &Gun, file: &Document) -> Self {
        let subject = subject(gun, file, SubjectBody::TRUST_DATA_ELSEWHERE);
        Self { role: file.role().clone(), subject, bytes: file.signed_bytes().to_vec() }
    }

    /// The certificate of a root key.
    pub(super) fn certificate(gun: &Gun, certificate: &UnsignedCertificate) -> Self {
        let bytes = certificate.signed_bytes().to_vec();
        let subject = SubjectBody {
            digest: Some(Sha256Digest::of(&bytes).to_string()),
            name: Some(RoleName::Root.to_string()),
            reference: Some(gun.to_string()),
            kind: "tuf-certificate",
            ..SubjectBody::default()
        };
        Self { role: RoleName::Root, subject, bytes }
    }
}

/// What a leaf says of a file: repository, role, version, and what a signature of it covers.
pub(super) fn subject(gun: &Gun, file: &Document, kind: &'static str) -> SubjectBody {
    SubjectBody {
        digest: Some(Sha256Digest::of(file.signed_bytes()).to_string()),
        name: Some(file.role().to_string()),
        reference: Some(gun.to_string()),
        kind,
        version: Some(file.version().number().to_string()),
        ..SubjectBody::default()
    }
}
