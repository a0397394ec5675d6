//! What a policy gets to see of principal, key and request.

use std::collections::{HashMap, HashSet};
use std::str::FromStr as _;
use std::sync::LazyLock;

use cedar_policy::{Entity, EntityId, EntityTypeName, EntityUid, RestrictedExpression};
use trust::format::release::{Release, ReleaseFile};
use trust::format::tuf::{Gun, RoleName};
use trust::{Form, Principal, Purpose, Reference, Sha256Digest};

use super::Action;
use crate::records::KeyRecord;

/// A key, or the name of one that is not there.
#[derive(Debug, Clone, Copy)]
pub(crate) enum KeyFacts<'a> {
    /// One that is there.
    Known(&'a KeyRecord),
    /// One that is to be made: its id may never come again.
    New(&'a KeyRecord),
    /// Only what it was called in the request.
    Unknown(&'a str),
}

/// A request.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct RequestFacts<'a> {
    /// What is to be signed; `None` for what signs nothing.
    pub(crate) statement: Option<StatementFacts<'a>>,
    /// Which forms are asked for.
    pub(crate) forms: &'a [Form],
    /// How many items the request has.
    pub(crate) items: usize,
}

/// A statement.
#[derive(Debug, Clone, Copy)]
pub(crate) enum StatementFacts<'a> {
    /// An image; without evidence when only "may I?" is asked.
    Image { reference: &'a Reference, shown: Option<(&'a Sha256Digest, Evidence)> },
    /// A release file.
    Blob { name: &'a str, size: u64, digest: &'a Sha256Digest },
    /// Unparsed bytes.
    Raw,
    /// A role of a repository whose trust data lies elsewhere: a key for it, or the version that is to be signed.
    Elsewhere { role: &'a RoleName, version: Option<u32> },
    /// A file of trust data that a key of its owner's is to sign.
    Metadata(&'a MetadataFacts<'a>),
    /// A role of a repository whose trust data is published, as policy is asked about each.
    Publication(&'a PublicationFacts<'a>),
    /// A file of a release, as policy is asked about each.
    Release { file: &'a ReleaseFile, release: &'a Release },
}

/// A role that is published.
#[derive(Debug, Clone, Copy)]
pub(crate) struct PublicationFacts<'a> {
    /// Which role.
    pub(crate) role: &'a RoleName,
    /// The version that was sent; `None` where the daemon makes the file.
    pub(crate) version: Option<i64>,
    /// All roles whose files were sent.
    pub(crate) sent: &'a [RoleName],
    /// Whether the repository has no trust data yet.
    pub(crate) is_new: bool,
}

/// A file of trust data, as policy is asked about each key that is to sign it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct MetadataFacts<'a> {
    /// Of which repository.
    pub(crate) gun: &'a Gun,
    /// Whose file it is.
    pub(crate) role: &'a RoleName,
    /// What is done: `init`, `sign`, `revoke`, `delegate`, `rotate`, `witness`, `adopt`.
    pub(crate) operation: &'static str,
    /// The names that are signed, or signed no more.
    pub(crate) targets: &'a [String],
    /// Whether it is a further signature of what was begun before.
    pub(crate) is_approval: bool,
    /// What changes in who may sign.
    pub(crate) speakers: &'a SpeakerFacts,
}

/// What changes in who may sign a repository's roles, in all roles together; nothing of it where nothing changes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct SpeakerFacts {
    /// The roles whose keys, threshold or paths are others afterwards.
    pub(crate) roles: Vec<String>,
    /// Bare keys that come into a role that did not list them.
    pub(crate) keys_in: Vec<String>,
    /// Bare keys that leave a role.
    pub(crate) keys_out: Vec<String>,
    /// Whether one that comes is not held by the daemon.
    pub(crate) keys_elsewhere: bool,
    /// How the names begin that these roles may sign afterwards.
    pub(crate) paths: Vec<String>,
    /// The lowest threshold of these roles afterwards; 0 where one of them is gone.
    pub(crate) threshold: u32,
}

/// How the daemon knows a digest (D2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Evidence {
    /// The caller says so.
    Claimed,
    /// The bytes were in the request.
    Shown,
}

impl Evidence {
    /// The word for it in policy and leaves.
    #[must_use]
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Claimed => "claimed",
            Self::Shown => "shown",
        }
    }
}

struct Kinds {
    anonymous: EntityTypeName,
    local_uid: EntityTypeName,
    registry_account: EntityTypeName,
    spiffe: EntityTypeName,
    key: EntityTypeName,
    daemon: EntityTypeName,
    gun: EntityTypeName,
}

static KINDS: LazyLock<Option<Kinds>> = LazyLock::new(|| {
    Some(Kinds {
        anonymous: EntityTypeName::from_str("Anonymous").ok()?,
        local_uid: EntityTypeName::from_str("LocalUid").ok()?,
        registry_account: EntityTypeName::from_str("RegistryAccount").ok()?,
        spiffe: EntityTypeName::from_str("Spiffe").ok()?,
        key: EntityTypeName::from_str("Key").ok()?,
        daemon: EntityTypeName::from_str("Daemon").ok()?,
        gun: EntityTypeName::from_str("Gun").ok()?,
    })
});

/// An entity that no policy speaks of.
pub(super) fn nobody() -> EntityUid {
    daemon().uid()
}

pub(super) fn principal(principal: &Principal) -> Option<Entity> {
    let kinds = KINDS.as_ref()?;
    let (kind, id, attributes) = match principal {
        Principal::Anonymous(listener) => {
            (&kinds.anonymous, listener.as_str().to_owned(), vec![("listener", text(listener.as_str()))])
        }
        Principal::RegistryAccount(of) => {
            let attributes = vec![("issuer", text(of.issuer())), ("account", text(of.account()))];
            (&kinds.registry_account, format!("{}@{}", of.account(), of.issuer()), attributes)
        }
        Principal::LocalUid(uid) => {
            (&kinds.local_uid, uid.to_string(), vec![("uid", RestrictedExpression::new_long(i64::from(*uid)))])
        }
        Principal::Spiffe(id) => {
            let domain = id.trust_domain();
            let path = id.as_str().split_once(domain).map_or("", |(_, path)| path);
            let attributes = vec![("id", text(id.as_str())), ("trust_domain", text(domain)), ("path", text(path))];
            (&kinds.spiffe, id.to_string(), attributes)
        }
        // A principal of a kind that the schema does not have is denied.
        _ => return None,
    };
    entity(kind, &id, attributes)
}

pub(super) fn key(facts: &KeyFacts<'_>) -> Option<Entity> {
    let kinds = KINDS.as_ref()?;
    let (id, attributes) = match facts {
        KeyFacts::Known(record) | KeyFacts::New(record) => (
            record.id.to_string(),
            vec![
                ("name", text(record.name.as_str())),
                ("purpose", text(record.purpose.name())),
                ("algorithm", text(record.algorithm.name())),
                ("scope", set(record.scope.words())),
                ("forms", forms(&record.forms)),
                ("binds_name", RestrictedExpression::new_bool(binds_name(record.purpose))),
                ("custodian", text(record.custodian())),
            ],
        ),
        KeyFacts::Unknown(name) => (
            (*name).to_owned(),
            vec![
                ("name", text(name)),
                ("purpose", text("unknown")),
                ("algorithm", text("unknown")),
                ("scope", set([])),
                ("forms", set([])),
                ("binds_name", RestrictedExpression::new_bool(false)),
                ("custodian", text("unknown")),
            ],
        ),
    };
    entity(&kinds.key, &id, attributes)
}

/// A repository of trust data, whether or not there is any.
pub(super) fn gun(gun: &Gun) -> Option<Entity> {
    entity(&KINDS.as_ref()?.gun, gun.as_str(), vec![("name", text(gun.as_str()))])
}

pub(super) fn daemon() -> Entity {
    let kind = KINDS.as_ref().map(|kinds| kinds.daemon.clone());
    let uid = kind.map_or_else(
        || EntityUid::from_type_name_and_id(fallback(), EntityId::new("trustd")),
        |kind| EntityUid::from_type_name_and_id(kind, EntityId::new("trustd")),
    );
    Entity::new_no_attrs(uid, HashSet::new())
}

#[expect(clippy::expect_used, reason = "a constant that parses, as a test shows")]
fn fallback() -> EntityTypeName {
    EntityTypeName::from_str("Daemon").expect("Daemon is a Cedar name")
}

pub(super) fn context(action: Action, request: &RequestFacts<'_>) -> Vec<(String, RestrictedExpression)> {
    let mut pairs: Vec<(&str, RestrictedExpression)> = Vec::new();
    let items = i64::try_from(request.items.max(1)).unwrap_or(i64::MAX);
    match request.statement {
        Some(StatementFacts::Image { reference, shown }) => pairs.extend([
            ("repository", text(reference.repository.as_str())),
            ("registry", text(reference.repository.registry())),
            ("tag", text(reference.tag.as_str())),
            ("digest", text(&shown.map(|(digest, _)| digest.to_string()).unwrap_or_default())),
            ("evidence", text(shown.map_or("none", |(_, evidence)| evidence.name()))),
            ("forms", forms(request.forms)),
            ("statement_type", text("image")),
            ("items", RestrictedExpression::new_long(items)),
        ]),
        Some(StatementFacts::Blob { name, size, digest }) => pairs.extend([
            ("file_name", text(name)),
            ("file_size", RestrictedExpression::new_long(i64::try_from(size).unwrap_or(i64::MAX))),
            ("digest", text(&digest.to_string())),
            ("forms", forms(request.forms)),
            ("statement_type", text("blob")),
            ("items", RestrictedExpression::new_long(items)),
        ]),
        Some(StatementFacts::Raw) => {
            pairs.extend([("statement_type", text("raw")), ("items", RestrictedExpression::new_long(items))])
        }
        Some(StatementFacts::Release { file, release }) => pairs.extend([
            ("file_name", text(file.name().as_str())),
            ("file_size", RestrictedExpression::new_long(i64::try_from(file.digests().size_bytes).unwrap_or(i64::MAX))),
            ("digest", text(&file.digests().sha256.to_string())),
            ("version", text(release.version().unwrap_or_default())),
            ("source_revision", text(release.source_revision().unwrap_or_default())),
            ("forms", forms(request.forms)),
            ("statement_type", text("release")),
            ("items", RestrictedExpression::new_long(items)),
        ]),
        Some(StatementFacts::Publication(PublicationFacts { role, version, sent, is_new })) => pairs.extend([
            ("role", text(role.as_str())),
            ("version", RestrictedExpression::new_long(version.unwrap_or_default())),
            ("made_by", text(if version.is_some() { "client" } else { "daemon" })),
            ("sent", set(sent.iter().map(ToString::to_string))),
            ("is_new", RestrictedExpression::new_bool(*is_new)),
        ]),
        Some(StatementFacts::Metadata(facts)) => pairs.extend(metadata(facts)),
        Some(StatementFacts::Elsewhere { role, version }) => pairs.extend([
            ("role", text(role.as_str())),
            ("version", RestrictedExpression::new_long(version.map_or(0, i64::from))),
        ]),
        None => debug_assert!(!matches!(
            action,
            Action::Publish
                | Action::SignImage
                | Action::SignBlob
                | Action::SignMetadata
                | Action::SignRaw
                | Action::SignRelease
                | Action::SignTrust
        )),
    }
    pairs.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}

fn metadata(facts: &MetadataFacts<'_>) -> [(&'static str, RestrictedExpression); 12] {
    let MetadataFacts { gun, role, operation, targets, is_approval, speakers } = facts;
    let all = |texts: &[String]| set(texts.iter().cloned());
    [
        ("repository", text(gun.as_str())),
        ("role", text(role.as_str())),
        ("operation", text(operation)),
        ("targets", all(targets)),
        ("is_approval", RestrictedExpression::new_bool(*is_approval)),
        ("roles", all(&speakers.roles)),
        ("keys_in", all(&speakers.keys_in)),
        ("keys_out", all(&speakers.keys_out)),
        ("keys_elsewhere", RestrictedExpression::new_bool(speakers.keys_elsewhere)),
        ("paths", all(&speakers.paths)),
        ("threshold", RestrictedExpression::new_long(i64::from(speakers.threshold))),
        ("statement_type", text("metadata")),
    ]
}

/// Whether the signatures of a purpose say the name of what they sign.
const fn binds_name(purpose: Purpose) -> bool {
    match purpose {
        Purpose::Delegation
        | Purpose::Image
        | Purpose::Log
        | Purpose::ReleaseStatement
        | Purpose::Root
        | Purpose::Snapshot
        | Purpose::Targets
        | Purpose::Timestamp => true,
        Purpose::Raw | Purpose::ReleaseBlob => false,
    }
}

fn entity(kind: &EntityTypeName, id: &str, attributes: Vec<(&str, RestrictedExpression)>) -> Option<Entity> {
    let uid = EntityUid::from_type_name_and_id(kind.clone(), EntityId::new(id));
    let attributes: HashMap<String, RestrictedExpression> =
        attributes.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
    Entity::new(uid, attributes, HashSet::new()).ok()
}

fn text(text: &str) -> RestrictedExpression {
    RestrictedExpression::new_string(text.to_owned())
}

fn set(texts: impl IntoIterator<Item = String>) -> RestrictedExpression {
    RestrictedExpression::new_set(texts.into_iter().map(RestrictedExpression::new_string))
}

fn forms(forms: &[Form]) -> RestrictedExpression {
    set(forms.iter().map(|form| form.name().to_owned()))
}
