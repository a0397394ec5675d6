//! Images; being written.

use std::process::ExitCode;

use crate::command_line::image::{
    InspectArguments, PullArguments, PushArguments, RunArguments, SignArguments, VerifyArguments,
};
use crate::context::Context;
use crate::failure::Failure;

fn absent() -> Failure {
    Failure::other("not there yet", "wait")
}
pub(crate) async fn push(_: &Context, _: &PushArguments) -> Result<(), Failure> {
    Err(absent())
}
pub(crate) async fn pull(_: &Context, _: &PullArguments) -> Result<(), Failure> {
    Err(absent())
}
pub(crate) async fn run(_: &Context, _: &RunArguments) -> Result<ExitCode, Failure> {
    Err(absent())
}
pub(crate) async fn inspect(_: &Context, _: &InspectArguments) -> Result<(), Failure> {
    Err(absent())
}
pub(crate) async fn sign(_: &Context, _: &SignArguments) -> Result<(), Failure> {
    Err(absent())
}
pub(crate) async fn verify(_: &Context, _: &VerifyArguments) -> Result<(), Failure> {
    Err(absent())
}
