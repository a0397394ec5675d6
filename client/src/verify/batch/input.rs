//! The items of a batch as they stand in a file: JSON lines, or packed. docs/verify.md has both to the byte.
//!
//! Read once and in order, in chunks of bounded size, however long the file is. What cannot be read ends it: an item
//! that was taken for another one would get its verdict.

mod feed;
mod lines;
mod packed;

use std::io::{self, BufRead as _, BufReader, Read};

use tokio::time::Instant;

use super::chunk::Chunk;
use crate::failure::Failure;
use feed::Feed;
use packed::Header;

/// The longest message, in bytes.
const MESSAGE_BYTES_MAX: usize = 1024 * 1024;
/// The longest signature, in bytes; RSA-4096 makes 512, and ML-DSA-65 makes 3309.
const SIGNATURE_BYTES_MAX: usize = 4096;
/// What a packed file begins with.
const MAGIC: &[u8; 8] = b"trustdv1";
/// Bytes that are read from a file at once.
const READ_BYTES: usize = 256 * 1024;
/// What to do about a batch that cannot be read.
const FORMATS: &str = "a line for each item, {\"message\": BASE64, \"signature\": BASE64}, or packed: docs/verify.md, \"Many signatures\"";

/// Reads everything and hands it to `take`, in chunks of at most so many items, until `take` says that nobody wants more.
///
/// Where more bytes have to be waited for, `may_wait` says whether items may that came at that time; otherwise they are
/// handed out before.
pub(super) fn read(
    mut source: impl Read,
    items_max: usize,
    mut may_wait: impl FnMut(Instant) -> bool,
    mut take: impl FnMut(Chunk) -> bool,
) -> Result<(), Failure> {
    let feed = Feed::new(&mut source, &mut may_wait, &mut take, items_max);
    let mut source = Source { reader: BufReader::with_capacity(READ_BYTES, feed), read_bytes: 0, lines: 0 };
    let format = source.format()?;
    let mut index: u64 = 0;
    let (mut message, mut signature) = (Vec::new(), Vec::new());
    loop {
        message.clear();
        signature.clear();
        let item = match format {
            Format::Lines => lines::item(&mut source, index, &mut message, &mut signature),
            Format::Packed(header) => packed::item(&mut source, header, index, &mut message, &mut signature),
        };
        let feed = source.reader.get_mut();
        match item {
            Ok(Some(kind)) => {
                if !feed.push(kind, (&message, &signature), index, source.read_bytes) {
                    return Ok(());
                }
            }
            // What stands before it has its verdicts, whatever comes here.
            ended => {
                feed.hand_out();
                ended?;
                break;
            }
        }
        index = index.saturating_add(1);
    }
    if index == 0 { Err(Failure::usage("there is no item in the batch", FORMATS)) } else { Ok(()) }
}

/// How a file is written.
#[derive(Debug, Clone, Copy)]
enum Format {
    Lines,
    Packed(Header),
}

/// A batch that is being read.
struct Source<'a> {
    reader: BufReader<Feed<'a>>,
    /// Bytes that items were made of.
    read_bytes: u64,
    /// Lines that were read, empty ones among them.
    lines: u64,
}

impl Source<'_> {
    /// Looks at the beginning; a packed file's head is read.
    fn format(&mut self) -> Result<Format, Failure> {
        let mut have = 0;
        // A pipe may give less than the whole word at first.
        while let Some(rest) = MAGIC.get(have..).filter(|rest| !rest.is_empty()) {
            let bytes = self.reader.fill_buf().map_err(unreadable)?;
            let same = rest.iter().zip(bytes).take_while(|(wanted, byte)| wanted == byte).count();
            let is_other = bytes.is_empty() || same < rest.len().min(bytes.len());
            self.reader.consume(same);
            have += same;
            if is_other {
                break;
            }
        }
        match have {
            // A line begins with a brace or a space, never with a letter.
            0 => Ok(Format::Lines),
            8 => {
                self.read_bytes = 8;
                Header::read(self).map(Format::Packed)
            }
            _ => Err(Failure::usage("the batch is in no known format", FORMATS)),
        }
    }
}

/// An item that cannot be read.
fn wrong(index: u64, why: &str) -> Failure {
    Failure::usage(format!("item {index} of the batch cannot be read: {why}"), FORMATS)
}

fn unreadable(error: io::Error) -> Failure {
    Failure::other("read the batch", "may you read it, and is it a file or a pipe?").because(error)
}

#[cfg(test)]
mod tests {
    use super::super::chunk::{CHUNK_BYTES, ITEMS_MAX, Kind, SLOW_ITEMS_MAX};
    use super::lines::LINE_BYTES_MAX;
    use super::*;

    const PATIENT: fn(Instant) -> bool = |_| true;

    fn chunks(bytes: &[u8]) -> Result<Vec<Chunk>, Failure> {
        let mut chunks = Vec::new();
        read(bytes, ITEMS_MAX, PATIENT, |chunk| {
            chunks.push(chunk);
            true
        })?;
        Ok(chunks)
    }

    /// Reads a byte at a time, as a slow pipe does.
    struct Slow<'a>(&'a [u8]);

    impl Read for Slow<'_> {
        fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
            let length = into.len().min(1);
            self.0.read(&mut into[..length])
        }
    }

    fn packed(kind: u32, signature_bytes: u32, records: &[&[u8]]) -> Vec<u8> {
        [&MAGIC[..], &kind.to_le_bytes(), &signature_bytes.to_le_bytes(), &records.concat()].concat()
    }

    #[test]
    fn lines_and_packed_items_are_the_same_chunks() {
        let item = "07".repeat(32);
        let lines = format!(
            "{{\"item\":\"{item}\",\"signature\":\"CQk=\"}}\n\n  \n{{\"signature\":\"CQ==\",\"item\":\"{item}\"}}"
        );
        let records = packed(1, 0, &[&[7; 32], &2_u32.to_le_bytes(), &[9, 9], &[7; 32], &1_u32.to_le_bytes(), &[9]]);

        let (of_lines, of_records) = (chunks(lines.as_bytes()).unwrap(), chunks(&records).unwrap());

        let expected = Chunk {
            first: 0,
            kind: Kind::Item32,
            messages: vec![7; 64],
            message_ends: vec![32, 64],
            signatures: vec![9; 3],
            signature_ends: vec![2, 3],
            read_bytes: u64::try_from(records.len()).unwrap(),
        };
        assert_eq!(of_records, std::slice::from_ref(&expected));
        let read_bytes = u64::try_from(lines.len()).unwrap();
        assert_eq!(of_lines, [Chunk { read_bytes, ..expected }]);
        let mut slowly = Vec::new();
        for bytes in [lines.as_bytes(), &records] {
            read(Slow(bytes), ITEMS_MAX, PATIENT, |chunk| {
                slowly.push(chunk);
                true
            })
            .unwrap();
        }
        assert_eq!(slowly, [of_lines, of_records].concat());
    }

    #[test]
    fn a_chunk_ends_where_it_is_full_and_where_the_kind_changes() {
        let line = |message: &str| format!("{{\"message\":\"{message}\",\"signature\":\"\"}}\n");
        let item = format!("{{\"item\":\"{}\",\"signature\":\"\"}}\n", "00".repeat(32));
        let lines = line("").repeat(ITEMS_MAX + 1) + &item + &line(&"AAAA".repeat(CHUNK_BYTES / 3)) + &line("");

        let chunks = chunks(lines.as_bytes()).unwrap();

        let shape: Vec<_> = chunks.iter().map(|chunk| (chunk.first, chunk.kind, chunk.items())).collect();
        let (m, i) = (Kind::Message, Kind::Item32);
        assert_eq!(shape, [(0, m, 4096), (4096, m, 1), (4097, i, 1), (4098, m, 2)]);
        let mut of_slow_ones = Vec::new();
        read(line("").repeat(SLOW_ITEMS_MAX + 1).as_bytes(), SLOW_ITEMS_MAX, PATIENT, |chunk| {
            of_slow_ones.push((chunk.first, chunk.items()));
            true
        })
        .unwrap();
        assert_eq!(of_slow_ones, [(0, 256), (256, 1)]);
    }

    #[test]
    fn what_was_read_does_not_wait_for_what_may_never_come() {
        let good = "{\"message\":\"\",\"signature\":\"\"}\n";
        // The pipe gives two items and the beginning of a third one, and later its rest and another one.
        let (first, second) = (format!("{good}{good}{{"), format!("{}{good}", &good[1..]));
        let events = std::cell::RefCell::new(Vec::new());
        let mut asked = 0;

        read(
            first.as_bytes().chain(second.as_bytes()),
            ITEMS_MAX,
            |_| {
                asked += 1;
                events.borrow_mut().push("would wait".to_owned());
                asked > 1
            },
            |chunk| {
                events.borrow_mut().push(format!("{} from {}", chunk.items(), chunk.first));
                true
            },
        )
        .unwrap();

        // Asked again only where items wait: at the end of the rest.
        assert_eq!(*events.borrow(), ["would wait", "2 from 0", "would wait", "2 from 2"]);
    }

    #[test]
    fn what_cannot_be_read_is_named_by_its_number() {
        let long = "A".repeat(4 * 350_000 + 4);
        let good = "{\"message\":\"\",\"signature\":\"\"}\n";
        for (bytes, word) in [
            (b"".to_vec(), "no item"),
            (b" \n".to_vec(), "no item"),
            (b"trustd 1".to_vec(), "no known format"),
            (b"trust".to_vec(), "no known format"),
            (format!("{good}{{}}").into_bytes(), "item 1"),
            (format!("{good}[]").into_bytes(), "item 1"),
            (b"{\"signature\":\"\"}".to_vec(), "either message or item"),
            (b"{\"message\":\"\",\"item\":\"\",\"signature\":\"\"}".to_vec(), "either message or item"),
            (b"{\"item\":\"00\",\"signature\":\"\"}".to_vec(), "64 hexadecimal"),
            (b"{\"message\":\"%\",\"signature\":\"\"}".to_vec(), "not base64"),
            (b"{\"message\":\"\",\"signature\":\"\",\"kay\":1}".to_vec(), "kay"),
            (format!("{{\"message\":\"{long}\",\"signature\":\"\"}}").into_bytes(), "1 MiB"),
            (vec![b' '; LINE_BYTES_MAX + 1], "line 1 is longer"),
            (
                format!("{good}\n \n{{\"signature\":}}").into_bytes(),
                "item 1 of the batch cannot be read: in line 4 there",
            ),
            (format!("{good}\n\n {{\"signature\":}}").into_bytes(), "expected value (column 15)"),
            (b"[null,\"\",\"\"]".to_vec(), "in line 1 there is no JSON object"),
            (packed(3, 64, &[]), "kind 3"),
            (packed(1, 4097, &[]), "4096"),
            (packed(1, 64, &[]), "no item"),
            (packed(1, 64, &[&[0; 95]]), "ends inside it"),
            (packed(1, 64, &[&[0; 96], &[0; 5]]), "item 1"),
            (packed(2, 0, &[&[1, 0, 0, 0, 7, 9]]), "ends inside it"),
            (packed(2, 0, &[&[0, 0, 32, 0]]), "2097152 bytes"),
            (MAGIC.to_vec(), "ends inside"),
        ] {
            let failure = chunks(&bytes).unwrap_err();

            assert_eq!(failure.exit().code(), 2, "{failure:?}");
            assert!(failure.what().contains(word), "{word}: {failure:?}");
        }
    }

    #[test]
    fn what_stands_before_what_cannot_be_read_is_handed_out() {
        let good = "{\"message\":\"\",\"signature\":\"\"}\n";
        let mut items = Vec::new();

        let failure = read(format!("{good}{good}{{").as_bytes(), ITEMS_MAX, PATIENT, |chunk| {
            items.push(chunk.items());
            true
        });

        assert!(failure.unwrap_err().what().contains("item 2"));
        assert_eq!(items, [2]);
    }

    #[test]
    fn reading_ends_when_nobody_wants_more() {
        let records = packed(1, 1, &[&vec![0; 33 * (2 * ITEMS_MAX)]]);
        let mut seen = 0;

        read(&records[..], ITEMS_MAX, PATIENT, |_| {
            seen += 1;
            false
        })
        .unwrap();

        assert_eq!(seen, 1);
    }

    proptest::proptest! {
        #[test]
        fn whatever_is_packed_comes_back(items in proptest::collection::vec((proptest::collection::vec(0_u8.., 0..50), proptest::collection::vec(0_u8.., 0..50)), 1..20)) {
            let records: Vec<Vec<u8>> = items
                .iter()
                .flat_map(|(message, signature)| [message, signature])
                .map(|bytes| [&u32::try_from(bytes.len()).unwrap().to_le_bytes()[..], bytes].concat())
                .collect();
            let records: Vec<&[u8]> = records.iter().map(Vec::as_slice).collect();

            let chunk = chunks(&packed(2, 0, &records)).unwrap().pop().unwrap();

            let cut = |bytes: &[u8], ends: &[u32]| -> Vec<Vec<u8>> {
                let starts = std::iter::once(0).chain(ends.iter().copied());
                starts.zip(ends).map(|(from, to)| bytes[usize::try_from(from).unwrap()..usize::try_from(*to).unwrap()].to_vec()).collect()
            };
            let (messages, signatures): (Vec<_>, Vec<_>) = items.into_iter().unzip();
            assert_eq!(cut(&chunk.messages, &chunk.message_ends), messages);
            assert_eq!(cut(&chunk.signatures, &chunk.signature_ends), signatures);
        }
    }
}
