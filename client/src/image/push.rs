//! `push` and `image sign`: what is in the registry is signed, and the signatures go beside it. A push signs the tag in
//! the repository's trust data, too, where the daemon has that.

use serde::Serialize;
use trust::{Form, Reference, Sha256Digest};
use trust_proto::v1::MaySignRequest;

use super::choose;
use super::judge;
use super::manifests::{Instance, gather};
use super::publish::publish;
use super::statements::{self, Evidence, Order};
use super::target::{Name, Target};
use super::verify::{open, resolve, shown};
use crate::command_line::image::{PushArguments, SignArguments};
use crate::connect::Daemon;
use crate::context::Context;
use crate::engine::{Engine, Transport};
use crate::failure::{Exit, Failure};
use crate::output::{Output, Paint, Shown};
use crate::registry::{Access, Manifest, Place, Registry};
use crate::time::now_unix_seconds;
use crate::trust_owner::{self, TrustChange};

/// What was signed.
#[derive(Debug, Serialize)]
pub(super) struct SignedImage {
    image: String,
    #[serde(serialize_with = "shown")]
    digest: Sha256Digest,
    key: String,
    forms: Vec<&'static str>,
    /// The manifest itself and every instance.
    manifests: usize,
    pub(super) evidence: Vec<Evidence>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pushed_by: Option<&'static str>,
    /// What was published for docker's content trust.
    #[serde(skip_serializing_if = "Option::is_none")]
    trust_data: Option<TrustChange>,
}

impl Shown for SignedImage {
    fn text(&self, paint: Paint) -> String {
        let what = if self.pushed_by.is_some() { "pushed and signed" } else { "signed" };
        let mut lines = vec![format!("{} {}@{}", paint.good(what), self.image, self.digest)];
        let instances = match self.manifests {
            0 | 1 => String::new(),
            more => format!(", {} instances", more.saturating_sub(1)),
        };
        lines.push(format!("  by {} as {}{instances}", paint.strong(&self.key), self.forms.join(" and ")));
        lines.extend(self.evidence.iter().map(|at| paint.faint(&format!("  leaf {} of {}", at.leaf, at.log_origin))));
        lines.extend(self.trust_data.iter().map(|change| format!("  {}", change.summary())));
        lines.join("\n")
    }
}

/// `trustctl push REF`
pub(crate) async fn push(context: &Context, arguments: &PushArguments) -> Result<(), Failure> {
    let reference = Target::reference(&arguments.reference)?;
    let target = Target::parse(&reference.to_string(), None)?;
    let forms = forms(&arguments.how.forms);
    let engine = Engine::find(context.engine).await?;
    let registry = open(context, &target, Access::PullAndPush)?;
    let daemon = context.daemon().await?;
    let key = choose::key(&daemon, arguments.how.key.as_deref(), &reference.repository, &forms).await?;
    let order = Order { reference, key, forms };
    may_sign(&daemon, &order).await?;
    // Asked before anything is pushed, so that a daemon that does not answer has been asked for nothing.
    let has_trust_data = !arguments.no_trust_data && trust_owner::is_kept(context, &daemon, &order.reference).await?;
    let transport = if registry.is_plain() { Transport::Plain } else { Transport::Tls };
    let digest = engine.push(&order.reference, transport, context.output).await?;
    // From here on the image is public: whatever goes wrong, the way to finish is said.
    if let Err(failure) = serves(&registry, &order.reference, &digest).await {
        let differs = failure.exit() == Exit::Refused;
        return Err(if differs { failure } else { unfinished(failure, &order, &digest) });
    }
    let target = Target { place: Place::Digest(digest), ..target };
    let signed = sign_at(context, &daemon, &registry, &target, &order).await;
    let (mut signed, manifest) = signed.map_err(|failure| unfinished(failure, &order, &digest))?;
    signed.pushed_by = Some(engine.name());
    let written = match has_trust_data {
        true => trust_owner::sign_tag(&daemon, &order.reference, &manifest, Vec::new()).await.map(Some),
        false => Ok(None),
    };
    let repository = order.reference.repository.to_string();
    let (change, failed) = match written {
        Ok(change) => {
            let published = change.as_ref().map_or(Ok(()), |change| change.check_published(&repository));
            (change, published)
        }
        Err(failure) => (None, Err(half_done(&failure, &order.reference, &digest))),
    };
    signed.trust_data = change;
    context.output.show(&signed)?;
    failed
}

/// `trustctl image sign REF`
pub(crate) async fn sign(context: &Context, arguments: &SignArguments) -> Result<(), Failure> {
    let target = Target::parse(&arguments.reference, None)?;
    let Name::Tag(reference) = target.named.clone() else {
        return Err(Failure::usage(
            "a signature names a tag, and there is none",
            format!("trustctl image sign {}:TAG@sha256:…", target.repository),
        ));
    };
    let forms = forms(&arguments.how.forms);
    let registry = open(context, &target, Access::PullAndPush)?;
    let daemon = context.daemon().await?;
    let key = choose::key(&daemon, arguments.how.key.as_deref(), &reference.repository, &forms).await?;
    let order = Order { reference, key, forms };
    may_sign(&daemon, &order).await?;
    if let Place::Digest(digest) = &target.place {
        serves(&registry, &order.reference, digest).await?;
    }
    let (signed, _) = sign_at(context, &daemon, &registry, &target, &order).await?;
    context.output.show(&signed)
}

pub(super) fn forms(words: &[String]) -> Vec<Form> {
    let asked = |form: Form, word: &str| words.iter().any(|other| other == word).then_some(form);
    [asked(Form::Sig, "sig"), asked(Form::Bundle, "bundle")].into_iter().flatten().collect()
}

/// Asks before anything is pushed (D2).
async fn may_sign(daemon: &Daemon, order: &Order) -> Result<(), Failure> {
    let request = MaySignRequest { key: order.key.clone(), reference: order.reference.to_string() };
    let answer = daemon.signing().may_sign(request).await?.into_inner();
    if answer.allowed {
        return Ok(());
    }
    Err(Failure::refused(
        format!("{} may not sign {}: {}", order.key, order.reference, answer.reason),
        "nothing was pushed or signed; `trustctl key show KEY` shows the key's state and scope",
    ))
}

/// The registry must serve exactly what was pushed, and the tag must still mean it (D2).
pub(super) async fn serves(registry: &Registry, reference: &Reference, digest: &Sha256Digest) -> Result<(), Failure> {
    let nothing_signed = "nothing was signed; push again, and find out who else writes to this repository";
    let tagged = registry.manifest(&Place::Tag(reference.tag.clone())).await?.map(|manifest| manifest.digest);
    if tagged != Some(*digest) {
        let found = tagged.map_or_else(|| "nothing".to_owned(), |found| found.to_string());
        return Err(Failure::refused(
            format!("{reference} should be {digest}, but the registry has {found} at that tag"),
            nothing_signed,
        ));
    }
    if registry.manifest(&Place::Digest(*digest)).await?.is_none() {
        return Err(Failure::refused(format!("the registry does not serve {digest} of {reference}"), nothing_signed));
    }
    Ok(())
}

/// Signs what is there, and puts the signatures beside it; what was signed, as the registry has it.
async fn sign_at(
    context: &Context,
    daemon: &Daemon,
    registry: &Registry,
    target: &Target,
    order: &Order,
) -> Result<(SignedImage, Manifest), Failure> {
    let top = resolve(registry, target).await?;
    let (digest, manifest) = (top.0.digest, top.0.clone());
    let instances = gather(registry, top, context.output).await?;
    Ok((sign_all(context.output, daemon, registry, order, (digest, &instances)).await?, manifest))
}

/// Signs what a reference resolves to, with its instances, and writes the signatures beside it.
pub(super) async fn sign_all(
    output: Output,
    daemon: &Daemon,
    registry: &Registry,
    order: &Order,
    (digest, instances): (Sha256Digest, &[Instance]),
) -> Result<SignedImage, Failure> {
    let (signed, evidence) = statements::sign(daemon, order, instances).await?;
    let created_s = now_unix_seconds();
    let bar = output.progress(u64::try_from(signed.len()).unwrap_or_default(), "writing signatures");
    // The instances first: an index whose signature is there has all of them.
    for one in signed.iter().rev() {
        publish(registry, one, created_s).await?;
        bar.inc(1);
    }
    bar.finish_and_clear();
    let forms = signed.first().map(|one| one.forms.iter().map(|form| judge::form(form.form)).collect());
    Ok(SignedImage {
        image: order.reference.to_string(),
        digest,
        key: order.key.clone(),
        forms: forms.unwrap_or_default(),
        manifests: signed.len(),
        evidence,
        pushed_by: None,
        trust_data: None,
    })
}

/// Pushed, but not signed, or not in every form.
fn unfinished(failure: Failure, order: &Order, digest: &Sha256Digest) -> Failure {
    let forms: Vec<&str> = order.forms.iter().map(|form| judge::form(*form)).collect();
    let forms = if forms.is_empty() { String::new() } else { format!(" --forms {}", forms.join(",")) };
    let line = format!("trustctl image sign --key {}{forms} {}@{digest}", order.key, order.reference);
    let what = format!("the image is pushed, but not signed: {}", failure.what());
    Failure::new(Exit::Refused, what, format!("this finishes the work: {line}"))
}

/// Pushed and signed as cosign has it, but not in the trust data.
fn half_done(failure: &Failure, reference: &Reference, digest: &Sha256Digest) -> Failure {
    let what = format!("the image is pushed and signed, but not in its trust data: {}", failure.what());
    let line = format!("trustctl trust sign {reference}@{digest}");
    Failure::new(Exit::Refused, what, format!("this finishes the work: {line}; push --no-trust-data leaves it out"))
}
