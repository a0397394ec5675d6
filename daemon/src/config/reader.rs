//! Takes a TOML table apart and keeps every fault it meets.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::net::{Ipv4Addr, SocketAddr};
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::rc::Rc;
use std::time::Duration;

use toml::{Table, Value};

use super::ConfigFault;

/// One table of the file. Dropping it names every key that nobody asked for.
pub(super) struct Section {
    name: String,
    table: Table,
    known: BTreeSet<&'static str>,
    faults: Rc<RefCell<Vec<ConfigFault>>>,
}

impl Section {
    pub(super) fn root(table: Table) -> Self {
        Self { name: String::new(), table, known: BTreeSet::new(), faults: Rc::default() }
    }

    /// Ends the reading: every fault of this table and all below it.
    pub(super) fn finish(self) -> Vec<ConfigFault> {
        let faults = Rc::clone(&self.faults);
        drop(self);
        faults.take()
    }

    pub(super) fn has(&self, key: &str) -> bool {
        self.table.contains_key(key)
    }

    /// The table below this one; an absent one is empty.
    pub(super) fn section(&mut self, key: &'static str) -> Self {
        let table = match self.take(key) {
            None => Table::new(),
            Some(Value::Table(table)) => table,
            Some(_) => {
                self.fault(key, "a table");
                Table::new()
            }
        };
        self.below(key, table)
    }

    /// The tables of an array.
    pub(super) fn sections(&mut self, key: &'static str) -> Vec<Self> {
        match self.take(key) {
            None => Vec::new(),
            Some(Value::Array(items)) => items
                .into_iter()
                .filter_map(|item| match item {
                    Value::Table(table) => Some(self.below(key, table)),
                    _ => {
                        self.fault(key, "tables");
                        None
                    }
                })
                .collect(),
            Some(_) => {
                self.fault(key, "tables: [[…]]");
                Vec::new()
            }
        }
    }

    fn below(&self, key: &str, table: Table) -> Self {
        let name = if self.name.is_empty() { key.to_owned() } else { format!("{}.{key}", self.name) };
        Self { name, table, known: BTreeSet::new(), faults: Rc::clone(&self.faults) }
    }

    pub(super) fn fault(&self, key: &str, expected: &str) {
        let place = if self.name.is_empty() { key.to_owned() } else { format!("[{}] {key}", self.name) };
        self.faults.borrow_mut().push(ConfigFault { place, what: format!("expected {expected}") });
    }

    /// An absolute path that must be there.
    pub(super) fn path(&mut self, key: &'static str) -> PathBuf {
        let missing = !self.has(key);
        let path = self.optional_path(key);
        if missing {
            self.fault(key, "an absolute path");
        }
        path.unwrap_or_default()
    }

    pub(super) fn optional_path(&mut self, key: &'static str) -> Option<PathBuf> {
        self.optional_text(key, "an absolute path", |text| text.starts_with('/')).map(PathBuf::from)
    }

    pub(super) fn text(&mut self, key: &'static str, expected: &str, fits: impl Fn(&str) -> bool) -> String {
        if !self.has(key) {
            self.known.insert(key);
            self.fault(key, expected);
        }
        self.optional_text(key, expected, fits).unwrap_or_default()
    }

    pub(super) fn optional_text(
        &mut self,
        key: &'static str,
        expected: &str,
        fits: impl Fn(&str) -> bool,
    ) -> Option<String> {
        match self.take(key)? {
            Value::String(text) if fits(&text) => Some(text),
            _ => {
                self.fault(key, expected);
                None
            }
        }
    }

    /// A list of at most `count_max` texts; an absent one is empty.
    pub(super) fn texts(
        &mut self,
        key: &'static str,
        expected: &str,
        count_max: usize,
        fits: impl Fn(&str) -> bool,
    ) -> Vec<String> {
        let texts = match self.take(key) {
            None => Some(Vec::new()),
            Some(Value::Array(items)) if items.len() <= count_max => items
                .into_iter()
                .map(|item| match item {
                    Value::String(text) if fits(&text) => Some(text),
                    _ => None,
                })
                .collect(),
            Some(_) => None,
        };
        texts.unwrap_or_else(|| {
            self.fault(key, expected);
            Vec::new()
        })
    }

    pub(super) fn flag(&mut self, key: &'static str, default: bool) -> bool {
        match self.take(key) {
            None => default,
            Some(Value::Boolean(flag)) => flag,
            Some(_) => {
                self.fault(key, "true or false");
                default
            }
        }
    }

    pub(super) fn number(&mut self, key: &'static str, bounds: RangeInclusive<u64>, default: u64) -> u64 {
        #[cfg(test)]
        super::document_tests::note_bounds(&self.name, key, &bounds, default);
        match self.take(key) {
            None => default,
            Some(Value::Integer(number)) => match u64::try_from(number) {
                Ok(number) if bounds.contains(&number) => number,
                _ => self.out_of(key, &bounds, default),
            },
            Some(_) => self.out_of(key, &bounds, default),
        }
    }

    fn out_of(&self, key: &str, bounds: &RangeInclusive<u64>, default: u64) -> u64 {
        self.fault(key, &format!("a whole number from {} to {}", bounds.start(), bounds.end()));
        default
    }

    pub(super) fn count(&mut self, key: &'static str, bounds: RangeInclusive<u64>, default: usize) -> usize {
        let number = self.number(key, bounds, u64::try_from(default).unwrap_or(u64::MAX));
        usize::try_from(number).unwrap_or(default)
    }

    /// A count that another source may say; `default` is what holds where none does.
    pub(super) fn optional_count(
        &mut self,
        key: &'static str,
        bounds: RangeInclusive<u64>,
        default: usize,
    ) -> Option<usize> {
        let is_said = self.has(key);
        let count = self.count(key, bounds, default);
        is_said.then_some(count)
    }

    /// The same of a time.
    pub(super) fn optional_milliseconds(
        &mut self,
        key: &'static str,
        bounds: RangeInclusive<u64>,
        default: Duration,
    ) -> Option<Duration> {
        let is_said = self.has(key);
        let time = self.milliseconds(key, bounds, default);
        is_said.then_some(time)
    }

    pub(super) fn count32(&mut self, key: &'static str, bounds: RangeInclusive<u64>, default: u32) -> u32 {
        u32::try_from(self.number(key, bounds, u64::from(default))).unwrap_or(default)
    }

    pub(super) fn milliseconds(
        &mut self,
        key: &'static str,
        bounds: RangeInclusive<u64>,
        default: Duration,
    ) -> Duration {
        let default = u64::try_from(default.as_millis()).unwrap_or(u64::MAX);
        Duration::from_millis(self.number(key, bounds, default))
    }

    pub(super) fn seconds(&mut self, key: &'static str, bounds: RangeInclusive<u64>, default: u64) -> Duration {
        Duration::from_secs(self.number(key, bounds, default))
    }

    pub(super) fn address(&mut self, key: &'static str) -> SocketAddr {
        let text = self.text(key, "an address and port: 127.0.0.1:7443", |text| text.parse::<SocketAddr>().is_ok());
        text.parse().unwrap_or_else(|_| SocketAddr::from((Ipv4Addr::LOCALHOST, 0)))
    }

    fn take(&mut self, key: &'static str) -> Option<Value> {
        #[cfg(test)]
        super::document_tests::note_key(&self.name, key);
        self.known.insert(key);
        self.table.remove(key)
    }
}

impl Drop for Section {
    fn drop(&mut self) {
        for key in self.table.keys() {
            let near = self.known.iter().map(|known| (distance(key, known), *known)).min().filter(|(far, _)| *far <= 3);
            match near {
                Some((_, near)) => self.fault(key, &format!("no such key here; is `{near}` meant?")),
                None => self.fault(key, "no such key here"),
            }
        }
    }
}

/// How many letters must change to make one word of another (Levenshtein).
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (number, letter) in a.chars().enumerate() {
        let mut diagonal = number;
        let mut left = number + 1;
        for (place, other) in b.iter().enumerate() {
            let above = row.get(place + 1).copied().unwrap_or(usize::MAX - 1);
            let cost = diagonal + usize::from(letter != *other);
            let best = cost.min(left + 1).min(above + 1);
            if let Some(cell) = row.get_mut(place) {
                *cell = left;
            }
            diagonal = above;
            left = best;
        }
        if let Some(last) = row.last_mut() {
            *last = left;
        }
    }
    row.last().copied().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::distance;

    #[test]
    fn a_typing_error_is_near() {
        assert_eq!(distance("directroy", "directory"), 2);
        assert_eq!(distance("origin", "origin"), 0);
        assert_eq!(distance("", "mode"), 4);
        assert_eq!(distance("mdoe", "mode"), 2);
    }
}
