//! The table of docs/permissions.md.

use std::collections::BTreeMap;

use trust_tests::document::{blocks, document};

const PAGE: &str = "docs/permissions.md";

/// What a cell says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Cell {
    Yes,
    No,
    Nothing,
    Sealed,
    Local,
    Refused,
}

impl Cell {
    fn read(word: &str) -> Self {
        match word {
            "yes" => Self::Yes,
            "no" => Self::No,
            "nothing" => Self::Nothing,
            "sealed" => Self::Sealed,
            "local" => Self::Local,
            "refused" => Self::Refused,
            _ => panic!("no such word in the table: {word:?}"),
        }
    }
}

/// The policy that the table is about.
pub(crate) fn policy() -> String {
    blocks(&document(PAGE).unwrap(), "cedar").unwrap().remove(0)
}

/// Four cells of the unsealed daemon and four of the sealed one, by method.
pub(crate) fn rows() -> BTreeMap<String, [Cell; 8]> {
    let text = document(PAGE).unwrap();
    let mut rows = BTreeMap::new();
    for line in text.lines().filter(|line| line.starts_with("| ") && line.contains('/')) {
        let words: Vec<&str> = line.trim_matches('|').split('|').map(str::trim).collect();
        if words.len() != 9 {
            continue;
        }
        let cells: Vec<Cell> = words[1..].iter().map(|word| Cell::read(word)).collect();
        let before = rows.insert(words[0].to_owned(), cells.try_into().unwrap());
        assert!(before.is_none(), "two rows for {}", words[0]);
    }
    rows
}
