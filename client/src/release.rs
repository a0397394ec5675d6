//! `trustctl release …`: a directory of files, signed and verified as a whole.
//!
//! No byte of a file leaves this machine: the daemon gets names, sizes and digests. What it answers is judged as
//! [`judge`] judges a release of somebody else, before anything is written.

mod answer;
mod digests;
mod judge;
mod listing;
pub(crate) mod pinned;
mod placing;
mod sign;
mod verify;

pub(crate) use sign::sign;
pub(crate) use verify::verify;
