//! The ring of KEK versions, in a file of its own.
//!
//! ```text
//! "trustd-kek-ring\n" | u32 length | header (postcard) | 24 nonce | store key, versions, encrypted | 16 tag
//! ```
//! The header (store, salt, commitment, how the root key is had) is authenticated
//! with the rest. The root KEK itself is not kept after it has opened the ring.
//! Format 1 has no store key inside: there it is derived from the root KEK, so such a
//! ring gets format 2 when its root is exchanged for another.

mod file;
mod root;

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use crate::cipher::{KEY, Key, NONCE, random};
use crate::{
    CustodyError, KekInfo, KekState, KekVersion, Passphrase, PassphraseCost, RootPlace, RootSource, StoreKey,
    WrappedRoot,
};

use root::{PassphraseWrap, RootHeader};
pub(crate) use root::{
    create_file as create_root_file, examine_file as examine_root_file, write_file as write_root_file,
};

const MAGIC: &[u8; 16] = b"trustd-kek-ring\n";
/// The newest format; the one before is read, and kept while the root stays.
const FORMAT: u16 = 2;
/// The format whose store key comes from the root.
const FORMAT_DERIVED: u16 = 1;
/// One version in the encrypted part: number, state, key.
const ENTRY: usize = 4 + 1 + KEY;
/// The most versions a ring holds, destroyed ones included.
const VERSIONS_MAX: usize = 4096;

/// What stands in the clear, authenticated.
#[derive(Serialize, Deserialize)]
struct Header {
    format: u16,
    store: [u8; 16],
    salt: [u8; 32],
    commitment: [u8; 32],
    root: RootHeader,
}

/// An open ring.
pub(crate) struct Ring {
    path: PathBuf,
    header: Header,
    /// Encrypts the ring file; from the root KEK.
    key: Key,
    /// Seals the store's rows; it outlives every root.
    store_key: Key,
    entries: Vec<Entry>,
}

/// One version; `key` is there until it is destroyed.
struct Entry {
    version: KekVersion,
    key: Option<Key>,
}

impl Ring {
    /// Makes a ring with one version. Nothing may be there yet.
    pub(crate) fn create(
        path: &Path,
        store: [u8; 16],
        source: &RootSource,
        cost: PassphraseCost,
    ) -> Result<StoreKey, CustodyError> {
        file::refuse_existing(path)?;
        let (root, root_header) = root::establish(source, cost, &store)?;
        let (header, key) = under(&root, store, root_header)?;
        let entries = vec![Entry { version: KekVersion::FIRST, key: Some(Key::random()?) }];
        let ring = Self { path: path.to_owned(), header, key, store_key: Key::random()?, entries };
        file::create(path, &encode(&ring.header, &ring.key, &ring.store_key, &ring.entries)?)?;
        Ok(ring.store_key())
    }

    /// Opens the ring at `path` with what `source` names.
    pub(crate) fn open(path: &Path, source: &RootSource) -> Result<Self, CustodyError> {
        Self::open_by(path, |header| header.root.open(source, &header.store))
    }

    /// Opens the ring at `path` with a root key that a token has unwrapped.
    pub(crate) fn open_with(path: &Path, root: Key) -> Result<Self, CustodyError> {
        Self::open_by(path, |_| Ok(root))
    }

    fn open_by(path: &Path, root: impl FnOnce(&Header) -> Result<Key, CustodyError>) -> Result<Self, CustodyError> {
        let bytes = file::read(path)?;
        let (header_bytes, sealed) = split(&bytes).ok_or_else(damaged)?;
        let header = read_header(header_bytes)?;
        let root = root(&header)?;
        let key = ring_key(&root, &header.salt)?;
        if !key.commits_to(&header.salt, &header.commitment) {
            return Err(CustodyError::refused("this root key is not the one the KEK ring was made with"));
        }
        let plain = decrypt(&key, header_bytes, sealed)?;
        let (store_key, entries) = if header.format == FORMAT_DERIVED {
            (derived_store_key(&root, &header.store)?, plain.as_slice())
        } else {
            let (store_key, entries) = plain.split_first_chunk::<KEY>().ok_or_else(damaged)?;
            (Key::copy(store_key)?, entries)
        };
        let entries = read_entries(entries)?;
        // A power cut may have come between replacing the ring and overwriting the older one.
        file::shred_leftovers(path)?;
        Ok(Self { path: path.to_owned(), header, key, store_key, entries })
    }

    /// Puts everything under another root key, which `how` says how to have. On return the file under the older one
    /// is overwritten; at every instant one of the two opens the ring.
    pub(crate) fn change_root(&mut self, root: &Key, how: NewRoot<'_>) -> Result<(), CustodyError> {
        let store = self.header.store;
        let (header, key) = under(root, store, how.header(root, &store)?)?;
        let bytes = encode(&header, &key, &self.store_key, &self.entries)?;
        let replaced = file::replace(&self.path, &bytes);
        // What stands in the file holds, also where only the overwriting of the older one failed.
        if replaced.is_ok() || file::read(&self.path).is_ok_and(|there| there == bytes) {
            (self.header, self.key) = (header, key);
        }
        replaced
    }

    /// The key that seals the store's rows.
    pub(crate) fn store_key(&self) -> StoreKey {
        let mut bytes = Zeroizing::new(*self.store_key.expose());
        StoreKey::take(&mut bytes)
    }

    /// The store whose keys it wraps.
    pub(crate) fn store(&self) -> [u8; 16] {
        self.header.store
    }

    /// The version that seals.
    pub(crate) fn current(&self) -> Result<(KekVersion, &Key), CustodyError> {
        let newest = self.entries.last().and_then(|entry| Some((entry.version, entry.key.as_ref()?)));
        newest.ok_or_else(damaged)
    }

    /// A version that still opens.
    pub(crate) fn version(&self, version: KekVersion) -> Result<&Key, CustodyError> {
        let entry = self.entries.iter().find(|entry| entry.version == version);
        let entry =
            entry.ok_or_else(|| CustodyError::corrupt(format!("a sealed key: {version} is not in this ring")))?;
        entry.key.as_ref().ok_or_else(|| CustodyError::corrupt(format!("a sealed key: {version} was destroyed")))
    }

    /// Every version, oldest first.
    pub(crate) fn list(&self) -> Vec<KekInfo> {
        let newest = self.entries.last().map(|entry| entry.version);
        let info = |entry: &Entry| KekInfo {
            version: entry.version,
            state: match &entry.key {
                None => KekState::Destroyed,
                Some(_) if Some(entry.version) == newest => KekState::Current,
                Some(_) => KekState::Readable,
            },
        };
        self.entries.iter().map(info).collect()
    }

    /// A new current version, or the one of a rotation that was begun before.
    pub(crate) fn begin_rotation(&mut self) -> Result<KekVersion, CustodyError> {
        let (current, _) = self.current()?;
        if self.entries.iter().filter(|entry| entry.key.is_some()).count() > 1 {
            return Ok(current);
        }
        if self.entries.len() >= VERSIONS_MAX {
            return Err(CustodyError::refused("this KEK ring has had as many versions as it can hold"));
        }
        let version = current.number().checked_add(1).and_then(KekVersion::new).ok_or_else(damaged)?;
        self.entries.push(Entry { version, key: Some(Key::random()?) });
        let written = self.replace_file();
        if written.is_err() {
            self.entries.pop();
        }
        written.map(|()| version)
    }

    /// Destroys every version but the current one, in the file first.
    pub(crate) fn finish_rotation(&mut self) -> Result<(), CustodyError> {
        let (current, _) = self.current()?;
        let kept = |entry: &Entry| -> Result<Entry, CustodyError> {
            let key = entry.key.as_ref().filter(|_| entry.version == current);
            Ok(Entry { version: entry.version, key: key.map(|key| Key::copy(key.expose())).transpose()? })
        };
        let entries: Vec<Entry> = self.entries.iter().map(kept).collect::<Result<_, _>>()?;
        file::replace(&self.path, &encode(&self.header, &self.key, &self.store_key, &entries)?)?;
        self.entries = entries;
        Ok(())
    }

    fn replace_file(&self) -> Result<(), CustodyError> {
        file::replace(&self.path, &encode(&self.header, &self.key, &self.store_key, &self.entries)?)
    }
}

/// How a new root key is to be had.
pub(crate) enum NewRoot<'a> {
    /// It is the content of a file.
    File,
    /// It is wrapped by a passphrase.
    Passphrase(&'a Passphrase, PassphraseCost),
    /// Tokens have wrapped it; a passphrase wraps it, too.
    Token { wraps: Vec<WrappedRoot>, recovery: Option<(&'a Passphrase, PassphraseCost)> },
}

impl NewRoot<'_> {
    fn header(self, root: &Key, store: &[u8; 16]) -> Result<RootHeader, CustodyError> {
        let wrap = |(passphrase, cost)| PassphraseWrap::of(root, passphrase, cost, store);
        match self {
            Self::File => Ok(RootHeader::File),
            Self::Passphrase(passphrase, cost) => wrap((passphrase, cost)).map(RootHeader::Passphrase),
            Self::Token { wraps, recovery } => RootHeader::in_tokens(wraps, recovery.map(wrap).transpose()?),
        }
    }
}

/// The store of the ring at `path` and where its root key is, as its header says; only opening it proves that.
///
/// # Errors
/// [`CustodyError::Refused`] where there is no ring, or one of a newer format; [`CustodyError::Corrupt`] for what is none.
pub fn root_place(path: &Path) -> Result<([u8; 16], RootPlace), CustodyError> {
    place_in(&file::read(path)?)
}

/// The same of a ring's bytes.
///
/// # Errors
/// As [`root_place`].
pub fn place_in(bytes: &[u8]) -> Result<([u8; 16], RootPlace), CustodyError> {
    let (header, _) = split(bytes).ok_or_else(damaged)?;
    let header = read_header(header)?;
    Ok((header.store, header.root.place()))
}

/// A header under `root`, and the key that encrypts what is behind it.
fn under(root: &Key, store: [u8; 16], root_header: RootHeader) -> Result<(Header, Key), CustodyError> {
    let mut salt = [0; 32];
    random(&mut salt)?;
    let key = ring_key(root, &salt)?;
    let commitment = key.commitment(&salt)?;
    Ok((Header { format: FORMAT, store, salt, commitment, root: root_header }, key))
}

fn encode(header: &Header, key: &Key, store_key: &Key, entries: &[Entry]) -> Result<Vec<u8>, CustodyError> {
    let failed = || CustodyError::failed("encode the KEK ring");
    let head = postcard::to_allocvec(header).map_err(|_| failed())?;
    let length = u32::try_from(head.len()).map_err(|_| failed())?;
    let mut nonce = [0; NONCE];
    random(&mut nonce)?;
    let mut plain = Zeroizing::new(Vec::with_capacity(entries.len().saturating_mul(ENTRY).saturating_add(KEY)));
    if header.format != FORMAT_DERIVED {
        plain.extend_from_slice(store_key.expose());
    }
    for entry in entries {
        plain.extend_from_slice(&entry.version.number().to_le_bytes());
        plain.push(u8::from(entry.key.is_some()));
        plain.extend_from_slice(entry.key.as_ref().map_or(&[0; KEY], |key| key.expose()).as_slice());
    }
    let mut bytes = MAGIC.to_vec();
    bytes.extend_from_slice(&length.to_le_bytes());
    bytes.extend_from_slice(&head);
    let tag = key.lock(&nonce, &bytes, &mut plain)?;
    bytes.extend_from_slice(&nonce);
    bytes.extend_from_slice(&plain);
    bytes.extend_from_slice(&tag);
    Ok(bytes)
}

/// Magic, length and header (what is authenticated), and the rest.
fn split(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (magic, rest) = bytes.split_first_chunk::<16>()?;
    let (length, _) = rest.split_first_chunk::<4>()?;
    let header_end = usize::try_from(u32::from_le_bytes(*length)).ok()?.checked_add(MAGIC.len() + 4)?;
    if magic == MAGIC { bytes.split_at_checked(header_end) } else { None }
}

fn read_header(bytes: &[u8]) -> Result<Header, CustodyError> {
    let header = bytes.get(MAGIC.len() + 4..).ok_or_else(damaged)?;
    let (format, _) = postcard::take_from_bytes::<u16>(header).map_err(|_| damaged())?;
    if !(FORMAT_DERIVED..=FORMAT).contains(&format) {
        let what = format!("the KEK ring has format {format}, this program reads up to {FORMAT}");
        return Err(CustodyError::refused(what));
    }
    let header: Header = postcard::from_bytes(header).map_err(|_| damaged())?;
    if header.root.is_sound() { Ok(header) } else { Err(damaged()) }
}

fn decrypt(key: &Key, aad: &[u8], sealed: &[u8]) -> Result<Zeroizing<Vec<u8>>, CustodyError> {
    let (nonce, rest) = sealed.split_first_chunk::<NONCE>().ok_or_else(damaged)?;
    let (body, tag) = rest.split_last_chunk().ok_or_else(damaged)?;
    let mut plain = Zeroizing::new(body.to_vec());
    key.unlock(nonce, aad, &mut plain, tag).ok_or_else(damaged)?;
    Ok(plain)
}

fn read_entries(plain: &[u8]) -> Result<Vec<Entry>, CustodyError> {
    let (entries, rest) = plain.as_chunks::<ENTRY>();
    let entries: Vec<Entry> = entries.iter().map(read_entry).collect::<Result<_, _>>()?;
    let ascending = entries.is_sorted_by(|a, b| a.version < b.version);
    let current = entries.last().is_some_and(|entry| entry.key.is_some());
    if rest.is_empty() && ascending && current { Ok(entries) } else { Err(damaged()) }
}

fn read_entry(bytes: &[u8; ENTRY]) -> Result<Entry, CustodyError> {
    let (number, rest) = bytes.split_first_chunk::<4>().ok_or_else(damaged)?;
    let (&[alive], key) = rest.split_first_chunk::<1>().ok_or_else(damaged)?;
    let version = KekVersion::new(u32::from_le_bytes(*number)).ok_or_else(damaged)?;
    let key: &[u8; KEY] = key.try_into().map_err(|_| damaged())?;
    Ok(Entry { version, key: (alive == 1).then(|| Key::copy(key)).transpose()? })
}

fn ring_key(root: &Key, salt: &[u8; 32]) -> Result<Key, CustodyError> {
    root.derive(salt, b"trustd/ring/v1")
}

fn derived_store_key(root: &Key, store: &[u8; 16]) -> Result<Key, CustodyError> {
    root.derive(store, b"trustd/store/v1")
}

fn damaged() -> CustodyError {
    CustodyError::corrupt("the KEK ring file")
}
