//! One whole generation of a repository's trust data, byte for byte, with every root that led to it.

use trust::format::tuf::client::Client;
use trust::format::tuf::{BYTES_MAX, Document, RoleName};
use trust::{Gun, Repository};

use super::room::Room;
use super::{Extent, not_configured, read, root_keys};
use crate::context::Context;
use crate::failure::Failure;
use crate::registry::TrustServer;
use crate::trust_server::{TrustRoot, TrustServerEntry};

/// The most roots that are read.
const ROOTS_MAX: usize = 1024;

/// What a server has, as it was believed.
#[derive(Debug)]
pub(crate) struct Generation {
    /// The server.
    pub(crate) server: String,
    /// The oldest root that the server still has, and all that follow it.
    pub(crate) roots: Vec<Vec<u8>>,
    /// The timestamp.
    pub(crate) timestamp: Vec<u8>,
    /// The snapshot.
    pub(crate) snapshot: Vec<u8>,
    /// Targets and delegations, by role.
    pub(crate) targets: Vec<(String, Vec<u8>)>,
    /// Keys of the root that is believed, by the names of the bare keys.
    pub(crate) root_keys: Vec<String>,
    /// Whether the root was pinned; else the first that was seen is believed.
    pub(crate) pinned: bool,
}

/// Reads and verifies a whole generation, at the server that a call names or at the configured one.
///
/// # Errors
/// Refused where it is not believed or something of it cannot be read; usage where no server is known; unreachable where
/// it does not answer.
pub(crate) async fn generation(
    context: &Context,
    named: Option<&TrustServerEntry>,
    gun: &Gun,
    root: Option<&TrustRoot>,
) -> Result<Generation, Failure> {
    // The configuration names repositories of images.
    let repository = Repository::parse(gun.as_str()).ok();
    let is_of = |entry: &&TrustServerEntry| repository.as_ref().is_some_and(|repository| entry.is_of(repository));
    let configured = || context.config.trust_servers.iter().find(is_of);
    let entry = named.or_else(configured).ok_or_else(|| not_configured(gun))?;
    let read = read(context, entry, gun, root, Extent::Whole).await?;
    let read = read.ok_or_else(|| {
        Failure::refused(format!("{gun} has no trust data at {}", entry.url()), "is it the right server?")
    })?;
    if let Some(note) = read.notes.first() {
        return Err(Failure::refused(
            format!("not all of the trust data can be read: {note}"),
            "have the delegation signed anew, or removed: notary delegation remove",
        ));
    }
    let client = &read.client;
    let file = |role: &RoleName| client.file(role).map(|file| file.raw().to_vec()).ok_or_else(incomplete);
    let targets = client.clone().into_cache();
    let is_targets = |role: &&RoleName| matches!(role, RoleName::Targets | RoleName::Delegation(_));
    let targets = targets.files().keys().filter(is_targets).filter_map(|role| {
        let current = client.file(role)?;
        Some((role.to_string(), current.raw().to_vec()))
    });
    let targets: Vec<_> = targets.collect();
    let mut room = Room::new();
    for (_, bytes) in &targets {
        room.take(bytes.len())?;
    }
    Ok(Generation {
        server: entry.url().to_owned(),
        roots: roots(&read.server, client, room).await?,
        timestamp: file(&RoleName::Timestamp)?,
        snapshot: file(&RoleName::Snapshot)?,
        targets,
        root_keys: root_keys(client),
        pinned: read.pinned,
    })
}

/// The current root and those before it, back to the first that the server has not. That each follows the one before
/// is not looked at here: whoever takes them believes only a chain.
async fn roots(server: &TrustServer, client: &Client, mut room: Room) -> Result<Vec<Vec<u8>>, Failure> {
    let current: &Document = client.file(&RoleName::Root).ok_or_else(incomplete)?;
    let mut roots = vec![current.raw().to_vec()];
    let mut version = current.version().number();
    while version > 1 && roots.len() < ROOTS_MAX {
        version = version.saturating_sub(1);
        let Some(root) = server.file(&format!("{version}.root"), BYTES_MAX).await? else { break };
        room.take(root.len())?;
        roots.push(root);
    }
    roots.reverse();
    Ok(roots)
}

fn incomplete() -> Failure {
    Failure::refused("the trust data is not whole", "whoever answers for the server has to say what happened")
}
