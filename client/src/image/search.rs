//! Looks for the signatures of a manifest in its repository, in both of cosign's forms.
//!
//! Whatever lies there is anybody's. One strange signature must not hide the others, so what cannot be read becomes a
//! note; but an outage or a denial stays an error, since it says nothing about what is there.

use std::time::Duration;

use trust::format::bundle::{self, Bundle, Content};
use trust::format::cosign::{self, Claim, SignatureLayer, SignatureManifest, signature_tag};
use trust::format::oci::{Descriptor, Referrers as List, fallback_tag};
use trust::{Form, Sha256Digest};

use crate::registry::{Place, Referrers, Registry, RegistryError};

/// So many signatures of each form are looked at, and so many bytes of them.
const SIGNATURES_MAX: usize = 128;
const BYTES_MAX: usize = 8 * 1024 * 1024;
/// Artifact types under which registries and cosign list bundles.
const EMPTY_TYPE: &str = "application/vnd.oci.empty.v1+json";
/// All of it takes no longer, however slowly the registry answers each request.
const SEARCH_LIMIT: Duration = Duration::from_secs(300);
/// So many notes are kept.
const NOTES_MAX: usize = 16;

/// One signature, as it lies in the registry: not verified.
#[derive(Debug, Clone)]
pub(crate) struct Found {
    /// In which form.
    pub(crate) form: Form,
    /// The exact bytes under the signature.
    pub(crate) signed: Vec<u8>,
    /// The signature.
    pub(crate) signature: Vec<u8>,
    /// What it claims, at least one thing.
    pub(crate) claims: Vec<Claim>,
}

/// Everything that was found about one manifest.
#[derive(Debug, Clone, Default)]
pub(crate) struct Finds {
    /// What could be read.
    pub(crate) signatures: Vec<Found>,
    /// What could not, in words.
    pub(crate) notes: Vec<String>,
    bytes: usize,
}

impl Finds {
    fn note(&mut self, words: String) {
        if self.notes.len() < NOTES_MAX {
            self.notes.push(words);
        }
    }

    /// Whether `bytes` more may be read.
    fn spend(&mut self, bytes: usize) -> bool {
        self.bytes = self.bytes.saturating_add(bytes);
        self.bytes <= BYTES_MAX
    }
}

/// The signatures of the manifest `subject`.
///
/// # Errors
/// [`RegistryError`] where the registry does not say what is there.
pub(crate) async fn search(registry: &Registry, subject: &Sha256Digest) -> Result<Finds, RegistryError> {
    let mut finds = Finds::default();
    let both = async {
        sig_form(registry, subject, &mut finds).await?;
        bundle_form(registry, subject, &mut finds).await
    };
    tokio::time::timeout(SEARCH_LIMIT, both).await.map_err(|_| RegistryError::Unreachable {
        registry: registry.repository().registry().to_owned(),
        why: format!("it takes more than {} s to hand over the signatures", SEARCH_LIMIT.as_secs()),
    })??;
    Ok(finds)
}

/// The layers of the manifest at the `.sig` tag, newest first: others cannot push ours out of sight by adding some.
async fn sig_form(registry: &Registry, subject: &Sha256Digest, finds: &mut Finds) -> Result<(), RegistryError> {
    let place = Place::Tag(signature_tag(subject));
    let Some(manifest) = readable(registry.manifest(&place).await, finds)?.flatten() else { return Ok(()) };
    let layers = match SignatureManifest::parse(&manifest.bytes) {
        Ok(parsed) => parsed.layers(),
        Err(malformed) => {
            finds.note(format!("at tag {place}: {malformed}"));
            return Ok(());
        }
    };
    if layers.len() > SIGNATURES_MAX {
        finds.note(format!("{} of {} .sig signatures were looked at", SIGNATURES_MAX, layers.len()));
    }
    for layer in layers.iter().rev().take(SIGNATURES_MAX) {
        if let Some(payload) = blob(registry, &layer.payload, cosign::PAYLOAD_BYTES_MAX, finds).await? {
            match cosign::read_simple_signing(&payload) {
                Ok(claim) => finds.signatures.push(sig(layer, payload, claim)),
                Err(malformed) => finds.note(format!("a .sig signature: {malformed}")),
            }
        }
    }
    Ok(())
}

fn sig(layer: &SignatureLayer, payload: Vec<u8>, claim: Claim) -> Found {
    Found { form: Form::Sig, signed: payload, signature: layer.signature.clone(), claims: vec![claim] }
}

/// The bundles that refer to the manifest, newest first.
async fn bundle_form(registry: &Registry, subject: &Sha256Digest, finds: &mut Finds) -> Result<(), RegistryError> {
    let entries = referrers(registry, subject, finds).await?;
    // An entry without a type, or with the type of its configuration, may be a bundle: cosign lists its own so.
    let may_be = |entry: &Descriptor| {
        entry.artifact_type.as_deref().is_none_or(|kind| matches!(kind, bundle::MEDIA_TYPE | EMPTY_TYPE))
    };
    let bundles: Vec<Descriptor> = entries.into_iter().filter(may_be).collect();
    if bundles.len() > SIGNATURES_MAX {
        finds.note(format!("{} of {} referrers were looked at", SIGNATURES_MAX, bundles.len()));
    }
    for entry in bundles.iter().rev().take(SIGNATURES_MAX) {
        if let Some(found) = bundle_at(registry, subject, entry, finds).await? {
            finds.signatures.push(found);
        }
    }
    Ok(())
}

/// Who refers to the manifest: by the API, and by the fallback tag where there is no API or it knows nobody.
async fn referrers(
    registry: &Registry,
    subject: &Sha256Digest,
    finds: &mut Finds,
) -> Result<Vec<Descriptor>, RegistryError> {
    let mut entries = Vec::new();
    if let Referrers::Pages { pages, more } = registry.referrers(subject).await? {
        if more {
            finds.note("the list of referrers has more pages than are read".to_owned());
        }
        for page in pages {
            match List::parse(&page) {
                Ok(list) => entries.extend(list.entries()),
                Err(malformed) => finds.note(malformed.to_string()),
            }
        }
    }
    if entries.is_empty() {
        let place = Place::Tag(fallback_tag(subject));
        if let Some(manifest) = readable(registry.manifest(&place).await, finds)?.flatten() {
            match List::parse(&manifest.bytes) {
                Ok(list) => entries.extend(list.entries()),
                Err(malformed) => finds.note(format!("at tag {place}: {malformed}")),
            }
        }
    }
    Ok(entries)
}

async fn bundle_at(
    registry: &Registry,
    subject: &Sha256Digest,
    entry: &Descriptor,
    finds: &mut Finds,
) -> Result<Option<Found>, RegistryError> {
    let place = Place::Digest(entry.digest);
    let Some(manifest) = readable(registry.manifest(&place).await, finds)?.flatten() else { return Ok(None) };
    if !finds.spend(manifest.bytes.len()) {
        finds.note("the signatures have more bytes than are read".to_owned());
        return Ok(None);
    }
    // Not a bundle: somebody else's referrer, listed without a type of its own.
    let Ok(referrer) = bundle::Referrer::read(&manifest.bytes) else { return Ok(None) };
    if referrer.subject.digest != *subject {
        return Ok(None);
    }
    let Some(bytes) = blob(registry, &referrer.bundle, bundle::BYTES_MAX, finds).await? else { return Ok(None) };
    Ok(match read_bundle(&bytes) {
        Ok(found) => found,
        Err(malformed) => {
            finds.note(format!("a bundle: {malformed}"));
            None
        }
    })
}

/// The image signature in a bundle; `None` for a bundle that says something else.
fn read_bundle(bytes: &[u8]) -> Result<Option<Found>, trust::Malformed> {
    let Content::Envelope(envelope) = Bundle::read(bytes)?.content else { return Ok(None) };
    if !envelope.is_statement() {
        return Ok(None);
    }
    // The predicate's type is held in there: another statement about the same digest is no signature of it.
    let claims = cosign::read_statement(&envelope.payload)?;
    Ok(Some(Found { form: Form::Bundle, signed: envelope.signed(), signature: envelope.signature, claims }))
}

/// A blob as its descriptor has it, at most `bytes_max` long; what is wrong with it becomes a note.
async fn blob(
    registry: &Registry,
    descriptor: &Descriptor,
    bytes_max: usize,
    finds: &mut Finds,
) -> Result<Option<Vec<u8>>, RegistryError> {
    let size = usize::try_from(descriptor.size_bytes).unwrap_or(usize::MAX);
    if size > bytes_max || !finds.spend(size) {
        finds.note("the signatures have more bytes than are read".to_owned());
        return Ok(None);
    }
    let found = readable(registry.blob(&descriptor.digest, size).await, finds)?.flatten();
    if found.is_none() {
        finds.note(format!("a signature's blob {} is not there as described", descriptor.digest));
    }
    Ok(found)
}

/// Turns content that is not what it should be into a note: whoever may write to the repository can put it there.
fn readable<T>(answer: Result<T, RegistryError>, finds: &mut Finds) -> Result<Option<T>, RegistryError> {
    match answer {
        Ok(value) => Ok(Some(value)),
        Err(error @ RegistryError::Lied { .. }) => {
            finds.note(error.to_string());
            Ok(None)
        }
        Err(error) => Err(error),
    }
}
