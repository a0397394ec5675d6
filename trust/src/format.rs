//! Content-trust formats: which bytes a signature covers, and how signatures lie in registries and beside files.
//!
//! Pure codecs. The daemon builds with them what it signs, the client checks with them what it found, so both mean
//! the same. Input of readers is hostile: bounded in size, depth and number of values, each key once, and a reader
//! says [`Malformed`](crate::Malformed) where it would have to guess. No transport, no clock, no key material.
//!
//! Writers write RFC 8785: the same content is the same bytes, whoever signs it again.

mod base64;
mod calendar;
mod dsse;

pub mod blob;
pub mod bundle;
pub mod cosign;
pub mod json;
pub mod oci;
pub mod release;
pub mod trusted_root;
pub mod tuf;
