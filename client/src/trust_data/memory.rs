//! What was believed of a repository on a server last, whichever root was pinned: nobody takes us behind it.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use trust::Sha256Digest;
use trust::format::tuf::{Document, Gun, Repository};

use super::earlier::{self, Earlier, Names};
use super::line::{Line, Roots, damaged, root_in, unkept};
use super::pinned::Pinned;
use crate::failure::Failure;
use crate::files::{self, Existing, Lock};

/// The most lines of one repository. Each but the first takes that somebody pins another root, by hand.
const LINES_MAX: usize = 16;
/// The most directories of lines that are looked into: those that an interruption left are read, too.
const DIRECTORIES_MAX: usize = 64;
const RECORD: &str = "roots.json";
const RECORD_BYTES_MAX: u64 = 8 * 1024 * 1024;
const RECORD_MODE: u32 = 0o600;

/// One repository's directory, held against others of our kind.
#[derive(Debug)]
pub(super) struct Memory {
    directory: PathBuf,
    /// What was believed last comes last.
    lines: Vec<Line>,
    /// The line that is gone on with where nobody pins a root.
    current: Option<u32>,
    #[expect(dead_code, reason = "dropping it lets others in")]
    lock: Lock,
}

/// What a visit believes.
#[derive(Debug)]
pub(super) struct Seen {
    /// The files.
    pub(super) files: Repository,
    /// The roots that led there.
    pub(super) roots: Roots,
    /// The key that was pinned.
    pub(super) key: Option<Sha256Digest>,
    /// The places of the lines that it has gone on with, or met.
    pub(super) lines: BTreeSet<u32>,
    /// How it ended.
    pub(super) end: End,
}

/// How a visit ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    /// Before everything was up to date.
    Refused,
    /// Everything is up to date.
    Refreshed,
}

/// What the files of lines do not say themselves.
#[derive(Debug, Serialize, Deserialize)]
struct Record {
    current: Option<u32>,
    lines: Vec<LineRecord>,
}

#[derive(Debug, Serialize, Deserialize)]
struct LineRecord {
    place: u32,
    has_led: bool,
    roots: BTreeMap<u32, String>,
    keys: Vec<String>,
}

impl Memory {
    /// Opens the directory below `state`. What an earlier `trustctl` remembered, in a directory for each root that was
    /// pinned, is taken over; `overruled` is a pin of the configuration in whose place the call names another.
    pub(super) fn open(
        state: &Path,
        (server, gun): (&str, &Gun),
        pinned: &Pinned,
        overruled: &Pinned,
    ) -> Result<Self, Failure> {
        let names = Names::of(state, server, gun);
        let directory = names.directory();
        let lock = Lock::of(&directory).map_err(|error| unkept(&directory, error))?;
        let record = Record::read(&directory)?;
        let mut found = earlier::named(&names, &[pinned, overruled]);
        let is_searched = record.as_ref().is_some_and(|record| record.is_whole(&directory));
        if !is_searched {
            let named: BTreeSet<PathBuf> = found.iter().map(|earlier| earlier.directory.clone()).collect();
            found.extend(earlier::searched(&names).into_iter().filter(|other| !named.contains(&other.directory)));
        }
        let first = || Record { current: root_in(&directory).map(|_| 0), lines: Vec::new() };
        let mut record = record.unwrap_or_else(first);
        // Written also where nothing was found: from then on nobody has to search.
        if !is_searched || !found.is_empty() {
            record.lines.retain(|line| line.is_there(&directory));
            take_over(&directory, &mut record, found)?;
        }
        let lines = record.lines_in(&directory)?;
        let there = |place: &u32| lines.iter().any(|line| line.place == *place);
        let mut led = lines.iter().filter(|line| line.has_led).map(|line| line.place);
        let current = record.current.filter(there).or_else(|| led.next_back());
        Ok(Self { directory, lines, current, lock })
    }

    /// Where it is.
    pub(super) fn directory(&self) -> &Path {
        &self.directory
    }

    /// What is remembered.
    pub(super) fn lines(&self) -> &[Line] {
        &self.lines
    }

    /// Whether a visit ever came to its end.
    pub(super) fn has_led(&self) -> bool {
        self.lines.iter().any(|line| line.has_led)
    }

    /// The line to go on with: the current one where nothing is pinned, or where the pin leads there too; else, of those
    /// to which it is known to lead, the one with the newest root.
    pub(super) fn line_for(&self, pinned: &Pinned, gun: &Gun) -> Option<&Line> {
        let current = self.lines.iter().find(|line| Some(line.place) == self.current);
        let is_meant = |line: &&Line| !pinned.is_some() || pinned.leads_to(line, gun);
        let led = || newest(self.lines.iter().filter(|line| pinned.leads_to(line, gun)));
        current.filter(is_meant).or_else(led)
    }

    /// The line that a root is of, the one with the newest root if there are several.
    pub(super) fn line_of(&self, root: &Document) -> Option<&Line> {
        newest(self.lines.iter().filter(|line| line.roots.have(root)))
    }

    /// Keeps what a visit believes. The lines that it has met are one from now on; the others stay as they are.
    pub(super) fn keep(&self, seen: Seen) -> Result<(), Failure> {
        let (same, mut others): (Vec<&Line>, Vec<&Line>) =
            self.lines.iter().partition(|line| seen.lines.contains(&line.place));
        let gone_on = same.iter().find(|line| Some(line.place) == self.current).or(same.last());
        let place =
            gone_on.map_or_else(|| free(|place| self.lines.iter().any(|line| line.place == place)), |l| l.place);
        let mut gone: Vec<u32> = same.iter().map(|line| line.place).filter(|other| *other != place).collect();
        if gone_on.is_none() && others.len() >= LINES_MAX {
            let Some(oldest) = self.dispensable(&others, seen.end) else { return Ok(()) };
            gone.push(others.remove(oldest).place);
        }
        let mut line = Line {
            place,
            has_led: seen.end == End::Refreshed || same.iter().any(|line| line.has_led),
            roots: Roots::default(),
            keys: same.iter().flat_map(|line| &line.keys).copied().chain(seen.key).collect(),
            files: seen.files,
        };
        same.iter().map(|line| &line.roots).chain([&seen.roots]).for_each(|roots| line.roots.put_all(roots));
        line.write(&directory_of(&self.directory, place))?;
        let current = if seen.end == End::Refreshed { Some(place) } else { self.current };
        others.push(&line);
        Record { current, lines: others.into_iter().map(LineRecord::of).collect() }.write(&self.directory)?;
        // What is left where this is interrupted is met again.
        gone.into_iter().try_for_each(|place| Line::remove(place, &directory_of(&self.directory, place)))
    }

    /// Which line makes room for another: one that led to nothing; where the other is believed, the oldest that is not
    /// gone on with.
    fn dispensable(&self, lines: &[&Line], end: End) -> Option<usize> {
        let not_current = |line: &Line| Some(line.place) != self.current;
        lines.iter().position(|line| !line.has_led && not_current(line)).or_else(|| {
            let oldest = lines.iter().position(|line| not_current(line));
            oldest.filter(|_| end == End::Refreshed)
        })
    }
}

impl Record {
    fn read(directory: &Path) -> Result<Option<Self>, Failure> {
        let place = directory.join(RECORD);
        let read = files::read(&place, RECORD_BYTES_MAX).map_err(|error| damaged(&place).because(error))?;
        let Some((bytes, _)) = read else { return Ok(None) };
        serde_json::from_slice(&bytes).map(Some).map_err(|error| damaged(&place).because(error))
    }

    fn write(&self, directory: &Path) -> Result<(), Failure> {
        let place = directory.join(RECORD);
        let bytes = serde_json::to_vec(self).map_err(|error| unkept(&place, error.into()))?;
        files::write(&place, &bytes, RECORD_MODE, Existing::Replace).map_err(|error| unkept(&place, error))
    }

    /// Whether every line is there that it names. One is not where a takeover was interrupted.
    fn is_whole(&self, directory: &Path) -> bool {
        self.lines.iter().all(|line| line.is_there(directory))
    }

    /// The lines that are there, with what the record says of them. What it does not name comes first.
    fn lines_in(&self, directory: &Path) -> Result<Vec<Line>, Failure> {
        let mut lines = Vec::new();
        for place in places_in(directory).map_err(|error| unkept(directory, error))? {
            let Some(mut line) = Line::read(place, &directory_of(directory, place))? else { continue };
            line.has_led |= place == 0;
            let position = self.lines.iter().position(|record| record.place == place);
            if let Some(record) = position.and_then(|position| self.lines.get(position)) {
                let (roots, keys) = record.hashes().ok_or_else(|| damaged(&directory.join(RECORD)))?;
                line.roots.put_all(&roots);
                line.keys = keys;
                line.has_led = record.has_led;
            }
            lines.push((position, line));
        }
        lines.sort_by_key(|(position, line)| (*position, line.place));
        Ok(lines.into_iter().map(|(_, line)| line).collect())
    }
}

impl LineRecord {
    fn of(line: &Line) -> Self {
        Self::new(line.place, line.has_led, &line.roots, &line.keys)
    }

    fn new(place: u32, has_led: bool, roots: &Roots, keys: &BTreeSet<Sha256Digest>) -> Self {
        let roots = roots.hashes().iter().map(|(version, hash)| (*version, hash.to_hex())).collect();
        Self { place, has_led, roots, keys: keys.iter().map(|key| key.to_hex()).collect() }
    }

    fn is_there(&self, directory: &Path) -> bool {
        Line::is_in(&directory_of(directory, self.place))
    }

    fn hashes(&self) -> Option<(Roots, BTreeSet<Sha256Digest>)> {
        let hash = |text: &String| Sha256Digest::from_hex(text).ok();
        let roots: Option<_> = self.roots.iter().map(|(version, text)| Some((*version, hash(text)?))).collect();
        Some((Roots::from_hashes(roots?), self.keys.iter().map(hash).collect::<Option<_>>()?))
    }
}

/// Takes over what an earlier `trustctl` remembered: each is a line of its own, until a visit meets it.
fn take_over(directory: &Path, record: &mut Record, found: Vec<Earlier>) -> Result<(), Failure> {
    let there = places_in(directory).map_err(|error| unkept(directory, error))?;
    let mut moves = Vec::new();
    for earlier in found.into_iter().take(LINES_MAX.saturating_sub(there.len())) {
        let is_taken = |place| {
            let is_known = record.lines.iter().any(|line| line.place == place);
            place == 0 || is_known || directory_of(directory, place).exists()
        };
        let place = free(is_taken);
        record.lines.push(LineRecord::new(place, earlier.has_led, &earlier.roots, &earlier.keys));
        moves.push((earlier.directory, directory_of(directory, place)));
    }
    // First what is known of them: without it a pin of an old root would not be known to lead there.
    record.write(directory)?;
    for (from, to) in moves {
        let held = Lock::of(&from).map_err(|error| unkept(&from, error))?;
        std::fs::rename(&from, &to).map_err(|error| unkept(&to, error))?;
        drop(held);
    }
    Ok(())
}

/// The first line lies in the directory itself, as in that of an earlier `trustctl` where no root was pinned.
fn directory_of(directory: &Path, place: u32) -> PathBuf {
    if place == 0 { directory.to_path_buf() } else { directory.join(place.to_string()) }
}

/// The places where there may be a line.
fn places_in(directory: &Path) -> std::io::Result<BTreeSet<u32>> {
    let mut places = BTreeSet::from([0]);
    for entry in std::fs::read_dir(directory)? {
        let name = entry?.file_name();
        places.extend(name.to_str().and_then(|name| name.parse::<u32>().ok()));
        if places.len() >= DIRECTORIES_MAX {
            break;
        }
    }
    Ok(places)
}

fn newest<'l>(lines: impl Iterator<Item = &'l Line>) -> Option<&'l Line> {
    lines.max_by_key(|line| (line.has_led, line.root().map(Document::version)))
}

fn free(is_taken: impl Fn(u32) -> bool) -> u32 {
    (0..u32::MAX).find(|place| !is_taken(*place)).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests;
