//! Writes signatures into the registry, beside those that are there.
//!
//! Registries have no compare-and-swap that all of them keep, so a tag is read again after it was written, and what got
//! lost is written once more.

use std::time::Duration;

use trust::format::bundle::{Bundle, EMPTY_CONFIG, MEDIA_TYPE, Referrer};
use trust::format::cosign::{SignatureManifest, signature_tag};
use trust::format::oci::{self, Descriptor, MediaType, Referrers as List, fallback_tag};
use trust::{Form, Sha256Digest, Tag};

use super::judge;
use super::search::{self, Found};
use super::statements::{Signed, SignedForm};
use crate::believed::{BelievedKey, Source};
use crate::failure::Failure;
use crate::pin::PinSource;
use crate::registry::{Manifest, Place, Put, Referrers, Registry, RegistryError, Version};

/// So often a tag is written before we give in to whoever writes it, too.
const TRIES_MAX: u32 = 6;
/// Between tries, growing, so that two writers do not stay in step.
const PAUSE: Duration = Duration::from_millis(150);

/// Writes the signatures of one manifest in every form it was signed in.
///
/// # Errors
/// What the registry says. What was written before stays: a signature that is there twice or alone does no harm.
pub(crate) async fn publish(registry: &Registry, signed: &Signed<'_>, created_s: u64) -> Result<(), Failure> {
    for form in &signed.forms {
        match form.form {
            Form::Sig => sig(registry, signed, form).await?,
            Form::Bundle => bundle(registry, signed, form, created_s).await?,
            // Of images there are no others.
            Form::Manifest | Form::Minisig | Form::Raw | Form::Sshsig | Form::Tuf => {}
        }
    }
    Ok(())
}

/// Adds a layer to the manifest at the `.sig` tag.
async fn sig(registry: &Registry, signed: &Signed<'_>, form: &SignedForm) -> Result<(), Failure> {
    let (payload, signature) = (form.payload.as_slice(), form.signature.as_bytes());
    registry.put_blob(payload).await?;
    let tag = signature_tag(&signed.instance.manifest.digest);
    let holds = |manifest: &SignatureManifest| {
        let payload = Sha256Digest::of(payload);
        manifest.layers().iter().any(|layer| layer.payload.digest == payload && layer.signature == signature)
    };
    let mut was = None;
    for number in 0..TRIES_MAX {
        let there = registry.manifest(&Place::Tag(tag.clone())).await?;
        let mut manifest = match &there {
            None => SignatureManifest::empty(),
            Some(there) => SignatureManifest::parse(&there.bytes).map_err(|error| occupied(&tag, &error))?,
        };
        if holds(&manifest) {
            return Ok(());
        }
        manifest.put(&signed.key, payload, signature)?;
        registry.put_blob(&manifest.config()).await?;
        let bytes = manifest.to_bytes();
        write(registry, &tag, MediaType::OciManifest, &bytes, (there.as_ref(), &mut was)).await?;
        let after = registry.manifest(&Place::Tag(tag.clone())).await?;
        if after.is_some_and(|after| SignatureManifest::parse(&after.bytes).is_ok_and(|after| holds(&after))) {
            return Ok(());
        }
        tokio::time::sleep(PAUSE.saturating_mul(number.saturating_add(1))).await;
    }
    Err(raced(registry, &tag).into())
}

/// Puts a bundle that refers to the manifest, unless this key's bundle with this statement is there.
async fn bundle(registry: &Registry, signed: &Signed<'_>, form: &SignedForm, created_s: u64) -> Result<(), Failure> {
    let subject = &signed.instance.descriptor;
    if said_already(registry, signed, form).await? {
        return Ok(());
    }
    let bundle = Bundle::of_image(&signed.key, form.payload.clone(), &form.signature).to_bytes();
    registry.put_blob(&bundle).await?;
    registry.put_blob(EMPTY_CONFIG).await?;
    let manifest = Referrer::write(subject, &bundle, created_s)?;
    let place = Place::Digest(Sha256Digest::of(&manifest));
    let put = registry.put_manifest(&place, MediaType::OciManifest.as_str(), &manifest, &Version::Any).await?;
    if put == (Put::Done { subject_listed: true }) {
        return Ok(());
    }
    let parsed = oci::parse(&manifest)?;
    let entry = Descriptor {
        annotations: parsed.annotations.clone(),
        artifact_type: Some(MEDIA_TYPE.to_owned()),
        ..parsed.descriptor()
    };
    if listed_by_api(registry, &subject.digest, &entry).await? { Ok(()) } else { list(registry, subject, &entry).await }
}

/// Signing again must not grow the list for ever: ECDSA makes another signature each time.
async fn said_already(registry: &Registry, signed: &Signed<'_>, form: &SignedForm) -> Result<bool, Failure> {
    let finds = search::search(registry, &signed.instance.manifest.digest).await?;
    let own = [BelievedKey {
        key: signed.key.clone(),
        any_tag: false,
        source: Source::Pin { repository: registry.repository().to_string(), source: PinSource::Added },
    }];
    let statement = trust::format::cosign::read_statement(&form.payload)?;
    let same = |found: &&Found| found.form == Form::Bundle && found.claims == statement;
    Ok(finds.signatures.iter().filter(same).any(|found| judge::signer(found, &own).is_some()))
}

async fn listed_by_api(registry: &Registry, subject: &Sha256Digest, entry: &Descriptor) -> Result<bool, Failure> {
    let Referrers::Pages { pages, .. } = registry.referrers(subject).await? else { return Ok(false) };
    let lists = |page: &Vec<u8>| {
        List::parse(page).is_ok_and(|list| list.entries().iter().any(|listed| listed.digest == entry.digest))
    };
    Ok(pages.iter().any(lists))
}

/// Adds an entry to the index at the fallback tag.
async fn list(registry: &Registry, subject: &Descriptor, entry: &Descriptor) -> Result<(), Failure> {
    let tag = fallback_tag(&subject.digest);
    let holds = |list: &List| list.entries().iter().any(|listed| listed.digest == entry.digest);
    let mut was = None;
    for number in 0..TRIES_MAX {
        let there = registry.manifest(&Place::Tag(tag.clone())).await?;
        let mut index = match &there {
            None => List::empty(),
            Some(there) => List::parse(&there.bytes).map_err(|error| occupied(&tag, &error))?,
        };
        if holds(&index) {
            return Ok(());
        }
        index.append(entry)?;
        write(registry, &tag, MediaType::OciIndex, &index.to_bytes(), (there.as_ref(), &mut was)).await?;
        let after = registry.manifest(&Place::Tag(tag.clone())).await?;
        if after.is_some_and(|after| List::parse(&after.bytes).is_ok_and(|after| holds(&after))) {
            return Ok(());
        }
        tokio::time::sleep(PAUSE.saturating_mul(number.saturating_add(1))).await;
    }
    Err(raced(registry, &tag).into())
}

/// Writes a tag on the condition that it is still what was read. A registry that says it moved while it did not
/// cannot keep that condition, and gets none.
async fn write(
    registry: &Registry,
    tag: &Tag,
    media_type: MediaType,
    bytes: &[u8],
    (there, was): (Option<&Manifest>, &mut Option<Option<Sha256Digest>>),
) -> Result<(), RegistryError> {
    let now = there.map(|there| there.digest);
    let version = match there {
        _ if *was == Some(now) => Version::Any,
        None => Version::Absent,
        Some(there) => there.version.clone(),
    };
    // Whether it moved shows when it is read again.
    registry.put_manifest(&Place::Tag(tag.clone()), media_type.as_str(), bytes, &version).await?;
    *was = Some(now);
    Ok(())
}

fn raced(registry: &Registry, tag: &Tag) -> RegistryError {
    RegistryError::Raced {
        registry: registry.repository().registry().to_owned(),
        tag: tag.to_string(),
        tries: TRIES_MAX,
    }
}

/// What lies at our tag is not what belongs there; it is not ours to throw away.
fn occupied(tag: &Tag, error: &trust::Malformed) -> Failure {
    Failure::refused(
        format!("the tag {tag} holds something else than signatures: it has no {error}"),
        "remove that tag, then sign again",
    )
}
