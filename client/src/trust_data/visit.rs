//! One visit to a trust server. The rules are `trust::format::tuf::client`; here files are fetched.

use std::collections::{BTreeSet, VecDeque};

use trust::format::tuf::client::{Client, Distrust, TIMESTAMP_BYTES_MAX, Wanted};
use trust::format::tuf::{BYTES_MAX, Document, Gun, RoleName, Targets};

use super::line::{Line, Relation, Roots};
use super::memory::{End, Memory, Seen};
use super::pinned::Pinned;
use super::room::Room;
use super::rules::{distrusted, now};
use crate::failure::{Exit, Failure};
use crate::registry::TrustServer;

/// The most roots that are followed in one visit.
const ROOTS_MAX: u32 = 256;
/// The most delegations that are read in one visit.
const DELEGATIONS_MAX: usize = 256;

/// What is believed so far.
#[derive(Debug)]
pub(super) struct Visit<'a> {
    server: &'a TrustServer,
    memory: &'a Memory,
    pinned: &'a Pinned,
    client: Client,
    /// The roots that led to the one that is believed, as far as they are known.
    roots: Roots,
    /// The places of the lines that are gone on with, or have been met.
    lines: BTreeSet<u32>,
    /// Why the releases count no more, where that is so.
    lapsed: Option<String>,
}

impl<'a> Visit<'a> {
    /// Begins with what was believed last, with the root that is pinned, or with the one that the server has; `None`
    /// where it has none and never had.
    pub(super) async fn begin(
        server: &'a TrustServer,
        memory: &'a Memory,
        gun: Gun,
        pinned: &'a Pinned,
    ) -> Result<Option<Self>, Failure> {
        let begun = |client| Self {
            server,
            memory,
            pinned,
            client,
            roots: Roots::default(),
            lines: BTreeSet::new(),
            lapsed: None,
        };
        let going_on = |gun: Gun, line: &Line| {
            let client = Client::resume(gun, line.files.clone(), now()).map_err(distrusted)?;
            Ok(Some(Self { roots: line.roots.clone(), lines: BTreeSet::from([line.place]), ..begun(client) }))
        };
        if let Some(line) = memory.line_for(pinned, &gun) {
            return going_on(gun, line);
        }
        let Some(found) = server.file("root", BYTES_MAX).await? else {
            return if memory.has_led() { Err(gone("root")) } else { Ok(None) };
        };
        let root = match pinned {
            Pinned::Root(root) => root.clone(),
            Pinned::Key(_) | Pinned::Nothing => {
                Document::read(&RoleName::Root, &found).map_err(|unsound| distrusted(unsound.into()))?
            }
        };
        let client = Client::begin(gun.clone(), root.clone(), &pinned.pin(), now()).map_err(distrusted)?;
        // A server may show an old root for the newest: who knows what followed goes on from there.
        if let Some(line) = memory.line_of(&root) {
            return going_on(gun, line);
        }
        let mut visit = begun(client);
        visit.roots.put(&root);
        Ok(Some(visit))
    }

    /// Whether nothing was known of what it is led to.
    pub(super) fn is_first(&self) -> bool {
        self.lines.is_empty()
    }

    /// What is to be remembered of it.
    pub(super) fn seen(&self, end: End) -> Seen {
        let key = if let Pinned::Key(key) = self.pinned { Some(*key) } else { None };
        let (roots, lines) = (self.roots.clone(), self.lines.clone());
        Seen { files: self.client.clone().into_cache(), roots, key, lines, end }
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
        self.arrive().await?;
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

    /// Follows the roots to the newest, and holds what is remembered of the repository against where they lead: whatever
    /// was pinned, nobody is taken behind what was seen under these roots.
    async fn arrive(&mut self) -> Result<(), Failure> {
        self.follow_roots().await?;
        let memory = self.memory;
        for line in memory.lines().iter().filter(|line| !self.lines.contains(&line.place)).collect::<Vec<_>>() {
            match line.relation(&self.roots) {
                Relation::Met => {
                    self.client.recall(&line.files);
                    self.lines.insert(line.place);
                }
                // Nobody knows whether the roots between follow each other. If they do not, others have signed.
                Relation::Beyond if line.has_led => self.client.recall(&line.files),
                Relation::Behind if line.has_led => return Err(behind(memory, line)),
                Relation::Apart | Relation::Behind | Relation::Beyond => {}
            }
        }
        Ok(())
    }

    async fn follow_roots(&mut self) -> Result<(), Failure> {
        for followed in 0..=ROOTS_MAX {
            let Some(next) = self.client.next_root() else { return Ok(()) };
            let Some(root) = self.server.file(&format!("{}.root", next.number()), BYTES_MAX).await? else {
                return Ok(());
            };
            if followed == ROOTS_MAX {
                break;
            }
            self.client.take_root(&root).map_err(distrusted)?;
            if let Some(root) = self.client.file(&RoleName::Root) {
                self.roots.put(root);
            }
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
        self.arrive().await?;
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
        self.server.file(name, bytes_max).await?.ok_or_else(|| gone(name))
    }
}

fn gone(name: &str) -> Failure {
    Failure::refused(
        format!("the trust server has no {name} of the repository, which is needed"),
        "was its trust data deleted? whoever owns it has to say so before another root is believed",
    )
}

/// Where a repository that was begun anew would lead is where a server leads that holds its roots back.
fn behind(memory: &Memory, line: &Line) -> Failure {
    let version = line.root().map_or(0, |root| root.version().number());
    Failure::refused(
        format!("the roots that the trust server has end before version {version}, which was believed before"),
        format!(
            "are some held back? if its owner says that the repository was begun anew, or that the first root that was \
             seen here without a pin was a wrong one, remove {}",
            memory.directory().display()
        ),
    )
}
