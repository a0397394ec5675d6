//! A batch of packed items.

use std::io::{self, BufRead as _, Read as _};

use super::super::chunk::Kind;
use super::{MESSAGE_BYTES_MAX, SIGNATURE_BYTES_MAX, Source, unreadable, wrong};
use crate::failure::Failure;

/// Kinds of packed items.
const ITEMS_OF_32: u32 = 1;
const MESSAGES: u32 = 2;

/// What a packed file says before its items, and after the word that it begins with.
#[derive(Debug, Clone, Copy)]
pub(super) struct Header {
    kind: Kind,
    /// `None`: each says its own.
    signature_bytes: Option<usize>,
}

impl Header {
    pub(super) fn read(source: &mut Source<'_>) -> Result<Self, Failure> {
        let (kind, signature_bytes) = (number(source, 0)?, number(source, 0)?);
        let signature_bytes = usize::try_from(signature_bytes).unwrap_or(usize::MAX);
        let kind = match kind {
            ITEMS_OF_32 => Kind::Item32,
            MESSAGES => Kind::Message,
            other => {
                return Err(Failure::usage(format!("packed items of kind {other}"), "1 (32 bytes) or 2 (messages)"));
            }
        };
        if signature_bytes > SIGNATURE_BYTES_MAX {
            return Err(Failure::usage(
                "packed signatures of more than 4096 bytes",
                "1 to 4096, or 0: each says its length",
            ));
        }
        Ok(Self { kind, signature_bytes: Some(signature_bytes).filter(|bytes| *bytes > 0) })
    }
}

/// The next item; `None` at the end.
pub(super) fn item(
    source: &mut Source<'_>,
    header: Header,
    index: u64,
    message: &mut Vec<u8>,
    signature: &mut Vec<u8>,
) -> Result<Option<Kind>, Failure> {
    if source.reader.fill_buf().map_err(unreadable)?.is_empty() {
        return Ok(None);
    }
    let fixed = match header.kind {
        Kind::Item32 => Some(32),
        Kind::Message => None,
    };
    bytes(source, fixed, MESSAGE_BYTES_MAX, index, message)?;
    bytes(source, header.signature_bytes, SIGNATURE_BYTES_MAX, index, signature)?;
    Ok(Some(header.kind))
}

/// So many bytes, or as many as the number before them says.
fn bytes(
    source: &mut Source<'_>,
    fixed: Option<usize>,
    most: usize,
    index: u64,
    into: &mut Vec<u8>,
) -> Result<(), Failure> {
    let length = match fixed {
        Some(length) => length,
        None => usize::try_from(number(source, index)?).unwrap_or(usize::MAX),
    };
    if length > most {
        return Err(wrong(index, &format!("it says {length} bytes where {most} is the most")));
    }
    let limit = u64::try_from(length).unwrap_or(u64::MAX);
    let read = (&mut source.reader).take(limit).read_to_end(into).map_err(unreadable)?;
    source.read_bytes = source.read_bytes.saturating_add(limit);
    if read < length { Err(wrong(index, "the batch ends inside it")) } else { Ok(()) }
}

/// A number of four bytes, the lowest first.
fn number(source: &mut Source<'_>, index: u64) -> Result<u32, Failure> {
    let mut bytes = [0; 4];
    source.reader.read_exact(&mut bytes).map_err(|error| match error.kind() {
        io::ErrorKind::UnexpectedEof => wrong(index, "the batch ends inside it"),
        _ => unreadable(error),
    })?;
    source.read_bytes = source.read_bytes.saturating_add(4);
    Ok(u32::from_le_bytes(bytes))
}
