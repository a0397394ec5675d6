//! The tokens of the configuration, for those who look after them.

use std::sync::Arc;
use std::time::Duration;

use tracing::info;
use trust::{Fault, FaultKind, Principal};
use trust_hsm::{Pin, PinState, TokenFacts, TokenName};

use super::sealing::Administration;
use super::{House, blocking};
use crate::authorize::Action;
use crate::config::TokenConfig;
use crate::custody::profile::Tuning;
use crate::custody::{self, Token, TokenStatus};

/// A token, for people.
#[derive(Debug)]
pub(crate) struct TokenView {
    /// Its name, and how it is.
    pub(crate) status: TokenStatus,
    /// The file name of its module.
    pub(crate) module: String,
    /// How it is told from others of the module.
    pub(crate) selector: String,
    /// What it said of itself when it last served.
    pub(crate) facts: Option<TokenFacts>,
    /// How it is used, and who said so.
    pub(crate) tuning: Tuning,
    /// What is known about its PIN.
    pub(crate) pin: PinState,
}

impl House {
    /// How each token is, in the order of the configuration.
    pub(crate) fn list_tokens(&self, principal: &Principal) -> Result<Vec<TokenView>, Fault> {
        self.allow(principal, Action::ListTokens)?;
        let statuses = self.custodians().tokens();
        let tokens = statuses.into_iter().zip(self.custodians().all_tokens()).zip(&self.config().tokens);
        let view = |((status, token), config): ((TokenStatus, &Arc<Token>), &TokenConfig)| TokenView {
            status,
            module: config.module.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default(),
            selector: config.token.to_string(),
            facts: token.worker().and_then(|worker| worker.facts()),
            tuning: token.tuning().unwrap_or_else(|| Tuning::before_mount(config)),
            pin: token.worker().map_or(before_mount(config), |worker| worker.pin_state()),
        };
        Ok(tokens.map(view).collect())
    }

    /// Logs in to a token with a PIN that is tried once and kept in memory when the token takes it.
    pub(crate) async fn login_token(
        self: &Arc<Self>,
        principal: &Principal,
        token: &TokenName,
        pin: Pin,
        deadline: Duration,
    ) -> Result<(), Fault> {
        self.allow(principal, Action::LoginToken)?;
        let Some(mounted) = self.custodians().token(token) else {
            self.note_refusal(principal, Action::LoginToken, "token", None);
            return Err(Fault::new(FaultKind::Refused, format!("the daemon has no token with the name {token}")));
        };
        let worker = mounted.map_err(custody::told).map(|_| self.custodians().worker(token))?;
        let worker = worker.ok_or_else(|| Fault::internal("a mounted token without a worker"))?;
        let name = token.clone();
        let work = async move {
            blocking(move || worker.login(pin)).await?.map_err(custody::told)?;
            info!(stage = "custody", token = %name, "an operator logged in to a token");
            Ok(())
        };
        let login = Administration { operation: "token-login", custodian: Some(token.to_string()) };
        self.administer(principal, Action::LoginToken, login, deadline, work).await
    }
}

/// What is known about the PIN of a token that is not mounted.
const fn before_mount(config: &TokenConfig) -> PinState {
    if config.pin_file.is_some() { PinState::Unproven } else { PinState::Missing }
}
