//! New keys and new versions: the stages of a signature, with `generate` in custody's place.

use std::sync::Arc;
use std::time::Duration;

use tracing::{Instrument as _, info, warn};
use trust::{Fault, FaultKind, KeyId, KeyRef, KeyVersion, Origin, Principal, Sha256Digest, Trust};
use trust_hsm::{CustodyError, DestroyOrder, Generated, Material, SealContext, TokenName};

use super::adopt::Sought;
use super::change::{KeyReplay, Replayed, key_hash, newest_of};
use super::import::Envelope;
use super::{KeyReceipt, KeySelector, NewKey, afresh};
use crate::audit::{IntentLeaf, OutcomeLeaf};
use crate::authorize::{Action, Decision, Grounds, KeyFacts, RequestFacts};
use crate::custody::{self, Custody};
use crate::house::{House, Undone};
use crate::idempotency::{IdempotencyKey, RequestHash};
use crate::permit::{Intent, Operation, Permit};
use crate::records::{KeyRecord, KeyView, RecordError, Replay, VersionRecord, record_fault};

/// A key, or a version of one, that is to be made.
pub(super) struct Birth {
    pub(super) record: KeyRecord,
    pub(super) version: KeyVersion,
    /// The key's epoch, where there is a key already.
    pub(super) epoch: Option<u64>,
    /// Where its private half comes from.
    pub(super) source: Source,
    /// What a key that is brought must have been sealed for.
    pub(super) binding: Vec<u8>,
    pub(super) replay: Option<Replayed>,
}

/// Where a private half comes from.
#[derive(Debug, Clone)]
pub(super) enum Source {
    /// Custody makes it.
    Custody,
    /// Somebody brings it, sealed.
    Envelope(Envelope),
    /// It is in the token already.
    Token(Sought),
}

impl Source {
    const fn action(&self) -> Action {
        match self {
            Self::Custody => Action::CreateKey,
            Self::Envelope(_) => Action::ImportKey,
            Self::Token(_) => Action::AdoptKey,
        }
    }

    /// The word for it in leaves, and in the memory of requests that are made again.
    const fn operation(&self) -> &'static str {
        match self {
            Self::Custody => "create",
            Self::Envelope(_) => "import",
            Self::Token(_) => "adopt",
        }
    }

    /// The objects in a token that go if the key is not registered: those that were made for it.
    fn object_of(&self, made: &Generated, context: SealContext) -> Option<DestroyOrder> {
        let (Self::Custody | Self::Envelope(_), Material::Token(_)) = (self, &made.material) else { return None };
        let spki_sha256 = made.public_key.spki_sha256();
        Some(DestroyOrder { context: Arc::new(context), spki_sha256, material: made.material.clone() })
    }

    const fn origin(&self) -> Origin {
        match self {
            Self::Custody => Origin::Generated,
            Self::Envelope(_) => Origin::Imported,
            Self::Token(_) => Origin::Adopted,
        }
    }

    /// The hash of a request for a key that comes from here.
    fn hash_with(&self, key: Sha256Digest) -> Sha256Digest {
        match self {
            Self::Custody => key,
            Self::Envelope(envelope) => envelope.hash_with(key),
            Self::Token(sought) => sought.hash_with(key),
        }
    }
}

impl Operation for Birth {
    fn describe(&self, leaf: &mut IntentLeaf) {
        leaf.operation = if self.epoch.is_some() { "rotate" } else { self.source.operation() };
        leaf.name_key(self.key());
        leaf.algorithm = Some(self.record.algorithm.name());
        leaf.custodian = Some(self.record.custodian().to_owned());
        leaf.epoch = self.epoch;
        leaf.purpose = Some(self.record.purpose.name());
        leaf.forms = self.record.forms.iter().map(|form| form.name()).collect();
    }
}

impl Birth {
    const fn key(&self) -> KeyRef {
        KeyRef { id: self.record.id, version: self.version }
    }
}

impl House {
    /// Makes a key.
    pub(crate) async fn create_key(
        self: &Arc<Self>,
        principal: &Principal,
        new: NewKey,
        idempotency: Option<IdempotencyKey>,
        deadline: Duration,
    ) -> Result<KeyReceipt, Fault> {
        self.make_key(principal, new, Source::Custody, idempotency, deadline).await
    }

    /// Makes the first version of a key, or takes it from where it is.
    pub(super) async fn make_key(
        self: &Arc<Self>,
        principal: &Principal,
        new: NewKey,
        source: Source,
        idempotency: Option<IdempotencyKey>,
        deadline: Duration,
    ) -> Result<KeyReceipt, Fault> {
        afresh(|| self.try_to_make(principal, new.clone(), source.clone(), idempotency.clone(), deadline)).await
    }

    async fn try_to_make(
        self: &Arc<Self>,
        principal: &Principal,
        new: NewKey,
        source: Source,
        idempotency: Option<IdempotencyKey>,
        deadline: Duration,
    ) -> Result<KeyReceipt, Fault> {
        let turn = self.turn(principal, source.operation(), idempotency, deadline).await?;
        let (action, hash) = (source.action(), source.hash_with(hash_of(&new)));
        let record = self.record_of(new)?;
        let grounds = self.may_make(principal, action, &record)?;
        let replay = match self.find_key_replay(turn, hash).await? {
            KeyReplay::Done(receipt) => return Ok(receipt),
            KeyReplay::New(replay) => replay,
        };
        self.has_place(principal, action, &record).await?;
        let binding = self.binding(principal, &record);
        let birth = Birth { record, version: KeyVersion::FIRST, epoch: None, source, binding, replay };
        let permit = Permit::grant(principal.clone(), birth, grounds, deadline, self.take_flight()?);
        let house = Arc::clone(self);
        self.detached(async move { house.give_birth(permit).await }.in_current_span()).await?
    }

    /// Asks policy for a key that is to be there, and the table of purposes and algorithms.
    pub(super) fn may_make(&self, principal: &Principal, action: Action, record: &KeyRecord) -> Result<Grounds, Fault> {
        let facts = KeyFacts::New(record);
        let grounds = match self.authorizer().decide(principal, action, Some(&facts), &RequestFacts::default()) {
            Decision::Allow(grounds) => grounds,
            Decision::Deny(denial) => {
                self.note_refusal(principal, action, denial.name(), None);
                return Err(Fault::forbidden());
            }
        };
        possible(record).inspect_err(|_| self.note_refusal(principal, action, "algorithm", None))?;
        Ok(grounds)
    }

    /// Refuses a name that is taken and a token that is none. Asked here for a clear answer without an intent; the
    /// store decides for good.
    pub(super) async fn has_place(
        &self,
        principal: &Principal,
        action: Action,
        record: &KeyRecord,
    ) -> Result<(), Fault> {
        if self.records().key_by_name(&record.name).await.map_err(record_fault)?.is_some() {
            self.note_refusal(principal, action, "taken", None);
            return Err(record_fault(RecordError::NameTaken));
        }
        if let Some(name) = &record.token
            && self.custodians().token(name).is_none()
        {
            self.note_refusal(principal, action, "token", None);
            return Err(Fault::new(FaultKind::Refused, format!("the daemon has no token with the name {name}")));
        }
        Ok(())
    }

    /// The custody that a new key goes to.
    pub(super) fn custody_of(&self, token: Option<&TokenName>) -> Result<&Custody, Fault> {
        match token {
            None => Ok(self.custody()),
            Some(name) => {
                let gone = || CustodyError::Unavailable { why: "the configuration has it no more".to_owned() };
                self.custodians().token(name).unwrap_or_else(|| Err(gone())).map_err(|error| {
                    Fault::new(FaultKind::Unavailable, format!("token {name} is unavailable")).because(error)
                })
            }
        }
    }

    /// Adds a version to a key; it signs from now on.
    pub(crate) async fn rotate_key(
        self: &Arc<Self>,
        principal: &Principal,
        key: &KeySelector,
        idempotency: Option<IdempotencyKey>,
        deadline: Duration,
    ) -> Result<KeyReceipt, Fault> {
        afresh(|| self.try_to_rotate(principal, key, idempotency.clone(), deadline)).await
    }

    async fn try_to_rotate(
        self: &Arc<Self>,
        principal: &Principal,
        key: &KeySelector,
        idempotency: Option<IdempotencyKey>,
        deadline: Duration,
    ) -> Result<KeyReceipt, Fault> {
        let turn = self.turn(principal, "rotate", idempotency, deadline).await?;
        let view = self.find_for(principal, key, Action::RotateKey).await?;
        let grounds = self.decide(principal, Action::RotateKey, key, &view, &RequestFacts::default())?;
        let hash = key_hash(&view);
        let replay = match self.find_key_replay(turn, hash).await? {
            KeyReplay::Done(receipt) => return Ok(receipt),
            KeyReplay::New(replay) => replay,
        };
        let version = next_version(&view)
            .map_err(|fault| self.refused(principal, key, Action::RotateKey, &view, "state", fault))?;
        // A key stays where it is.
        let (record, epoch) = ((*view.record).clone(), Some(view.state.epoch));
        let birth = Birth { record, version, epoch, source: Source::Custody, binding: Vec::new(), replay };
        let permit = Permit::grant(principal.clone(), birth, grounds, deadline, self.take_flight()?);
        let house = Arc::clone(self);
        self.detached(async move { house.give_birth(permit).await }.in_current_span()).await?
    }

    /// Intent, key, record, outcome.
    pub(super) async fn give_birth(&self, permit: Permit<Birth>) -> Result<KeyReceipt, Fault> {
        let intent = self.open_intent(permit).await?;
        let leaf = intent.leaf();
        let born = self.bear(&intent).await;
        let ended = born.as_ref().map_err(Undone::of);
        let more = |view: &KeyView, outcome: &mut OutcomeLeaf| {
            outcome.name_key(newest_of(view), view.state.epoch);
            outcome.spki = view.newest().map(|version| version.public_key.spki_sha256().to_hex());
        };
        let (birth, _flight) = self.close_intent(intent, ended, more).await?;
        let view = born?;
        info!(stage = "keys", key = %birth.key(), "key version made");
        Ok(KeyReceipt { view, leaf })
    }

    async fn bear(&self, intent: &Intent<Birth>) -> Result<KeyView, Fault> {
        let birth = intent.operation();
        let _counted = self.begin_change();
        if intent.policy_revision() != self.authorizer().revision() {
            return Err(custody::NotBegun::Stale.fault());
        }
        if intent.time_left(self.clock()).is_none() {
            return Err(custody::NotBegun::Late.fault());
        }
        let context: SealContext = birth.record.seal_context(self.store_uuid(), birth.version);
        // A key in a token is under no key-encryption key: its making, which may take long, holds up no rotation.
        let _until_stored = match &birth.record.token {
            None => Some(self.birth().await),
            Some(_) => None,
        };
        let custody = self.custody_of(birth.record.token.as_ref())?;
        let _in_flight = birth.record.token.is_some().then(|| self.token_birth(birth.key()));
        let made = match &birth.source {
            Source::Custody => custody.generate(context.clone()).await,
            Source::Envelope(envelope) => custody.import(envelope.order(context.clone(), birth.binding.clone())).await,
            Source::Token(sought) => custody.adopt(sought.order(context.clone())).await,
        };
        let made = made.map_err(|error| made_nowhere(birth, error))?;
        let unregistered = birth.source.object_of(&made, context);
        let now = self.clock().now_unix_seconds();
        let version = VersionRecord {
            key: birth.key(),
            public_key: made.public_key,
            materials: vec![made.material],
            created_at_unix_seconds: now,
            leaf: intent.leaf(),
            origin: birth.source.origin(),
        };
        let replay: Option<Replay> =
            birth.replay.as_ref().map(|replay| replay.to_store(birth.record.id, intent.leaf()));
        let anchor = self.anchor();
        let view = match birth.epoch {
            None => self.records().create_key(birth.record.clone(), version, anchor, replay).await,
            Some(epoch) => self.records().add_version(epoch, version, anchor, replay).await,
        };
        if let (Err(error), Some(order)) = (&view, unregistered)
            && error.has_left_nothing()
            && let Err(error) = custody.destroy(order).await
        {
            warn!(stage = "keys", key = %birth.key(), %error, "a key that was not registered is left in its token");
        }
        view.map_err(record_fault)
    }

    pub(super) fn record_of(&self, new: NewKey) -> Result<KeyRecord, Fault> {
        let mut id = [0; 16];
        getrandom::fill(&mut id).map_err(|error| Fault::internal(error.to_string()))?;
        if new.name.as_str().parse::<KeyId>().is_ok() {
            return Err(Fault::new(FaultKind::Malformed, "name: one that does not look like a key id"));
        }
        Ok(KeyRecord {
            id: KeyId::from_bytes(id),
            name: new.name,
            purpose: new.purpose,
            algorithm: new.algorithm,
            scope: new.scope,
            forms: new.forms,
            created_at_unix_seconds: self.clock().now_unix_seconds(),
            token: new.token,
        })
    }
}

/// What a token refuses is for whoever asked to read: a mechanism that it lacks, or that it is full. And so is what
/// is wrong with a key that somebody brought.
fn made_nowhere(birth: &Birth, error: CustodyError) -> Fault {
    match (&birth.record.token, error) {
        (Some(token), CustodyError::Refused { why }) => Fault::new(FaultKind::Refused, format!("token {token}: {why}")),
        (Some(token), error @ CustodyError::Full { .. }) => {
            Fault::new(FaultKind::Refused, format!("token {token}: {error}"))
        }
        (Some(token), CustodyError::Unavailable { why }) => {
            Fault::new(FaultKind::Unavailable, format!("token {token} is unavailable")).because(why)
        }
        (None, CustodyError::Refused { why }) if matches!(birth.source, Source::Envelope(_)) => {
            Fault::new(FaultKind::Refused, why)
        }
        (_, error) => custody::fault(error),
    }
}

/// Purpose × algorithm is one closed table (D7).
fn possible(record: &KeyRecord) -> Result<(), Fault> {
    if !record.purpose.allows(record.algorithm) {
        return Err(Fault::new(
            FaultKind::Refused,
            format!("a key for {} cannot be {}", record.purpose, record.algorithm),
        ));
    }
    Ok(())
}

fn next_version(view: &KeyView) -> Result<KeyVersion, Fault> {
    if !view.state.use_.may_sign() || view.state.trust != Trust::Trusted {
        return Err(Fault::new(FaultKind::Refused, "only an active, trusted key gets a new version"));
    }
    view.state.newest.next().ok_or_else(|| Fault::new(FaultKind::Refused, "the key has all the versions there are"))
}

fn hash_of(new: &NewKey) -> Sha256Digest {
    let mut hash = RequestHash::default()
        .add(new.name.as_str().as_bytes())
        .add(new.purpose.name().as_bytes())
        .add(new.algorithm.name().as_bytes())
        .add(new.scope.hash().as_bytes());
    for form in &new.forms {
        hash = hash.add(form.name().as_bytes());
    }
    if let Some(token) = &new.token {
        hash = hash.add(b"token").add(token.as_str().as_bytes());
    }
    hash.finish()
}
