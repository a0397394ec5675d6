//! Images: pushing and signing, verifying and pulling.
//!
//! Everything is decided here, on this machine: the registry is only where things lie, the engine only moves them, and
//! the daemon only signs. What counts as signed stands in [`judge`]; whom we believe in `believed`.

mod choose;
mod fault;
mod inspect;
mod judge;
mod manifests;
mod publish;
mod pull;
mod push;
mod resign;
mod search;
mod statements;
mod target;
mod verify;

#[cfg(test)]
mod tests;

use trust::Reference;

use crate::command_line::image::PullArguments;
use crate::context::Context;
use crate::failure::Failure;
use crate::registry::{Access, Manifest, Place};

pub(crate) use self::inspect::inspect;
pub(crate) use self::pull::{pull, run};
pub(crate) use self::push::{push, sign};
pub(crate) use self::resign::{Resigned, Resigner};
pub(crate) use self::statements::Evidence;
pub(crate) use self::verify::shown;

/// What the registry has for a tag: where that is an index, everything that it lists is there.
///
/// # Errors
/// When it is not, or the tag is not what was asked for by digest.
pub(crate) async fn whole(context: &Context, typed: &str) -> Result<(Reference, Manifest), Failure> {
    let target = target::Target::parse(typed, None)?;
    let target::Name::Tag(reference) = target.named.clone() else {
        return Err(no_tag(typed));
    };
    let registry = verify::open(context, &target, Access::Pull)?;
    if let Place::Digest(digest) = &target.place {
        push::serves(&registry, &reference, digest).await?;
    }
    let top = verify::resolve(&registry, &target).await?;
    let manifest = top.0.clone();
    manifests::gather(&registry, top, context.output).await?;
    Ok((reference, manifest))
}

/// Reads a reference whose tag is written out.
///
/// # Errors
/// A failure of usage.
pub(crate) fn tagged(typed: &str) -> Result<Reference, Failure> {
    if target::has_tag(typed) { target::Target::reference(typed) } else { Err(no_tag(typed)) }
}

fn no_tag(typed: &str) -> Failure {
    Failure::usage(format!("no tag in {typed}"), "name the image by its tag: registry/repository:tag")
}

/// `trustctl image verify REF`
pub(crate) async fn verify(context: &Context, arguments: &PullArguments) -> Result<(), Failure> {
    let target = target::Target::believed(&arguments.reference, &arguments.belief)?;
    let verified = verify::verify(context, &target).await?;
    context.output.show(&verified)
}
