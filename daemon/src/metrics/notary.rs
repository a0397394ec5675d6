//! What the Notary door counts.

use std::time::Duration;

use http::StatusCode;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::{Registry, Unit};

use super::Word;

/// What a request is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Operation {
    Changes,
    Delete,
    Elsewhere,
    GetByHash,
    GetByVersion,
    GetCurrent,
    GetKey,
    Health,
    Metrics,
    Ping,
    Publish,
    RotateKey,
}

impl Operation {
    /// Its name in labels.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Changes => "changes",
            Self::Delete => "delete",
            Self::Elsewhere => "elsewhere",
            Self::GetByHash => "get-by-hash",
            Self::GetByVersion => "get-by-version",
            Self::GetCurrent => "get-current",
            Self::GetKey => "get-key",
            Self::Health => "health",
            Self::Metrics => "metrics",
            Self::Ping => "ping",
            Self::Publish => "publish",
            Self::RotateKey => "rotate-key",
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RequestLabels {
    operation: Word,
    status: Word,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OperationLabels {
    operation: Word,
}

/// The door's counters.
#[derive(Debug, Clone)]
pub(crate) struct NotaryCounts {
    requests: Family<RequestLabels, Counter>,
    seconds: Family<OperationLabels, Histogram>,
}

impl Default for NotaryCounts {
    fn default() -> Self {
        // From 100 µs to 26 s.
        let seconds = || Histogram::new(exponential_buckets(0.0001, 4.0, 10));
        Self { requests: Family::default(), seconds: Family::new_with_constructor(seconds) }
    }
}

impl NotaryCounts {
    pub(super) fn register(&self, registry: &mut Registry) {
        registry.register("notary_requests", "Requests that the Notary door answered", self.requests.clone());
        let help = "From a request at the Notary door to its answer";
        registry.register_with_unit("notary_request", help, Unit::Seconds, self.seconds.clone());
    }

    /// A request was answered, so long after it came.
    pub(crate) fn answered(&self, operation: Operation, status: StatusCode, after: Duration) {
        let operation = Word(operation.name());
        let labels = RequestLabels { operation: operation.clone(), status: Word(status_name(status)) };
        self.requests.get_or_create(&labels).inc();
        self.seconds.get_or_create(&OperationLabels { operation }).observe(after.as_secs_f64());
    }
}

/// The statuses that the door has.
const fn status_name(status: StatusCode) -> &'static str {
    match status.as_u16() {
        200 => "200",
        301 => "301",
        400 => "400",
        401 => "401",
        403 => "403",
        404 => "404",
        405 => "405",
        413 => "413",
        429 => "429",
        500 => "500",
        503 => "503",
        _ => "other",
    }
}
