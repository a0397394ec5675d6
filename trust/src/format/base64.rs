//! Base64 as the formats write it: RFC 4648 §4, with padding.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::Malformed;

/// Writes `bytes` with padding and without line breaks.
pub(crate) fn encode(bytes: &[u8]) -> String {
    STANDARD.encode(bytes)
}

/// Reads what [`encode`] writes; line breaks are skipped, because tools of the field wrap lines. Anything else is
/// refused: the URL alphabet, missing padding, left-over bits.
pub(crate) fn decode(what: &'static str, text: &str) -> Result<Vec<u8>, Malformed> {
    const EXPECTED: &str = "base64 (RFC 4648 section 4) with padding";
    let broken = text.bytes().any(|b| matches!(b, b'\n' | b'\r'));
    let decoded = if broken {
        STANDARD.decode(text.bytes().filter(|b| !matches!(b, b'\n' | b'\r')).collect::<Vec<u8>>())
    } else {
        STANDARD.decode(text)
    };
    decoded.map_err(|_| Malformed::new(what, EXPECTED))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn other_alphabets_missing_padding_and_left_over_bits_are_refused() {
        for text in ["-_8=", "AA", "AAA", "AB==", "A A=", "AA==AA==", "AA===", "=", "A\u{e9}=="] {
            assert!(decode("signature", text).is_err(), "{text}");
        }
    }

    #[test]
    fn line_breaks_are_skipped() {
        assert_eq!(decode("signature", "aGVs\r\nbG8=\n").unwrap(), b"hello");
        assert_eq!(encode(b"hello"), "aGVsbG8=");
    }
}
