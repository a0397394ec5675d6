//! What was seen of the same repository on another visit, whose root was another one.

use super::{Client, is_signed_for};
use crate::format::tuf::{Document, Repository, RoleName};

impl Client {
    /// Takes care that nobody takes us behind what was seen on another visit, as far as those have signed it who speak
    /// under the root that is believed now. To be called when the roots have been followed; the root that was seen does
    /// not count.
    ///
    /// Files are only compared with, and verified anew when they are used.
    pub fn recall(&mut self, seen: &Repository) {
        let here =
            |client: &Self, file: &Document| is_signed_for(&client.believed.clone().with(file.clone()), file.role());
        let served = [RoleName::Snapshot, RoleName::Timestamp];
        // One server signs both: where it has other keys for one of them, it may begin both anew (TUF 5.3.11).
        let is_moved = served.iter().filter_map(|role| seen.file(role)).any(|file| !here(self, file));
        // A parent comes before its children, whose speakers it names.
        for (role, file) in seen.files() {
            let is_served = served.contains(role);
            if *role == RoleName::Root || self.current.contains(role) || is_served && is_moved || !here(self, file) {
                continue;
            }
            if self.last(role).is_none_or(|held| held.version() < file.version()) {
                let moved = self.moved_delegations(file);
                self.believed.put(file.clone());
                self.forgiven.remove(role);
                self.forgive(moved);
            }
        }
    }
}
