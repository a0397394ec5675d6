//! The door of the Audit service.

use bytes::Bytes;
use tonic::{Request, Response, Status};
use trust::Fault;
use trust_proto::v1;

use super::{Door, answer, malformed};
use crate::authorize::Action;

/// Entries of a page that asks for none.
const PAGE_DEFAULT: u32 = 100;
/// The most entries of a page.
const PAGE_MAX: u32 = 1000;
/// The most bytes of a page.
const PAGE_BYTES_MAX: usize = 1024 * 1024;

#[tonic::async_trait]
impl v1::audit_server::Audit for Door {
    async fn get_checkpoint(
        &self,
        request: Request<v1::GetCheckpointRequest>,
    ) -> Result<Response<v1::GetCheckpointResponse>, Status> {
        let principal = self.caller(&request)?;
        self.house.allow(&principal, Action::ReadLog).map_err(answer)?;
        let (checkpoint, verifier_key) = self.house.checkpoint().await.map_err(answer)?;
        Ok(Response::new(v1::GetCheckpointResponse { checkpoint, verifier_key }))
    }

    async fn get_inclusion_proof(
        &self,
        request: Request<v1::GetInclusionProofRequest>,
    ) -> Result<Response<v1::GetInclusionProofResponse>, Status> {
        let principal = self.caller(&request)?;
        self.house.allow(&principal, Action::ReadLog).map_err(answer)?;
        let proof = self.proof(request.into_inner().leaf).await.map_err(answer)?;
        Ok(Response::new(v1::GetInclusionProofResponse { proof: Some(proof) }))
    }

    async fn get_consistency_proof(
        &self,
        request: Request<v1::GetConsistencyProofRequest>,
    ) -> Result<Response<v1::GetConsistencyProofResponse>, Status> {
        let principal = self.caller(&request)?;
        self.house.allow(&principal, Action::ReadLog).map_err(answer)?;
        let wire = request.into_inner();
        let (to_size, hashes) = self.house.consistency(wire.from_size, wire.to_size).await.map_err(answer)?;
        Ok(Response::new(v1::GetConsistencyProofResponse {
            from_size: wire.from_size,
            to_size,
            hashes: hashes.into_iter().map(|hash| Bytes::copy_from_slice(hash.as_bytes())).collect(),
        }))
    }

    async fn list_entries(
        &self,
        request: Request<v1::ListEntriesRequest>,
    ) -> Result<Response<v1::ListEntriesResponse>, Status> {
        let principal = self.caller(&request)?;
        self.house.allow(&principal, Action::ReadLog).map_err(answer)?;
        let wire = request.into_inner();
        let count = match wire.count {
            0 => PAGE_DEFAULT,
            count if count <= PAGE_MAX => count,
            _ => return Err(answer(malformed("count: 1 to 1000"))),
        };
        let (entries, size) = self.house.entries(wire.first_leaf, count, PAGE_BYTES_MAX).await.map_err(answer)?;
        let entries = entries.into_iter().map(Bytes::from).collect();
        Ok(Response::new(v1::ListEntriesResponse { entries, size }))
    }
}

impl Door {
    /// The proof of `leaf` in the tree of a signed checkpoint that contains it.
    pub(super) async fn proof(&self, leaf: u64) -> Result<v1::InclusionProof, Fault> {
        let proof = self.house.inclusion(leaf).await?;
        Ok(v1::InclusionProof {
            leaf,
            entry: proof.entry.into(),
            hashes: proof.hashes.into_iter().map(|hash| Bytes::copy_from_slice(hash.as_bytes())).collect(),
            checkpoint: proof.checkpoint.note().to_owned(),
        })
    }
}
