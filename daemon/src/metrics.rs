//! Metrics.
#[derive(Default)]
pub(crate) struct Metrics;
