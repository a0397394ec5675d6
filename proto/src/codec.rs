//! How messages are read off the wire: as prost reads them, but not where little on the wire is much in memory.
//!
//! A number of one byte takes four once it is read, and an empty message inside another one some fifty. A request of
//! very many items is all numbers, so a hostile one is counted before anything is made of it.

use std::any::TypeId;
use std::marker::PhantomData;

use bytes::Buf as _;
use prost::Message;
use tonic::Status;
use tonic::codec::{Codec, DecodeBuf, Decoder};
use tonic_prost::{ProstDecoder, ProstEncoder};
use trust::{Fault, FaultKind};

use crate::{fault, v1};

/// The most keys of one `VerifyBatchRequest`.
pub const VERIFY_KEYS_MAX: usize = 4096;
/// The most items of one `VerifyBatchRequest` that any daemon takes, however it is configured.
pub const VERIFY_ITEMS_MAX: usize = 1_000_000;

/// The codec of every method.
#[derive(Debug)]
pub struct BoundedCodec<T, U>(PhantomData<(T, U)>);

/// Reads messages that are not too large.
#[derive(Debug)]
pub struct BoundedDecoder<U>(ProstDecoder<U>);

impl<T, U> Default for BoundedCodec<T, U> {
    fn default() -> Self {
        Self(PhantomData)
    }
}

impl<T, U> Codec for BoundedCodec<T, U>
where
    T: Message + Send + 'static,
    U: Message + Default + Send + 'static,
{
    type Encode = T;
    type Decode = U;
    type Encoder = ProstEncoder<T>;
    type Decoder = BoundedDecoder<U>;

    fn encoder(&mut self) -> Self::Encoder {
        ProstEncoder::default()
    }

    fn decoder(&mut self) -> Self::Decoder {
        BoundedDecoder(ProstDecoder::default())
    }
}

impl<U> Decoder for BoundedDecoder<U>
where
    U: Message + Default + Send + 'static,
{
    type Item = U;
    type Error = Status;

    fn decode(&mut self, buffer: &mut DecodeBuf<'_>) -> Result<Option<U>, Status> {
        if TypeId::of::<U>() == TypeId::of::<v1::VerifyBatchRequest>() {
            // A message lies in one piece. If it did not, its rest would be missing here, and it would be refused.
            verify_batch_is_bounded(buffer.chunk())?;
        }
        self.0.decode(buffer)
    }
}

/// Counts what a `VerifyBatchRequest` would be made of.
fn verify_batch_is_bounded(message: &[u8]) -> Result<(), Status> {
    let [mut keys, mut key_indexes, mut message_ends, mut signature_ends] = [0_usize; 4];
    for field in Fields(message) {
        let Field { number, value } = field?;
        match number {
            1 => keys = keys.saturating_add(1),
            2 => key_indexes = key_indexes.saturating_add(value.numbers()),
            4 => message_ends = message_ends.saturating_add(packed_message_ends(value)?),
            6 => signature_ends = signature_ends.saturating_add(value.numbers()),
            _ => {}
        }
    }
    if keys > VERIFY_KEYS_MAX {
        return Err(malformed("keys: 1 to 4096"));
    }
    if key_indexes.max(message_ends).max(signature_ends) > VERIFY_ITEMS_MAX {
        return Err(malformed("items: 1 to the daemon's verify_items_max"));
    }
    Ok(())
}

/// How many ends `PackedMessages` have.
fn packed_message_ends(packed: Value<'_>) -> Result<usize, Status> {
    let Value::Bytes(packed) = packed else { return Ok(0) };
    let mut ends = 0_usize;
    for field in Fields(packed) {
        let Field { number, value } = field?;
        if number == 2 {
            ends = ends.saturating_add(value.numbers());
        }
    }
    Ok(ends)
}

fn malformed(text: &str) -> Status {
    fault::to_status(&Fault::new(FaultKind::Malformed, text))
}

/// A field as it stands on the wire.
struct Field<'a> {
    number: usize,
    value: Value<'a>,
}

#[derive(Clone, Copy)]
enum Value<'a> {
    /// One that is as long as its kind says.
    Plain,
    /// One that says how long it is.
    Bytes(&'a [u8]),
}

impl Value<'_> {
    /// How many numbers a repeated field gets of it: one, or packed ones, of which each ends with a byte below 128.
    fn numbers(self) -> usize {
        match self {
            Self::Plain => 1,
            Self::Bytes(packed) => packed.iter().filter(|byte| **byte < 128).count(),
        }
    }
}

/// The fields of a message, until it ends or is none. Those of a group, which no message here has, count as the
/// message's own.
struct Fields<'a>(&'a [u8]);

impl<'a> Iterator for Fields<'a> {
    type Item = Result<Field<'a>, Status>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.0.is_empty() {
            return None;
        }
        let field = field(&mut self.0);
        // prost says this of what it cannot read, and the daemon's doors have words for it.
        Some(field.ok_or_else(|| Status::internal("not a message of trust.v1")))
    }
}

/// Takes a field off the beginning; `None` if there is none.
fn field<'a>(rest: &mut &'a [u8]) -> Option<Field<'a>> {
    let key = number(rest)?;
    let length = match key & 7 {
        // A number of its own length, which is not looked at.
        0 => return number(rest).map(|_| Field { number: key >> 3, value: Value::Plain }),
        1 => 8,
        2 => number(rest)?,
        // A group begins or ends.
        3 | 4 => 0,
        5 => 4,
        _ => return None,
    };
    let (bytes, after) = rest.split_at_checked(length)?;
    *rest = after;
    let value = if key & 7 == 2 { Value::Bytes(bytes) } else { Value::Plain };
    Some(Field { number: key >> 3, value })
}

/// Takes a number off the beginning (a varint).
fn number(rest: &mut &[u8]) -> Option<usize> {
    prost::decode_length_delimiter(rest).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::v1::{BatchKey, PackedMessages, VerifyBatchRequest, batch_key, verify_batch_request};

    fn counted(message: &VerifyBatchRequest) -> Result<(), String> {
        verify_batch_is_bounded(&message.encode_to_vec()).map_err(|status| status.message().to_owned())
    }

    fn packed(ends: usize) -> Option<verify_batch_request::Messages> {
        let bytes = vec![0xff; 1000].into();
        Some(verify_batch_request::Messages::Packed(PackedMessages { bytes, ends: vec![300; ends] }))
    }

    #[test]
    fn what_some_daemon_takes_is_read_and_one_more_is_not() {
        let items = VERIFY_ITEMS_MAX;
        let most = VerifyBatchRequest {
            keys: vec![BatchKey { kind: Some(batch_key::Kind::Key("raw/one".to_owned())) }; VERIFY_KEYS_MAX],
            key_indexes: vec![4095; items],
            messages: packed(items),
            signatures: vec![0xff; 1000].into(),
            signature_ends: vec![1; items],
        };
        let too_many = "items: 1 to the daemon's verify_items_max";

        assert_eq!(counted(&most), Ok(()));
        assert_eq!(counted(&VerifyBatchRequest::default()), Ok(()));
        let key = VerifyBatchRequest { keys: vec![BatchKey::default(); VERIFY_KEYS_MAX + 1], ..most.clone() };
        assert_eq!(counted(&key), Err("keys: 1 to 4096".to_owned()));
        let index = VerifyBatchRequest { key_indexes: vec![0; items + 1], ..most.clone() };
        assert_eq!(counted(&index), Err(too_many.to_owned()));
        let end = VerifyBatchRequest { messages: packed(items + 1), ..most.clone() };
        assert_eq!(counted(&end), Err(too_many.to_owned()));
        let signature = VerifyBatchRequest { signature_ends: vec![0; items + 1], ..most };
        assert_eq!(counted(&signature), Err(too_many.to_owned()));
    }

    #[test]
    fn what_is_written_in_many_pieces_counts_as_much() {
        let unpacked = |number: u8| [number << 3, 7].repeat(VERIFY_ITEMS_MAX + 1);
        let pieces = |number: u8| [number << 3 | 2, 2, 7, 7].repeat(VERIFY_ITEMS_MAX / 2 + 1);
        let within = |number: u8, bytes: &[u8]| {
            let mut message = vec![number << 3 | 2];
            prost::encode_length_delimiter(bytes.len(), &mut message).unwrap();
            [&message, bytes].concat()
        };
        // In a group, which prost skips; and twice the half of it.
        let half = within(4, &[2 << 3, 7].repeat(VERIFY_ITEMS_MAX / 2 + 1));
        for hostile in [
            unpacked(2),
            unpacked(6),
            pieces(2),
            pieces(6),
            within(4, &unpacked(2)),
            within(4, &pieces(2)),
            half.repeat(2),
            [&[9 << 3 | 3][..], &unpacked(6), &[9 << 3 | 4]].concat(),
            [1 << 3 | 2, 0].repeat(VERIFY_KEYS_MAX + 1),
        ] {
            let refused = verify_batch_is_bounded(&hostile).unwrap_err();

            assert_eq!(refused.code(), tonic::Code::InvalidArgument, "{hostile:?}", hostile = &hostile[..8]);
        }
        assert!(verify_batch_is_bounded(&half).is_ok());
    }

    #[test]
    fn what_is_no_message_is_refused_as_prost_does() {
        for bytes in [&[0x08][..], &[0x0a, 5, 1], &[0x0f], &[0xff; 11], &[0x09, 1, 2], &[0x22, 1, 0x10]] {
            assert!(VerifyBatchRequest::decode(bytes).is_err(), "{bytes:?}");
            assert_eq!(verify_batch_is_bounded(bytes).unwrap_err().code(), tonic::Code::Internal, "{bytes:?}");
        }
    }
}
