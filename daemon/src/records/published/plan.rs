//! Which rows a publication writes. Pure: the writer seals and writes.

use trust::format::tuf::Gun;

use super::super::RecordError;
use super::super::layout;
use super::super::mutation::{Effect, Plan, RowChange, Scene};
use super::{ChangeKind, Head, stored};
use crate::store::RowKey;

/// A head that takes the place of another, with the rows that are new.
pub(in super::super) struct Publishing {
    pub(in super::super) hash: [u8; 32],
    pub(super) gun: Gun,
    /// The serial of the head that it takes the place of.
    pub(super) expected: u64,
    pub(super) head: Head,
    pub(super) rows: Vec<(RowKey, Vec<u8>)>,
    pub(super) change: Option<(ChangeKind, u64)>,
}

/// What the index learns of it.
pub(in super::super) struct HeadDraft {
    pub(in super::super) hash: [u8; 32],
    pub(in super::super) head: Head,
    pub(in super::super) is_change: bool,
}

impl Scene<'_> {
    pub(in super::super) fn publish(&self, publishing: &Publishing) -> Result<Plan, RecordError> {
        let Publishing { hash, gun, expected, head, rows, change } = publishing;
        let slot = self.index.published.heads.get(hash);
        if slot.map_or(0, |slot| slot.serial) != *expected {
            return Err(RecordError::Moved);
        }
        let (key, plain) = (layout::head(*hash), stored::write_head(gun, head)?);
        let mut changes = vec![match slot {
            Some(slot) => RowChange::Replace { key, held: slot.held, plain },
            None => RowChange::Create { key, plain },
        }];
        changes.extend(rows.iter().map(|(key, plain)| RowChange::Create { key: key.clone(), plain: plain.clone() }));
        if let Some((kind, made_at_unix_ms)) = change {
            let id = self.index.published.last_change.saturating_add(self.group.changes()).saturating_add(1);
            let plain = stored::write_change(gun, *made_at_unix_ms, *kind)?;
            changes.push(RowChange::Create { key: layout::change(id), plain });
            let key = layout::gun_change(hash, head.changes);
            changes.push(RowChange::Create { key, plain: id.to_be_bytes().to_vec() });
        }
        let draft = HeadDraft { hash: *hash, head: head.clone(), is_change: change.is_some() };
        Ok(Plan { rows: changes, effects: vec![Effect::Head(Box::new(draft))], count: 1 })
    }

    pub(in super::super) fn keep_chunks(rows: &[(RowKey, Vec<u8>)]) -> Plan {
        let rows = rows.iter().map(|(key, plain)| RowChange::Create { key: key.clone(), plain: plain.clone() });
        Plan { rows: rows.collect(), effects: Vec::new(), count: 0 }
    }
}
