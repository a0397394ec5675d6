//! The tokens of the configuration, each with session threads of its own: one that is slow or gone holds up no other.

use std::sync::{Arc, OnceLock};

use trust_hsm::worker::TokenWorker;
use trust_hsm::{CustodianState, CustodyError, Material, TokenName};

use super::Custody;
use super::profile::Tuning;
use super::usage::Usage;

/// One token of the configuration. It is mounted beside the start of the daemon: one that hangs holds up nothing.
pub(crate) struct Token {
    name: TokenName,
    mounted: OnceLock<Result<Mounted, String>>,
}

/// A token that is mounted, and what waits for it.
pub(crate) struct Mounted {
    pub(crate) custody: Custody,
    pub(crate) worker: Arc<TokenWorker>,
    pub(crate) usage: Usage,
}

/// Software custody and every token.
pub(crate) struct Custodians {
    software: Custody,
    tokens: Vec<Arc<Token>>,
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
    /// What whoever looks after it has to know although it serves.
    pub(crate) remark: Option<&'static str>,
}

impl TokenStatus {
    /// What whoever looks after it reads: why it does not serve, else what there is to know.
    pub(crate) fn word(&self) -> Option<&str> {
        self.trouble.as_deref().or(self.remark)
    }
}

impl Token {
    pub(crate) const fn new(name: TokenName) -> Self {
        Self { name, mounted: OnceLock::new() }
    }

    /// Says how the mounting ended. Only the first end counts: there is one.
    pub(crate) fn settle(&self, mounted: Result<Mounted, String>) {
        let _ = self.mounted.set(mounted);
    }

    /// Its worker, once it is mounted.
    pub(crate) fn worker(&self) -> Option<&Arc<TokenWorker>> {
        self.mounted().ok().map(|mounted| &mounted.worker)
    }

    /// How it is used, once it is mounted.
    pub(crate) fn tuning(&self) -> Option<Tuning> {
        self.mounted().ok().map(|mounted| mounted.usage.tuning())
    }

    /// Reads its profile anew and uses it as that says; does nothing while it is not mounted. Blocks.
    pub(crate) fn retune(&self) {
        if let Ok(Mounted { custody, worker, usage }) = self.mounted() {
            usage.decide_anew(custody, worker);
        }
    }

    /// Looks whether it is there, and whether it is the one whose profile is used. Blocks.
    pub(crate) fn probe(&self) {
        if let Ok(Mounted { custody, worker, usage }) = self.mounted() {
            worker.probe();
            usage.follow(custody, worker);
        }
    }

    fn mounted(&self) -> Result<&Mounted, CustodyError> {
        let why = match self.mounted.get() {
            Some(Ok(mounted)) => return Ok(mounted),
            Some(Err(why)) => why.clone(),
            None => "it is being mounted".to_owned(),
        };
        Err(CustodyError::Unavailable { why })
    }

    fn status(&self) -> TokenStatus {
        let mounted = match self.mounted() {
            Ok(mounted) => mounted,
            Err(error) => {
                let (name, trouble) = (self.name.to_string(), Some(error.to_string()));
                return TokenStatus { name, state: CustodianState::Unavailable, restarts: 0, trouble, remark: None };
            }
        };
        let (name, state, restarts) = mounted.custody.status();
        let trouble = (state != CustodianState::Ready).then(|| {
            mounted.worker.trouble().map_or("its worker is being restarted".to_owned(), |why| why.to_string())
        });
        let remark = mounted.custody.is_full().then_some("the token is full, no key can be made in it");
        TokenStatus { name, state, restarts, trouble, remark }
    }
}

impl Custodians {
    pub(crate) const fn new(software: Custody, tokens: Vec<Arc<Token>>) -> Self {
        Self { software, tokens }
    }

    /// The custody of software keys.
    pub(crate) const fn software(&self) -> &Custody {
        &self.software
    }

    /// The custody of the token with this name; none when the configuration has no such token.
    ///
    /// # Errors
    /// [`CustodyError::Unavailable`] for one that is not mounted.
    pub(crate) fn token(&self, name: &TokenName) -> Option<Result<&Custody, CustodyError>> {
        let token = self.tokens.iter().find(|token| token.name == *name)?;
        Some(token.mounted().map(|mounted| &mounted.custody))
    }

    /// Where a key is used.
    ///
    /// # Errors
    /// [`CustodyError::Unavailable`] for a key in a token that the configuration does not have, or is not mounted.
    pub(crate) fn of(&self, material: &Material) -> Result<&Custody, CustodyError> {
        match material {
            Material::Sealed(_) => Ok(&self.software),
            Material::Token(key) => self.token(&key.token).unwrap_or_else(|| {
                Err(CustodyError::Unavailable {
                    why: format!("the configuration has no [[token]] with the name {}", key.token),
                })
            }),
            _ => Err(CustodyError::Failed { what: "a kind of material that no custodian has".to_owned() }),
        }
    }

    /// Whether a key could be used now, as far as is known of where it is. It is no promise.
    ///
    /// # Errors
    /// [`CustodyError`], as the use of it would meet it.
    pub(crate) fn serves(&self, material: &Material) -> Result<(), CustodyError> {
        match (self.of(material)?.status(), material) {
            ((_, CustodianState::Ready, _), _) => Ok(()),
            ((_, CustodianState::Sealed, _), Material::Sealed(_)) => Err(CustodyError::Sealed),
            ((name, state, _), _) => Err(CustodyError::Unavailable { why: format!("{name} is {}", state.name()) }),
        }
    }

    /// Waits until no session still runs anywhere that began before this call (D10).
    pub(crate) async fn settle(&self) {
        self.software.settle().await;
        // What is not mounted yet begins its sessions later than now.
        for mounted in self.tokens.iter().filter_map(|token| token.mounted().ok()) {
            mounted.custody.settle().await;
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
        self.tokens.iter().filter_map(|token| token.mounted().ok()).for_each(|mounted| mounted.custody.nudge());
    }

    /// Ends the worker of every token, for the end of the daemon: a module that hangs would hold it up.
    pub(crate) fn stop_tokens(&self) {
        self.workers().iter().for_each(|worker| worker.stop());
    }

    /// How each token is.
    pub(crate) fn tokens(&self) -> Vec<TokenStatus> {
        self.tokens.iter().map(|token| token.status()).collect()
    }

    /// The process with the module of the token with this name, once it is mounted.
    pub(crate) fn worker(&self, name: &TokenName) -> Option<Arc<TokenWorker>> {
        self.tokens.iter().find(|token| token.name == *name)?.worker().cloned()
    }

    /// The processes with a module in them, of the tokens that are mounted.
    pub(crate) fn workers(&self) -> Vec<Arc<TokenWorker>> {
        self.tokens.iter().filter_map(|token| token.worker().cloned()).collect()
    }

    /// Every token of the configuration, mounted or not.
    pub(crate) fn all_tokens(&self) -> &[Arc<Token>] {
        &self.tokens
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_that_is_not_mounted_is_unavailable_and_says_why() {
        let token = Token::new("hsm".parse().unwrap());
        let trouble = |token: &Token| {
            let status = token.status();
            assert_eq!((status.name.as_str(), status.state), ("hsm", CustodianState::Unavailable));
            status.trouble.unwrap()
        };

        assert!(trouble(&token).contains("it is being mounted"), "{}", trouble(&token));
        token.settle(Err("the module does not load".to_owned()));
        assert!(trouble(&token).contains("the module does not load"), "{}", trouble(&token));
        assert!(token.worker().is_none());
    }
}
