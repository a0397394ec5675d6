//! The tokens of the configuration, each with session threads of its own: one that is slow or gone holds up no other.

use std::sync::Arc;

use trust_hsm::worker::TokenWorker;
use trust_hsm::{Custodian as _, CustodianState, CustodyError, Material, TokenName};

use super::Custody;

/// One token, and what waits for it.
pub(crate) struct Token {
    pub(crate) custody: Custody,
    pub(crate) worker: Arc<TokenWorker>,
}

/// Software custody and every token.
pub(crate) struct Custodians {
    software: Custody,
    tokens: Vec<Token>,
}

/// How a token is, for status, health and metrics.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct TokenStatus {
    /// Its name in the configuration.
    pub(crate) name: String,
    /// Whether it serves.
    pub(crate) state: CustodianState,
    /// How often its worker was started again.
    pub(crate) restarts: u64,
    /// Why it does not serve.
    pub(crate) trouble: Option<String>,
}

impl Custodians {
    pub(crate) const fn new(software: Custody, tokens: Vec<Token>) -> Self {
        Self { software, tokens }
    }

    /// The custody of software keys.
    pub(crate) const fn software(&self) -> &Custody {
        &self.software
    }

    /// The custody of the token with this name.
    pub(crate) fn token(&self, name: &TokenName) -> Option<&Custody> {
        self.tokens.iter().find(|token| token.worker.name() == name.as_str()).map(|token| &token.custody)
    }

    /// Where a key is used.
    ///
    /// # Errors
    /// [`CustodyError::Unavailable`] for a key in a token that the configuration does not have.
    pub(crate) fn of(&self, material: &Material) -> Result<&Custody, CustodyError> {
        match material {
            Material::Sealed(_) => Ok(&self.software),
            Material::Token(key) => self.token(&key.token).ok_or_else(|| CustodyError::Unavailable {
                why: format!("the configuration has no [[token]] with the name {}", key.token),
            }),
            _ => Err(CustodyError::Failed { what: "a kind of material that no custodian has".to_owned() }),
        }
    }

    /// Waits until no session still runs anywhere that began before this call (D10).
    pub(crate) async fn settle(&self) {
        self.software.settle().await;
        for token in &self.tokens {
            token.custody.settle().await;
        }
    }

    /// The same for one key alone: one whose place is known does not wait for what hangs in another.
    pub(crate) async fn settle_for(&self, material: Option<&Material>) {
        match material.map(|material| self.of(material)) {
            Some(Ok(custody)) => custody.settle().await,
            Some(Err(_)) | None => self.settle().await,
        }
    }

    /// See [`Custody::nudge`].
    pub(crate) fn nudge(&self) {
        self.software.nudge();
        self.tokens.iter().for_each(|token| token.custody.nudge());
    }

    /// How each token is.
    pub(crate) fn tokens(&self) -> Vec<TokenStatus> {
        let status = |token: &Token| {
            let (name, state, restarts) = token.custody.status();
            let trouble = (state != CustodianState::Ready).then(|| {
                token.worker.trouble().map_or("its worker is being restarted".to_owned(), |why| why.to_string())
            });
            TokenStatus { name, state, restarts, trouble }
        };
        self.tokens.iter().map(status).collect()
    }

    /// The process with the module of the token with this name.
    pub(crate) fn worker(&self, name: &TokenName) -> Option<Arc<TokenWorker>> {
        let found = self.tokens.iter().find(|token| token.worker.name() == name.as_str());
        found.map(|token| Arc::clone(&token.worker))
    }

    /// The processes with a module in them.
    pub(crate) fn workers(&self) -> Vec<Arc<TokenWorker>> {
        self.tokens.iter().map(|token| Arc::clone(&token.worker)).collect()
    }
}
