//! The whole log, leaf by leaf, against the root of its checkpoint.

use trust::tlog::{Checkpoint, Frontier, leaf_hash};
use trust_proto::v1;

use super::shown::{Counted, Entry};
use crate::connect::Daemon;
use crate::context::Context;
use crate::failure::Failure;

/// The most leaves of one page.
const PAGE: u64 = 1000;

/// The leaves from `first`, at most `count` and at most a page.
pub(super) async fn page(daemon: &Daemon, first: u64, count: u64) -> Result<v1::ListEntriesResponse, Failure> {
    let count = count.min(PAGE);
    let request = v1::ListEntriesRequest { first_leaf: first, count: u32::try_from(count).unwrap_or(0) };
    let mut page = daemon.audit().list_entries(request).await?.into_inner();
    page.entries.truncate(usize::try_from(count).unwrap_or(0));
    Ok(page)
}

/// Reads every leaf that `head` promises and recomputes its root from them.
pub(super) async fn verify(context: &Context, daemon: &Daemon, head: &Checkpoint) -> Result<Counted, Failure> {
    let bar = context.output.progress(head.size, "verifying the log");
    let mut tree = Frontier::new();
    let mut counted = Counted::default();
    while tree.size() < head.size {
        let page = page(daemon, tree.size(), head.size - tree.size()).await?;
        if page.entries.is_empty() {
            return Err(wrong(format!(
                "the log {} ends at leaf {}, and its checkpoint promises {}",
                head.origin,
                tree.size(),
                head.size
            )));
        }
        for bytes in &page.entries {
            counted.count(&Entry::read(tree.size(), bytes));
            tree.append(leaf_hash(bytes), |_, _| {});
        }
        bar.set_position(tree.size());
    }
    bar.finish_and_clear();
    if tree.root() == head.root {
        return Ok(counted);
    }
    Err(wrong(format!("the leaves of the log {} do not make the root that its checkpoint promises", head.origin)))
}

fn wrong(what: String) -> Failure {
    Failure::refused(what, "evidence was changed or left out: keep what you have, and ask whoever runs the daemon")
}
