//! Items that are verified together.

/// Items of a chunk, at most.
pub(super) const ITEMS_MAX: usize = 4096;
/// The same under a key of a slow algorithm, so that a short batch has work for every core, too.
pub(super) const SLOW_ITEMS_MAX: usize = 256;
/// A chunk that has so many bytes takes no more items.
pub(super) const CHUNK_BYTES: usize = 1024 * 1024;

/// What the items of a chunk are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// 32 bytes: the message of Ed25519, the SHA-256 digest of the message for the others.
    Item32,
    /// Messages of any length.
    Message,
}

/// Items that go together, in order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Chunk {
    /// Which item of all is the first one, from 0.
    pub(super) first: u64,
    pub(super) kind: Kind,
    pub(super) messages: Vec<u8>,
    /// Where each message ends.
    pub(super) message_ends: Vec<u32>,
    pub(super) signatures: Vec<u8>,
    /// Where each signature ends.
    pub(super) signature_ends: Vec<u32>,
    /// Bytes of the file that were read by then.
    pub(super) read_bytes: u64,
}

impl Chunk {
    /// One without items, before the item of that number.
    pub(super) const fn new(kind: Kind, first: u64) -> Self {
        Self {
            first,
            kind,
            messages: Vec::new(),
            message_ends: Vec::new(),
            signatures: Vec::new(),
            signature_ends: Vec::new(),
            read_bytes: 0,
        }
    }

    /// How many items it has.
    pub(super) const fn items(&self) -> usize {
        self.signature_ends.len()
    }

    /// Whether another item of that kind goes into it, where it may have so many.
    pub(super) fn takes(&self, kind: Kind, items_max: usize) -> bool {
        let bytes = self.messages.len().saturating_add(self.signatures.len());
        self.items() == 0 || (self.kind == kind && self.items() < items_max && bytes < CHUNK_BYTES)
    }

    /// Adds an item, which is whole after so many bytes of the file.
    pub(super) fn push(&mut self, message: &[u8], signature: &[u8], read_bytes: u64) {
        let end = |bytes: &[u8]| u32::try_from(bytes.len()).unwrap_or(u32::MAX);
        self.messages.extend_from_slice(message);
        self.message_ends.push(end(&self.messages));
        self.signatures.extend_from_slice(signature);
        self.signature_ends.push(end(&self.signatures));
        self.read_bytes = read_bytes;
    }
}
