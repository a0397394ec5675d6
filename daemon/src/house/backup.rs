//! The backup that goes out over the socket (D18).

use trust::{Fault, FaultKind, Principal};

use super::{House, audit_fault};
use crate::authorize::Action;
use crate::backup::{BackupError, Export, Recipients};

impl House {
    /// Begins a backup of the keys as they are now, encrypted to the configured recipients.
    pub(crate) async fn begin_backup(&self, principal: &Principal) -> Result<Export, Fault> {
        self.pace(principal)?;
        self.allow(principal, Action::Backup)?;
        let path = self
            .config()
            .backup_recipients
            .clone()
            .ok_or_else(|| Fault::new(FaultKind::Refused, "no backup_recipients in the configuration"))?;
        let (checkpoint, _) = self.audit().checkpoint().await.map_err(audit_fault)?;
        let records = self.records().clone();
        let ring = self.config().ring();
        let now = self.clock().now_unix_seconds();
        let begun = super::sealing::blocking(move || {
            let recipients = Recipients::read(&path)?;
            let ring =
                std::fs::read(&ring).map_err(|source| BackupError::System { step: "read the KEK ring", source })?;
            Export::begin(&records, &recipients, ring, checkpoint.note().to_owned(), now)
        })
        .await?;
        begun.map_err(Fault::internal)
    }
}
