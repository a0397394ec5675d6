//! Items of one message to a daemon: a chunk, or a part of one where the daemon takes less at once.

use std::ops::Range;

use bytes::Bytes;
use trust_proto::v1::{
    BatchKey, PackedMessages, VerifyBatchRequest, VerifyBatchResponse, batch_key, verify_batch_request,
};

use super::super::chunk::{Chunk, Kind};
use super::super::report::Reason;
use super::mistaken;
use crate::failure::Failure;

/// So many bytes of messages and signatures fit every daemon: with all else of a message they stay below the smallest
/// `message_kib_max`, 64 KiB.
const SURE_BYTES: usize = 32 * 1024;

/// How much goes into a message, at most; one item always does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Size {
    items: usize,
    bytes: usize,
}

impl Size {
    /// No bound but the chunk's: less than what a daemon takes that is not configured otherwise.
    pub(super) const WHOLE: Self = Self { items: usize::MAX, bytes: usize::MAX };

    /// Less, after that piece was refused; `None` where it has one item.
    ///
    /// A refusal does not say what was too much. First it is taken for the bytes, down to what every daemon takes; then
    /// only the items are left.
    pub(super) fn below(self, refused: &Piece) -> Option<Self> {
        match (refused.items(), refused.bytes()) {
            (0 | 1, _) => None,
            (_, bytes) if bytes > SURE_BYTES => Some(Self { bytes: (bytes / 2).max(SURE_BYTES), ..self }),
            (items, _) => Some(Self { items: items / 2, ..self }),
        }
    }
}

/// Items that are asked for in one message.
#[derive(Debug, Clone)]
pub(super) struct Piece {
    /// Which item of all is the first one, from 0.
    pub(super) first: u64,
    kind: Kind,
    messages: Bytes,
    message_ends: Vec<u32>,
    signatures: Bytes,
    signature_ends: Vec<u32>,
    /// Bytes of the batch that were read by then.
    pub(super) read_bytes: u64,
}

impl From<Chunk> for Piece {
    fn from(chunk: Chunk) -> Self {
        Self {
            first: chunk.first,
            kind: chunk.kind,
            messages: chunk.messages.into(),
            message_ends: chunk.message_ends,
            signatures: chunk.signatures.into(),
            signature_ends: chunk.signature_ends,
            read_bytes: chunk.read_bytes,
        }
    }
}

impl Piece {
    pub(super) const fn items(&self) -> usize {
        self.signature_ends.len()
    }

    const fn bytes(&self) -> usize {
        self.messages.len().saturating_add(self.signatures.len())
    }

    /// Whether it is one item that is so long that a daemon may not take it.
    pub(super) const fn is_long_item(&self) -> bool {
        self.items() == 1 && self.bytes() > SURE_BYTES
    }

    /// The same items in order, in pieces of that size.
    pub(super) fn cut(self, size: Size) -> Vec<Self> {
        if self.items() <= size.items && self.bytes() <= size.bytes {
            return vec![self];
        }
        let (mut pieces, mut from) = (Vec::new(), 0);
        for to in 1..=self.items() {
            let with_next = from..to.saturating_add(1);
            if to == self.items() || with_next.len() > size.items || self.bytes_of(&with_next) > size.bytes {
                pieces.push(self.part(from..to));
                from = to;
            }
        }
        pieces
    }

    /// Bytes of some of its items.
    fn bytes_of(&self, items: &Range<usize>) -> usize {
        span(&self.message_ends, items).len().saturating_add(span(&self.signature_ends, items).len())
    }

    /// Some of its items.
    fn part(&self, items: Range<usize>) -> Self {
        let (messages, message_ends) = part(&self.messages, &self.message_ends, &items);
        let (signatures, signature_ends) = part(&self.signatures, &self.signature_ends, &items);
        let first = self.first.saturating_add(u64::try_from(items.start).unwrap_or(u64::MAX));
        Self { first, messages, message_ends, signatures, signature_ends, ..*self }
    }

    /// It on the wire; the first message of a stream says under which key.
    pub(super) fn request(&self, key: Option<&str>) -> VerifyBatchRequest {
        let key = key.map(|key| BatchKey { kind: Some(batch_key::Kind::Key(key.to_owned())) });
        let bytes = self.messages.clone();
        let messages = match self.kind {
            Kind::Item32 => verify_batch_request::Messages::Items32(bytes),
            Kind::Message => {
                verify_batch_request::Messages::Packed(PackedMessages { bytes, ends: self.message_ends.clone() })
            }
        };
        VerifyBatchRequest {
            keys: key.into_iter().collect(),
            key_indexes: Vec::new(),
            messages: Some(messages),
            signatures: self.signatures.clone(),
            signature_ends: self.signature_ends.clone(),
        }
    }

    /// The verdicts in an answer, if it is one to this.
    pub(super) fn verdicts(&self, answer: &VerifyBatchResponse) -> Result<Vec<Result<(), Reason>>, Failure> {
        if answer.valid.len() != self.items().div_ceil(8) {
            return Err(mistaken("verdicts for another number of items"));
        }
        let mut verdicts: Vec<_> = (0..self.items())
            .map(|index| {
                let byte = answer.valid.get(index / 8).copied().unwrap_or(0);
                if byte >> (index % 8) & 1 == 1 { Ok(()) } else { Err(Reason::Wrong) }
            })
            .collect();
        for failure in &answer.failures {
            let index = usize::try_from(failure.index).unwrap_or(usize::MAX);
            match verdicts.get_mut(index) {
                Some(verdict @ Err(_)) => *verdict = Err(failure.reason().into()),
                _ => return Err(mistaken("a reason for an item that is verified")),
            }
        }
        Ok(verdicts)
    }
}

/// Where the bytes of some items are, by where each one ends; beyond the last one there is nothing.
fn span(ends: &[u32], items: &Range<usize>) -> Range<usize> {
    let end = |items: usize| {
        let end = items.min(ends.len()).checked_sub(1).and_then(|last| ends.get(last)).copied().unwrap_or(0);
        usize::try_from(end).unwrap_or(usize::MAX)
    };
    end(items.start)..end(items.end)
}

/// The bytes of some items, and where each one ends among them.
fn part(bytes: &Bytes, ends: &[u32], items: &Range<usize>) -> (Bytes, Vec<u32>) {
    let span = span(ends, items);
    let start = u32::try_from(span.start).unwrap_or(u32::MAX);
    let ends = ends.get(items.clone()).unwrap_or_default().iter().map(|end| end.saturating_sub(start)).collect();
    (bytes.slice(span), ends)
}

#[cfg(test)]
mod tests {
    use trust_proto::v1::{BatchFailure, VerifyFailure};

    use super::*;

    /// Items of such lengths, message and signature; each byte is the item's number.
    fn piece(kind: Kind, lengths: &[(usize, usize)]) -> Piece {
        let mut chunk = Chunk::new(kind, 100);
        for (number, (message, signature)) in (0_u8..=255).cycle().zip(lengths) {
            chunk.push(&vec![number; *message], &vec![number; *signature], 7);
        }
        chunk.into()
    }

    #[test]
    fn an_answer_is_taken_only_where_it_fits_what_was_asked() {
        let asked = piece(Kind::Message, &[(0, 0); 10]);
        let failure = |index| BatchFailure { index, reason: VerifyFailure::Distrusted.into() };
        let answer = |valid: &[u8], failures: &[BatchFailure]| {
            let answer = VerifyBatchResponse { valid: valid.to_vec().into(), failures: failures.to_vec() };
            asked.verdicts(&answer)
        };

        let verdicts = answer(&[0b1111_1101, 0b01], &[failure(1)]).unwrap();
        assert_eq!(verdicts[..3], [Ok(()), Err(Reason::Distrusted), Ok(())]);
        assert_eq!(verdicts[8..], [Ok(()), Err(Reason::Wrong)]);
        for (valid, failures) in [
            (&[0xff][..], vec![]),
            (&[0xff, 3, 0], vec![]),
            (&[0xff, 3], vec![failure(1)]),
            (&[0, 0], vec![failure(10)]),
        ] {
            assert_eq!(answer(valid, &failures).unwrap_err().exit().code(), 4, "{valid:?}");
        }
    }

    #[test]
    fn pieces_have_their_size_and_all_items_in_order() {
        let lengths = [(3, 1), (0, 0), (40, 2), (1, 1), (2, 0), (0, 3), (0, 0)];
        let whole = piece(Kind::Message, &lengths);

        let pieces = whole.clone().cut(Size { items: 3, bytes: 5 });

        let shape: Vec<_> = pieces.iter().map(|piece| (piece.first, piece.items(), piece.bytes())).collect();
        // The third one is longer than a piece is to be, and stands alone.
        assert_eq!(shape, [(100, 2, 4), (102, 1, 42), (103, 2, 4), (105, 2, 3)]);
        assert_eq!(pieces.iter().flat_map(|piece| piece.messages.to_vec()).collect::<Vec<_>>(), whole.messages);
        assert_eq!(pieces.iter().flat_map(|piece| piece.signatures.to_vec()).collect::<Vec<_>>(), whole.signatures);
        assert_eq!((&pieces[0].message_ends[..], &pieces[0].signature_ends[..]), (&[3, 3][..], &[1, 1][..]));
        assert_eq!((&pieces[2].message_ends[..], &pieces[2].signature_ends[..]), (&[1, 3][..], &[1, 1][..]));
        assert!(pieces.iter().all(|piece| piece.read_bytes == 7 && piece.kind == Kind::Message));
        assert_eq!(whole.clone().cut(Size::WHOLE).len(), 1);
        assert_eq!(whole.cut(Size { items: 1, bytes: 0 }).len(), lengths.len());
    }

    #[test]
    fn a_size_falls_until_every_daemon_takes_it() {
        let mut size = Size::WHOLE;
        let whole = piece(Kind::Item32, &[(32, 64); 4096]);
        let (mut refused, mut bytes) = (0, whole.bytes());

        while let Some(less) = size.below(&whole.clone().cut(size)[0]) {
            size = less;
            let first = &whole.clone().cut(size)[0];
            assert!(first.bytes() < bytes, "{size:?}");
            bytes = first.bytes();
            refused += 1;
        }

        assert_eq!((size, bytes), (Size { items: 1, bytes: SURE_BYTES }, 96));
        assert!(refused <= 13, "{refused}");
        let long = piece(Kind::Message, &[(SURE_BYTES, 64)]);
        assert!(long.is_long_item());
        assert_eq!(Size::WHOLE.below(&long), None);
    }

    #[test]
    fn a_sure_piece_fits_the_shortest_message_that_a_daemon_may_be_configured_for() {
        let key = "k".repeat(512);
        for lengths in [vec![(SURE_BYTES / 4096, 0); 4096], vec![(0, 0); 4096], vec![(SURE_BYTES - 64, 64)]] {
            let request = piece(Kind::Message, &lengths).request(Some(&key));

            let length = prost::Message::encoded_len(&request);
            assert!(length < 64 * 1024, "{length} bytes");
        }
    }
}
