//! What TUF's metadata says of an image: docker's content trust, read here whatever docker's own version is.
//!
//! Where the configuration names a trust server for a repository, its metadata says which content a tag is, and since
//! when: nobody can put an older one in its place, hold a newer one back, or mix two generations. Which root is
//! believed is pinned, or it is the first that is seen, and then a word says so.

mod earlier;
mod generation;
mod lapsed;
mod line;
mod listed;
mod memory;
mod pinned;
mod room;
mod rules;
#[cfg(test)]
mod samples;
mod tags;
mod visit;

use serde::Serialize;
use trust::format::tuf::client::Client;
use trust::format::tuf::{Document, Gun, Key, RoleName, Target};
use trust::{Sha256Digest, Tag};

use crate::context::Context;
use crate::failure::Failure;
use crate::registry::{CredentialFiles, Place, PlainHttp, TrustServer};
use crate::trust_server::{TrustRoot, TrustServerEntry};
use memory::{End, Memory};
use pinned::Pinned;
use visit::Visit;

pub(crate) use generation::{Generation, generation};
pub(crate) use listed::listed;
pub(crate) use tags::{SignedTag, SignedTags, Unusable, tags};

/// What trust data says of one image.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Vouched {
    /// The server that has it.
    server: String,
    /// The role that signed: `targets/releases`, else `targets`.
    role: String,
    /// The tag that it signed.
    tag: String,
    /// The digest of that tag's manifest or index.
    #[serde(serialize_with = "crate::image::shown")]
    pub(crate) digest: Sha256Digest,
    /// The length of that, in bytes.
    pub(crate) length_bytes: u64,
    /// The version of the timestamp that vouches for all of it.
    timestamp: u32,
    /// Keys of the root that is believed, by the names of the bare keys.
    root_keys: Vec<String>,
    /// Whether the root was pinned; else the first that was seen is believed.
    pinned: bool,
}

impl Vouched {
    /// In one line.
    pub(crate) fn words(&self) -> String {
        let Self { server, role, tag, timestamp, .. } = self;
        let root = self.root_keys.join(", ");
        let why = if self.pinned { "pinned root" } else { "the first root that was seen" };
        format!("trust data: {tag} signed by {role}, timestamp {timestamp}, at {server}; believed: {why} {root}")
    }
}

/// Which image is asked about.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Question<'a> {
    /// Its repository, as it was signed.
    pub(crate) repository: &'a trust::Repository,
    /// Its tag, or its digest.
    pub(crate) place: &'a Place,
    /// A root that was named in the call.
    pub(crate) root: Option<&'a TrustRoot>,
}

/// A repository's trust data as this visit has shown it to be current.
#[derive(Debug)]
struct Read<'c> {
    entry: &'c TrustServerEntry,
    server: TrustServer,
    client: Client,
    pinned: bool,
    /// Why the releases count no more, where that is so.
    lapsed: Option<String>,
    /// What could not be read of delegations.
    notes: Vec<String>,
}

/// How much of a repository is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Extent {
    /// What docker pulls by.
    Pulled,
    /// Every delegation besides.
    Whole,
}

/// What trust data says; `None` where no server is configured for the repository, or it has none of it and never had.
///
/// # Errors
/// Refused where the metadata is not believed, or does not vouch for the image; unreachable where the server is.
pub(crate) async fn vouched(context: &Context, asked: Question<'_>) -> Result<Option<Vouched>, Failure> {
    let Some(entry) = context.config.trust_servers.iter().find(|entry| entry.is_of(asked.repository)) else {
        return match asked.root {
            None => Ok(None),
            Some(_) => Err(not_configured(asked.repository)),
        };
    };
    let gun = asked.repository.as_str().parse()?;
    let Some(read) = read(context, entry, &gun, asked.root, Extent::Pulled).await? else {
        return Ok(None);
    };
    let client = &read.client;
    let lapsed = read.lapsed.as_deref();
    let (role, tag, target) = signed(client, asked.place).ok_or_else(|| not_signed(asked, entry.url(), lapsed))?;
    let digest = target.hashes().sha256().ok_or_else(|| not_signed(asked, entry.url(), lapsed))?;
    if let Some(why) = lapsed {
        let repository = asked.repository;
        context.output.warning(&format!("targets was asked in place of targets/releases of {repository}: {why}"));
    }
    Ok(Some(Vouched {
        server: entry.url().to_owned(),
        role: role.to_string(),
        tag,
        digest,
        length_bytes: target.length_bytes(),
        timestamp: timestamp(client),
        root_keys: root_keys(client),
        pinned: read.pinned,
    }))
}

/// Reads and verifies a repository's trust data, and keeps what is believed of it; `None` where there is none and never
/// was.
async fn read<'c>(
    context: &Context,
    entry: &'c TrustServerEntry,
    gun: &Gun,
    root: Option<&TrustRoot>,
    extent: Extent,
) -> Result<Option<Read<'c>>, Failure> {
    // Whoever names a root expects that there is one.
    let is_expected = entry.is_required() || root.is_some();
    let pinned = Pinned::read(root.or(entry.root()))?;
    // What cannot be read is not asked about here.
    let overruled = root.and_then(|_| Pinned::read(entry.root()).ok()).unwrap_or(Pinned::Nothing);
    let plain = if context.plain_http { PlainHttp::Asked } else { PlainHttp::LoopbackOnly };
    let credentials = CredentialFiles::from_environment();
    let server = TrustServer::open(entry.url(), &entry.authorities()?, gun, plain, credentials)?;
    let memory = Memory::open(context.config.places.state_or_fail()?, (entry.url(), gun), &pinned, &overruled)?;
    let Some(mut visit) = Visit::begin(&server, &memory, gun.clone(), &pinned).await? else {
        if is_expected {
            return Err(Failure::refused(
                format!("{gun} has no trust data at {}, and it is required", entry.url()),
                "whoever owns the repository has to sign it: docker trust sign, or notary init",
            ));
        }
        return Ok(None);
    };
    let refreshed = visit.refresh().await;
    // What was believed is kept whatever came after it, so that nobody takes us back behind it; but a root that nobody
    // pinned, and that leads to nothing, is not believed for ever.
    if refreshed.is_ok() || !visit.is_first() || pinned.is_some() {
        memory.keep(visit.seen(if refreshed.is_ok() { End::Refreshed } else { End::Refused }))?;
    }
    refreshed?;
    if visit.is_first() && memory.has_led() {
        let why = "does not follow the one that was remembered, and is believed in its place from now on";
        context.output.warning(&format!("the root of {gun} {why}"));
    }
    if visit.is_first() && !pinned.is_some() {
        let keys = root_keys_as_docker_has_them(visit.client());
        let why = "is believed because it is the first that was seen";
        context.output.warning(&format!("the root of {gun} {why}: {keys}"));
    }
    let notes = if extent == Extent::Whole { visit.take_delegations().await? } else { Vec::new() };
    let (client, lapsed) = visit.end();
    Ok(Some(Read { entry, server, client, pinned: pinned.is_some(), lapsed, notes }))
}

fn not_configured(repository: impl std::fmt::Display) -> Failure {
    Failure::usage(
        format!("no trust server is configured for {repository}"),
        "[[trust_servers]] in config.toml says where its trust data is, and with --trust-root which root to believe",
    )
}

fn timestamp(client: &Client) -> u32 {
    client.file(&RoleName::Timestamp).map_or(0, |file| file.version().number())
}

/// Who signed the image, under which tag: as docker looks, the releases first.
fn signed<'c>(client: &'c Client, place: &Place) -> Option<(RoleName, String, &'c Target)> {
    let by_name = |role: &RoleName, name: &str| {
        let target = client.target(role, name)?;
        (!lapsed::is_superseded(client, role, name, target)).then(|| (role.clone(), name.to_owned(), target))
    };
    let by_tag = |role: &RoleName, tag: &Tag| by_name(role, tag.as_str());
    let by_digest = |role: &RoleName, digest: &Sha256Digest| {
        let targets = client.file(role).and_then(Document::as_targets)?;
        let mut named = targets.targets().iter().filter(|(_, target)| target.hashes().sha256() == Some(*digest));
        // A name that the role may not sign hides no other.
        named.find_map(|(name, _)| by_name(role, name))
    };
    rules::roles().into_iter().find_map(|role| match place {
        Place::Tag(tag) => by_tag(&role, tag),
        Place::Digest(digest) => by_digest(&role, digest),
    })
}

fn not_signed(asked: Question<'_>, server: &str, lapsed: Option<&str>) -> Failure {
    let what = format!("no valid trust data for {}: {} is not signed at {server}", asked.repository, asked.place);
    match lapsed {
        None => Failure::refused(what, "whoever owns the repository has to sign it: docker trust sign REPOSITORY:TAG"),
        Some(why) => Failure::refused(
            format!("{what}, leaving out targets/releases, which count no more, and what contradicts them: {why}"),
            "whoever owns the repository has to sign it anew: docker trust sign, or trustctl trust witness REPOSITORY \
             targets/releases",
        ),
    }
}

/// The keys of the root that is believed, by the names of the bare keys: so their files are called, and so `trustctl trust
/// inspect` shows them.
fn root_keys(client: &Client) -> Vec<String> {
    root_keys_with(client, |key| key.canonical_id().to_hex())
}

/// The same with the names that they have in root, too: `docker trust inspect` shows those of their certificates.
fn root_keys_as_docker_has_them(client: &Client) -> String {
    let both = |key: &Key| format!("{} (in docker trust inspect: {})", key.canonical_id().to_hex(), key.id().to_hex());
    root_keys_with(client, both).join(", ")
}

fn root_keys_with(client: &Client, words: impl Fn(&Key) -> String) -> Vec<String> {
    let root = client.file(&RoleName::Root).and_then(Document::as_root);
    let speakers = root.and_then(|root| root.authority(&RoleName::Root));
    speakers.map(|speakers| speakers.keys().iter().map(|key| words(key)).collect()).unwrap_or_default()
}
