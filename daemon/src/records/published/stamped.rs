//! Whose timestamps are old, told by the index; of the rows only those are read that are asked for.

use trust::format::tuf::Gun;

use super::super::{RecordError, Records, layout};
use super::stored;

/// How far ahead a clock may have been, in seconds, before it is taken to have been wrong.
const AHEAD_SECONDS: i64 = 24 * 60 * 60;

/// Where a repository stands among those whose timestamps are to be signed anew.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Stamped {
    ends_at: i64,
    hash: [u8; 32],
}

/// Some of the repositories whose timestamps are to be signed anew.
#[derive(Debug)]
pub(crate) struct StampedPage {
    /// Those whose heads can be read.
    pub(crate) guns: Vec<Gun>,
    /// How many heads could not.
    pub(crate) damaged: usize,
    /// The last one that was looked at; none where there is none any more.
    pub(crate) last: Option<Stamped>,
}

impl Records {
    /// Repositories whose timestamp was stored before `unix_seconds`, those first whose timestamp ends first; at most
    /// `limit`, and only those behind `after`, where an earlier page ended. A head that is damaged is logged and passed
    /// over: it holds up no other repository.
    ///
    /// # Errors
    /// [`RecordError::Sealed`], [`RecordError::Closed`].
    pub(crate) async fn stamped_before(
        &self,
        unix_seconds: u64,
        after: Option<Stamped>,
        limit: usize,
    ) -> Result<StampedPage, RecordError> {
        let open = self.opened()?;
        let mut due: Vec<Stamped> = self.read(|index| {
            let slots = index.published.heads.iter();
            slots
                .filter_map(|(hash, slot)| Some((slot.timestamp?, *hash)))
                .filter(|((stored_at, _), _)| *stored_at < unix_seconds)
                .map(|((_, ends_at), hash)| Stamped { ends_at, hash })
                .filter(|stamped| after.is_none_or(|after| *stamped > after))
                .collect()
        })?;
        // There may be very many, and only the first of them are wanted.
        if limit < due.len() {
            due.select_nth_unstable(limit);
            due.truncate(limit);
        }
        due.sort_unstable();
        let mut page = StampedPage { guns: Vec::with_capacity(due.len()), damaged: 0, last: due.last().copied() };
        for Stamped { hash, .. } in due {
            let Some(row) = self.0.store.fetch(&layout::head(hash)).await? else { continue };
            let read = open.keys.open(&layout::head(hash), row.value);
            match read.and_then(|(plain, _)| stored::read_head(&plain)) {
                Some((gun, _)) => page.guns.push(gun),
                None => {
                    page.damaged = page.damaged.saturating_add(1);
                    tracing::error!(stage = "store", row = %layout::describe(&layout::head(hash)), "a head is not as it was left");
                }
            }
        }
        Ok(page)
    }

    /// How many repositories have a timestamp, and of how many it is late at `now`: past half of its life, or made by a
    /// clock that was ahead, so that it counts for longer than it should, and nobody signs it anew before that time comes.
    ///
    /// # Errors
    /// [`RecordError::Sealed`].
    pub(crate) fn timestamps(&self, now_unix_seconds: u64) -> Result<(u64, u64), RecordError> {
        self.read(|index| {
            let now = i64::try_from(now_unix_seconds).unwrap_or(i64::MAX);
            let mut counts = (0_u64, 0_u64);
            for (stored_at, ends_at) in index.published.heads.values().filter_map(|slot| slot.timestamp) {
                let stored_at = i64::try_from(stored_at).unwrap_or(i64::MAX);
                let half = stored_at.saturating_add(ends_at.saturating_sub(stored_at) / 2);
                counts.0 = counts.0.saturating_add(1);
                let is_ahead = stored_at > now.saturating_add(AHEAD_SECONDS);
                counts.1 = counts.1.saturating_add(u64::from(now > half || is_ahead));
            }
            counts
        })
    }
}
