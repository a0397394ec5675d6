//! Stage two: a parsed request becomes a permit, or a refusal that is on record.

use std::sync::Arc;

use trust::{Fault, FaultKind, Form, Principal, Reference, Scope};

use super::{SigningRequest, mixed};
use crate::authorize::{Action, Grounds, RequestFacts, StatementFacts};
use crate::house::House;
use crate::keys::KeySelector;
use crate::order::{Shape, SignOrder, batch_item};
use crate::permit::Permit;
use crate::records::KeyView;
use crate::statement::Statement;

/// Authorizes every item and fixes the exact bytes.
pub(super) async fn permit(
    house: &House,
    request: &SigningRequest,
    retry_of: Option<u64>,
) -> Result<Permit<SignOrder>, Fault> {
    let first = request.statements.first().ok_or_else(mixed)?;
    if request.statements.iter().any(|statement| statement.purpose() != first.purpose()) {
        return Err(mixed());
    }
    let found = house.find_for(&request.principal, &request.key, first.action()).await;
    let view = found.map_err(|fault| of_item(request.shape, 0, fault))?;
    let grounds = decide_all(house, request, &view)?;
    let forms =
        fitting_forms(&view, request).map_err(|unfit| unfit.on_record(house, request, first.action(), &view))?;
    let order = order(house, &view, request, forms, retry_of)?;
    let flight = house.take_flight()?;
    Ok(Permit::grant(request.principal.clone(), order, grounds, request.deadline, flight))
}

/// What [`permit`] would say of an image whose digest is not known yet.
pub(super) async fn may(
    house: &House,
    principal: &Principal,
    key: &KeySelector,
    reference: &Reference,
) -> Result<(), Fault> {
    let view = house.find_for(principal, key, Action::SignImage).await?;
    let statement = StatementFacts::Image { reference, shown: None };
    let facts = RequestFacts { statement: Some(statement), forms: &view.record.forms, items: 1 };
    check_scope(house, principal, key, &view, Action::SignImage, Some(reference))?;
    house.decide(principal, Action::SignImage, key, &view, &facts)?;
    let fits = check_purpose(&view, trust::Purpose::Image).and_then(|()| check_state(&view));
    // Asking is no attempt: what `Sign` would put on record is only said here.
    fits.map_err(|unfit| {
        if house.may_get(principal, &view) { unfit.fault } else { house.hidden(principal, key, Action::SignImage) }
    })
}

/// What a key, its state or its forms do not allow, whatever the policy says.
struct Unfit {
    reason: &'static str,
    fault: Fault,
}

impl Unfit {
    fn new(reason: &'static str, words: String) -> Self {
        Self { reason, fault: Fault::new(FaultKind::Refused, words) }
    }

    fn on_record(self, house: &House, request: &SigningRequest, action: Action, view: &KeyView) -> Fault {
        let fault = house.refused(&request.principal, &request.key, action, view, self.reason, self.fault);
        match fault.kind() {
            // It is about the key, not about an item.
            FaultKind::Refused => fault,
            _ => of_item(request.shape, 0, fault),
        }
    }
}

fn decide_all(house: &House, request: &SigningRequest, view: &KeyView) -> Result<Grounds, Fault> {
    let principal = &request.principal;
    let mut grounds: Option<Grounds> = None;
    let items = request.statements.iter().filter(|statement| !matches!(statement, Statement::Release(_))).count();
    for (index, statement) in request.statements.iter().enumerate() {
        let name = |fault: Fault| of_item(request.shape, index, fault);
        let action = statement.action();
        let reference = match statement {
            Statement::Image { reference, .. } => Some(reference),
            Statement::Blob { .. }
            | Statement::Raw(_)
            | Statement::Release(_)
            | Statement::ReleaseComment { .. }
            | Statement::ReleaseFile { .. } => None,
        };
        check_scope(house, principal, &request.key, view, action, reference).map_err(name)?;
        let Some(said) = statement.facts() else { continue };
        let facts = RequestFacts {
            statement: Some(said),
            forms: if request.forms.is_empty() { &view.record.forms } else { &request.forms },
            items,
        };
        // Of raw bytes policy sees nothing that differs from item to item: the first answer is everybody's.
        if !(matches!(statement, Statement::Raw(_)) && grounds.is_some()) {
            grounds = Some(house.decide(principal, action, &request.key, view, &facts).map_err(name)?);
        }
    }
    grounds.ok_or_else(mixed)
}

/// Names the item of a batch that is denied (D13). A key that is not there reads like one that is denied to its
/// first item (D28).
fn of_item(shape: Shape, index: usize, fault: Fault) -> Fault {
    match (shape, fault.kind()) {
        (Shape::Batch, FaultKind::Forbidden | FaultKind::Refused) => {
            Fault::new(fault.kind(), format!("item {index}: {}", fault.public()))
        }
        (Shape::Single | Shape::Batch, _) => fault,
    }
}

/// The scope holds before any policy is asked (D6).
fn check_scope(
    house: &House,
    principal: &Principal,
    key: &KeySelector,
    view: &KeyView,
    action: Action,
    reference: Option<&Reference>,
) -> Result<(), Fault> {
    let covered = match (&view.record.scope, reference) {
        (Scope::Repositories(_), Some(reference)) => view.record.scope.covers(&reference.repository),
        (Scope::Repositories(_), None) => true,
        // No statement of a door is for such a key: what it signs, `publish` makes.
        (Scope::Gun(_) | Scope::Guns(_), _) => false,
        (Scope::Unbound, _) => true,
    };
    if covered {
        return Ok(());
    }
    if !house.may_get(principal, view) {
        return Err(house.hidden(principal, key, action));
    }
    house.note_refusal(principal, action, "out-of-scope", Some(view.record.id));
    Err(Fault::new(FaultKind::Refused, "the key's scope does not cover this repository"))
}

/// The forms to sign, of a key that may sign what is asked.
fn fitting_forms(view: &KeyView, request: &SigningRequest) -> Result<Vec<Form>, Unfit> {
    for statement in &request.statements {
        check_purpose(view, statement.purpose())?;
    }
    check_state(view)?;
    if request.forms.is_empty() {
        return Ok(view.record.forms.clone());
    }
    match request.forms.iter().find(|form| !view.record.forms.contains(form)) {
        None => Ok(request.forms.clone()),
        Some(form) => Err(Unfit::new("form", format!("the key leaves no form {form}"))),
    }
}

fn check_state(view: &KeyView) -> Result<(), Unfit> {
    if view.state.use_.may_sign() {
        Ok(())
    } else {
        Err(Unfit::new("state", format!("the key is {}", view.state.use_)))
    }
}

fn check_purpose(view: &KeyView, purpose: trust::Purpose) -> Result<(), Unfit> {
    if purpose == view.record.purpose {
        Ok(())
    } else {
        let words = format!("the key is for {} and signs nothing else", view.record.purpose);
        Err(Unfit::new("purpose", words))
    }
}

fn order(
    house: &House,
    view: &KeyView,
    request: &SigningRequest,
    forms: Vec<Form>,
    retry_of: Option<u64>,
) -> Result<SignOrder, Fault> {
    let version = view.newest().ok_or_else(|| Fault::internal("a key without a version"))?;
    let material = version.materials.first().ok_or_else(|| Fault::internal("an active key without material"))?;
    let algorithm = view.record.algorithm;
    let mut subjects = Vec::with_capacity(request.statements.len());
    let mut preimages = Vec::with_capacity(request.statements.len() * forms.len());
    let mut lengths = Vec::with_capacity(request.statements.len());
    let mut batch = Vec::new();
    for statement in &request.statements {
        let first = preimages.len();
        preimages.extend(statement.preimages(&forms, algorithm)?);
        lengths.push(preimages.len() - first);
        let subject = statement.subject();
        if request.shape == Shape::Batch {
            batch.push(batch_item(subject.clone(), preimages.get(first..).unwrap_or_default()));
        }
        subjects.push(subject);
    }
    if preimages.len() > trust_hsm::SigningOrder::INPUTS_MAX {
        return Err(Fault::new(FaultKind::Malformed, "items: at most 8192 signatures in one request"));
    }
    Ok(SignOrder {
        key: version.key,
        public_key: version.public_key.clone(),
        spki_sha256: version.public_key.spki_sha256(),
        purpose: view.record.purpose.name(),
        context: Arc::new(view.record.seal_context(house.store_uuid(), version.key.version)),
        material: material.clone(),
        epoch: view.state.epoch,
        forms,
        subjects,
        preimages,
        lengths,
        shape: request.shape,
        retry_of,
        batch,
    })
}
