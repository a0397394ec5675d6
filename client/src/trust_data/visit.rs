//! One visit to a trust server. The rules are `trust::format::tuf::client`; here files are fetched.

use std::collections::VecDeque;

use trust::format::tuf::client::{Client, Distrust, TIMESTAMP_BYTES_MAX, Wanted};
use trust::format::tuf::{BYTES_MAX, Document, Gun, RoleName, Targets};

use super::cache::{self, Cache};
use super::pin;
use super::room::Room;
use crate::failure::{Exit, Failure};
use crate::registry::TrustServer;
use crate::time::now_unix_seconds;
use crate::trust_server::TrustRoot;

/// The most roots that are followed in one visit.
const ROOTS_MAX: u32 = 256;
/// The most delegations that are read in one visit.
const DELEGATIONS_MAX: usize = 256;

/// What is believed so far.
#[derive(Debug)]
pub(super) struct Visit<'a> {
    server: &'a TrustServer,
    client: Client,
    is_first: bool,
    /// Why the releases count no more, where that is so.
    lapsed: Option<String>,
}

/// The roles that sign for docker, in the order in which it asks them.
pub(super) fn roles() -> [RoleName; 2] {
    [RoleName::releases(), RoleName::Targets]
}

impl<'a> Visit<'a> {
    /// Begins with what was believed last, with the root that is pinned, or with the one that the server has; `None`
    /// where it has none and never had.
    pub(super) async fn begin(
        server: &'a TrustServer,
        cache: &Cache,
        gun: Gun,
        root: Option<&TrustRoot>,
    ) -> Result<Option<Self>, Failure> {
        let now = i64::try_from(now_unix_seconds()).unwrap_or(i64::MAX);
        if let Some(kept) = cache.read()? {
            let client = Client::resume(gun, kept, now).map_err(distrusted)?;
            return Ok(Some(Self { server, client, is_first: false, lapsed: None }));
        }
        let found = server.file("root", BYTES_MAX).await?;
        let bytes = match (found, root) {
            (None, _) => return Ok(None),
            (Some(_), Some(TrustRoot::File(file))) => cache::read_root(file)?,
            (Some(found), _) => found,
        };
        let document = Document::read(&RoleName::Root, &bytes).map_err(|unsound| distrusted(unsound.into()))?;
        let client = Client::begin(gun, document, &pin(root), now).map_err(distrusted)?;
        Ok(Some(Self { server, client, is_first: true, lapsed: None }))
    }

    /// Whether nothing was known of the repository before.
    pub(super) const fn is_first(&self) -> bool {
        self.is_first
    }

    /// What is believed.
    pub(super) const fn client(&self) -> &Client {
        &self.client
    }

    /// What is believed, at the end of the visit, and why the releases count no more where that is so.
    pub(super) fn end(self) -> (Client, Option<String>) {
        (self.client, self.lapsed)
    }

    /// Brings everything up to date.
    pub(super) async fn refresh(&mut self) -> Result<(), Failure> {
        self.follow_roots().await?;
        self.take_snapshot().await?;
        self.take(&RoleName::Targets).await?;
        self.take_releases().await
    }

    /// The releases. Docker goes on without them where they have expired or too few have signed them, and so do we;
    /// `lapsed` says how far.
    async fn take_releases(&mut self) -> Result<(), Failure> {
        let releases = RoleName::releases();
        let targets = self.client.file(&RoleName::Targets).and_then(Document::as_targets);
        if targets.is_none_or(|targets| targets.authority(&releases).is_none()) {
            return Ok(());
        }
        match self.ask(&releases).await? {
            Err(why @ (Distrust::Expired(_) | Distrust::NotMet(_))) => {
                self.lapsed = Some(why.to_string());
                Ok(())
            }
            taken => taken.map_err(distrusted),
        }
    }

    /// Reads the delegations that nobody pulls by, too; what cannot be read of any, in words: it takes nothing from the
    /// rest.
    ///
    /// # Errors
    /// Unreachable where the server is.
    pub(super) async fn take_delegations(&mut self) -> Result<Vec<String>, Failure> {
        let (mut notes, mut room) = (Vec::new(), Room::new());
        let mut waiting = VecDeque::from(self.delegations_of(&RoleName::Targets));
        for _ in 0..DELEGATIONS_MAX {
            let Some(role) = waiting.pop_front() else { return Ok(notes) };
            if self.client.file(&role).is_none() {
                match self.take(&role).await {
                    Ok(()) => {}
                    Err(failure) if failure.exit() == Exit::Unreachable => return Err(failure),
                    Err(failure) => notes.push(format!("{role}: {}", failure.what())),
                }
            }
            let length = self.client.file(&role).map_or(0, |file| file.raw().len());
            if let Err(full) = room.take(length) {
                notes.push(full.what());
                return Ok(notes);
            }
            waiting.extend(self.delegations_of(&role));
        }
        notes.push(format!("more than {DELEGATIONS_MAX} delegations; the others were not read"));
        Ok(notes)
    }

    fn delegations_of(&self, role: &RoleName) -> Vec<RoleName> {
        let targets = self.client.file(role).and_then(Document::as_targets);
        let delegations = targets.into_iter().flat_map(Targets::delegations);
        delegations.map(|delegation| delegation.name().clone()).collect()
    }

    async fn follow_roots(&mut self) -> Result<(), Failure> {
        for _ in 0..ROOTS_MAX {
            let Some(next) = self.client.next_root() else { return Ok(()) };
            let Some(root) = self.server.file(&format!("{}.root", next.number()), BYTES_MAX).await? else {
                return Ok(());
            };
            self.client.take_root(&root).map_err(distrusted)?;
        }
        Err(Failure::refused(
            format!("the repository has more than {ROOTS_MAX} new roots"),
            "those that were read are kept: run it again to go on",
        ))
    }

    /// The current timestamp and snapshot.
    async fn take_snapshot(&mut self) -> Result<(), Failure> {
        let followed = self.client.clone();
        let Err(failure) = self.take_both().await else { return Ok(()) };
        // A root may have been published since the roots were asked for: then the snapshot names that one.
        let before = followed.next_root();
        let failed = std::mem::replace(&mut self.client, followed);
        self.follow_roots().await?;
        if self.client.next_root() == before {
            self.client = failed;
            return Err(failure);
        }
        self.take_both().await
    }

    async fn take_both(&mut self) -> Result<(), Failure> {
        let timestamp = self.needed("timestamp", TIMESTAMP_BYTES_MAX).await?;
        self.client.take_timestamp(&timestamp).map_err(distrusted)?;
        self.take(&RoleName::Snapshot).await
    }

    /// The current file of a role.
    async fn take(&mut self, role: &RoleName) -> Result<(), Failure> {
        self.ask(role).await?.map_err(distrusted)
    }

    /// The same; why it is not believed is apart from why it could not be read.
    async fn ask(&mut self, role: &RoleName) -> Result<Result<(), Distrust>, Failure> {
        let meta = match self.client.wanted(role) {
            Ok(Wanted::File(meta)) => meta,
            Ok(Wanted::Nothing | Wanted::NoFile) => return Ok(Ok(())),
            Err(why) => return Ok(Err(why)),
        };
        let length = usize::try_from(meta.length_bytes()).unwrap_or(usize::MAX).min(BYTES_MAX);
        let bytes = self.needed(&format!("{role}.{}", meta.sha256().to_hex()), length).await?;
        Ok(self.client.take_file(role, &bytes))
    }

    async fn needed(&self, name: &str, bytes_max: usize) -> Result<Vec<u8>, Failure> {
        self.server.file(name, bytes_max).await?.ok_or_else(|| {
            Failure::refused(
                format!("the trust server has no {name} of the repository, which is needed"),
                "was its trust data deleted? whoever owns it has to say so before another root is believed",
            )
        })
    }
}

fn distrusted(why: Distrust) -> Failure {
    let remedy = match &why {
        Distrust::Expired(_) => "its owner has to sign it anew; is this machine's clock right?",
        Distrust::NotPinned => "ask its owner which root is right: docker trust inspect REPOSITORY shows its keys",
        _ => "what was believed before is kept; whoever answers for the repository has to say what happened",
    };
    Failure::refused("the trust data is not believed", remedy).because(why)
}
