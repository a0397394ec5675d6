//! The door of the Hsm service.

mod doctor;

use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status};
use trust_hsm::{Pin, TokenName};
use trust_proto::v1;

use super::{Door, answer};
use crate::authorize::Action;
use crate::custody;
use crate::house::{Orphan, TokenView};

#[tonic::async_trait]
impl v1::hsm_server::Hsm for Door {
    type DoctorStream = ReceiverStream<Result<v1::DoctorResponse, Status>>;

    async fn list_tokens(
        &self,
        request: Request<v1::ListTokensRequest>,
    ) -> Result<Response<v1::ListTokensResponse>, Status> {
        let principal = self.caller(&request)?;
        let tokens = self.house.list_tokens(&principal).map_err(answer)?;
        Ok(Response::new(v1::ListTokensResponse { tokens: tokens.into_iter().map(token_to_wire).collect() }))
    }

    async fn login(&self, mut request: Request<v1::LoginRequest>) -> Result<Response<v1::LoginResponse>, Status> {
        // Taken out before anything is refused: what is dropped with the message is not wiped.
        let mut typed = super::only_copy(std::mem::take(&mut request.get_mut().pin));
        let principal = self.caller(&request)?;
        self.at_socket_only(&request, &principal, Action::LoginToken, "login")?;
        let deadline = self.deadline(&request);
        let wire = request.into_inner();
        let token: TokenName = wire.token.parse().map_err(|malformed: trust::Malformed| answer(malformed.into()))?;
        let pin = Pin::take(&mut typed).map_err(|error| answer(custody::told(error)))?;
        self.house.login_token(&principal, &token, pin, deadline).await.map_err(answer)?;
        Ok(Response::new(v1::LoginResponse {}))
    }

    async fn doctor(&self, request: Request<v1::DoctorRequest>) -> Result<Response<Self::DoctorStream>, Status> {
        let principal = self.caller(&request)?;
        // Whoever may not measure at all hears that, not what tokens there are.
        self.house.allow(&principal, Action::MeasureToken).map_err(answer)?;
        let deadline = self.deadline(&request);
        let wire = request.into_inner();
        let token: TokenName = wire.token.parse().map_err(|malformed: trust::Malformed| answer(malformed.into()))?;
        let (plan, keep) = doctor::read(&wire).map_err(answer)?;
        let (progress, mut told) = mpsc::channel(STEPS_WAITING_MAX);
        let (answers, stream) = mpsc::channel(STEPS_WAITING_MAX);
        let house = self.house.clone();
        let tasks = self.house.parts.tasks.clone();
        tasks.spawn(async move {
            let measuring = house.examine_token(&principal, &token, plan, keep, deadline, progress);
            let steps = answers.clone();
            let forward = async move {
                while let Some(progress) = told.recv().await {
                    // Whoever watched has gone: nobody hears the steps any more, which ends the measurement.
                    if steps.send(Ok(doctor::progress_to_wire(progress))).await.is_err() {
                        return;
                    }
                }
            };
            let (examined, ()) = tokio::join!(measuring, forward);
            // As above; what was to be kept is.
            let _ = answers.send(examined.map(doctor::report_to_wire).map_err(answer)).await;
        });
        Ok(Response::new(ReceiverStream::new(stream)))
    }

    async fn list_orphans(
        &self,
        request: Request<v1::ListOrphansRequest>,
    ) -> Result<Response<v1::ListOrphansResponse>, Status> {
        let principal = self.caller(&request)?;
        let name = request.into_inner().token;
        let token = if name.is_empty() { None } else { Some(name.parse::<TokenName>()) };
        let token = token.transpose().map_err(|malformed| answer(malformed.into()))?;
        let listed = self.house.list_orphans(&principal, token.as_ref()).await.map_err(answer)?;
        let not_listed =
            listed.not_listed.into_iter().map(|(token, why)| v1::NotListed { token: token.to_string(), why });
        Ok(Response::new(v1::ListOrphansResponse {
            orphans: listed.orphans.into_iter().map(orphan_to_wire).collect(),
            not_listed: not_listed.collect(),
        }))
    }
}

fn orphan_to_wire(orphan: Orphan) -> v1::Orphan {
    let looks_ours = orphan.looks_ours();
    v1::Orphan {
        token: orphan.token.to_string(),
        class: orphan.object.class.name().to_owned(),
        id: orphan.object.id.into(),
        label: orphan.object.label,
        key_type: orphan.object.key_type,
        looks_ours,
    }
}

/// Steps of a measurement that wait for the caller.
const STEPS_WAITING_MAX: usize = 8;

fn token_to_wire(view: TokenView) -> v1::Token {
    let TokenView { status, module, selector, facts, tuning, pin } = view;
    let (label, serial, manufacturer, model, firmware) = facts
        .map(|facts| (facts.label, facts.serial, facts.manufacturer, facts.model, facts.firmware))
        .unwrap_or_default();
    v1::Token {
        trouble: status.word().unwrap_or_default().to_owned(),
        name: status.name,
        module,
        selector,
        label,
        serial,
        manufacturer,
        model,
        firmware,
        state: status.state.name().to_owned(),
        restarts: status.restarts,
        sessions: u32::try_from(tuning.sessions.0).unwrap_or(u32::MAX),
        pin: pin.name().to_owned(),
        sessions_by: tuning.sessions.1.name().to_owned(),
        hang_after_ms: u64::try_from(tuning.hang_after.0.as_millis()).unwrap_or(u64::MAX),
        hang_after_by: tuning.hang_after.1.name().to_owned(),
        profile: tuning.profile.to_string(),
    }
}
