//! Reading every row behind an index that came from its file, while the daemon serves.
//!
//! What was altered, moved, put back or removed on the disk cannot change what the index says, but it must be
//! noticed, as it is on the long way of [`super::load`]. Page after page is added to a sum; a change of a row that
//! has been read already is added too, so that at the end the sum is the anchor's, whatever was written meanwhile.

use std::sync::{Arc, PoisonError};
use std::time::Duration;

use super::anchor::RowSum;
use super::load::Page;
use super::{Inner, Open, UnsealError};
use crate::store::{RowKey, StoreError};

/// Rows of a page. Changes wait while one is read, so it is short.
pub(super) const PAGE_ROWS: usize = 256;
/// The pause after each page: whoever signs comes first.
const PAUSE: Duration = Duration::from_millis(5);

/// How far the rows have been read.
#[derive(Debug, Default)]
pub(super) struct Recheck {
    last: Option<RowKey>,
    sum: RowSum,
}

impl Recheck {
    /// The last row that has been read.
    pub(super) fn last(&self) -> Option<RowKey> {
        self.last.clone()
    }

    /// Takes in what a change did to rows that have been read.
    pub(super) fn join(&mut self, changed: &RowSum) {
        self.sum.join(changed);
    }
}

/// Reads every row, so many at once. The number of rows; none when the records were sealed meanwhile.
pub(super) async fn run(inner: &Inner, open: &Arc<Open>, page_rows: usize) -> Result<Option<u64>, UnsealError> {
    let begin = |recheck| *open.recheck.lock().unwrap_or_else(PoisonError::into_inner) = recheck;
    begin(Some(Recheck::default()));
    let read = read(inner, open, page_rows).await;
    begin(None);
    read
}

async fn read(inner: &Inner, open: &Arc<Open>, page_rows: usize) -> Result<Option<u64>, UnsealError> {
    let mut last = None;
    loop {
        // A change is before a page or after it, never in the middle.
        let gate = inner.gate.lock().await;
        if !inner.opened().is_ok_and(|now| Arc::ptr_eq(&now, open)) {
            return Ok(None);
        }
        let rows = inner.store.scan(&[], last.as_ref(), page_rows).await?;
        let is_last = rows.len() < page_rows;
        last = rows.last().map(|(key, _)| key.clone()).or(last);
        let keys = Arc::clone(&open.keys);
        let page = tokio::task::spawn_blocking(move || Page::open(&keys, rows)).await;
        let page = page.map_err(|_| StoreError::Closed { reason: "its rows could not be read".into() })?;
        if !page.faults.is_empty() {
            return Err(UnsealError::Tampered { faults: page.faults });
        }
        let sum = take(open, &page.sum, last.clone());
        if is_last {
            return compare(open, &sum).map(Some);
        }
        drop(gate);
        tokio::time::sleep(PAUSE).await;
    }
}

/// Adds a page; the sum so far.
fn take(open: &Open, page: &RowSum, last: Option<RowKey>) -> RowSum {
    let mut recheck = open.recheck.lock().unwrap_or_else(PoisonError::into_inner);
    let recheck = recheck.get_or_insert_default();
    recheck.sum.join(page);
    recheck.last = last;
    recheck.sum
}

fn compare(open: &Open, read: &RowSum) -> Result<u64, UnsealError> {
    let left = open.index.read().unwrap_or_else(PoisonError::into_inner).anchor.sum;
    if *read == left {
        return Ok(read.rows);
    }
    let fault = format!("the {} rows that are there are not the {} that were written last", read.rows, left.rows);
    Err(UnsealError::Tampered { faults: vec![fault] })
}
