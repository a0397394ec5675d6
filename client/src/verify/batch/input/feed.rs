//! The bytes of a batch as they come, and the items of them that nobody has yet.
//!
//! A pipe may be slow. Items that were read do not wait for long until others make their chunk full: what is there is
//! handed out before more is waited for, wherever in an item the bytes ended.

use std::io::{self, Read};

use tokio::time::Instant;

use super::super::chunk::{Chunk, Kind};

/// Where a batch comes from, and where its items go.
pub(super) struct Feed<'a> {
    source: &'a mut dyn Read,
    /// Whether items that wait since then may wait for the source's next bytes.
    may_wait: &'a mut dyn FnMut(Instant) -> bool,
    /// Takes a chunk, and says whether somebody wants more.
    take: &'a mut dyn FnMut(Chunk) -> bool,
    chunk: Chunk,
    /// When its first item came; `None`: it has none.
    since: Option<Instant>,
    is_wanted: bool,
    /// Of a chunk.
    items_max: usize,
}

impl<'a> Feed<'a> {
    pub(super) fn new(
        source: &'a mut dyn Read,
        may_wait: &'a mut dyn FnMut(Instant) -> bool,
        take: &'a mut dyn FnMut(Chunk) -> bool,
        items_max: usize,
    ) -> Self {
        Self { source, may_wait, take, chunk: Chunk::new(Kind::Message, 0), since: None, is_wanted: true, items_max }
    }

    /// Adds the item of that number, message and signature, whole after so many bytes; `false` where nobody wants more.
    pub(super) fn push(&mut self, kind: Kind, (message, signature): (&[u8], &[u8]), index: u64, read: u64) -> bool {
        if !self.chunk.takes(kind, self.items_max) {
            self.hand_out();
        }
        if self.since.is_none() {
            self.chunk = Chunk::new(kind, index);
            self.since = Some(Instant::now());
        }
        self.chunk.push(message, signature, read);
        self.is_wanted
    }

    /// Hands out what has come, if anything.
    pub(super) fn hand_out(&mut self) {
        if self.since.take().is_some() {
            let chunk = std::mem::replace(&mut self.chunk, Chunk::new(Kind::Message, 0));
            self.is_wanted = self.is_wanted && (self.take)(chunk);
        }
    }
}

impl Read for Feed<'_> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        if self.since.is_some_and(|since| !(self.may_wait)(since)) {
            self.hand_out();
        }
        self.source.read(into)
    }
}
