//! The suites: each measures one thing and adds its rows to the report.

pub(crate) mod batch;
pub(crate) mod content_trust;
pub(crate) mod digests;
pub(crate) mod files;
pub(crate) mod flush;
pub(crate) mod kernels;
pub(crate) mod libraries;
pub(crate) mod parts;
pub(crate) mod service;
pub(crate) mod sign;
pub(crate) mod start;
pub(crate) mod token;
pub(crate) mod verify;

pub(crate) use crate::plan::{Effort, Plan};

/// What a target says whose row this run has not.
pub(crate) const LEFT_OUT: &str = "this run leaves the case out";
