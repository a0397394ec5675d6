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
mod search;
mod statements;
mod target;
mod verify;

#[cfg(test)]
mod tests;

use crate::command_line::image::VerifyArguments;
use crate::context::Context;
use crate::failure::Failure;

pub(crate) use self::inspect::inspect;
pub(crate) use self::pull::{pull, run};
pub(crate) use self::push::{push, sign};

/// `trustctl image verify REF`
pub(crate) async fn verify(context: &Context, arguments: &VerifyArguments) -> Result<(), Failure> {
    let target = target::Target::parse(&arguments.reference, arguments.named_as.as_deref())?;
    let verified = verify::verify(context, &target).await?;
    context.output.show(&verified)
}
