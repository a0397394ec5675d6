//! The strict JSON reader and the canonical writer.
#![cfg(feature = "formats")]
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test may fail")]

mod beside;

use proptest::prelude::*;
use trust::format::json::{DEPTH_MAX, Integer, Object, VALUES_MAX, Value, canonical, read};

use beside::beside;

const BYTES_MAX: usize = 4 * 1024 * 1024;

fn read_text(text: &str) -> Result<Value, trust::Malformed> {
    read("test", text.as_bytes(), BYTES_MAX)
}

fn refusal(text: &str) -> String {
    read_text(text).unwrap_err().to_string()
}

#[test]
fn a_key_that_stands_twice_is_refused_however_it_is_spelled() {
    for text in [r#"{"a":1,"a":1}"#, r#"{"a":1,"\u0061":2}"#, r#"[{"x":{"b":null,"c":0,"b":0}}]"#] {
        assert!(refusal(text).contains("each key"), "{text}");
    }
}

#[test]
fn numbers_that_readers_disagree_about_are_refused() {
    for text in ["1.0", "1e2", "-0", "0.5", "9007199254740992", "-9007199254740992", "18446744073709551616"] {
        assert!(refusal(text).contains("integers"), "{text}");
    }
    for text in ["01", "+1", ".5", "1.", "NaN", "Infinity", "0x1", "--1", "1e999"] {
        assert!(read_text(text).is_err(), "{text}");
    }
    assert_eq!(read_text("9007199254740991").unwrap(), Value::Integer(Integer::MAX));
}

#[test]
fn what_is_not_json_is_refused() {
    for text in [
        "",
        " ",
        "{} {}",
        "{}x",
        "{},",
        "\u{feff}{}",
        "{'a':1}",
        "{a:1}",
        r#"{"a":1,}"#,
        "[1,]",
        "[1 2]",
        "// c\n1",
        "\"a\nb\"",
        "\"\u{1}\"",
        "\"a",
        r#""\x41""#,
        r#""\ud800""#,
        r#""\udc00\ud800""#,
        "nul",
        "True",
        "{1:2}",
        "{}\0",
    ] {
        assert!(read_text(text).is_err(), "{text:?}");
    }
    for bytes in [&b"\"\xff\""[..], b"\"\xc0\x80\"", b"\"\xed\xa0\x80\"", b"{}\xff"] {
        assert!(read("test", bytes, BYTES_MAX).is_err(), "{bytes:?}");
    }
}

#[test]
fn nesting_ends_at_the_bound_and_not_in_the_stack() {
    let nested = |levels: usize| format!("{}{}", "[".repeat(levels), "]".repeat(levels));
    let levels = usize::try_from(DEPTH_MAX).unwrap();

    assert!(read_text(&nested(levels)).is_ok());
    assert!(refusal(&nested(levels + 1)).contains("levels"));
    assert!(refusal(&"[".repeat(2_000_000)).contains("levels"));
    assert!(refusal(&r#"{"a":"#.repeat(500_000)).contains("levels"));
}

#[test]
fn size_and_number_of_values_are_bounded() {
    let values = usize::try_from(VALUES_MAX).unwrap();
    let many = |items: usize| format!("[{}]", vec!["0"; items].join(","));

    assert!(read_text(&many(values - 1)).is_ok());
    assert!(refusal(&many(values)).contains("values"));
    assert!(read("test", b"{}   ", 4).unwrap_err().to_string().contains("bytes"));
    assert!(read("test", b"{}  ", 4).is_ok());
}

#[test]
fn the_canonical_text_is_that_of_rfc_8785() {
    // Sample and result of RFC 8785 §3.2.3, numbers left out.
    let sorted = r#"{"\u20ac":"Euro Sign","\r":"Carriage Return","\ufb33":"Hebrew Letter Dalet With Dagesh","1":"One","\ud83d\ude00":"Emoji: Grinning Face","\u0080":"Control","\u00f6":"Latin Small Letter O With Diaeresis"}"#;
    assert_eq!(
        canonical(&read_text(sorted).unwrap()),
        "{\"\\r\":\"Carriage Return\",\"1\":\"One\",\"\u{80}\":\"Control\",\"\u{f6}\":\"Latin Small Letter O With Diaeresis\",\"\u{20ac}\":\"Euro Sign\",\"\u{1f600}\":\"Emoji: Grinning Face\",\"\u{fb33}\":\"Hebrew Letter Dalet With Dagesh\"}".as_bytes()
    );
    // §3.2.2: literals and the string of the sample.
    let sample = "{ \"string\": \"\\u20ac$\\u000F\\u000aA'\\u0042\\u0022\\u005c\\\\\\\"\\/\", \"literals\": [null, true, false] }";
    assert_eq!(
        canonical(&read_text(sample).unwrap()),
        "{\"literals\":[null,true,false],\"string\":\"\u{20ac}$\\u000f\\nA'B\\\"\\\\\\\\\\\"/\"}".as_bytes()
    );
    assert_eq!(canonical(&Value::from("\u{8}\t\n\u{c}\r\u{1f}\u{7f}")), b"\"\\b\\t\\n\\f\\r\\u001f\x7f\"");
}

#[test]
fn integers_are_exact_or_refused() {
    assert!(Integer::try_from(u64::MAX).is_err());
    assert!(Integer::new(i64::MIN).is_err());
    assert_eq!(canonical(&Integer::new(-9_007_199_254_740_991).unwrap().into()), b"-9007199254740991");
}

fn values() -> impl Strategy<Value = Value> {
    let text = prop_oneof![any::<String>(), "[\\x00-\\x20\"\\\\a\u{e000}\u{10000}]{0,6}"];
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        (-9_007_199_254_740_991_i64..=9_007_199_254_740_991).prop_map(|n| Integer::new(n).unwrap().into()),
        text.clone().prop_map(Value::from),
    ];
    leaf.prop_recursive(5, 64, 6, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
            prop::collection::btree_map(text.clone(), inner, 0..6).prop_map(|members: Object| members.into()),
        ]
    })
}

/// serde_json's own value, written by serde_json's own strings: another opinion on the canonical text.
fn other_opinion(value: &serde_json::Value) -> String {
    match value {
        serde_json::Value::Array(items) => {
            format!("[{}]", items.iter().map(other_opinion).collect::<Vec<_>>().join(","))
        }
        serde_json::Value::Object(members) => {
            let mut members: Vec<_> = members.iter().collect();
            members.sort_by_key(|(name, _)| name.encode_utf16().collect::<Vec<_>>());
            let members: Vec<_> = members
                .into_iter()
                .map(|(name, value)| format!("{}:{}", serde_json::to_string(name).unwrap(), other_opinion(value)))
                .collect();
            format!("{{{}}}", members.join(","))
        }
        scalar => scalar.to_string(),
    }
}

proptest! {
    #[test]
    fn what_is_written_is_read_back(value in values()) {
        let text = canonical(&value);

        prop_assert_eq!(read("test", &text, BYTES_MAX).unwrap(), value);
    }

    #[test]
    fn another_implementation_writes_the_same(value in values()) {
        let text = canonical(&value);

        let other: serde_json::Value = serde_json::from_slice(&text).unwrap();
        prop_assert_eq!(String::from_utf8(text).unwrap(), other_opinion(&other));
    }

    #[test]
    fn no_prefix_of_an_object_is_an_object(value in values()) {
        let text = canonical(&Value::object([("v", value)]));

        for end in 0..text.len() {
            prop_assert!(read("test", &text[..end], BYTES_MAX).is_err());
        }
    }

    #[test]
    fn any_bytes_are_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..256)) {
        let _ = read("test", &bytes, BYTES_MAX);
    }

    #[test]
    fn nearly_json_is_read_or_refused(text in "[\\[\\]{}:,\"\\\\0-9eE.+\\-a-fnul tr]{0,64}") {
        if let Ok(value) = read("test", text.as_bytes(), BYTES_MAX) {
            // What is taken means to serde_json what it means to us.
            let other: serde_json::Value = serde_json::from_str(&text).unwrap();
            prop_assert_eq!(String::from_utf8(canonical(&value)).unwrap(), other_opinion(&other));
        }
    }
}

/// The files of JSONTestSuite.
fn json_test_suite() -> Vec<(String, Vec<u8>)> {
    let Some(path) = beside("vectors/json-parsing/test_parsing") else { return Vec::new() };
    std::fs::read_dir(path)
        .unwrap()
        .map(|entry| entry.unwrap())
        .map(|entry| (entry.file_name().into_string().unwrap(), std::fs::read(entry.path()).unwrap()))
        .collect()
}

#[test]
fn json_test_suite_is_answered_as_it_says_but_for_what_is_refused_on_purpose() {
    let cases = json_test_suite();
    let mut refused: Vec<&str> = Vec::new();
    for (name, bytes) in &cases {
        let read = read("test", bytes, BYTES_MAX);
        match name.as_bytes()[0] {
            b'n' => assert!(read.is_err(), "accepted: {name}"),
            b'y' if read.is_err() => refused.push(name),
            // What implementations may do as they like: an answer is enough.
            _ => {}
        }
    }
    refused.sort_unstable();

    if !cases.is_empty() {
        assert_eq!(cases.len(), 318);
        assert_eq!(refused, include_str!("golden/json_refused.txt").lines().collect::<Vec<_>>());
    }
}
