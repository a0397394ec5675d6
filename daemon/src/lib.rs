//! trustd: signs only what it understood, for whom it knows, under a key made
//! for that purpose, after writing down that it will.
//!
//! The way of one Sign: `api` → `authorize` → `audit` → `custody` → receipt.
//! `assemble` alone names concrete backends.

mod api;
mod archive;
mod assemble;
mod audit;
mod authorize;
mod backup;
mod check;
mod clock;
mod command_line;
mod config;
mod cores;
mod custody;
mod disk;
mod harden;
mod health;
mod house;
mod idempotency;
mod identity;
mod init;
mod keys;
pub mod measure;
mod metrics;
mod notify;
mod order;
mod permit;
mod publish;
mod records;
mod recover;
mod removals;
mod root;
mod run;
mod scrape;
mod serving;
mod shelf;
mod signing;
mod statement;
mod store;
mod strangers;
mod tables;
mod telemetry;
mod tls;
mod turns;
mod verification;

use std::alloc::System;

use zeroizing_alloc::ZeroAlloc;

pub use run::trustd;

/// Wipes whatever is given back: what a connection has read a PIN or a passphrase into is in buffers that no code of ours
/// can reach.
#[global_allocator]
static ALLOCATOR: ZeroAlloc<System> = ZeroAlloc(System);
