//! One visit to a repository, in the order of TUF's client workflow (TUF 1.0 §5.3 to §5.7).
//!
//! The rules are `trust::format::tuf::standard`; here files are fetched, and kept as soon as they are believed.

use trust::format::tuf::standard::{Body, Client, Distrust, FileMeta, Finding, Target, file_name};

use super::file_bytes_max;
use super::remote::Remote;
use super::store::Store;
use crate::failure::Failure;
use crate::time::now_unix_seconds;

/// The most roots that are followed in one visit.
const ROOTS_MAX: u32 = 256;
/// The longest timestamp, in bytes: nothing says its length beforehand.
const TIMESTAMP_BYTES_MAX: u64 = 1024 * 1024;
const ROOT: &str = "root";
const TIMESTAMP: &str = "timestamp";
const SNAPSHOT: &str = "snapshot";
const TARGETS: &str = "targets";

/// What is believed so far.
#[derive(Debug)]
pub(super) struct Visit<'a> {
    store: &'a Store,
    remote: &'a Remote,
    client: Client,
}

impl<'a> Visit<'a> {
    /// Begins with the root that was believed last.
    pub(super) fn begin(store: &'a Store, remote: &'a Remote) -> Result<Self, Failure> {
        let client = begin(&store.root()?)?;
        Ok(Self { store, remote, client })
    }

    /// Brings the four top roles up to date.
    pub(super) async fn refresh(&mut self) -> Result<(), Failure> {
        self.follow_roots().await?;
        for role in [TIMESTAMP, SNAPSHOT] {
            if let Some(kept) = self.store.read(role)? {
                let _ = self.client.recall(role, &kept);
            }
        }
        let timestamp = self.fetch(TIMESTAMP, "timestamp.json", TIMESTAMP_BYTES_MAX).await?;
        self.client.take_timestamp(&timestamp).map_err(|why| distrusted(TIMESTAMP, why))?;
        self.keep(TIMESTAMP)?;
        let wanted = self.client.wanted_snapshot().map_err(|why| distrusted(SNAPSHOT, why))?.cloned();
        if let Some(meta) = wanted {
            let snapshot = self.fetch_named(SNAPSHOT, &meta).await?;
            self.client.take_snapshot(&snapshot).map_err(|why| distrusted(SNAPSHOT, why))?;
            self.keep(SNAPSHOT)?;
        }
        // The first who is asked for anything is `targets`.
        if let Finding::Needs { role, parent, file } = self.client.find("").map_err(|why| distrusted(TARGETS, why))? {
            self.take_targets(&role, &parent, &file).await?;
        }
        Ok(())
    }

    /// What is signed under a path; fetches the delegations on the way.
    pub(super) async fn target(&mut self, path: &str) -> Result<Target, Failure> {
        loop {
            match self.client.find(path).map_err(|why| distrusted(path, why))? {
                Finding::Needs { role, parent, file } => self.take_targets(&role, &parent, &file).await?,
                Finding::Target(target) => return Ok(target),
                Finding::NotSigned => {
                    return Err(Failure::refused(
                        format!("nobody who may has signed {path}"),
                        "is the name right? names are compared letter by letter",
                    ));
                }
            }
        }
    }

    /// The version of a role that is believed.
    pub(super) fn version(&self, role: &str) -> u32 {
        self.client.file(role).map_or(0, |file| file.version().number())
    }

    /// Whether files are named by versions, and targets by hashes.
    pub(super) fn is_consistent(&self) -> bool {
        matches!(self.client.root().body(), Body::Root(root) if root.consistent_snapshot())
    }

    /// Takes one root after the other until there is none.
    async fn follow_roots(&mut self) -> Result<(), Failure> {
        for _ in 0..ROOTS_MAX {
            let Some(next) = self.client.root().version().next() else { return Ok(()) };
            let name = format!("{}.root.json", next.number());
            let Some(root) = self.remote.get(&name, file_bytes_max()).await? else { return Ok(()) };
            self.client.take_root(&root).map_err(|why| distrusted(ROOT, why))?;
            self.keep(ROOT)?;
        }
        Err(Failure::refused(
            format!("the repository has more than {ROOTS_MAX} new roots"),
            "those that were read are kept: run it again to go on",
        ))
    }

    async fn take_targets(&mut self, role: &str, parent: &str, file: &FileMeta) -> Result<(), Failure> {
        if let Some(kept) = self.store.read(role)?
            && self.client.take_targets(role, parent, &kept).is_ok()
        {
            return Ok(());
        }
        let bytes = self.fetch_named(role, file).await?;
        self.client.take_targets(role, parent, &bytes).map_err(|why| distrusted(role, why))?;
        self.keep(role)
    }

    async fn fetch_named(&self, role: &str, file: &FileMeta) -> Result<Vec<u8>, Failure> {
        let name = file_name(role);
        let name = if self.is_consistent() {
            format!("{}.{name}.json", file.version().number())
        } else {
            format!("{name}.json")
        };
        self.fetch(role, &name, file.length_bytes().unwrap_or(u64::MAX).min(file_bytes_max())).await
    }

    async fn fetch(&self, role: &str, name: &str, bytes_max: u64) -> Result<Vec<u8>, Failure> {
        self.remote.get(name, bytes_max).await?.ok_or_else(|| {
            Failure::refused(
                format!("the repository has no {name}, and {role} is needed"),
                "is it the place of a repository's metadata? it may be in the middle of a publication: try again",
            )
        })
    }

    fn keep(&self, role: &str) -> Result<(), Failure> {
        let Some(file) = self.client.file(role) else { return Ok(()) };
        self.store.write(role, file.raw())
    }
}

/// Begins with a root that is trusted from elsewhere.
pub(super) fn begin(root: &[u8]) -> Result<Client, Failure> {
    Client::begin(root, i64::try_from(now_unix_seconds()).unwrap_or(i64::MAX)).map_err(|why| distrusted(ROOT, why))
}

/// The one place where distrust becomes a failure.
fn distrusted(what: &str, why: Distrust) -> Failure {
    let remedy = match &why {
        Distrust::Expired { .. } => "its owner has to sign it anew; is this machine's clock right?",
        Distrust::Malformed(_) => "it is no metadata of TUF 1.0, or was cut on the way",
        _ => "what was believed before is kept; whoever answers for the repository has to say what happened",
    };
    Failure::refused(format!("{what} is not believed"), remedy).because(why)
}
