//! Which of the signatures that were found count, and why no other one does (D1, D5).
//!
//! Pure: keys and signatures in, a verdict out.

use serde::Serialize;
use trust::format::cosign::{Asked, Claim, Names};
use trust::{Form, Sha256Digest, Signable, verify};

use super::search::{Finds, Found};
use crate::believed::{BelievedKey, Source};

/// A signature that counts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Counted {
    /// `sig` or `bundle`.
    pub(crate) form: &'static str,
    /// What it calls the image.
    pub(crate) names: String,
    /// SHA-256 of the key's SPKI.
    pub(crate) key_sha256: String,
    /// Why the key is believed.
    pub(crate) believed: Source,
}

/// The signatures that count for `digest` under what was asked; none is a reason.
///
/// # Errors
/// Why none counts, in one line.
pub(crate) fn judge(
    finds: &Finds,
    believed: &[BelievedKey],
    digest: &Sha256Digest,
    asked: Asked<'_>,
) -> Result<Vec<Counted>, String> {
    let mut counted = Vec::new();
    let mut other_name = None;
    for found in &finds.signatures {
        let about_it: Vec<&Claim> = found.claims.iter().filter(|claim| claim.digest == *digest).collect();
        // A signature about something else is not worth an equation.
        if about_it.is_empty() {
            continue;
        }
        let Some(signer) = signer(found, believed) else { continue };
        let names = if signer.any_tag { Names::AnyTag } else { Names::Exact };
        match about_it.iter().find(|claim| claim.answers(asked, names)) {
            Some(claim) => counted.push(Counted {
                form: form(found.form),
                names: claim.written.clone(),
                key_sha256: signer.key.spki_sha256().to_hex(),
                believed: signer.source.clone(),
            }),
            None => other_name = about_it.first().map(|claim| claim.written.clone()),
        }
    }
    if counted.is_empty() { Err(reason(finds, digest, other_name)) } else { Ok(counted) }
}

/// The believed key that made this signature.
pub(crate) fn signer<'k>(found: &Found, believed: &'k [BelievedKey]) -> Option<&'k BelievedKey> {
    let message = Signable::Message(found.signed.clone());
    let made = |key: &&BelievedKey| verify::one(&key.key, &message, &found.signature).is_ok();
    // A key that is believed twice counts as the pin that asks for less.
    let mut makers = believed.iter().filter(made);
    let first = makers.next()?;
    makers.find(|key| key.any_tag).filter(|_| !first.any_tag).or(Some(first))
}

/// The word for a form.
pub(crate) const fn form(form: Form) -> &'static str {
    form.name()
}

/// The most telling reason.
fn reason(finds: &Finds, digest: &Sha256Digest, other_name: Option<String>) -> String {
    let about_it = |found: &&Found| found.claims.iter().any(|claim| claim.digest == *digest);
    let found = finds.signatures.len();
    let mut words = match other_name {
        Some(name) if name.is_empty() => {
            "a believed key signed it, but that signature names no image (a pin made with --any-tag would take it)"
                .to_owned()
        }
        Some(name) => format!("a believed key signed it, but as {name}"),
        None if found == 0 && finds.notes.is_empty() => "nobody signed it".to_owned(),
        None if found == 0 => "what lies there as its signatures cannot be read".to_owned(),
        None if !finds.signatures.iter().any(|found| about_it(&found)) => {
            format!("{found} found, about other content")
        }
        None => format!("{found} found, none made by a believed key, or changed since"),
    };
    if let Some(note) = finds.notes.first() {
        words = format!("{words} ({note})");
    }
    words
}
