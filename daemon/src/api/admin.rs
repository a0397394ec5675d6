//! The door of the Admin service.

use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status};
use trust::{Fault, FaultKind};
use trust_hsm::{Passphrase, TokenName};
use trust_proto::v1;
use zeroize::Zeroizing;

use super::{Door, answer};
use crate::authorize::Action;
use crate::house::{Progress, Recovery, RootTarget, kek_state};
use crate::root::PASSPHRASE_BYTES_MIN;

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
            root_kek: self.house.root_words(),
        }))
    }

    async fn unseal(&self, mut request: Request<v1::UnsealRequest>) -> Result<Response<v1::UnsealResponse>, Status> {
        // Taken out before anything is refused: what is dropped with the message is not wiped.
        let typed = super::only_copy(std::mem::take(&mut request.get_mut().passphrase));
        let principal = self.caller(&request)?;
        self.at_socket_only(&request, &principal, Action::Unseal, "unseal")?;
        let deadline = self.deadline(&request);
        let asked = request.into_inner();
        let passphrase = if asked.by_token { None } else { Some(passphrase(typed).map_err(answer)?) };
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
            .map(|info| v1::KekVersion { version: info.version.number(), state: kek_state(info.state).to_owned() })
            .collect();
        Ok(Response::new(v1::ListKeksResponse { versions, root_kek: self.house.root_words() }))
    }

    async fn rotate_kek(
        &self,
        request: Request<v1::RotateKekRequest>,
    ) -> Result<Response<Self::RotateKekStream>, Status> {
        let principal = self.caller(&request)?;
        if request.get_ref().root.is_some() {
            // Before the target is read: whoever may not change the root hears that first.
            self.house.allow(&principal, Action::ManageKek).map_err(answer)?;
            self.at_socket_only(&request, &principal, Action::ManageKek, "another root key")?;
        }
        let deadline = self.deadline(&request);
        let target = request.into_inner().root.map(root_target).transpose().map_err(answer)?;
        let (progress, mut told) = mpsc::channel::<Progress>(PROGRESS_WAITING_MAX);
        let (answers, stream) = mpsc::channel(PROGRESS_WAITING_MAX);
        let house = self.house.clone();
        let rotation = {
            let house = house.clone();
            async move {
                match target {
                    None => house.rotate_kek(&principal, deadline, progress).await,
                    Some(target) => house.change_root(&principal, deadline, target, progress).await,
                }
            }
        };
        let tasks = house.parts.tasks.clone();
        tasks.spawn(async move {
            let forward = async {
                while let Some(progress) = told.recv().await {
                    // Whoever watched may have gone; the rotation goes on.
                    let root = if progress.done { house.root_words() } else { String::new() };
                    let _ = answers.send(Ok(progress_to_wire(progress, root))).await;
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
        self.house.parts.tasks.spawn(async move {
            loop {
                let chunk = match export.read_ahead().await {
                    // Sealing and encryption take some milliseconds each.
                    Ok(()) => tokio::task::spawn_blocking(move || (export.next_chunk(), export)).await,
                    Err(error) => {
                        let _ = answers.send(Err(answer(Fault::internal(error)))).await;
                        return;
                    }
                };
                let sent = match chunk {
                    Ok((Ok(Some(chunk)), back)) => {
                        export = back;
                        answers.send(Ok(v1::BackupResponse { chunk: chunk.into() })).await
                    }
                    Ok((Ok(None), _)) => return,
                    Ok((Err(error), _)) => {
                        let _ = answers.send(Err(answer(Fault::internal(error)))).await;
                        return;
                    }
                    // The process is ending.
                    Err(_) => return,
                };
                if sent.is_err() {
                    return;
                }
            }
        });
        Ok(Response::new(ReceiverStream::new(stream)))
    }
}

/// The longest path of a root key file, in bytes (`PATH_MAX`).
const PATH_BYTES_MAX: usize = 4096;
/// Answers of a stream that wait for the caller.
const PROGRESS_WAITING_MAX: usize = 8;

fn progress_to_wire(progress: Progress, root_kek: String) -> v1::RotateKekResponse {
    v1::RotateKekResponse {
        rewrapped: progress.rewrapped,
        total: progress.total,
        version: progress.version,
        done: progress.done,
        root_kek,
    }
}

fn passphrase(mut typed: Zeroizing<Vec<u8>>) -> Result<Passphrase, Fault> {
    Passphrase::take(&mut typed).map_err(Fault::from)
}

/// Where another root key is to be: exactly one place, and for a token exactly one word about its loss (D20).
fn root_target(root: v1::NewRoot) -> Result<RootTarget, Fault> {
    let malformed = |what: &str| Fault::new(FaultKind::Malformed, format!("root: expected {what}"));
    let v1::NewRoot { file, token, passphrase: words, recovery_token, no_recovery } = root;
    let words = if words.is_empty() { None } else { Some(new_passphrase(words)?) };
    let name = |text: &str| text.parse::<TokenName>().map_err(Fault::from);
    match (file.as_str(), token.as_str(), words, recovery_token.as_str(), no_recovery) {
        (file, "", None, "", false) if file.starts_with('/') && file.len() <= PATH_BYTES_MAX => {
            Ok(RootTarget::File(file.into()))
        }
        ("", "", Some(words), "", false) => Ok(RootTarget::Passphrase(words)),
        ("", token, Some(words), "", false) => Ok(RootTarget::Token(name(token)?, Recovery::Passphrase(words))),
        ("", token, None, "", true) if !token.is_empty() => Ok(RootTarget::Token(name(token)?, Recovery::Nothing)),
        ("", token, None, spare, false) if !token.is_empty() && !spare.is_empty() => {
            Ok(RootTarget::Token(name(token)?, Recovery::Token(name(spare)?)))
        }
        ("", token, None, "", false) if !token.is_empty() => {
            Err(malformed("what opens when the token is lost: a passphrase, a recovery_token, or no_recovery"))
        }
        _ => Err(malformed("an absolute file, or a token with one recovery, or a passphrase")),
    }
}

fn new_passphrase(typed: bytes::Bytes) -> Result<Passphrase, Fault> {
    let typed = super::only_copy(typed);
    if typed.len() < PASSPHRASE_BYTES_MIN {
        return Err(Fault::new(
            FaultKind::Malformed,
            format!("the passphrase is shorter than {PASSPHRASE_BYTES_MIN} bytes"),
        ));
    }
    passphrase(typed)
}
