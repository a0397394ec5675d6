//! trustd: signs only what it understood, for whom it knows, under a key made
//! for that purpose, after writing down that it will.
//!
//! The way of one Sign: `api` → `authorize` → `audit` → `custody` → receipt.
//! `assemble` alone names concrete backends.

pub mod audit;
pub mod authorize;
pub mod backup;
pub mod clock;
pub mod config;
pub mod identity;
pub mod listener;
pub mod records;
pub mod store;
pub mod tls;
