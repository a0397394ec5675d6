//! A batch of JSON lines.

use std::io::{BufRead as _, Read as _};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;

use super::super::chunk::Kind;
use super::{MESSAGE_BYTES_MAX, SIGNATURE_BYTES_MAX, Source, unreadable, wrong};
use crate::failure::Failure;

/// The longest line: the longest message and signature in base64, and their names.
pub(super) const LINE_BYTES_MAX: usize = 4 * (MESSAGE_BYTES_MAX + SIGNATURE_BYTES_MAX) / 3 + 256;

/// A line.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Line {
    /// 64 hexadecimal digits.
    item: Option<String>,
    /// Base64.
    message: Option<String>,
    /// Base64.
    signature: String,
}

/// The next line's item; lines of spaces are left out. `None` at the end.
pub(super) fn item(
    source: &mut Source<'_>,
    index: u64,
    message: &mut Vec<u8>,
    signature: &mut Vec<u8>,
) -> Result<Option<Kind>, Failure> {
    let mut line = Vec::new();
    loop {
        line.clear();
        let limit = u64::try_from(LINE_BYTES_MAX).unwrap_or(u64::MAX);
        let read = (&mut source.reader).take(limit).read_until(b'\n', &mut line).map_err(unreadable)?;
        source.read_bytes = source.read_bytes.saturating_add(u64::try_from(read).unwrap_or(u64::MAX));
        if read == 0 {
            return Ok(None);
        }
        source.lines = source.lines.saturating_add(1);
        if read == LINE_BYTES_MAX && line.last() != Some(&b'\n') {
            let why = format!("line {} is longer than a message of 1 MiB makes it", source.lines);
            return Err(wrong(index, &why));
        }
        if !line.trim_ascii().is_empty() {
            break;
        }
    }
    let number = source.lines;
    let wrong = |why: &str| wrong(index, &format!("in line {number} {why}"));
    let not_an_object = "there is no JSON object of message or item, and signature";
    // serde takes an array of its fields for an object.
    if line.trim_ascii_start().first() != Some(&b'{') {
        return Err(wrong(not_an_object));
    }
    let parsed: Line = serde_json::from_slice(line.trim_ascii_end())
        .map_err(|error| wrong(&format!("{not_an_object}: {}", within_line(&error))))?;
    let decode = |text: &str, into: &mut Vec<u8>, what: &str| {
        STANDARD.decode_vec(text, into).map_err(|error| wrong(&format!("its {what} is not base64")).because(error))
    };
    decode(&parsed.signature, signature, "signature")?;
    if signature.len() > SIGNATURE_BYTES_MAX {
        return Err(wrong("its signature is longer than 4096 bytes"));
    }
    match (parsed.message, parsed.item) {
        (Some(text), None) => {
            decode(&text, message, "message")?;
            if message.len() > MESSAGE_BYTES_MAX {
                return Err(wrong("its message is longer than 1 MiB"));
            }
            Ok(Some(Kind::Message))
        }
        (None, Some(text)) => {
            let mut bytes = [0; 32];
            hex::decode_to_slice(text, &mut bytes)
                .map_err(|error| wrong("its item is not 64 hexadecimal digits").because(error))?;
            message.extend_from_slice(&bytes);
            Ok(Some(Kind::Item32))
        }
        (None, None) | (Some(_), Some(_)) => Err(wrong("it has to have either message or item")),
    }
}

/// What is wrong with a line, and where in it: to serde every line is the first one.
fn within_line(error: &serde_json::Error) -> String {
    let text = error.to_string();
    let place = format!(" at line {} column {}", error.line(), error.column());
    let what = text.strip_suffix(&place).unwrap_or(&text);
    format!("{what} (column {})", error.column())
}
