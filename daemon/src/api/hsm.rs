//! The door of the Hsm service.

use tonic::{Request, Response, Status};
use trust_hsm::{Pin, TokenName};
use trust_proto::v1;
use zeroize::Zeroizing;

use super::{Door, answer};
use crate::authorize::Action;
use crate::custody;
use crate::house::{Orphan, TokenView};

#[tonic::async_trait]
impl v1::hsm_server::Hsm for Door {
    async fn list_tokens(
        &self,
        request: Request<v1::ListTokensRequest>,
    ) -> Result<Response<v1::ListTokensResponse>, Status> {
        let principal = self.caller(&request)?;
        let tokens = self.house.list_tokens(&principal).map_err(answer)?;
        Ok(Response::new(v1::ListTokensResponse { tokens: tokens.into_iter().map(token_to_wire).collect() }))
    }

    async fn login(&self, request: Request<v1::LoginRequest>) -> Result<Response<v1::LoginResponse>, Status> {
        let principal = self.caller(&request)?;
        self.at_socket_only(&request, &principal, Action::LoginToken, "login")?;
        let deadline = self.deadline(&request);
        let wire = request.into_inner();
        let mut typed = Zeroizing::new(Vec::from(wire.pin));
        let token: TokenName = wire.token.parse().map_err(|malformed: trust::Malformed| answer(malformed.into()))?;
        let pin = Pin::take(&mut typed).map_err(|error| answer(custody::told(error)))?;
        self.house.login_token(&principal, &token, pin, deadline).await.map_err(answer)?;
        Ok(Response::new(v1::LoginResponse {}))
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

fn token_to_wire(view: TokenView) -> v1::Token {
    let TokenView { status, module, selector, facts, sessions, pin } = view;
    let (label, serial, manufacturer, model, firmware) = facts
        .map(|facts| (facts.label, facts.serial, facts.manufacturer, facts.model, facts.firmware))
        .unwrap_or_default();
    v1::Token {
        name: status.name,
        module,
        selector,
        label,
        serial,
        manufacturer,
        model,
        firmware,
        state: status.state.name().to_owned(),
        trouble: status.trouble.unwrap_or_default(),
        restarts: status.restarts,
        sessions: u32::try_from(sessions).unwrap_or(u32::MAX),
        pin: pin.name().to_owned(),
    }
}
