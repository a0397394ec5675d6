//! Signing anew what somebody else's signature vouches for: exactly that digest, and nothing where it is signed already.

use trust::format::cosign::{Asked, Names};
use trust::{Algorithm, Form, PublicKey, Purpose, Reference, Repository, Sha256Digest};
use trust_proto::v1;
use trust_proto::words::Word as _;

use super::manifests::{Instance, gather};
use super::push::{forms, sign_all};
use super::search::search;
use super::statements::{Evidence, Order};
use super::target::{Name, Target};
use super::verify::{open, resolve};
use super::{choose, judge};
use crate::believed::{BelievedKey, Source};
use crate::command_line::image::SigningChoice;
use crate::connect::Daemon;
use crate::context::Context;
use crate::failure::Failure;
use crate::key;
use crate::registry::{Access, Place, Registry};

/// What became of one tag.
#[derive(Debug)]
pub(crate) enum Resigned {
    /// The key has signed this digest under this name already, in every form.
    Already,
    /// Now.
    Now(Vec<Evidence>),
}

/// One repository, and the key that signs it.
#[derive(Debug)]
pub(crate) struct Resigner<'c> {
    context: &'c Context,
    daemon: &'c Daemon,
    registry: Registry,
    /// The key's name.
    key: String,
    /// Its versions: what each of them signed counts.
    own: Vec<BelievedKey>,
    forms: Vec<Form>,
}

impl<'c> Resigner<'c> {
    /// For a repository, with the key that was chosen or the only one that can sign it.
    ///
    /// # Errors
    /// When there is no such key.
    pub(crate) async fn choose(
        context: &'c Context,
        daemon: &'c Daemon,
        repository: &Repository,
        how: &SigningChoice,
    ) -> Result<Self, Failure> {
        let asked = forms(&how.forms);
        let name = choose::key(daemon, how.key.as_deref(), repository, &asked).await?;
        let key = key::fetch(daemon, &name).await?;
        if key.purpose != Purpose::Image.to_wire() || key.trust() != v1::Trust::Trusted {
            return Err(Failure::refused(
                format!("{} is no key whose signatures of images count", key.name),
                "name another: --key KEY; `trustctl key list` shows what there is",
            ));
        }
        let of_images = |form: &Form| matches!(form, Form::Sig | Form::Bundle);
        let has = key.forms.iter().filter_map(|form| Form::from_wire(*form).ok()).filter(of_images);
        let forms = if asked.is_empty() { has.collect() } else { asked };
        let own = versions(&key, repository)?;
        let target = Target {
            repository: repository.clone(),
            place: Place::Digest(Sha256Digest::of(b"")),
            named: Name::Repository(repository.clone()),
            root: None,
        };
        let registry = open(context, &target, Access::PullAndPush)?;
        Ok(Self { context, daemon, registry, key: key.name, own, forms })
    }

    /// The key's name.
    pub(crate) fn key(&self) -> &str {
        &self.key
    }

    /// Signs the tag, if the registry has exactly this content there and it is not signed.
    ///
    /// # Errors
    /// Refused where the registry has something else; else what registry and daemon say.
    pub(crate) async fn resign(
        &self,
        reference: &Reference,
        digest: &Sha256Digest,
        length_bytes: u64,
    ) -> Result<Resigned, Failure> {
        let target = Target {
            repository: reference.repository.clone(),
            place: Place::Tag(reference.tag.clone()),
            named: Name::Tag(reference.clone()),
            root: None,
        };
        let top = resolve(&self.registry, &target).await?;
        let found = top.0.digest;
        if found != *digest {
            return Err(Failure::refused(
                format!("the registry has {found} at that tag, and {digest} is signed"),
                format!(
                    "put {digest} back under the tag and run it again; or, if what is there is right: trustctl image \
                     sign {reference}@{found}"
                ),
            ));
        }
        let size_bytes = u64::try_from(top.0.bytes.len()).unwrap_or(u64::MAX);
        if size_bytes != length_bytes {
            return Err(Failure::refused(
                format!("the manifest has {size_bytes} bytes, and {length_bytes} are signed"),
                format!("docker does not pull it either; if it is right: trustctl image sign {reference}@{digest}"),
            ));
        }
        let output = self.context.output.without_bars();
        let instances = gather(&self.registry, top, output).await?;
        if self.have_signed(reference, &instances).await? {
            return Ok(Resigned::Already);
        }
        let order = Order { reference: reference.clone(), key: self.key.clone(), forms: self.forms.clone() };
        let signed = sign_all(output, self.daemon, &self.registry, &order, (*digest, &instances)).await?;
        Ok(Resigned::Now(signed.evidence))
    }

    /// Whether every instance has this key's signature under this very name in every form.
    async fn have_signed(&self, reference: &Reference, instances: &[Instance]) -> Result<bool, Failure> {
        let asked = Asked::Tag(reference);
        for instance in instances {
            let digest = instance.manifest.digest;
            let finds = search(&self.registry, &digest).await?;
            let says = |form: Form| {
                let of_form = finds.signatures.iter().filter(|found| found.form == form);
                let mut about_it = of_form.filter(|found| {
                    found.claims.iter().any(|claim| claim.digest == digest && claim.answers(asked, Names::Exact))
                });
                about_it.any(|found| judge::signer(found, &self.own).is_some())
            };
            if !self.forms.iter().all(|form| says(*form)) {
                return Ok(false);
            }
        }
        Ok(true)
    }
}

/// Every version of a key.
fn versions(key: &v1::Key, repository: &Repository) -> Result<Vec<BelievedKey>, Failure> {
    let algorithm = Algorithm::from_wire(key.algorithm)?;
    let versions = key.versions.iter().map(|version| {
        let source =
            Source::Daemon { address: repository.to_string(), key: key.name.clone(), version: version.version };
        let key = PublicKey::from_spki_der(algorithm, &version.spki_der)?;
        Ok::<_, Failure>(BelievedKey { key, any_tag: false, source })
    });
    versions.collect()
}
