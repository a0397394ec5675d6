//! The door of the Admin service.

use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status};
use trust::{Fault, FaultKind};
use trust_hsm::Passphrase;
use trust_proto::v1;
use zeroize::Zeroizing;

use super::{Door, answer};
use crate::authorize::Action;
use crate::house::{Progress, kek_state};
use crate::identity::Caller;

#[tonic::async_trait]
impl v1::admin_server::Admin for Door {
    type RotateKekStream = ReceiverStream<Result<v1::RotateKekResponse, Status>>;
    type BackupStream = ReceiverStream<Result<v1::BackupResponse, Status>>;

    async fn get_status(
        &self,
        request: Request<v1::GetStatusRequest>,
    ) -> Result<Response<v1::GetStatusResponse>, Status> {
        let principal = self.caller(&request)?;
        self.house.allow(&principal, Action::ReadStatus).map_err(answer)?;
        let (name, state, restarts) = self.house.custody().status();
        let sealed = self.house.is_sealed();
        let software = v1::CustodianStatus { name, state: state.name().to_owned(), restarts };
        let tokens = self.house.custodians().tokens().into_iter().map(|token| v1::CustodianStatus {
            name: token.name,
            state: token.state.name().to_owned(),
            restarts: token.restarts,
        });
        Ok(Response::new(v1::GetStatusResponse {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            sealed,
            health: self.house.health(),
            log_origin: self.house.log_origin().to_owned(),
            log_size: self.house.anchor().size,
            policy_revision: self.house.authorizer().revision().to_hex(),
            started_at_unix_seconds: self.house.parts.started_at_unix_seconds,
            custodians: std::iter::once(software).chain(tokens).collect(),
            principal: principal.to_string(),
        }))
    }

    async fn unseal(&self, request: Request<v1::UnsealRequest>) -> Result<Response<v1::UnsealResponse>, Status> {
        let principal = self.caller(&request)?;
        if !matches!(request.extensions().get::<Caller>(), Some(caller) if caller.is_local()) {
            // Whoever may not unseal at all hears that, not how it is done.
            self.house.allow(&principal, Action::Unseal).map_err(answer)?;
            return Err(answer(Fault::new(FaultKind::Refused, "unseal: over the Unix socket only")));
        }
        let deadline = self.deadline(&request);
        let mut typed = Zeroizing::new(Vec::from(request.into_inner().passphrase));
        let passphrase = Passphrase::take(&mut typed).map_err(|malformed| answer(malformed.into()))?;
        self.house.unseal(&principal, passphrase, deadline).await.map_err(answer)?;
        Ok(Response::new(v1::UnsealResponse {}))
    }

    async fn seal(&self, request: Request<v1::SealRequest>) -> Result<Response<v1::SealResponse>, Status> {
        let principal = self.caller(&request)?;
        let deadline = self.deadline(&request);
        self.house.seal(&principal, deadline).await.map_err(answer)?;
        Ok(Response::new(v1::SealResponse {}))
    }

    async fn list_keks(&self, request: Request<v1::ListKeksRequest>) -> Result<Response<v1::ListKeksResponse>, Status> {
        let principal = self.caller(&request)?;
        let versions = self.house.keks(&principal).await.map_err(answer)?;
        let versions = versions
            .into_iter()
            .map(|info| v1::KekVersion {
                version: info.version.number(),
                state: kek_state(info.state).to_owned(),
                created_at_unix_seconds: 0,
            })
            .collect();
        Ok(Response::new(v1::ListKeksResponse { versions }))
    }

    async fn rotate_kek(
        &self,
        request: Request<v1::RotateKekRequest>,
    ) -> Result<Response<Self::RotateKekStream>, Status> {
        let principal = self.caller(&request)?;
        let deadline = self.deadline(&request);
        let (progress, mut told) = mpsc::channel::<Progress>(PROGRESS_WAITING_MAX);
        let (answers, stream) = mpsc::channel(PROGRESS_WAITING_MAX);
        let house = self.house.clone();
        let rotation = {
            let house = house.clone();
            async move { house.rotate_kek(&principal, deadline, progress).await }
        };
        house.parts.tasks.spawn(async move {
            let forward = async {
                while let Some(progress) = told.recv().await {
                    // Whoever watched may have gone; the rotation goes on.
                    let _ = answers.send(Ok(progress_to_wire(progress))).await;
                }
            };
            let (ended, ()) = tokio::join!(rotation, forward);
            if let Err(fault) = ended {
                let _ = answers.send(Err(answer(fault))).await;
            }
        });
        Ok(Response::new(ReceiverStream::new(stream)))
    }

    async fn backup(&self, request: Request<v1::BackupRequest>) -> Result<Response<Self::BackupStream>, Status> {
        let principal = self.caller(&request)?;
        let deadline = self.deadline(&request);
        let mut export = self.house.begin_backup(&principal, deadline).await.map_err(answer)?;
        let (answers, stream) = mpsc::channel(PROGRESS_WAITING_MAX);
        self.house.parts.tasks.spawn_blocking(move || {
            loop {
                match export.next_chunk() {
                    Ok(Some(chunk)) => {
                        if answers.blocking_send(Ok(v1::BackupResponse { chunk: chunk.into() })).is_err() {
                            return;
                        }
                    }
                    Ok(None) => return,
                    Err(error) => {
                        let _ = answers.blocking_send(Err(answer(Fault::internal(error))));
                        return;
                    }
                }
            }
        });
        Ok(Response::new(ReceiverStream::new(stream)))
    }
}

/// Answers of a stream that wait for the caller.
const PROGRESS_WAITING_MAX: usize = 8;

fn progress_to_wire(progress: Progress) -> v1::RotateKekResponse {
    v1::RotateKekResponse {
        rewrapped: progress.rewrapped,
        total: progress.total,
        version: progress.version,
        done: progress.done,
    }
}
