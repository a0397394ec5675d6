//! The backup that goes out over the socket (D18).

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use trust::{Fault, FaultKind, Principal};

use super::{House, audit_fault, blocking};
use crate::authorize::Action;
use crate::backup::{BackupError, Export, Recipients};
use crate::records::record_fault;

impl House {
    /// Begins a backup of the keys as they are now, encrypted to the configured recipients. That it was begun, and by
    /// whom, is on record before the first byte leaves.
    pub(crate) async fn begin_backup(
        self: &Arc<Self>,
        principal: &Principal,
        deadline: Duration,
    ) -> Result<Export, Fault> {
        let house = Arc::clone(self);
        let work = async move {
            let path = house.config().backup_recipients.clone();
            let path =
                path.ok_or_else(|| Fault::new(FaultKind::Refused, "no backup_recipients in the configuration"))?;
            house.export(&path).await
        };
        self.administer(principal, Action::Backup, "backup", deadline, work).await
    }

    async fn export(&self, recipients: &Path) -> Result<Export, Fault> {
        // First, for it may take its time: nobody who seals or unseals waits for it.
        let (checkpoint, _) = self.audit().checkpoint().await.map_err(audit_fault)?;
        // A rotation between ring and rows would leave rows that this ring does not open.
        let _one = self.sealing.lock().await;
        let snapshot = self.records().snapshot().await.map_err(record_fault)?;
        let (ring, recipients) = (self.config().ring(), recipients.to_owned());
        let now = self.clock().now_unix_seconds();
        let begun = blocking(move || {
            let recipients = Recipients::read(&recipients)?;
            let ring =
                std::fs::read(&ring).map_err(|source| BackupError::System { step: "read the KEK ring", source })?;
            Export::begin(snapshot, &recipients, ring, checkpoint.note().to_owned(), now)
        });
        begun.await?.map_err(backup_fault)
    }
}

fn backup_fault(error: BackupError) -> Fault {
    match error {
        BackupError::KeyFile { .. } => Fault::new(FaultKind::Refused, error.to_string()),
        BackupError::Records(error) => record_fault(error),
        error => Fault::internal(error),
    }
}
