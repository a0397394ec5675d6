//! docs/config.md says what the code does: every key, bound and default, and the table of purposes and algorithms.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::RangeInclusive;

use trust::{Algorithm, Purpose};

use super::*;

const DOCUMENT: &str = include_str!("../../../docs/config.md");
const PACKAGED: &str = include_str!("../../../packaging/trustd.toml");
/// Tables, which have a heading of their own instead of a row.
const TABLES: [&str; 8] = ["root_kek", "tls", "notary", "keys", "custody", "token", "limits", "logging"];

/// A section and a key in it.
type Place = (String, String);

thread_local! {
    static KEYS: RefCell<BTreeSet<Place>> = const { RefCell::new(BTreeSet::new()) };
    static BOUNDS: RefCell<BTreeMap<Place, (u64, u64, u64)>> = const { RefCell::new(BTreeMap::new()) };
}

/// The reader asks for a key.
pub(super) fn note_key(section: &str, key: &str) {
    KEYS.with_borrow_mut(|keys| keys.insert((section.to_owned(), key.to_owned())));
}

/// The reader asks for a number.
pub(super) fn note_bounds(section: &str, key: &str, bounds: &RangeInclusive<u64>, default: u64) {
    let place = (section.to_owned(), key.to_owned());
    BOUNDS.with_borrow_mut(|known| known.insert(place, (*bounds.start(), *bounds.end(), default)));
}

/// The rows of the daemon's part, by section and key.
fn rows() -> BTreeMap<Place, String> {
    let part = DOCUMENT.split("## The daemon\n").nth(1).unwrap().split("\n## ").next().unwrap();
    let mut section = None;
    let mut rows = BTreeMap::new();
    for line in part.lines() {
        if let Some(heading) = line.strip_prefix("### ") {
            section = match heading {
                "At the top" => Some(String::new()),
                "A file with every table" => None,
                named => Some(named.trim_matches(['`', '[', ']']).to_owned()),
            };
        }
        let key = line.strip_prefix("| `").and_then(|rest| rest.split('`').next());
        if let (Some(section), Some(key)) = (&section, key) {
            assert!(rows.insert((section.clone(), key.to_owned()), line.to_owned()).is_none(), "twice: {line}");
        }
    }
    rows
}

fn samples() -> Vec<&'static str> {
    let part = DOCUMENT.split("## The daemon\n").nth(1).unwrap().split("\n## ").next().unwrap();
    part.split("```toml\n").skip(1).map(|rest| rest.split("```").next().unwrap()).collect()
}

#[test]
fn the_document_has_every_key_and_no_other() {
    for sample in samples() {
        Config::parse(sample).unwrap();
    }

    let asked: BTreeSet<Place> = KEYS.with_borrow(|keys| {
        keys.iter().filter(|(section, key)| !(section.is_empty() && TABLES.contains(&key.as_str()))).cloned().collect()
    });
    let documented: BTreeSet<Place> = rows().into_keys().collect();
    assert_eq!(documented, asked);
    assert!(asked.len() > 35, "{}", asked.len());
}

#[test]
fn the_document_has_the_bounds_and_defaults_of_the_code() {
    for sample in samples() {
        Config::parse(sample).unwrap();
    }

    let rows = rows();
    BOUNDS.with_borrow(|bounds| {
        assert!(bounds.len() > 15, "{}", bounds.len());
        for (place, (first, last, default)) in bounds {
            let row = rows.get(place).unwrap();
            assert!(row.contains(&format!("| number | {default} | {first} to {last} |")), "{row}");
        }
    });
}

#[test]
fn the_samples_are_whole() {
    let config = Config::parse(PACKAGED).unwrap();
    assert_eq!(config.policy, PolicyConfig::File(PathBuf::from("/etc/trustd/policy.cedar")));

    let samples = samples();
    assert_eq!(samples.len(), 1);
    for sample in samples {
        let config = Config::parse(sample).unwrap();
        assert_eq!(config.tls.unwrap().client_cas.len(), 1);
    }
}

#[test]
fn the_table_of_purposes_and_algorithms_is_the_one_of_the_code() {
    let table = DOCUMENT.split("| algorithm |").nth(1).unwrap().split("\n\n").next().unwrap();
    let mut lines = table.lines();
    let purposes: Vec<Purpose> = words(lines.next().unwrap()).iter().map(|name| name.parse().unwrap()).collect();
    assert_eq!(purposes.iter().copied().collect::<BTreeSet<_>>().len(), Purpose::ALL.len());
    let mut algorithms = Vec::new();
    for line in lines.skip(1) {
        let cells = words(line.strip_prefix('|').unwrap());
        let (name, answers) = cells.split_first().unwrap();
        let algorithm: Algorithm = name.trim_matches('`').parse().unwrap();
        algorithms.push(algorithm);
        let expected: Vec<&str> =
            purposes.iter().map(|purpose| if purpose.allows(algorithm) { "yes" } else { "no" }).collect();
        assert_eq!(answers, expected, "{algorithm}");
    }
    assert_eq!(algorithms, Algorithm::ALL);
}

fn words(row: &str) -> Vec<&str> {
    row.split('|').map(str::trim).filter(|cell| !cell.is_empty()).collect()
}
