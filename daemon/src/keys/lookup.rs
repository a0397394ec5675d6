//! Finding keys for a principal: what may be known, to whom (D28).

use trust::{Fault, FaultKind, KeyName, Principal};

use super::{KeySelector, Page, record_fault};
use crate::authorize::{Action, Decision, KeyFacts, RequestFacts};
use crate::house::House;
use crate::records::KeyView;

/// Keys that are read at once while a page is filled.
const SCAN: usize = 256;

impl House {
    /// The key, for whoever may get it.
    pub(crate) async fn key(&self, principal: &Principal, selector: &KeySelector) -> Result<KeyView, Fault> {
        let view = self.find_for(principal, selector, Action::GetKey).await?;
        if self.may_get(principal, &view) {
            return Ok(view);
        }
        self.note_refusal(principal, Action::GetKey, "denied", Some(view.record.id));
        Err(Fault::forbidden())
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
        }
    }

    /// The key that `selector` names. One that is not there reads as such to whoever may get a key of that
    /// name, and like a forbidden one to everybody else.
    pub(crate) async fn find_for(
        &self,
        principal: &Principal,
        selector: &KeySelector,
        action: Action,
    ) -> Result<KeyView, Fault> {
        let found = match selector {
            KeySelector::Id(id) => self.records().key_by_id(*id).await,
            KeySelector::Name(name) => self.records().key_by_name(name).await,
        };
        if let Some(view) = found.map_err(record_fault)? {
            return Ok(view);
        }
        self.note_refusal(principal, action, "unknown-key", None);
        let named = selector.to_string();
        let facts = RequestFacts::default();
        match self.authorizer().decide(principal, Action::GetKey, Some(&KeyFacts::Unknown(&named)), &facts) {
            Decision::Allow(_) => Err(Fault::new(FaultKind::Missing, "no such key")),
            Decision::Deny(_) => Err(Fault::forbidden()),
        }
    }

    /// Whether the principal may get this key. Leaves no leaf: it decides about words only.
    pub(crate) fn may_get(&self, principal: &Principal, view: &KeyView) -> bool {
        let facts = KeyFacts::Known(&view.record);
        let decision = self.authorizer().decide(principal, Action::GetKey, Some(&facts), &RequestFacts::default());
        matches!(decision, Decision::Allow(_))
    }
}
