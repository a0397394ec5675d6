//! Whom a targets file lets sign, and for which paths.

use std::collections::BTreeMap;

use super::body::{Speakers, Threshold, read_keys};
use super::{Key, Kind, WRONG, is_name, text};
use crate::format::json::Value;
use crate::{Malformed, Sha256Digest};

/// The most delegations of one file, bins not counted.
const DELEGATIONS_MAX: usize = 1024;
/// The most bits that choose a bin.
const BITS_MAX: u64 = 32;

/// Whom a targets file lets sign.
#[derive(Debug, Clone, Default)]
pub struct Delegations {
    keys: BTreeMap<String, Key>,
    roles: Vec<Delegation>,
    bins: Option<Bins>,
}

/// A role that may sign for some paths.
#[derive(Debug, Clone)]
pub struct Delegation {
    name: String,
    threshold: Threshold,
    terminating: bool,
    paths: Paths,
}

#[derive(Debug, Clone)]
enum Paths {
    Patterns(Vec<String>),
    /// Beginnings of a path's SHA-256 in hexadecimal.
    HashPrefixes(Vec<String>),
}

/// `succinct_roles` (TAP 15): 2ⁿ roles of the same keys, and the first n bits of a path's hash say which one signs it.
#[derive(Debug, Clone)]
struct Bins {
    prefix: String,
    bits: u32,
    threshold: Threshold,
}

impl Delegations {
    pub(super) fn read(value: Option<&Value>) -> Result<Self, Malformed> {
        let Some(value) = value else { return Ok(Self::default()) };
        let keys = read_keys(value.member("keys").ok_or(WRONG)?)?;
        let bins = value.present("succinct_roles").map(Bins::read).transpose()?;
        let mut roles: Vec<Delegation> = Vec::new();
        let listed = value.present("roles").map(|roles| roles.as_array().ok_or(WRONG)).transpose()?;
        for role in listed.unwrap_or_default() {
            let role = Delegation::read(role)?;
            if roles.len() == DELEGATIONS_MAX || roles.iter().any(|known| known.name == role.name) {
                return Err(Malformed::new("metadata", "at most 1024 delegations, each once"));
            }
            roles.push(role);
        }
        if bins.is_some() == listed.is_some() {
            return Err(Malformed::new("metadata", "delegations either by paths or by bins"));
        }
        Ok(Self { keys, roles, bins })
    }

    /// The roles that may sign for a path, in the order in which they are asked, and whether nobody is asked after them.
    pub(super) fn of_path(&self, path: &str) -> Vec<(String, bool)> {
        let bin = self.bins.as_ref().map(|bins| (bins.role_of(path), true));
        let may_sign = self.roles.iter().filter(|role| role.may_sign(path));
        may_sign.map(|role| (role.name.clone(), role.terminating)).chain(bin).collect()
    }

    pub(super) fn speakers(&self, role: &str) -> Option<Speakers<'_>> {
        let listed = self.roles.iter().find(|listed| listed.name == role).map(|listed| &listed.threshold);
        let bin = self.bins.as_ref().filter(|bins| bins.is_role(role)).map(|bins| &bins.threshold);
        listed.or(bin).map(|threshold| threshold.of(&self.keys))
    }
}

impl Delegation {
    fn read(value: &Value) -> Result<Self, Malformed> {
        let name = text(value, "name")?;
        let top = [Kind::Root, Kind::Snapshot, Kind::Targets, Kind::Timestamp].iter().any(|kind| kind.name() == name);
        if !is_name(name) || top {
            return Err(Malformed::new("metadata", "delegations to other roles than the four"));
        }
        let Some(Value::Bool(terminating)) = value.member("terminating") else { return Err(WRONG) };
        let texts = |name: &str| -> Result<Option<Vec<String>>, Malformed> {
            let Some(value) = value.present(name) else { return Ok(None) };
            let items = value.as_array().ok_or(WRONG)?.iter();
            items.map(|item| item.as_str().map(str::to_owned).ok_or(WRONG)).collect::<Result<_, _>>().map(Some)
        };
        let paths = match (texts("paths")?, texts("path_hash_prefixes")?) {
            (Some(patterns), None) => Paths::Patterns(patterns),
            (None, Some(prefixes)) => Paths::HashPrefixes(prefixes),
            (Some(_), Some(_)) | (None, None) => return Err(WRONG),
        };
        Ok(Self { name: name.to_owned(), threshold: Threshold::read(value)?, terminating: *terminating, paths })
    }

    /// Whether it may sign for a path.
    #[must_use]
    pub fn may_sign(&self, path: &str) -> bool {
        match &self.paths {
            Paths::Patterns(patterns) => patterns.iter().any(|pattern| matches(pattern, path)),
            Paths::HashPrefixes(prefixes) => {
                let hash = Sha256Digest::of(path.as_bytes()).to_hex();
                prefixes.iter().any(|prefix| hash.starts_with(prefix.as_str()))
            }
        }
    }
}

impl Bins {
    fn read(value: &Value) -> Result<Self, Malformed> {
        let bits = value.member("bit_length").and_then(Value::as_u64).filter(|bits| (1..=BITS_MAX).contains(bits));
        let bits = bits.and_then(|bits| u32::try_from(bits).ok()).ok_or(WRONG)?;
        let prefix = text(value, "name_prefix")?;
        if !is_name(prefix) {
            return Err(WRONG);
        }
        Ok(Self { prefix: prefix.to_owned(), bits, threshold: Threshold::read(value)? })
    }

    fn role_of(&self, path: &str) -> String {
        let hash = Sha256Digest::of(path.as_bytes());
        let first = hash.as_bytes().first_chunk().map_or(0, |bytes| u32::from_be_bytes(*bytes));
        self.role(first.checked_shr(32_u32.saturating_sub(self.bits)).unwrap_or(0))
    }

    fn role(&self, bin: u32) -> String {
        let digits = usize::try_from(self.bits.div_ceil(4)).unwrap_or(8);
        format!("{}-{bin:0digits$x}", self.prefix)
    }

    fn is_role(&self, role: &str) -> bool {
        let bin = role.strip_prefix(&self.prefix).and_then(|rest| rest.strip_prefix('-'));
        bin.and_then(|bin| u32::from_str_radix(bin, 16).ok())
            .is_some_and(|bin| bin.checked_shr(self.bits).unwrap_or(0) == 0 && self.role(bin) == role)
    }
}

/// Whether a path has the form of a pattern: `*` and `?` stand for letters of one segment.
fn matches(pattern: &str, path: &str) -> bool {
    let (patterns, segments) = (pattern.split('/'), path.split('/'));
    patterns.clone().count() == segments.clone().count()
        && patterns.zip(segments).all(|(pattern, segment)| segment_matches(pattern.as_bytes(), segment.as_bytes()))
}

/// Goes back to the last star only, so the time is at most the product of the lengths.
fn segment_matches(pattern: &[u8], text: &[u8]) -> bool {
    let (mut at, mut in_text) = (0, 0);
    let mut star: Option<(usize, usize)> = None;
    while in_text < text.len() {
        match pattern.get(at) {
            Some(b'*') => {
                star = Some((at, in_text));
                at = at.saturating_add(1);
            }
            Some(byte) if *byte == b'?' || Some(byte) == text.get(in_text) => {
                (at, in_text) = (at.saturating_add(1), in_text.saturating_add(1));
            }
            _ => {
                let Some((star_at, taken)) = star else { return false };
                star = Some((star_at, taken.saturating_add(1)));
                (at, in_text) = (star_at.saturating_add(1), taken.saturating_add(1));
            }
        }
    }
    pattern.iter().skip(at).all(|byte| *byte == b'*')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stars_and_question_marks_stay_in_their_segment() {
        for (pattern, path) in [
            ("a", "a"),
            ("*", "a.tgz"),
            ("a/*", "a/b"),
            ("a/*.tgz", "a/b.c.tgz"),
            ("?-*-?", "a-bb-c"),
            ("*a*b*c", "xaxbxbc"),
            ("**", ""),
        ] {
            assert!(matches(pattern, path), "{pattern} {path}");
        }
        for (pattern, path) in
            [("*", "a/b"), ("a/*", "a"), ("a/*", "a/b/c"), ("?", ""), ("a*b", "acbc"), ("[a]", "a"), ("/a", "a")]
        {
            assert!(!matches(pattern, path), "{pattern} {path}");
        }
    }

    #[test]
    fn a_paths_hash_says_its_bin() {
        let threshold = Value::object([("keyids", Value::Array(Vec::new())), ("threshold", 1_u32.into())]);
        let bins = |bits| Bins { prefix: "bin".to_owned(), bits, threshold: Threshold::read(&threshold).unwrap() };
        let hash = Sha256Digest::of(b"a/b").to_hex();

        assert_eq!(bins(16).role_of("a/b"), format!("bin-{}", &hash[..4]));
        assert_eq!(bins(32).role_of("a/b"), format!("bin-{}", &hash[..8]));
        let five = u8::from_str_radix(&hash[..2], 16).unwrap() >> 3;
        assert_eq!(bins(5).role_of("a/b"), format!("bin-{five:02x}"));
        assert!(bins(5).is_role("bin-1f") && bins(32).is_role("bin-ffffffff"));
        for other in ["bin-20", "bin-1", "bin-01f", "bin-1F", "bin-+f", "bin", "bins-1f"] {
            assert!(!bins(5).is_role(other), "{other}");
        }
    }
}
