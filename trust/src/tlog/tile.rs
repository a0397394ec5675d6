//! Where hashes and entries stand as files (C2SP `tlog-tiles`).

use std::fmt::Write as _;

/// Levels of the tree in one tile.
pub const TILE_HEIGHT: u8 = 8;
/// Hashes, or entries, in a full tile.
pub const TILE_WIDTH: u64 = 256;
/// The longest entry, in bytes: its length is written in 16 bits, and 65,535 stays free.
pub const ENTRY_BYTES_MAX: usize = 65_534;

/// One tile of hashes or bundle of entries.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[expect(clippy::exhaustive_structs, reason = "coordinates of the specification")]
pub struct Tile {
    /// Level of the tile, 0 to 7; `None` for a bundle of entries.
    pub level: Option<u8>,
    /// Which one at this level, from 0.
    pub index: u64,
    /// How many hashes or entries it has, 1 to 256.
    pub width: u64,
}

impl Tile {
    /// The tiles of one level that a tree of `size` leaves has and one of `from` had not, in order; the last may be partial.
    pub fn grown(level: Option<u8>, from: u64, size: u64) -> impl Iterator<Item = Self> {
        let shift = u32::from(level.unwrap_or(0)) * u32::from(TILE_HEIGHT);
        let count = |leaves: u64| leaves.checked_shr(shift).unwrap_or(0);
        let (had, has) = (count(from), count(size));
        let first = if had == has { u64::MAX } else { had / TILE_WIDTH };
        (first..has.div_ceil(TILE_WIDTH)).map(move |index| Self {
            level,
            index,
            width: (has - index * TILE_WIDTH).min(TILE_WIDTH),
        })
    }

    /// Its path below the log's prefix: `tile/0/x001/234`, `tile/entries/000.p/17`.
    #[must_use]
    pub fn path(&self) -> String {
        let mut path = String::from("tile/");
        match self.level {
            // Writing into a string does not fail.
            Some(level) => {
                let _ = write!(path, "{level}/");
            }
            None => path.push_str("entries/"),
        }
        path.push_str(&grouped(self.index));
        if self.width < TILE_WIDTH {
            let _ = write!(path, ".p/{}", self.width);
        }
        path
    }
}

/// Three digits a group, every group but the last with an `x` before it.
fn grouped(index: u64) -> String {
    let mut groups = vec![format!("{:03}", index % 1000)];
    let mut rest = index / 1000;
    while rest > 0 {
        groups.push(format!("x{:03}", rest % 1000));
        rest /= 1000;
    }
    groups.reverse();
    groups.join("/")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_those_of_the_specification() {
        let path = |level, index, width| Tile { level, index, width }.path();

        assert_eq!(path(Some(0), 0, 256), "tile/0/000");
        assert_eq!(path(Some(1), 1_234_067, 256), "tile/1/x001/x234/067");
        assert_eq!(path(None, 273, 112), "tile/entries/273.p/112");
    }

    #[test]
    fn a_tree_that_grew_has_the_tiles_it_grew_into() {
        let grown = |level, from, size| Tile::grown(level, from, size).map(|tile| tile.path()).collect::<Vec<_>>();

        assert_eq!(grown(Some(0), 0, 3), ["tile/0/000.p/3"]);
        assert_eq!(grown(Some(0), 255, 258), ["tile/0/000", "tile/0/001.p/2"]);
        assert_eq!(grown(Some(1), 255, 258), ["tile/1/000.p/1"]);
        assert_eq!(grown(Some(1), 257, 258), Vec::<String>::new());
        assert_eq!(grown(None, 256, 257), ["tile/entries/001.p/1"]);
        assert_eq!(grown(Some(7), 0, u64::MAX).len(), 1);
    }
}
