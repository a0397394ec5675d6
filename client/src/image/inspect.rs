//! `inspect`: what a registry has for an image, and who made its signatures.

use serde::Serialize;
use trust::format::cosign::Names;
use trust::{Algorithm, PublicKey, Sha256Digest};
use trust_proto::words::Word as _;

use super::choose;
use super::judge::{form, signer};
use super::search::{Found, search};
use super::target::Target;
use super::verify::{open, resolve, shown};
use crate::believed::{self, BelievedKey, Source};
use crate::command_line::image::InspectArguments;
use crate::context::Context;
use crate::failure::Failure;
use crate::output::{Paint, Shown};
use crate::registry::Access;

/// So many instances are listed for people.
const INSTANCES_SHOWN_MAX: usize = 32;

/// What is there.
#[derive(Debug, Serialize)]
struct Inspected {
    image: String,
    #[serde(serialize_with = "shown")]
    digest: Sha256Digest,
    media_type: String,
    size_bytes: u64,
    instances: Vec<String>,
    signatures: Vec<Signature>,
    /// Why nobody is believed, where that is so.
    #[serde(skip_serializing_if = "Option::is_none")]
    nobody_believed: Option<String>,
    /// What lies there and could not be read.
    notes: Vec<String>,
}

#[derive(Debug, Serialize)]
struct Signature {
    form: &'static str,
    /// What it calls the image, for each thing it says.
    names: Vec<String>,
    /// True when it would let the image be pulled.
    counts: bool,
    /// Why its key is believed.
    believed: Option<Source>,
    /// What the daemon calls its key; no reason to believe it.
    key: Option<String>,
    key_sha256: Option<String>,
}

impl Shown for Inspected {
    fn text(&self, paint: Paint) -> String {
        let mut lines = vec![
            paint.strong(&self.image),
            format!("  digest  {}", self.digest),
            format!("  type    {}, {} bytes", self.media_type, self.size_bytes),
        ];
        lines.extend(self.instances.iter().take(INSTANCES_SHOWN_MAX).map(|digest| format!("  lists   {digest}")));
        if self.signatures.is_empty() {
            lines.push(format!("  {}", paint.bad("no signature")));
        }
        lines.extend(self.signatures.iter().map(|signature| signature.text(paint)));
        lines.extend(self.nobody_believed.iter().map(|why| format!("  {}", paint.faint(why))));
        lines.extend(self.notes.iter().map(|note| format!("  {}", paint.faint(note))));
        lines.join("\n")
    }
}

impl Signature {
    fn text(&self, paint: Paint) -> String {
        let verdict = match (&self.believed, self.counts) {
            (Some(source), true) => paint.good(&format!("believed: {source}")),
            (Some(source), false) => paint.bad(&format!("believed ({source}), but names something else")),
            (None, _) if self.key.is_some() => paint.bad("not believed here"),
            (None, _) => paint.bad("unknown key"),
        };
        let key = self.key.as_deref().map(|key| format!("key {key}, ")).unwrap_or_default();
        let names = self.names.iter().map(|name| if name.is_empty() { "no name" } else { name });
        let names = names.collect::<Vec<_>>().join(", ");
        format!("  {:<7} {}{verdict}; names {}", self.form, paint.strong(&key), crate::failure::printable(&names))
    }
}

/// `trustctl inspect REF`
pub(crate) async fn inspect(context: &Context, arguments: &InspectArguments) -> Result<(), Failure> {
    let target = Target::parse(&arguments.reference, None)?;
    let registry = open(context, &target, Access::Pull)?;
    let (manifest, parsed) = resolve(&registry, &target).await?;
    let finds = search(&registry, &manifest.digest).await?;
    let (believed, nobody_believed) = match believed::for_repository(context, target.judged_repository()).await {
        Ok(believed) => (believed.keys, None),
        Err(failure) => (Vec::new(), Some(failure.what())),
    };
    let known = known(context).await;
    let signature = |found: &Found| read(found, &manifest.digest, &target, &believed, &known);
    context.output.show(&Inspected {
        image: target.to_string(),
        digest: manifest.digest,
        media_type: parsed.media_type.to_string(),
        size_bytes: parsed.size_bytes,
        instances: parsed.instances().iter().map(|instance| instance.digest.to_string()).collect(),
        signatures: finds.signatures.iter().map(signature).collect(),
        nobody_believed,
        notes: finds.notes,
    })
}

fn read(
    found: &Found,
    digest: &Sha256Digest,
    target: &Target,
    believed: &[BelievedKey],
    known: &[BelievedKey],
) -> Signature {
    let believer = signer(found, believed);
    let maker = believer.or_else(|| signer(found, known));
    let counts = believer.is_some_and(|key| {
        let names = if key.any_tag { Names::AnyTag } else { Names::Exact };
        found.claims.iter().any(|claim| claim.digest == *digest && claim.answers(target.asked(), names))
    });
    // The same key under the daemon's name for it.
    let named = maker.and_then(|maker| known.iter().find(|known| known.key.spki_der() == maker.key.spki_der()));
    let name = named.or(maker).and_then(|key| match &key.source {
        Source::Daemon { key, version, .. } => Some(format!("{key} version {version}")),
        Source::Pin { .. } => None,
    });
    Signature {
        form: form(found.form),
        names: found.claims.iter().map(|claim| claim.written.clone()).collect(),
        counts,
        believed: believer.map(|key| key.source.clone()),
        key: name,
        key_sha256: maker.map(|key| key.key.spki_sha256().to_hex()),
    }
}

/// The daemon's keys, only to call them by name: nobody is believed for being in this list. A daemon that does not
/// answer has nothing to say here.
async fn known(context: &Context) -> Vec<BelievedKey> {
    let Ok(daemon) = context.daemon().await else { return Vec::new() };
    let Ok(keys) = choose::image_keys(&daemon).await else { return Vec::new() };
    let address = &daemon.address;
    let versions = keys.iter().flat_map(|key| {
        let algorithm = Algorithm::from_wire(key.algorithm).ok();
        key.versions.iter().filter_map(move |version| {
            Some(BelievedKey {
                key: PublicKey::from_spki_der(algorithm?, &version.spki_der).ok()?,
                any_tag: false,
                source: Source::Daemon { address: address.clone(), key: key.name.clone(), version: version.version },
            })
        })
    });
    versions.collect()
}
