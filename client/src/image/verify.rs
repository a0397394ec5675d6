//! Verifies an image in its registry: resolve once, find signatures, hold them against whom we believe.

use serde::Serialize;
use trust::Sha256Digest;
use trust::format::oci;

use super::judge::{Counted, judge};
use super::search::search;
use super::target::{Name, Target};
use crate::believed;
use crate::context::Context;
use crate::failure::Failure;
use crate::output::{Paint, Shown};
use crate::registry::{Access, CredentialFiles, Manifest, Place, PlainHttp, Registry};
use crate::trust_data::{self, Question, Vouched};

/// An image that was verified: nothing else is pulled.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Verified {
    /// As it was asked for.
    pub(crate) image: String,
    /// What that resolved to, once.
    #[serde(serialize_with = "shown")]
    pub(crate) digest: Sha256Digest,
    /// What its signatures had to name.
    pub(crate) named: String,
    /// Always true: what was not verified has another shape.
    verified: bool,
    /// The signatures that count.
    pub(crate) signatures: Vec<Counted>,
    /// Everybody who is believed for this repository.
    pub(crate) believed: Vec<String>,
    /// What its trust data says, where the configuration says where that is.
    #[serde(skip_serializing_if = "Option::is_none")]
    trust_data: Option<Vouched>,
}

pub(crate) fn shown<T: std::fmt::Display, S: serde::Serializer>(value: &T, to: S) -> Result<S::Ok, S::Error> {
    to.collect_str(value)
}

impl Verified {
    /// The image with its digest.
    pub(crate) fn exactly(&self) -> String {
        if self.image.contains('@') { self.image.clone() } else { format!("{}@{}", self.image, self.digest) }
    }

    /// What counted and why, a line each.
    pub(crate) fn why(&self) -> Vec<String> {
        let line = |counted: &Counted| {
            let names = if counted.names.is_empty() { "no name" } else { &counted.names };
            format!("{}: names {names}; believed: {}", counted.form, counted.believed)
        };
        self.trust_data.iter().map(Vouched::words).chain(self.signatures.iter().map(line)).collect()
    }
}

impl Shown for Verified {
    fn text(&self, paint: Paint) -> String {
        let mut lines = vec![format!("{} {}", paint.good("verified"), self.exactly())];
        lines.extend(self.why().iter().map(|line| paint.faint(&format!("  {line}"))));
        lines.join("\n")
    }
}

/// A way to the target's repository.
pub(crate) fn open(context: &Context, target: &Target, access: Access) -> Result<Registry, Failure> {
    let plain = if context.plain_http { PlainHttp::Asked } else { PlainHttp::LoopbackOnly };
    Ok(Registry::open(&target.repository, access, plain, CredentialFiles::from_environment())?)
}

/// What the registry has for the target, read as an image or index.
///
/// # Errors
/// When there is none, or it is not one thing for every reader.
pub(crate) async fn resolve(registry: &Registry, target: &Target) -> Result<(Manifest, oci::Manifest), Failure> {
    let Some(manifest) = registry.manifest(&target.place).await? else {
        return Err(Failure::refused(
            format!("the registry has no {target}"),
            "is the name right, and was it pushed? `trustctl inspect REF` shows what is there",
        ));
    };
    match oci::parse_served(&manifest.media_type, &manifest.bytes) {
        Ok(parsed) => Ok((manifest, parsed)),
        Err(malformed) => Err(Failure::refused(
            format!("{target} is no image that can be trusted: it has no {malformed}"),
            "rebuild and push it with a current docker or podman",
        )),
    }
}

/// Verifies the target.
///
/// # Errors
/// Refused, with the reason in one line; unreachable where the registry or an enrolled daemon is.
pub(crate) async fn verify(context: &Context, target: &Target) -> Result<Verified, Failure> {
    // Whom we believe is known before a stranger is asked anything.
    let repository = target.judged_repository();
    let trust_data = vouched(context, target).await?;
    let believed = match trust_data {
        Some(_) => believed::beside_trust_data(context, repository).await?,
        None => believed::for_repository(context, repository).await?,
    };
    let registry = open(context, target, Access::Pull)?;
    let (manifest, _) = match &trust_data {
        Some(vouched) => resolve_vouched(&registry, target, vouched).await?,
        None => resolve(&registry, target).await?,
    };
    let sources: Vec<String> = believed.keys.iter().map(|key| key.source.to_string()).collect();
    let signatures = if believed.keys.is_empty() {
        Vec::new()
    } else {
        let finds = search(&registry, &manifest.digest).await?;
        judge(&finds, &believed.keys, &manifest.digest, target.asked())
            .map_err(|reason| refusal(target, &manifest.digest, &reason, &sources))?
    };
    Ok(Verified {
        image: target.to_string(),
        digest: manifest.digest,
        named: target.named.to_string(),
        verified: true,
        signatures,
        believed: sources,
        trust_data,
    })
}

/// What trust data says of the target.
async fn vouched(context: &Context, target: &Target) -> Result<Option<Vouched>, Failure> {
    let tag = match &target.named {
        Name::Tag(reference) => Some(Place::Tag(reference.tag.clone())),
        Name::Repository(_) => None,
    };
    let place = tag.as_ref().unwrap_or(&target.place);
    let asked = Question { repository: target.judged_repository(), place, root: target.root.as_ref() };
    let vouched = trust_data::vouched(context, asked).await?;
    if let (Some(vouched), Place::Digest(digest)) = (&vouched, &target.place)
        && vouched.digest != *digest
    {
        return Err(Failure::refused(
            format!("{target} is not what is signed as {}: that is {}", target.named, vouched.digest),
            "was the digest copied from an older version?",
        ));
    }
    Ok(vouched)
}

/// The content that trust data names, whatever the tag is by now.
async fn resolve_vouched(
    registry: &Registry,
    target: &Target,
    vouched: &Vouched,
) -> Result<(Manifest, oci::Manifest), Failure> {
    let exactly = Target { place: Place::Digest(vouched.digest), ..target.clone() };
    let found = resolve(registry, &exactly).await?;
    let length_bytes = u64::try_from(found.0.bytes.len()).unwrap_or(u64::MAX);
    if length_bytes != vouched.length_bytes {
        return Err(Failure::refused(
            format!("{exactly} has {length_bytes} bytes, and its trust data says {}", vouched.length_bytes),
            "whoever signed it has to sign it anew",
        ));
    }
    Ok(found)
}

fn refusal(target: &Target, digest: &Sha256Digest, reason: &str, believed: &[String]) -> Failure {
    let believed = believed.iter().take(4).cloned().collect::<Vec<_>>().join("; ");
    Failure::refused(
        format!("no valid signature on {target} ({digest}): {reason}"),
        format!("believed here: {believed}; who may sign it runs: trustctl image sign {}", target.named),
    )
}
