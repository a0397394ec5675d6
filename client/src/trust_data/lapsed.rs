//! What becomes of names when the releases, whom docker asks first, have expired or are signed by too few.
//!
//! Docker then takes the word of `targets`. So do we, but for names under which the releases had signed other content:
//! what `targets` says there is often what they had replaced, and whoever pulled the newer would be led back.

use std::collections::BTreeSet;

use trust::format::tuf::client::Client;
use trust::format::tuf::{Document, RoleName, Target, Targets};

/// Whether the releases, which count no more, signed other content under a name than this role does.
pub(super) fn is_superseded(client: &Client, role: &RoleName, name: &str, target: &Target) -> bool {
    let mut said = lapsed(client).filter_map(|targets| targets.targets().get(name));
    *role == RoleName::Targets && said.any(|said| said.hashes().sha256() != target.hashes().sha256())
}

/// The names that the releases signed which count no more.
pub(super) fn names(client: &Client) -> BTreeSet<&String> {
    lapsed(client).flat_map(|targets| targets.targets().keys()).collect()
}

fn lapsed(client: &Client) -> impl Iterator<Item = &Targets> {
    let releases = RoleName::releases();
    let files: Vec<&Document> = client.lapsed(&releases).collect();
    files.into_iter().filter_map(Document::as_targets)
}
