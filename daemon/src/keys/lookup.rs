//! Finding keys for a principal: what may be known, to whom (D28).

use trust::{Fault, FaultKind, KeyName, Principal};

use super::{KeySelector, Page};
use crate::authorize::{Action, Decision, Denial, Grounds, KeyFacts, RequestFacts};
use crate::house::House;
use crate::records::{KeyView, record_fault};

/// Keys that are read at once while a page is filled.
const SCAN: usize = 256;

/// What a principal may know of a key that it named.
pub(crate) enum Sight {
    /// It may get the key.
    Open(KeyView),
    /// It may not, and must not learn whether there is one.
    Veiled(Option<KeyView>),
}

impl House {
    /// The key, for whoever may get it.
    pub(crate) async fn key(&self, principal: &Principal, selector: &KeySelector) -> Result<KeyView, Fault> {
        let view = self.find_for(principal, selector, Action::GetKey).await?;
        self.decide(principal, Action::GetKey, selector, &view, &RequestFacts::default())?;
        Ok(view)
    }

    /// A page of the keys that the principal may get, in the order of their names.
    pub(crate) async fn list_keys(
        &self,
        principal: &Principal,
        after: Option<KeyName>,
        size: usize,
    ) -> Result<Page, Fault> {
        self.allow(principal, Action::ListKeys)?;
        let mut page = Page { keys: Vec::new(), next: None };
        let mut after = after;
        loop {
            let views = self.records().list(after.as_ref(), SCAN).await.map_err(record_fault)?;
            let is_last = views.len() < SCAN;
            for view in views {
                after = Some(view.record.name.clone());
                if self.may_get(principal, &view) {
                    page.keys.push(view);
                }
                if page.keys.len() == size {
                    page.next = after;
                    return Ok(page);
                }
            }
            if is_last {
                return Ok(page);
            }
            // The policy was asked about each: somebody else on this thread has a turn.
            tokio::task::yield_now().await;
        }
    }

    /// The key that `selector` names, for an `action` that [`House::decide`] is asked about next.
    pub(crate) async fn find_for(
        &self,
        principal: &Principal,
        selector: &KeySelector,
        action: Action,
    ) -> Result<KeyView, Fault> {
        match self.find(selector).await? {
            Some(view) => Ok(view),
            None => Err(self.hidden(principal, selector, action)),
        }
    }

    /// The key that `selector` names, for an action that is on no key.
    pub(crate) async fn sight(
        &self,
        principal: &Principal,
        selector: &KeySelector,
        action: Action,
    ) -> Result<Sight, Fault> {
        match self.find(selector).await? {
            Some(view) if self.may_get(principal, &view) => Ok(Sight::Open(view)),
            _ if self.may_get_unknown(principal, selector) => Err(self.hidden(principal, selector, action)),
            found => Ok(Sight::Veiled(found)),
        }
    }

    /// Asks the policy about a key that is there. A denial is on record, and says no more than the principal may know.
    pub(crate) fn decide(
        &self,
        principal: &Principal,
        action: Action,
        selector: &KeySelector,
        view: &KeyView,
        facts: &RequestFacts<'_>,
    ) -> Result<Grounds, Fault> {
        match self.authorizer().decide(principal, action, Some(&KeyFacts::Known(&view.record)), facts) {
            Decision::Allow(grounds) => Ok(grounds),
            Decision::Deny(denial) if self.may_get(principal, view) => {
                self.note_refusal(principal, action, denial.name(), Some(view.record.id));
                Err(Fault::new(FaultKind::Forbidden, format!("the policy does not allow {}", action.name())))
            }
            Decision::Deny(denial) => {
                if denial == Denial::Error {
                    // A policy that errs is the operator's to know, whoever asked.
                    self.note_refusal(principal, action, denial.name(), None);
                }
                Err(self.hidden(principal, selector, action))
            }
        }
    }

    /// The fault for a key that is not there, or not there for this principal: words and leaf are the same to the
    /// byte. Whoever could get a key of that name reads that there is none.
    pub(crate) fn hidden(&self, principal: &Principal, selector: &KeySelector, action: Action) -> Fault {
        if self.may_get_unknown(principal, selector) {
            self.note_refusal(principal, action, "unknown-key", None);
            return Fault::new(FaultKind::Missing, "no such key");
        }
        self.note_refusal(principal, action, "hidden-key", None);
        Fault::forbidden()
    }

    /// The fault of a request that the policy allows and the key does not: on record as `reason`. Whoever may not get
    /// the key reads the same as without one.
    pub(crate) fn refused(
        &self,
        principal: &Principal,
        selector: &KeySelector,
        action: Action,
        view: &KeyView,
        reason: &'static str,
        fault: Fault,
    ) -> Fault {
        if !self.may_get(principal, view) {
            return self.hidden(principal, selector, action);
        }
        if fault.kind() == FaultKind::Refused {
            self.note_refusal(principal, action, reason, Some(view.record.id));
        }
        fault
    }

    /// Whether the principal may get this key. Leaves no leaf: it decides about words only.
    pub(crate) fn may_get(&self, principal: &Principal, view: &KeyView) -> bool {
        self.gets(principal, &KeyFacts::Known(&view.record))
    }

    /// Whether the principal may get a key of that name, if there were one of which nothing else is known.
    fn may_get_unknown(&self, principal: &Principal, selector: &KeySelector) -> bool {
        self.gets(principal, &KeyFacts::Unknown(&selector.to_string()))
    }

    fn gets(&self, principal: &Principal, key: &KeyFacts<'_>) -> bool {
        let decision = self.authorizer().decide(principal, Action::GetKey, Some(key), &RequestFacts::default());
        matches!(decision, Decision::Allow(_))
    }

    async fn find(&self, selector: &KeySelector) -> Result<Option<KeyView>, Fault> {
        match selector {
            KeySelector::Id(id) => self.records().key_by_id(*id).await,
            KeySelector::Name(name) => self.records().key_by_name(name).await,
        }
        .map_err(record_fault)
    }
}
