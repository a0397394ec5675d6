//! Whom it is in vain to ask again: patience with somebody who does not answer ends, for all repositories that need them,
//! and with a repository whose registry takes nothing.
//!
//! One request may fail for its own sake, a registry's trouble with one manifest for example; so nobody is given up for
//! one.

use std::collections::BTreeMap;
use std::fmt;

use trust::Repository;

use crate::failure::{Exit, Failure};
use crate::trust_server::TrustServerEntry;

/// Where so many requests have failed, one after the other, no more are made. Each has waited and been repeated as long as
/// any other.
const FAILED_MAX: u32 = 3;

/// Whom an export asks; in words, what made it give up.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Peer {
    /// The daemon, which signs.
    Daemon,
    /// The registry of this name.
    Registry(String),
    /// This repository of a registry that answers, and says no.
    Repository(String),
    /// The trust server at this URL.
    TrustServer(String),
}

impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Daemon => write!(f, "the daemon left {FAILED_MAX} requests unanswered"),
            Self::Registry(name) => write!(f, "the registry {name} left {FAILED_MAX} requests unanswered"),
            Self::Repository(name) => write!(f, "the registry said no to {FAILED_MAX} tags of {name}"),
            Self::TrustServer(url) => write!(f, "the trust server {url} left {FAILED_MAX} requests unanswered"),
        }
    }
}

impl Peer {
    /// The registry of a repository.
    pub(super) fn registry_of(repository: &Repository) -> Self {
        Self::Registry(repository.registry().to_owned())
    }

    /// A trust server of the configuration.
    pub(super) fn trust_server(entry: &TrustServerEntry) -> Self {
        Self::TrustServer(entry.url().to_owned())
    }
}

/// How many requests to each have failed since the last one that did not.
#[derive(Debug, Default)]
pub(super) struct Silences(BTreeMap<Peer, u32>);

impl Silences {
    /// Fails where one of them is asked no more.
    pub(super) fn worth_asking(&self, peers: &[Peer]) -> Result<(), Failure> {
        let is_given_up = |peer: &&Peer| self.0.get(*peer).is_some_and(|failed| *failed >= FAILED_MAX);
        peers.iter().find(is_given_up).map_or(Ok(()), |peer| {
            Err(Failure::unreachable(
                format!("not tried: {peer}, one after the other"),
                "run it again when that has changed: what was carried over is left alone",
            ))
        })
    }

    /// Notes whether a request was answered.
    pub(super) fn note<T>(&mut self, peer: Peer, ended: &Result<T, Failure>) {
        match ended {
            Err(failure) if failure.exit() == Exit::Unreachable => self.failed(peer),
            _ => self.went_well(&peer),
        }
    }

    /// Notes a request that failed.
    pub(super) fn failed(&mut self, peer: Peer) {
        let failed = self.0.entry(peer).or_default();
        *failed = failed.saturating_add(1);
    }

    /// Notes one that did not.
    pub(super) fn went_well(&mut self, peer: &Peer) {
        self.0.remove(peer);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn silent() -> Result<(), Failure> {
        Err(Failure::unreachable("nobody is there", "wait"))
    }

    #[test]
    fn nobody_is_given_up_for_one_request_and_whoever_never_answers_is() {
        let (mut silences, peer) = (Silences::default(), Peer::Registry("r.example.com".to_owned()));
        let refused: Result<(), _> = Err(Failure::refused("no", "ask"));

        for ended in [silent(), silent(), refused, silent(), silent(), Ok(()), silent(), silent()] {
            silences.note(peer.clone(), &ended);
            silences.worth_asking(&[Peer::Daemon, peer.clone()]).unwrap();
        }
        silences.note(peer.clone(), &silent());

        let given_up = silences.worth_asking(&[Peer::Daemon, peer]).unwrap_err();
        assert_eq!(given_up.exit(), Exit::Unreachable);
        assert!(given_up.what().contains("the registry r.example.com left 3 requests"), "{given_up}");
        silences.worth_asking(&[Peer::Daemon, Peer::Registry("other.example.com".to_owned())]).unwrap();
    }
}
