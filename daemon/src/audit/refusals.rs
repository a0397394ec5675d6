//! Refusals leave bounded leaves (D15): the first of its kind at once, the rest counted by the minute.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use super::leaf::RefusalLeaf;

/// How long refusals of one kind are counted together, in milliseconds.
const MINUTE_MS: u64 = 60_000;
/// The most kinds that are counted at once; more are counted as one.
const KINDS_MAX: usize = 1024;
/// Stands for all principals beyond the bound.
const OTHERS: &str = "others";

type Kind = (String, &'static str, &'static str);

/// Refusals of the last minute.
#[derive(Debug, Default)]
pub(super) struct Refusals(Mutex<HashMap<Kind, Counted>>);

#[derive(Debug)]
struct Counted {
    since: u64,
    more: Option<RefusalLeaf>,
}

impl Refusals {
    /// Counts a refusal in. Gives it back when it is the first of its kind in a minute: that one is written at once.
    pub(super) fn count(&self, mut refusal: RefusalLeaf) -> Option<RefusalLeaf> {
        let mut kinds = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut kind: Kind = (refusal.principal.clone(), refusal.action, refusal.reason);
        if kinds.len() >= KINDS_MAX && !kinds.contains_key(&kind) {
            OTHERS.clone_into(&mut refusal.principal);
            refusal.key = None;
            refusal.repository = None;
            kind.0 = OTHERS.to_owned();
        }
        match kinds.get_mut(&kind) {
            None => {
                kinds.insert(kind, Counted { since: refusal.first, more: None });
                Some(refusal)
            }
            Some(counted) => {
                match &mut counted.more {
                    None => counted.more = Some(refusal),
                    Some(more) => {
                        more.count = more.count.saturating_add(1);
                        more.last = refusal.last;
                        if more.key != refusal.key {
                            more.key = None;
                        }
                        if more.repository != refusal.repository {
                            more.repository = None;
                        }
                    }
                }
                None
            }
        }
    }

    /// What was counted for a minute by `now` (all of it, when `now` is `u64::MAX`).
    pub(super) fn due(&self, now: u64) -> Vec<RefusalLeaf> {
        let mut kinds = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut due = Vec::new();
        kinds.retain(|_, counted| {
            let is_due = now.saturating_sub(counted.since) >= MINUTE_MS;
            if is_due {
                due.extend(counted.more.take());
            }
            !is_due
        });
        due
    }
}

#[cfg(test)]
mod tests {
    use trust::Principal;

    use super::*;

    fn refusal(uid: u32, time: u64) -> RefusalLeaf {
        RefusalLeaf::new(time, &Principal::LocalUid(uid), "sign-image", "denied", None)
    }

    #[test]
    fn the_first_is_written_at_once_and_the_rest_by_the_minute() {
        let refusals = Refusals::default();

        assert_eq!(refusals.count(refusal(1, 1000)).map(|leaf| leaf.count), Some(1));
        assert_eq!(refusals.count(refusal(1, 1001)), None);
        assert_eq!(refusals.count(refusal(1, 1002)), None);

        assert_eq!(refusals.due(60_999), Vec::new());
        let due = refusals.due(61_000);
        assert_eq!(due.iter().map(|leaf| (leaf.count, leaf.first, leaf.last)).collect::<Vec<_>>(), [(2, 1001, 1002)]);
        assert!(refusals.count(refusal(1, 62_000)).is_some());
    }

    #[test]
    fn what_is_counted_names_the_repository_that_all_of_it_was_about() {
        let about = |uid, repository: &str| {
            let mut refusal = refusal(uid, 1000);
            refusal.repository = Some(repository.to_owned());
            refusal
        };
        let refusals = Refusals::default();
        for (uid, repository) in [(1, "a"), (1, "a"), (1, "a"), (2, "a"), (2, "a"), (2, "b")] {
            refusals.count(about(uid, repository));
        }

        let mut due = refusals.due(u64::MAX);

        due.sort_by(|a, b| a.principal.cmp(&b.principal));
        let named: Vec<_> = due.iter().map(|leaf| (leaf.count, leaf.repository.as_deref())).collect();
        assert_eq!(named, [(2, Some("a")), (2, None)]);
    }

    #[test]
    fn strangers_without_end_leave_a_bounded_number_of_leaves() {
        let refusals = Refusals::default();
        let mut written = 0;

        for uid in 0..100_000 {
            written += usize::from(refusals.count(refusal(uid, 5)).is_some());
        }

        assert!(written <= KINDS_MAX + 1);
        let due = refusals.due(u64::MAX);
        assert_eq!(due.len(), 1);
        assert!(due.iter().all(|leaf| leaf.principal == OTHERS));
    }
}
