//! Which repositories a server has, by what it says has changed.
//!
//! Nobody signs that. A server that hides a repository is believed here, as it would be if it hid the repository's
//! files; what it names is verified like any other.

use std::collections::BTreeSet;

use trust::Repository;

use crate::context::Context;
use crate::failure::Failure;
use crate::registry::{ChangeCategory, CredentialFiles, PlainHttp, TrustFeed};
use crate::trust_server::TrustServerEntry;

/// The most pages of changes that are read.
const PAGES_MAX: usize = 10_000;
/// The most repositories that are listed.
const REPOSITORIES_MAX: usize = 100_000;
/// The longest name of one, in bytes.
const NAME_BYTES_MAX: usize = 1024;

/// The names below a prefix that have trust data on a server now, some of which may be none of repositories of images.
///
/// # Errors
/// Refused where the server does not list them, or lists more than is read; unreachable where it is.
pub(crate) async fn listed(
    context: &Context,
    entry: &TrustServerEntry,
    prefix: &str,
) -> Result<BTreeSet<String>, Failure> {
    let plain = if context.plain_http { PlainHttp::Asked } else { PlainHttp::LoopbackOnly };
    let credentials = CredentialFiles::from_environment();
    // Whoever may read what is below the prefix is asked for what is there.
    let below = Repository::normalise(&format!("{prefix}/placeholder"))?.as_str().parse()?;
    let feed = TrustFeed::open(entry.url(), &entry.authorities()?, &below, plain, credentials)?;
    let mut names = BTreeSet::new();
    let mut last = "0".to_owned();
    for _ in 0..PAGES_MAX {
        let changes = feed.behind(&last).await?;
        let Some(newest) = changes.last() else { return Ok(names) };
        if newest.id == last {
            return Err(endless(entry));
        }
        last.clone_from(&newest.id);
        for change in changes {
            let is_below = change.gun.strip_prefix(prefix).is_some_and(|rest| rest.starts_with('/'));
            match change.category {
                _ if !is_below || change.gun.len() > NAME_BYTES_MAX => {}
                ChangeCategory::Deletion => {
                    names.remove(&change.gun);
                }
                ChangeCategory::Update => {
                    names.insert(change.gun);
                }
            }
        }
        if names.len() > REPOSITORIES_MAX {
            return Err(endless(entry));
        }
    }
    Err(endless(entry))
}

fn endless(entry: &TrustServerEntry) -> Failure {
    Failure::refused(
        format!("the changefeed of {} does not end within what is read of it", entry.url()),
        "name the repositories, in place of --all",
    )
}
