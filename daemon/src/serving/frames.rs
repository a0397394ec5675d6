//! What comes in over HTTP/2, frame by frame (RFC 9113 §4.1): how much of it is work, and what is only noise.
//!
//! h2 ends floods of resets, CONTINUATION and empty DATA by itself; a flood of PING or SETTINGS, each of which it must
//! answer, it does not. Here frames that carry no request cost a token; requests, their bytes and answers earn tokens, so
//! that a client that works may ping as it likes.

/// The connection preface (RFC 9113 §3.4), in bytes.
const PREFACE_BYTES: usize = 24;
const HEADER_BYTES: usize = 9;

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const CONTINUATION: u8 = 9;
const END_HEADERS: u8 = 4;

/// Tokens at the beginning, and the most there ever are.
const TOKENS_MAX: u64 = 4000;
/// Tokens for a second of waiting.
const TOKENS_PER_SECOND: u64 = 100;
/// Tokens for a request: its RST_STREAM, a window update, a PING to measure the way, its answer's window updates.
const TOKENS_PER_REQUEST: u64 = 8;
/// Bytes of requests or answers that earn one token.
const BYTES_PER_TOKEN: u64 = 1024;

/// Reads frame headers out of a stream of bytes and keeps account. It stores no payload.
#[derive(Debug)]
pub(super) struct Frames {
    at: At,
    /// A header block began and is not complete.
    in_block: bool,
    tokens: u64,
    /// Bytes that earned no whole token yet.
    spare_bytes: u64,
    refilled_ms: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum At {
    Preface { left: usize },
    Header { have: usize, length: usize, kind: u8, flags: u8 },
    Payload { left: usize },
}

const BETWEEN: At = At::Header { have: 0, length: 0, kind: 0, flags: 0 };

/// What some bytes were.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Progress {
    /// They end between two frames.
    Whole,
    /// They end inside a frame that had begun before them.
    Same,
    /// They end inside a frame that began in them.
    Begun,
    /// There is more noise than the account allows.
    Flood,
}

impl Frames {
    pub(super) const fn new() -> Self {
        Self {
            at: At::Preface { left: PREFACE_BYTES },
            in_block: false,
            tokens: TOKENS_MAX,
            spare_bytes: 0,
            refilled_ms: 0,
        }
    }

    /// Accounts for bytes that came in, at a time in milliseconds since the connection began.
    pub(super) fn read(&mut self, mut bytes: &[u8], now_ms: u64) -> Progress {
        self.refill(now_ms);
        let mut ended_one = false;
        while !bytes.is_empty() {
            let (next, taken) = step(self.at, bytes);
            let (_, rest) = bytes.split_at_checked(taken).unwrap_or_default();
            bytes = rest;
            self.at = next;
            if let At::Header { have: HEADER_BYTES, length, kind, flags } = next {
                if !self.begin(kind, flags, length) {
                    return Progress::Flood;
                }
                self.at = if length == 0 { BETWEEN } else { At::Payload { left: length } };
            }
            // A header block counts as one: a CONTINUATION is no progress by itself.
            ended_one |= self.at == BETWEEN && !self.in_block;
        }
        match (self.at == BETWEEN && !self.in_block, ended_one) {
            (true, _) => Progress::Whole,
            (false, true) => Progress::Begun,
            (false, false) => Progress::Same,
        }
    }

    /// Answers that went out earn tokens, too.
    pub(super) fn wrote(&mut self, bytes: usize) {
        self.earn_for(bytes);
    }

    /// Accounts for a frame; false when it is one too many.
    fn begin(&mut self, kind: u8, flags: u8, length: usize) -> bool {
        match kind {
            DATA => self.earn_for(length),
            HEADERS => {
                self.in_block = flags & END_HEADERS == 0;
                self.earn(TOKENS_PER_REQUEST);
            }
            CONTINUATION => self.in_block &= flags & END_HEADERS == 0,
            _ => match self.tokens.checked_sub(1) {
                Some(left) => self.tokens = left,
                None => return false,
            },
        }
        true
    }

    fn refill(&mut self, now_ms: u64) {
        let earned = now_ms.saturating_sub(self.refilled_ms).saturating_mul(TOKENS_PER_SECOND) / 1000;
        if earned > 0 {
            self.earn(earned);
            self.refilled_ms = now_ms;
        }
    }

    fn earn_for(&mut self, bytes: usize) {
        let bytes = self.spare_bytes.saturating_add(u64::try_from(bytes).unwrap_or(u64::MAX));
        self.spare_bytes = bytes % BYTES_PER_TOKEN;
        self.earn(bytes / BYTES_PER_TOKEN);
    }

    fn earn(&mut self, tokens: u64) {
        self.tokens = self.tokens.saturating_add(tokens).min(TOKENS_MAX);
    }
}

/// The next state, and how many bytes led to it; a complete header is left for the caller to look at.
fn step(at: At, bytes: &[u8]) -> (At, usize) {
    let after = |left: usize| (left.saturating_sub(bytes.len()), left.min(bytes.len()));
    match at {
        At::Preface { left } => match after(left) {
            (0, taken) => (BETWEEN, taken),
            (left, taken) => (At::Preface { left }, taken),
        },
        At::Payload { left } => match after(left) {
            (0, taken) => (BETWEEN, taken),
            (left, taken) => (At::Payload { left }, taken),
        },
        At::Header { mut have, mut length, mut kind, mut flags } => {
            let taken = HEADER_BYTES.saturating_sub(have).min(bytes.len());
            for byte in bytes.iter().take(taken) {
                match have {
                    0..=2 => length = length << 8 | usize::from(*byte),
                    3 => kind = *byte,
                    4 => flags = *byte,
                    _ => {}
                }
                have = have.saturating_add(1);
            }
            (At::Header { have, length, kind, flags }, taken)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

    fn frame(kind: u8, flags: u8, payload: usize) -> Vec<u8> {
        let length = u32::try_from(payload).unwrap().to_be_bytes();
        let mut bytes = vec![length[1], length[2], length[3], kind, flags, 0, 0, 0, 1];
        bytes.resize(HEADER_BYTES + payload, 0);
        bytes
    }

    fn begun() -> Frames {
        let mut frames = Frames::new();
        assert_eq!(frames.read(PREFACE, 0), Progress::Whole);
        frames
    }

    #[test]
    fn bytes_are_the_same_frames_however_they_are_cut() {
        let mut stream = PREFACE.to_vec();
        for (kind, flags, payload) in [(4, 0, 18), (HEADERS, END_HEADERS, 40), (DATA, 1, 5000), (6, 0, 8), (4, 1, 0)] {
            stream.extend(frame(kind, flags, payload));
        }
        let mut whole = Frames::new();
        assert_eq!(whole.read(&stream, 0), Progress::Whole);

        for size in 1..60 {
            let mut cut = Frames::new();
            let last = stream.chunks(size).map(|bytes| cut.read(bytes, 0)).last();

            assert_eq!((last, cut.tokens), (Some(Progress::Whole), whole.tokens), "{size}");
        }
    }

    #[test]
    fn a_frame_that_is_not_complete_is_known_to_be_begun() {
        let mut frames = begun();
        let headers = frame(HEADERS, END_HEADERS, 4);

        assert_eq!(frames.read(&headers[..3], 0), Progress::Same);
        assert_eq!(frames.read(&headers[3..11], 0), Progress::Same);
        assert_eq!(frames.read(&headers[11..], 0), Progress::Whole);
        assert_eq!(frames.read(&[headers.clone(), headers[..1].to_vec()].concat(), 0), Progress::Begun);
    }

    #[test]
    fn continuations_without_end_are_one_block_that_is_not_complete() {
        let mut frames = begun();
        assert_eq!(frames.read(&frame(HEADERS, 0, 4), 0), Progress::Same);

        assert_eq!(frames.read(&frame(CONTINUATION, 0, 4), 1000), Progress::Same);

        assert_eq!(frames.read(&frame(CONTINUATION, END_HEADERS, 4), 2000), Progress::Whole);
    }

    #[test]
    fn pings_and_settings_without_work_are_a_flood() {
        for kind in [4, 6, 2, 3, 8, 0x77] {
            let mut frames = begun();
            let noise = frame(kind, 0, 8);

            let first = (0..50_000).position(|_| frames.read(&noise, 0) == Progress::Flood);

            assert_eq!(first, Some(usize::try_from(TOKENS_MAX).unwrap()), "{kind}");
        }
    }

    #[test]
    fn a_client_that_works_may_ping() {
        let mut frames = begun();
        let exchange = [frame(HEADERS, END_HEADERS, 40), frame(DATA, 1, 300), frame(6, 0, 8), frame(8, 0, 4)].concat();

        for _ in 0..50_000 {
            assert_eq!(frames.read(&exchange, 0), Progress::Whole);
        }
        // Somebody who reads a long answer sends window updates and pings, and no requests.
        for _ in 0..50_000 {
            frames.wrote(16 * 1024);
            assert_eq!(frames.read(&[frame(8, 0, 4), frame(6, 0, 8)].concat(), 0), Progress::Whole);
        }
    }

    #[test]
    fn answering_pings_earns_nothing_worth_having() {
        let mut frames = begun();
        let ping = frame(6, 0, 8);

        let first = (0..50_000).position(|_| {
            frames.wrote(HEADER_BYTES + 8);
            frames.read(&ping, 0) == Progress::Flood
        });

        assert!(first.is_some());
    }

    #[test]
    fn rest_refills_the_account() {
        let mut frames = begun();
        let ping = frame(6, 0, 8);
        while frames.read(&ping, 0) != Progress::Flood {}

        assert_eq!(frames.tokens, 0);
        let mut later = Frames { at: BETWEEN, ..frames };
        assert_eq!(later.read(&ping, 1000), Progress::Whole);
        assert_eq!(later.tokens, TOKENS_PER_SECOND - 1);
    }
}
