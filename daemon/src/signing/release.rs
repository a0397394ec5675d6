//! Releases: one batch, and for minisign a second one over what came out of the first.
//!
//! minisign's trusted comment is signed together with the file's signature, which nobody knows before it is made. So
//! there are two permits, two intents and two visits; the policy is asked twice, of the same facts.

use std::sync::Arc;

use trust::format::release::minisig;
use trust::{Fault, FaultKind, Form};

use super::receipt::SignedItem;
use super::{Receipt, SigningRequest};
use crate::house::House;
use crate::statement::Statement;

impl House {
    /// Signs a release in every form that was asked for.
    ///
    /// A retry by idempotency key gets the first batch from its receipt, and its comments signed anew.
    pub(crate) async fn sign_release(self: &Arc<Self>, request: SigningRequest) -> Result<Receipt, Fault> {
        let first = self.sign(request.clone()).await?;
        let comments = comments(&request, &first, self.clock().now_unix_ms() / 1000);
        if comments.is_empty() {
            return Ok(first);
        }
        let (items, statements): (Vec<usize>, Vec<Statement>) = comments.into_iter().unzip();
        let second = self.sign(SigningRequest { statements, idempotency: None, ..request }).await?;
        joined(first, &items, second)
    }
}

/// What is left to sign: the comment of each file that has minisign's first signature, beside its item.
fn comments(request: &SigningRequest, first: &Receipt, now_unix_seconds: u64) -> Vec<(usize, Statement)> {
    let of_file = |(item, (statement, signed)): (usize, (&Statement, &SignedItem))| {
        let Statement::ReleaseFile { file, release } = statement else { return None };
        let minisig = signed.as_ref().ok()?.iter().find(|signed| signed.form == Form::Minisig)?;
        let comment = Statement::ReleaseComment {
            file: file.clone(),
            release: Arc::clone(release),
            signature: minisig.signature.as_bytes().try_into().ok()?,
            comment: minisig::trusted_comment(file, now_unix_seconds),
        };
        Some((item, comment))
    };
    request.statements.iter().zip(&first.items).enumerate().filter_map(of_file).collect()
}

/// Puts the second signature of each item behind its first ones.
fn joined(mut first: Receipt, items: &[usize], second: Receipt) -> Result<Receipt, Fault> {
    if second.key != first.key {
        return Err(Fault::new(FaultKind::Conflict, "the key was rotated while the release was signed"));
    }
    for (item, signed) in items.iter().zip(second.items) {
        let Some(place) = first.items.get_mut(*item) else { continue };
        match (place.as_mut(), signed) {
            (Ok(forms), Ok(comment)) => forms.extend(comment),
            (_, Err(failure)) => *place = Err(failure),
            (Err(_), Ok(_)) => {}
        }
    }
    first.second_leaf = Some(second.leaf);
    Ok(first)
}
