//! The canonical writer: RFC 8785 (JSON Canonicalization Scheme) over values whose numbers are integers.

use std::fmt::Write as _;

use super::{Object, Value};

/// The one canonical text of `value`: no white space, members sorted by the UTF-16 code units of their names, the
/// shortest escapes (RFC 8785 §3.2).
#[must_use]
pub fn canonical(value: &Value) -> Vec<u8> {
    let mut text = String::new();
    write(&mut text, value);
    text.into_bytes()
}

fn write(text: &mut String, value: &Value) {
    match value {
        Value::Array(items) => {
            text.push('[');
            for (index, item) in items.iter().enumerate() {
                separate(text, index);
                write(text, item);
            }
            text.push(']');
        }
        Value::Bool(true) => text.push_str("true"),
        Value::Bool(false) => text.push_str("false"),
        Value::Integer(integer) => text.push_str(&integer.number().to_string()),
        Value::Null => text.push_str("null"),
        Value::Object(members) => write_object(text, members),
        Value::String(string) => write_string(text, string),
    }
}

fn write_object(text: &mut String, members: &Object) {
    // The map is in the order of code points. UTF-16 has another where a name holds U+E000 to U+FFFF and another
    // a character beyond: surrogates come first.
    let mut sorted: Vec<(&String, &Value)> = members.iter().collect();
    sorted.sort_by(|(a, _), (b, _)| a.encode_utf16().cmp(b.encode_utf16()));
    text.push('{');
    for (index, (name, value)) in sorted.into_iter().enumerate() {
        separate(text, index);
        write_string(text, name);
        text.push(':');
        write(text, value);
    }
    text.push('}');
}

fn separate(text: &mut String, index: usize) {
    if index > 0 {
        text.push(',');
    }
}

fn write_string(text: &mut String, string: &str) {
    text.push('"');
    for c in string.chars() {
        match c {
            '"' => text.push_str("\\\""),
            '\\' => text.push_str("\\\\"),
            '\u{8}' => text.push_str("\\b"),
            '\t' => text.push_str("\\t"),
            '\n' => text.push_str("\\n"),
            '\u{c}' => text.push_str("\\f"),
            '\r' => text.push_str("\\r"),
            control if control < ' ' => {
                // Writing to a String cannot fail.
                let _ = write!(text, "\\u{:04x}", u32::from(control));
            }
            other => text.push(other),
        }
    }
    text.push('"');
}
