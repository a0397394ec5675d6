//! What an earlier `trustctl` remembered: a directory for each root that was pinned, named by server, repository and pin.
//!
//! Those names are hashes. They are found by the pins of the call and of the configuration, and by the roots that lie in
//! the directories: each may have been pinned itself, or one of its keys. One whose root was replaced since is found when
//! the old pin is given again.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use reqwest::Url;
use trust::Sha256Digest;
use trust::format::tuf::{Document, Gun, RoleName};

use super::line::{Line, Roots, root_in};
use super::pinned::Pinned;

/// The most directories that are searched: a look at each, once for each repository.
const SEARCHED_MAX: usize = 10_000;

/// How a repository's memories are named.
#[derive(Debug)]
pub(super) struct Names {
    below: PathBuf,
    /// The server in one way of writing it, and then as it is configured, which was the name until now.
    servers: [String; 2],
    gun: String,
}

/// A memory of an earlier `trustctl`.
#[derive(Debug)]
pub(super) struct Earlier {
    pub(super) directory: PathBuf,
    pub(super) has_led: bool,
    /// The root that was pinned, where it is known.
    pub(super) roots: Roots,
    /// The key that was.
    pub(super) keys: BTreeSet<Sha256Digest>,
}

/// By a name, what was pinned under it.
type Claims = BTreeMap<String, (Roots, BTreeSet<Sha256Digest>)>;

impl Names {
    pub(super) fn of(state: &Path, server: &str, gun: &Gun) -> Self {
        // Whether the host has capitals in it, or the port is the usual one, makes no other server.
        let written = Url::parse(server).map_or_else(|_| server.to_owned(), |url| url.as_str().to_owned());
        let servers = [written.trim_end_matches('/').to_owned(), server.to_owned()];
        Self { below: state.join("trust-data"), servers, gun: gun.to_string() }
    }

    /// Where all of it is remembered.
    pub(super) fn directory(&self) -> PathBuf {
        let [server, _] = &self.servers;
        self.place(server, "")
    }

    /// Where a `trustctl` before remembered what it saw under a pin.
    fn earlier(&self, pin: &str) -> BTreeSet<PathBuf> {
        let all = self.servers.iter().map(|server| self.place(server, pin));
        all.filter(|place| *place != self.directory()).collect()
    }

    fn place(&self, server: &str, pin: &str) -> PathBuf {
        self.below.join(Sha256Digest::of(format!("{server}\n{}\n{pin}", self.gun).as_bytes()).to_hex())
    }
}

/// Those of these pins.
pub(super) fn named(names: &Names, pins: &[&Pinned]) -> Vec<Earlier> {
    let mut claims = Claims::from([(String::new(), (Roots::default(), BTreeSet::new()))]);
    for pinned in pins {
        match pinned {
            Pinned::Nothing => {}
            Pinned::Key(key) => claim_key(&mut claims, *key),
            Pinned::Root(root) => claim_root(&mut claims, root),
        }
    }
    found(names, &claims)
}

/// Those whose root says under which name it is remembered.
pub(super) fn searched(names: &Names) -> Vec<Earlier> {
    let Ok(entries) = std::fs::read_dir(&names.below) else { return Vec::new() };
    let mut all = Vec::new();
    for entry in entries.take(SEARCHED_MAX).filter_map(Result::ok) {
        let Some(root) = root_in(&entry.path()) else { continue };
        let mut claims = Claims::new();
        claim_root(&mut claims, &root);
        all.extend(found(names, &claims).into_iter().filter(|earlier| earlier.directory == entry.path()));
    }
    all
}

fn claim_key(claims: &mut Claims, key: Sha256Digest) {
    claims.insert(key.to_hex(), (Roots::default(), BTreeSet::from([key])));
}

/// The root, as a file, or by one of its keys.
fn claim_root(claims: &mut Claims, root: &Document) {
    let speakers = root.as_root().and_then(|said| said.authority(&RoleName::Root));
    for key in speakers.iter().flat_map(|speakers| speakers.keys()) {
        claim_key(claims, key.id());
        claim_key(claims, key.canonical_id());
    }
    let mut roots = Roots::default();
    roots.put(root);
    claims.insert(root.sha256().to_hex(), (roots, BTreeSet::new()));
}

fn found(names: &Names, claims: &Claims) -> Vec<Earlier> {
    let mut all = Vec::new();
    for (pin, (roots, keys)) in claims {
        for directory in names.earlier(pin) {
            // One that cannot be read is taken over, too, and refused where it is read: its owner has to know.
            let has_led = match Line::read(0, &directory) {
                Ok(None) => continue,
                Ok(Some(line)) => line.has_led,
                Err(_) => true,
            };
            all.push(Earlier { directory, has_led, roots: roots.clone(), keys: keys.clone() });
        }
    }
    all
}
