//! What the doors read from the log.

use trust::{Fault, FaultKind, Sha256Digest};

use super::{House, audit_fault};
use crate::audit::InclusionProof;

impl House {
    /// The newest signed checkpoint, as a note, and the key that signed it.
    pub(crate) async fn checkpoint(&self) -> Result<(String, String), Fault> {
        let (checkpoint, key) = self.audit().checkpoint().await.map_err(audit_fault)?;
        Ok((checkpoint.note().to_owned(), key.to_string()))
    }

    /// A leaf's proof in the tree of a signed checkpoint.
    pub(crate) async fn inclusion(&self, leaf: u64) -> Result<InclusionProof, Fault> {
        self.audit().inclusion(leaf).await.map_err(audit_fault)
    }

    /// Proves that one tree is the beginning of another; `to` 0 is the newest checkpoint. Answers the size it proved.
    pub(crate) async fn consistency(&self, from: u64, to: u64) -> Result<(u64, Vec<Sha256Digest>), Fault> {
        let to = if to == 0 {
            let (checkpoint, _) = self.audit().checkpoint().await.map_err(audit_fault)?;
            checkpoint.checkpoint().size
        } else {
            to
        };
        if from == 0 || from > to {
            return Err(Fault::new(FaultKind::Malformed, "sizes: from 1 to the size of the newer tree"));
        }
        Ok((to, self.audit().consistency(from, to).map_err(audit_fault)?))
    }

    /// Leaves from `first` on, and the size of the durable log.
    pub(crate) async fn entries(&self, first: u64, count: u32, bytes_max: usize) -> Result<(Vec<Vec<u8>>, u64), Fault> {
        let entries = self.audit().entries(first, u64::from(count), bytes_max).await.map_err(audit_fault)?;
        Ok((entries, self.audit().durable().0))
    }
}
