//! How messages are read off the wire: as prost reads them, but not where little on the wire is much in memory.
//!
//! A number of one byte takes four once it is read, and an empty message inside another one some fifty. A request of
//! very many items is all numbers or all small messages, so a hostile one is counted before anything is made of it.

use std::any::TypeId;
use std::marker::PhantomData;

use bytes::Buf as _;
use prost::Message;
use tonic::Status;
use tonic::codec::{Codec, DecodeBuf, Decoder};
use tonic_prost::{ProstDecoder, ProstEncoder};
use trust::format::release::FILES_MAX;
use trust::{Fault, FaultKind, Form};

use crate::{fault, v1};

/// The most statements of one `SignBatchRequest` that any daemon takes, however it is configured.
pub const SIGN_ITEMS_MAX: usize = 8192;
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
        // A message lies in one piece. If it did not, its rest would be missing here, and it would be refused.
        if TypeId::of::<U>() == TypeId::of::<v1::VerifyBatchRequest>() {
            verify_batch_is_bounded(buffer.chunk())?;
        } else if TypeId::of::<U>() == TypeId::of::<v1::SignBatchRequest>() {
            sign_batch_is_bounded(buffer.chunk())?;
        }
        self.0.decode(buffer)
    }
}

/// Counts what a `SignBatchRequest` would be made of.
fn sign_batch_is_bounded(message: &[u8]) -> Result<(), Status> {
    let [mut statements, mut forms, mut files, mut blob_forms] = [0_usize; 4];
    for field in Fields(message) {
        let Field { number, value } = field?;
        match number {
            2 => statements = statements.saturating_add(inside(value, 1, |_| 1)?),
            4 => forms = forms.saturating_add(value.numbers()),
            6 => {
                files = files.saturating_add(inside(value, 1, |_| 1)?);
                blob_forms = blob_forms.saturating_add(inside(value, 4, Value::numbers)?);
            }
            _ => {}
        }
    }
    if statements > SIGN_ITEMS_MAX {
        return Err(malformed("items: 1 to the daemon's batch_items_max"));
    }
    if files > FILES_MAX {
        return Err(malformed("release: at most 1024 files"));
    }
    if forms.max(blob_forms) > Form::ALL.len() {
        return Err(malformed("forms: each at most once"));
    }
    Ok(())
}

/// Counts what a `VerifyBatchRequest` would be made of.
fn verify_batch_is_bounded(message: &[u8]) -> Result<(), Status> {
    let [mut keys, mut key_indexes, mut message_ends, mut signature_ends] = [0_usize; 4];
    for field in Fields(message) {
        let Field { number, value } = field?;
        match number {
            1 => keys = keys.saturating_add(1),
            2 => key_indexes = key_indexes.saturating_add(value.numbers()),
            4 => message_ends = message_ends.saturating_add(inside(value, 2, Value::numbers)?),
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

/// What the fields of that number count, together, in a message that is a field of another one.
fn inside<'a>(message: Value<'a>, wanted: usize, count: fn(Value<'a>) -> usize) -> Result<usize, Status> {
    let Value::Bytes(message) = message else { return Ok(0) };
    let mut counted = 0_usize;
    for field in Fields(message) {
        let Field { number, value } = field?;
        if number == wanted {
            counted = counted.saturating_add(count(value));
        }
    }
    Ok(counted)
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
    use crate::v1::{
        BatchKey, PackedMessages, Release, ReleaseFile, SignBatchRequest, Statement, StatementList, VerifyBatchRequest,
        batch_key, sign_batch_request, verify_batch_request,
    };

    fn counted(message: &VerifyBatchRequest) -> Result<(), String> {
        verify_batch_is_bounded(&message.encode_to_vec()).map_err(|status| status.message().to_owned())
    }

    /// As a field of a message that says its length.
    fn within(number: u8, bytes: &[u8]) -> Vec<u8> {
        let mut message = vec![number << 3 | 2];
        prost::encode_length_delimiter(bytes.len(), &mut message).unwrap();
        [&message, bytes].concat()
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

    fn statements(count: usize) -> SignBatchRequest {
        let list = StatementList { statements: vec![Statement::default(); count] };
        SignBatchRequest { items: Some(sign_batch_request::Items::Statements(list)), ..SignBatchRequest::default() }
    }

    fn release(files: usize, forms: usize) -> SignBatchRequest {
        let release =
            Release { files: vec![ReleaseFile::default(); files], blob_forms: vec![1; forms], ..Release::default() };
        SignBatchRequest { items: Some(sign_batch_request::Items::Release(release)), ..SignBatchRequest::default() }
    }

    #[test]
    fn statements_that_some_daemon_takes_are_read_and_one_more_is_not() {
        let counted = |message: &SignBatchRequest| {
            sign_batch_is_bounded(&message.encode_to_vec()).map_err(|status| status.message().to_owned())
        };
        let forms = Form::ALL.len();
        let raw = |messages: usize| SignBatchRequest {
            items: Some(sign_batch_request::Items::RawMessages32(vec![0x12; 32 * messages].into())),
            ..SignBatchRequest::default()
        };

        for message in [statements(SIGN_ITEMS_MAX), release(FILES_MAX, forms), raw(100_000), raw(0)] {
            assert_eq!(counted(&SignBatchRequest { forms: vec![1; forms], ..message }), Ok(()));
        }
        for (message, refused) in [
            (statements(SIGN_ITEMS_MAX + 1), "items: 1 to the daemon's batch_items_max"),
            (release(FILES_MAX + 1, 0), "release: at most 1024 files"),
            (release(1, forms + 1), "forms: each at most once"),
            (SignBatchRequest { forms: vec![1; forms + 1], ..raw(1) }, "forms: each at most once"),
        ] {
            assert_eq!(counted(&message), Err(refused.to_owned()));
        }
    }

    #[test]
    fn statements_count_as_much_in_many_pieces_and_beside_other_items() {
        let half = within(2, &[1 << 3 | 2, 0].repeat(SIGN_ITEMS_MAX / 2 + 1));
        let files = within(6, &[1 << 3 | 2, 0].repeat(FILES_MAX / 2 + 1));
        let raw = within(3, &[7; 32]);
        for hostile in [
            // Some MiB of nothing, as a list and as lists of one each.
            within(2, &[1 << 3 | 2, 0].repeat(2_000_000)),
            [2 << 3 | 2, 2, 1 << 3 | 2, 0].repeat(100_000),
            half.repeat(2),
            [&half[..], &raw, &half].concat(),
            [&files[..], &raw, &files].concat(),
            within(4, &[1; 100_000]),
            [4 << 3, 1].repeat(100_000),
            within(6, &within(4, &[1; 100_000])),
        ] {
            let refused = sign_batch_is_bounded(&hostile).unwrap_err();

            assert_eq!(refused.code(), tonic::Code::InvalidArgument, "{hostile:?}", hostile = &hostile[..8]);
        }
        for fine in [&half[..], &files, &[&raw[..], &half, &files].concat()] {
            assert!(sign_batch_is_bounded(fine).is_ok());
        }
    }

    #[test]
    fn what_is_no_message_is_refused_as_prost_does() {
        for bytes in [&[0x08][..], &[0x0a, 5, 1], &[0x0f], &[0xff; 11], &[0x09, 1, 2], &[0x22, 1, 0x10]] {
            assert!(VerifyBatchRequest::decode(bytes).is_err(), "{bytes:?}");
            assert_eq!(verify_batch_is_bounded(bytes).unwrap_err().code(), tonic::Code::Internal, "{bytes:?}");
        }
        for bytes in [&[0x10][..], &[0x12, 5, 1], &[0x12, 1, 0x0a], &[0x32, 2, 0x22, 1], &[0x0f]] {
            assert!(SignBatchRequest::decode(bytes).is_err(), "{bytes:?}");
            assert_eq!(sign_batch_is_bounded(bytes).unwrap_err().code(), tonic::Code::Internal, "{bytes:?}");
        }
    }
}
