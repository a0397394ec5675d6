//! Keys in a token that no record knows: what a crash in the middle of a creation left, or what somebody else made.
//!
//! They are listed and never touched: an object that is no record's is not ours to judge.

use std::collections::HashSet;
use std::sync::{Mutex, PoisonError};

use trust::{Fault, FaultKind, KeyRef, Principal};
use trust_hsm::{RootPlace, TokenName, TokenObject};

use super::House;
use crate::authorize::Action;
use crate::custody;
use crate::records::record_fault;

/// What the label of every object of ours begins with.
const LABEL: &str = "trustd ";

/// An object of no record.
#[derive(Debug)]
pub(crate) struct Orphan {
    /// The token that has it.
    pub(crate) token: TokenName,
    /// What the token says of it.
    pub(crate) object: TokenObject,
}

/// The orphans of some tokens.
#[derive(Debug, Default)]
pub(crate) struct Orphans {
    /// In the order of the tokens.
    pub(crate) orphans: Vec<Orphan>,
    /// Tokens that were not listed, or not whole, and why.
    pub(crate) not_listed: Vec<(TokenName, String)>,
}

impl Orphan {
    /// Whether label and id have the form that we give to ours.
    pub(crate) fn looks_ours(&self) -> bool {
        self.object.label.starts_with(LABEL) && <[u8; 32]>::try_from(self.object.id.as_slice()).is_ok()
    }
}

/// Keys that are being made in tokens: their objects are there before their records are.
#[derive(Debug, Default)]
pub(crate) struct TokenBirths(Mutex<HashSet<String>>);

/// One of them, until it is dropped.
pub(crate) struct TokenBirth<'a> {
    births: &'a TokenBirths,
    label: String,
}

impl TokenBirths {
    fn labels(&self) -> HashSet<String> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Drop for TokenBirth<'_> {
    fn drop(&mut self) {
        self.births.0.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.label);
    }
}

impl House {
    /// Notes that a key is being made in a token, until what is returned is dropped: after its record is stored.
    pub(crate) fn token_birth(&self, key: KeyRef) -> TokenBirth<'_> {
        let (births, label) = (&self.token_births, format!("{LABEL}{key}"));
        births.0.lock().unwrap_or_else(PoisonError::into_inner).insert(label.clone());
        TokenBirth { births, label }
    }

    /// The keys of one token, or of all, whose `CKA_ID` is no record's, whatever its state, and no wrapping key's of the
    /// root key.
    pub(crate) async fn list_orphans(
        &self,
        principal: &Principal,
        token: Option<&TokenName>,
    ) -> Result<Orphans, Fault> {
        self.allow(principal, Action::ListTokens)?;
        if self.is_sealed() {
            return Err(Fault::new(FaultKind::Unavailable, "the daemon is sealed"));
        }
        let names: Vec<TokenName> = match token {
            Some(name) if self.custodians().token(name).is_none() => {
                self.note_refusal(principal, Action::ListTokens, "token", None);
                return Err(Fault::new(FaultKind::Refused, format!("the daemon has no token with the name {name}")));
            }
            Some(name) => vec![name.clone()],
            None => self.config().tokens.iter().map(|token| token.name.clone()).collect(),
        };
        let mut listed = Orphans::default();
        for name in names {
            self.list_orphans_of(name, &mut listed).await?;
        }
        Ok(listed)
    }

    async fn list_orphans_of(&self, token: TokenName, listed: &mut Orphans) -> Result<(), Fault> {
        let Some(mounted) = self.custodians().token(&token) else { return Ok(()) };
        // A change of the root makes keys before the ring names them, and deletes them after it does not any more: what
        // either ring names is not an orphan.
        let mut wrapping = self.wrapping_keys(&token).await?;
        let found = match mounted {
            Ok(custody) => custody.objects().await,
            Err(error) => Err(error),
        };
        let found = match found {
            Ok(found) => found,
            Err(error) => {
                listed.not_listed.push((token, custody::told(error).public().to_owned()));
                return Ok(());
            }
        };
        // In this order: a key whose object was listed before its record was there is being made still, or its record
        // is there by now.
        let being_made = self.token_births.labels();
        let known = self.records().objects_in(&token).map_err(record_fault)?;
        wrapping.extend(self.wrapping_keys(&token).await?);
        let is_known = |object: &TokenObject| {
            known.contains(&object.id) || wrapping.contains(&object.id) || being_made.contains(&object.label)
        };
        let orphans = found.objects.into_iter().filter(|object| !is_known(object));
        listed.orphans.extend(orphans.map(|object| Orphan { token: token.clone(), object }));
        if !found.is_whole {
            listed.not_listed.push((token, format!("it has more than {} keys", trust_hsm::TokenObjects::MAX)));
        }
        Ok(())
    }

    /// The ids of the keys in the token under which the ring says its root is, once nobody is changing that.
    async fn wrapping_keys(&self, token: &TokenName) -> Result<HashSet<Vec<u8>>, Fault> {
        let _unchanged = self.sealing.lock().await;
        let place = self.root_place().map_err(custody::told)?;
        let RootPlace::Token { wraps, .. } = place else { return Ok(HashSet::new()) };
        let here = wraps.iter().filter(|wrapped| wrapped.token == *token);
        Ok(here.map(|wrapped| wrapped.key.as_bytes().to_vec()).collect())
    }
}
