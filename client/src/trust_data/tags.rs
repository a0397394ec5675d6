//! Everything that is signed in one repository, as docker would pull it, and what it would not pull and why.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::fmt;

use trust::format::tuf::client::Client;
use trust::format::tuf::{Document, RoleName, Target, Targets};
use trust::{Malformed, Repository, Sha256Digest, Tag};

use super::{Extent, lapsed, not_configured, read, root_keys, rules, timestamp};
use crate::context::Context;
use crate::failure::Failure;
use crate::trust_server::TrustRoot;

/// What is signed in a repository.
#[derive(Debug)]
pub(crate) struct SignedTags {
    /// The server that has it.
    pub(crate) server: String,
    /// The version of the timestamp that vouches for all of it.
    pub(crate) timestamp: u32,
    /// Keys of the root that is believed, by the names of the bare keys.
    pub(crate) root_keys: Vec<String>,
    /// Whether the root was pinned; else the first that was seen is believed.
    pub(crate) pinned: bool,
    /// By name.
    pub(crate) tags: Vec<SignedTag>,
    /// What could not be read of delegations.
    pub(crate) notes: Vec<String>,
}

/// One name that is signed.
#[derive(Debug)]
pub(crate) struct SignedTag {
    /// As it is signed.
    pub(crate) name: String,
    /// The role whose word docker takes.
    pub(crate) role: RoleName,
    /// What docker pulls under it, or why it is no image that one could pull so.
    pub(crate) content: Result<Content, Unusable>,
}

/// The manifest or index of a tag.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Content {
    /// The tag.
    pub(crate) tag: Tag,
    /// Its digest.
    pub(crate) digest: Sha256Digest,
    /// Its length.
    pub(crate) length_bytes: u64,
}

/// Why a name that is signed says nothing that can be relied on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Unusable {
    /// The two roles that docker asks sign different content.
    Disagreement {
        /// What `targets/releases` signs, which docker pulls.
        releases: Option<Sha256Digest>,
        /// What `targets` signs.
        targets: Option<Sha256Digest>,
    },
    /// The releases signed it, other content than `targets` does or what `targets` does not sign, and count no more.
    Lapsed,
    /// It is the name of no tag.
    Name(Malformed),
    /// Signed without a SHA-256.
    NoSha256,
    /// Only by a delegation that docker does not pull by.
    OnlyDelegated,
}

impl fmt::Display for Unusable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown = |digest: &Option<Sha256Digest>| digest.map_or_else(|| "nothing".to_owned(), |it| it.to_string());
        match self {
            Self::Disagreement { releases, targets } => {
                write!(f, "roles disagree: targets/releases signs {}, targets {}", shown(releases), shown(targets))
            }
            Self::Lapsed => f.write_str("signed by targets/releases, whose file counts no more"),
            Self::Name(malformed) => write!(f, "no tag has such a name: it has to be {}", malformed.expected),
            Self::NoSha256 => f.write_str("signed without a SHA-256"),
            Self::OnlyDelegated => f.write_str("signed only by a delegation that docker does not pull by"),
        }
    }
}

/// Everything that is signed in a repository; `None` where it has no trust data and never had.
///
/// # Errors
/// Usage where no server is configured for the repository; refused where its metadata is not believed; unreachable where
/// the server is.
pub(crate) async fn tags(
    context: &Context,
    repository: &Repository,
    root: Option<&TrustRoot>,
) -> Result<Option<SignedTags>, Failure> {
    let entry = context.config.trust_servers.iter().find(|entry| entry.is_of(repository));
    let entry = entry.ok_or_else(|| not_configured(repository))?;
    let Some(read) = read(context, entry, &repository.as_str().parse()?, root, Extent::Whole).await? else {
        return Ok(None);
    };
    Ok(Some(SignedTags {
        server: read.entry.url().to_owned(),
        timestamp: timestamp(&read.client),
        root_keys: root_keys(&read.client),
        pinned: read.pinned,
        tags: all(&read.client),
        notes: read.notes,
    }))
}

fn all(client: &Client) -> Vec<SignedTag> {
    let pulled = rules::roles();
    let mut tags = BTreeMap::new();
    for role in &pulled {
        for (name, target) in signed_by(client, role) {
            match tags.entry(name) {
                Entry::Vacant(vacant) if lapsed::is_superseded(client, role, name, target) => {
                    vacant.insert(has_lapsed(name));
                }
                Entry::Vacant(vacant) => {
                    vacant.insert(signed(name, role, target));
                }
                // The releases were asked first.
                Entry::Occupied(mut first) => disagree(first.get_mut(), target),
            }
        }
    }
    for name in lapsed::names(client) {
        tags.entry(name).or_insert_with(|| has_lapsed(name));
    }
    for role in delegated(client, &RoleName::Targets) {
        for (name, _) in signed_by(client, &role) {
            let content = Err(Unusable::OnlyDelegated);
            tags.entry(name).or_insert_with(|| SignedTag { name: name.clone(), role: role.clone(), content });
        }
    }
    tags.into_values().collect()
}

fn signed(name: &str, role: &RoleName, target: &Target) -> SignedTag {
    let content = match (name.parse::<Tag>(), target.hashes().sha256()) {
        (Err(malformed), _) => Err(Unusable::Name(malformed)),
        (Ok(_), None) => Err(Unusable::NoSha256),
        (Ok(tag), Some(digest)) => Ok(Content { tag, digest, length_bytes: target.length_bytes() }),
    };
    SignedTag { name: name.to_owned(), role: role.clone(), content }
}

fn has_lapsed(name: &str) -> SignedTag {
    SignedTag { name: name.to_owned(), role: RoleName::releases(), content: Err(Unusable::Lapsed) }
}

fn disagree(first: &mut SignedTag, other: &Target) {
    let targets = other.hashes().sha256();
    let releases = match &first.content {
        Ok(content) => Some(content.digest),
        Err(Unusable::NoSha256) => None,
        Err(_) => return,
    };
    if releases != targets {
        first.content = Err(Unusable::Disagreement { releases, targets });
    }
}

/// What a role signs and may sign.
fn signed_by<'c>(client: &'c Client, role: &RoleName) -> Vec<(&'c String, &'c Target)> {
    let targets = client.file(role).and_then(Document::as_targets);
    let named = targets.into_iter().flat_map(|targets| targets.targets().iter());
    named.filter(|(name, _)| client.target(role, name).is_some()).collect()
}

/// The delegations below a role that have been read, each after its parent. Metadata names each once.
fn delegated(client: &Client, role: &RoleName) -> Vec<RoleName> {
    let targets = client.file(role).and_then(Document::as_targets);
    let children = targets.into_iter().flat_map(Targets::delegations).map(|delegation| delegation.name());
    children.flat_map(|child| std::iter::once(child.clone()).chain(delegated(client, child))).collect()
}
