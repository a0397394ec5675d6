//! The changefeed: which changes are asked for, and how they are written (SPEC §2.12).

use serde::Serialize;
use trust::format::tuf::Expires;

use super::refusal::NotServed;
use crate::publish::{Change, ChangeKind, Window};

/// How many changes somebody gets who says 0.
const COUNT: usize = 100;

/// A page.
#[derive(Serialize)]
struct Page<'a> {
    count: usize,
    records: Vec<Record<'a>>,
}

#[derive(Serialize)]
struct Record<'a> {
    #[serde(rename = "ID")]
    id: String,
    #[serde(rename = "CreatedAt")]
    made_at: String,
    #[serde(rename = "GUN")]
    gun: &'a str,
    #[serde(rename = "Version")]
    version: u32,
    #[serde(rename = "SHA256")]
    sha256: String,
    #[serde(rename = "Category")]
    category: &'static str,
}

/// Which changes the parameters of a query ask for.
pub(super) fn window(query: &str) -> Result<Window, NotServed> {
    let records = parameter(query, "records").unwrap_or_default();
    let count = records.parse::<i32>().map_err(|error| {
        use std::num::IntErrorKind::{NegOverflow, PosOverflow};
        let why = match error.kind() {
            PosOverflow | NegOverflow => "value out of range",
            _ => "invalid syntax",
        };
        let quoted: String = records.chars().map(quoted).collect();
        NotServed::Parameters(Some(format!("invalid records parameter: strconv.ParseInt: parsing \"{quoted}\": {why}")))
    })?;
    let id = match parameter(query, "change_id").unwrap_or_default() {
        text if text.is_empty() => 0,
        text => text.parse::<i64>().map_err(|_| NotServed::Parameters(None))?,
    };
    let many = usize::try_from(count.unsigned_abs()).unwrap_or(usize::MAX);
    let many = if many == 0 { COUNT } else { many };
    match u64::try_from(id) {
        Ok(id) if count >= 0 => Ok(Window::After { id, count: many }),
        // A number below one is before nothing: the newest are asked for.
        id => Ok(Window::Before { id: id.ok().filter(|id| *id > 0), count: many }),
    }
}

/// The first value of a parameter, decoded.
fn parameter(query: &str, wanted: &str) -> Option<String> {
    url::form_urlencoded::parse(query.as_bytes()).find_map(|(name, value)| (name == wanted).then(|| value.into_owned()))
}

/// A character as Go's `strconv.Quote` has it.
fn quoted(character: char) -> String {
    match character {
        '\x07' => "\\a".to_owned(),
        '\x08' => "\\b".to_owned(),
        '\t' => "\\t".to_owned(),
        '\n' => "\\n".to_owned(),
        '\x0b' => "\\v".to_owned(),
        '\x0c' => "\\f".to_owned(),
        '\r' => "\\r".to_owned(),
        '"' | '\\' => format!("\\{character}"),
        ' '..='~' => character.to_string(),
        '\0'..='\x7f' => format!("\\x{:02x}", u32::from(character)),
        // Behind another one, a mark that joins it is printable, too.
        _ if format!("a{character}").escape_debug().count() == 2 => character.to_string(),
        ..='\u{ffff}' => format!("\\u{:04x}", u32::from(character)),
        _ => format!("\\U{:08x}", u32::from(character)),
    }
}

/// A page as JSON.
pub(super) fn page(changes: &[Change]) -> Result<String, NotServed> {
    let records = changes.iter().map(record).collect::<Option<Vec<_>>>().ok_or(NotServed::Internal)?;
    let page = Page { count: records.len(), records };
    serde_json::to_string(&page).map_err(|_| NotServed::Internal)
}

fn record(change: &Change) -> Option<Record<'_>> {
    let seconds = i64::try_from(change.made_at_unix_ms / 1000).ok()?;
    let date = Expires::at(seconds).ok()?.to_string();
    // With its fraction, and that without zeros at the end, as Go writes it.
    let fraction = format!("{:03}", change.made_at_unix_ms % 1000);
    let made_at = match fraction.trim_end_matches('0') {
        "" => date,
        digits => format!("{}.{digits}Z", date.trim_end_matches('Z')),
    };
    let (version, sha256, category) = match &change.kind {
        ChangeKind::Update { version, sha256 } => (version.number(), sha256.to_hex(), "update"),
        ChangeKind::Deletion => (0, String::new(), "deletion"),
    };
    Some(Record { id: change.id.to_string(), made_at, gun: change.gun.as_str(), version, sha256, category })
}

#[cfg(test)]
mod tests {
    use trust::Sha256Digest;
    use trust::format::tuf::Version;

    use super::*;

    #[test]
    fn each_query_asks_for_its_window() {
        let text = |query| format!("{:?}", window(query).unwrap());
        for (query, expected) in [
            ("records=0", "After { id: 0, count: 100 }"),
            ("records=2", "After { id: 0, count: 2 }"),
            ("records=%32&x=1", "After { id: 0, count: 2 }"),
            ("records=2&change_id=7", "After { id: 7, count: 2 }"),
            ("records=2&change_id=", "After { id: 0, count: 2 }"),
            ("records=-2", "Before { id: None, count: 2 }"),
            ("records=-2&change_id=3", "Before { id: Some(3), count: 2 }"),
            ("records=2&change_id=-1", "Before { id: None, count: 2 }"),
            ("records=2147483647", "After { id: 0, count: 2147483647 }"),
            ("records=-2147483648", "Before { id: None, count: 2147483648 }"),
        ] {
            assert_eq!(text(query), expected, "{query}");
        }
    }

    #[test]
    fn what_is_no_number_is_refused_in_gos_words() {
        let words = |query| match window(query) {
            Err(NotServed::Parameters(words)) => words,
            other => panic!("{query}: {other:?}"),
        };
        for (query, expected) in [
            ("", "parsing \"\": invalid syntax"),
            ("records=abc", "parsing \"abc\": invalid syntax"),
            ("records=99999999999", "parsing \"99999999999\": value out of range"),
            ("records=a%22b", "parsing \"a\\\"b\": invalid syntax"),
            ("records=%00%07%0b%7f%5c'%20", r#"parsing "\x00\a\v\x7f\\' ": invalid syntax"#),
            ("records=%c3%a9e%cc%81%f0%9f%98%80", "parsing \"ée\u{301}😀\": invalid syntax"),
            ("records=%c2%85%e2%80%8b%f3%a0%80%81", r#"parsing "\u0085\u200b\U000e0001": invalid syntax"#),
        ] {
            let expected = format!("invalid records parameter: strconv.ParseInt: {expected}");
            assert_eq!(words(query), Some(expected), "{query}");
        }
        assert_eq!(words("records=2&change_id=x"), None);
        assert_eq!(words("records=2&change_id=99999999999999999999"), None);
    }

    #[test]
    fn a_page_is_written_as_the_original_writes_it() {
        let gun = "ex.io/a".parse().unwrap();
        let sha256 = Sha256Digest::of(b"");
        let changes = [
            Change {
                id: 46,
                made_at_unix_ms: 1_795_411_412_870,
                gun,
                kind: ChangeKind::Update { version: Version::FIRST, sha256 },
            },
            Change {
                id: 47,
                made_at_unix_ms: 1_795_411_413_000,
                gun: "ex.io/a".parse().unwrap(),
                kind: ChangeKind::Deletion,
            },
        ];

        assert_eq!(
            page(&changes).unwrap(),
            format!(
                "{{\"count\":2,\"records\":[{{\"ID\":\"46\",\"CreatedAt\":\"2026-11-23T05:23:32.87Z\",\"GUN\":\"ex.io/a\",\
             \"Version\":1,\"SHA256\":\"{}\",\"Category\":\"update\"}},{{\"ID\":\"47\",\"CreatedAt\":\
             \"2026-11-23T05:23:33Z\",\"GUN\":\"ex.io/a\",\"Version\":0,\"SHA256\":\"\",\"Category\":\"deletion\"}}]}}",
                sha256.to_hex()
            )
        );
        assert_eq!(page(&[]).unwrap(), "{\"count\":0,\"records\":[]}");
    }
}
