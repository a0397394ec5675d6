//! The canonical form that Notary's signatures cover.

use crate::Sha256Digest;
use crate::format::base64;
use crate::format::json::{Object, Value};

/// The one text of `value` that signatures cover: members in the order of their names' bytes, no white space, and
/// only `"` and `\` escaped. Control characters stand as they are, so it is JSON only where there are none: it is
/// for hashing and signing, not for reading back.
#[must_use]
pub fn canonical(value: &Value) -> Vec<u8> {
    let mut text = Vec::new();
    write(&mut text, value, write_string);
    text
}

/// A file of what is signed and the lines of its signatures, as Go writes it.
pub(super) fn file(signed: &Value, signatures: &[Value]) -> Vec<u8> {
    let mut text = b"{\"signed\":".to_vec();
    write(&mut text, signed, write_json_string);
    text.extend_from_slice(b",\"signatures\":");
    write_array(&mut text, signatures, write_json_string);
    text.push(b'}');
    text
}

/// A line of its signatures: bytes of a signature as a key's method has them.
pub(super) fn line(key: Sha256Digest, method: &str, signature: &[u8]) -> Value {
    Value::object([
        ("keyid", key.to_hex().into()),
        ("method", method.into()),
        ("sig", base64::encode(signature).into()),
    ])
}

/// How a string is written.
type Strings = fn(&mut Vec<u8>, &str);

fn write(text: &mut Vec<u8>, value: &Value, strings: Strings) {
    match value {
        Value::Array(items) => write_array(text, items, strings),
        Value::Bool(truth) => text.extend_from_slice(if *truth { b"true" } else { b"false" }),
        Value::Integer(integer) => text.extend_from_slice(integer.number().to_string().as_bytes()),
        Value::Null => text.extend_from_slice(b"null"),
        Value::Object(members) => write_object(text, members, strings),
        Value::String(string) => strings(text, string),
    }
}

fn write_array(text: &mut Vec<u8>, items: &[Value], strings: Strings) {
    text.push(b'[');
    for (index, item) in items.iter().enumerate() {
        separate(text, index);
        write(text, item, strings);
    }
    text.push(b']');
}

/// The map is in the order of code points, which is that of UTF-8's bytes.
fn write_object(text: &mut Vec<u8>, members: &Object, strings: Strings) {
    text.push(b'{');
    for (index, (name, value)) in members.iter().enumerate() {
        separate(text, index);
        strings(text, name);
        text.push(b':');
        write(text, value, strings);
    }
    text.push(b'}');
}

fn separate(text: &mut Vec<u8>, index: usize) {
    if index > 0 {
        text.push(b',');
    }
}

fn write_string(text: &mut Vec<u8>, string: &str) {
    text.push(b'"');
    for byte in string.bytes() {
        if matches!(byte, b'"' | b'\\') {
            text.push(b'\\');
        }
        text.push(byte);
    }
    text.push(b'"');
}

/// JSON with the escapes of Go, which does not want `<`, `>` and `&` in the middle of HTML.
fn write_json_string(text: &mut Vec<u8>, string: &str) {
    text.push(b'"');
    for letter in string.chars() {
        match letter {
            '"' => text.extend_from_slice(b"\\\""),
            '\\' => text.extend_from_slice(b"\\\\"),
            '\n' => text.extend_from_slice(b"\\n"),
            '\r' => text.extend_from_slice(b"\\r"),
            '\t' => text.extend_from_slice(b"\\t"),
            '<' | '>' | '&' | '\u{2028}' | '\u{2029}' | '\0'..='\u{1f}' => {
                text.extend_from_slice(format!("\\u{:04x}", u32::from(letter)).as_bytes());
            }
            letter => text.extend_from_slice(letter.encode_utf8(&mut [0; 4]).as_bytes()),
        }
    }
    text.push(b'"');
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::json::read;

    #[test]
    fn quotes_and_backslashes_are_escaped_and_nothing_else() {
        let value = read("text", br#"{"b":[1,-2,true,null],"a":"\u0026<\n\u0000\"\\\u00e9\/"}"#, 100).unwrap();

        assert_eq!(canonical(&value), "{\"a\":\"&<\n\0\\\"\\\\\u{e9}/\",\"b\":[1,-2,true,null]}".as_bytes());
    }

    #[test]
    fn a_file_escapes_what_go_escapes_and_is_read_back_as_it_was() {
        let value = Value::object([("a", "<&>\u{2028}\n\t\r\0\u{1f}\u{7f}\"\\\u{e9}/".into())]);

        let text = file(&value, &[Value::Null]);

        let expected = r#"{"signed":{"a":"\u003c\u0026\u003e\u2028\n\t\r\u0000\u001f"#.to_owned()
            + "\u{7f}"
            + r#"\"\\\u{e9}/"},"signatures":[null]}"#.replace("\\u{e9}", "\u{e9}").as_str();
        assert_eq!(String::from_utf8(text.clone()).unwrap(), expected);
        assert_eq!(read("text", &text, 200).unwrap().member("signed"), Some(&value));
    }

    #[test]
    fn names_are_in_the_order_of_their_bytes_and_not_of_utf_16() {
        let value = read("text", "{\"\u{10000}\":1,\"\u{ffff}\":2}".as_bytes(), 100).unwrap();

        assert_eq!(canonical(&value), "{\"\u{ffff}\":2,\"\u{10000}\":1}".as_bytes());
    }
}
