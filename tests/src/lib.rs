//! The harness that tests and `bench` share: it runs the real programs, ours
//! and the peers', each in a directory of its own, on the loopback only.
//!
//! It mocks nothing. A program that is absent is an error that names the
//! remedy; nothing is skipped. Every process is stopped by its own id when
//! its guard is dropped.

pub mod authority;
pub mod breakable;
pub mod client;
pub mod daemon;
pub mod disk;
pub mod document;
pub mod engine;
pub mod flush;
pub mod http;
pub mod image;
pub mod issuer;
pub mod ledger;
pub mod local;
pub mod memory;
pub mod merkle;
pub mod notary;
pub mod peer;
pub mod process;
pub mod program;
pub mod raw;
pub mod registry;
pub mod rounds;
pub mod rpc;
pub mod shell;
pub mod site;
pub mod token;
pub mod wait;

pub use breakable::Breakable;
pub use client::Trustctl;
pub use daemon::{Daemon, Setup};
pub use disk::Disk;
pub use engine::Engine;
pub use issuer::TokenServer;
pub use notary::Notary;
pub use program::Ran;
pub use registry::Registry;
pub use shell::Shell;
pub use site::{Lie, Site};
