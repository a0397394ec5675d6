//! What is counted, for Prometheus: labels come from closed sets only, never a name, a principal or a digest.
//!
//! Calls are counted at the door, signatures, refusals and rates where they happen. What others know anyway (the
//! log's size, what waits, what is wrong) `scrape` asks of them when somebody reads. `docs/config.md` lists it all.

mod doors;
mod notary;
mod verifying;

use std::fmt::{self, Write as _};
use std::time::Duration;

use prometheus_client::encoding::text;
use prometheus_client::encoding::{EncodeLabelSet, EncodeLabelValue, LabelValueEncoder};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::{Registry, Unit};
use trust::{Algorithm, FaultKind, Form};

use crate::authorize::Action;

pub(crate) use doors::{DoorCounts, Entrance, TurnedAway};
pub(crate) use notary::{NotaryCounts, Operation};
pub(crate) use verifying::{OpenStream, VerifyCounts};

/// What every name begins with.
pub(crate) const PREFIX: &str = "trustd";

/// Every method, as a label, in order; a test holds it against the protocol.
const METHODS: [&str; 48] = [
    "grpc.health.v1.Health/Check",
    "grpc.health.v1.Health/Watch",
    "grpc.reflection.v1.ServerReflection/ServerReflectionInfo",
    "proto.KeyManagement/CreateKey",
    "proto.KeyManagement/DeleteKey",
    "proto.KeyManagement/GetKeyInfo",
    "proto.Signer/Sign",
    "trust.v1.Admin/Backup",
    "trust.v1.Admin/GetStatus",
    "trust.v1.Admin/ListKeks",
    "trust.v1.Admin/RotateKek",
    "trust.v1.Admin/Seal",
    "trust.v1.Admin/Unseal",
    "trust.v1.Audit/GetCheckpoint",
    "trust.v1.Audit/GetConsistencyProof",
    "trust.v1.Audit/GetInclusionProof",
    "trust.v1.Audit/ListEntries",
    "trust.v1.ContentTrust/AddDelegation",
    "trust.v1.ContentTrust/AdoptTrust",
    "trust.v1.ContentTrust/ApproveProposal",
    "trust.v1.ContentTrust/InitTrust",
    "trust.v1.ContentTrust/InspectTrust",
    "trust.v1.ContentTrust/RemoveDelegation",
    "trust.v1.ContentTrust/RevokeTarget",
    "trust.v1.ContentTrust/RotateTrust",
    "trust.v1.ContentTrust/SignTarget",
    "trust.v1.ContentTrust/WithdrawProposal",
    "trust.v1.ContentTrust/WitnessTrust",
    "trust.v1.Hsm/Doctor",
    "trust.v1.Hsm/ListOrphans",
    "trust.v1.Hsm/ListTokens",
    "trust.v1.Hsm/Login",
    "trust.v1.Keys/AdoptKey",
    "trust.v1.Keys/ChangeUse",
    "trust.v1.Keys/CreateKey",
    "trust.v1.Keys/DistrustKey",
    "trust.v1.Keys/GetKey",
    "trust.v1.Keys/ImportKey",
    "trust.v1.Keys/ListKeys",
    "trust.v1.Keys/OfferImport",
    "trust.v1.Keys/RotateKey",
    "trust.v1.Signing/MaySign",
    "trust.v1.Signing/Sign",
    "trust.v1.Signing/SignBatch",
    "trust.v1.Verification/ListTrustedKeys",
    "trust.v1.Verification/Verify",
    "trust.v1.Verification/VerifyBatch",
    "trust.v1.Verification/VerifyStream",
];

/// Everything that is counted while the daemon runs.
pub(crate) struct Metrics {
    registry: Registry,
    calls: Family<CallLabels, Counter>,
    call_seconds: Family<MethodLabels, Histogram>,
    in_flight: Gauge,
    signatures: Family<SignatureLabels, Counter>,
    refusals: Family<RefusalLabels, Counter>,
    rate_limited: Counter,
    publications: Family<EndLabels, Counter>,
    renewals: Family<EndLabels, Counter>,
    doors: DoorCounts,
    notary: NotaryCounts,
    verifying: VerifyCounts,
}

/// A method of the protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Method(&'static str);

/// How a call ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Answer {
    /// The caller went away before there was one.
    Cancelled,
    /// A fault.
    Fault(FaultKind),
    /// What was asked for.
    Ok,
    /// There is no such method.
    Unimplemented,
}

/// A word out of a closed set. Only this file makes one.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Word(pub(crate) &'static str);

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct CallLabels {
    method: Word,
    answer: Word,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct MethodLabels {
    method: Word,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct SignatureLabels {
    algorithm: Word,
    form: Word,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RefusalLabels {
    action: Word,
    reason: Word,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct EndLabels {
    end: Word,
}

impl EncodeLabelValue for Word {
    fn encode(&self, encoder: &mut LabelValueEncoder<'_>) -> fmt::Result {
        encoder.write_str(self.0)
    }
}

impl Method {
    /// The method behind the path of a call: `/trust.v1.Keys/GetKey`. What is none is `other`.
    pub(crate) fn of_path(path: &str) -> Self {
        let name = path.strip_prefix('/').unwrap_or_default();
        let known = METHODS.binary_search(&name).ok().and_then(|place| METHODS.get(place));
        Self(known.copied().unwrap_or("other"))
    }

    /// Its name: `trust.v1.Keys/GetKey`.
    pub(crate) const fn name(self) -> &'static str {
        self.0
    }
}

impl Answer {
    const fn name(self) -> &'static str {
        match self {
            Self::Cancelled => "cancelled",
            Self::Fault(kind) => kind.name(),
            Self::Ok => "ok",
            Self::Unimplemented => "unimplemented",
        }
    }
}

impl Default for Metrics {
    fn default() -> Self {
        let mut registry = Registry::with_prefix(PREFIX);
        // From 100 µs to 26 s.
        let seconds = || Histogram::new(exponential_buckets(0.0001, 4.0, 10));
        let metrics = Self {
            registry: Registry::default(),
            calls: Family::default(),
            call_seconds: Family::new_with_constructor(seconds),
            in_flight: Gauge::default(),
            signatures: Family::default(),
            refusals: Family::default(),
            rate_limited: Counter::default(),
            publications: Family::default(),
            renewals: Family::default(),
            doors: DoorCounts::default(),
            notary: NotaryCounts::default(),
            verifying: VerifyCounts::default(),
        };
        registry.register("calls", "Calls that were answered", metrics.calls.clone());
        let help = "From the call to the beginning of its answer";
        registry.register_with_unit("call", help, Unit::Seconds, metrics.call_seconds.clone());
        registry.register("calls_in_flight", "Calls without an answer yet", metrics.in_flight.clone());
        registry.register("signatures", "Signatures that left the daemon", metrics.signatures.clone());
        registry.register("refusals", "Requests that the policy or a key's scope refused", metrics.refusals.clone());
        registry.register("rate_limited", "Requests beyond their principal's rate", metrics.rate_limited.clone());
        registry.register("publications", "Trust data that was to be published", metrics.publications.clone());
        let help = "Timestamps and snapshots that the daemon was to sign anew";
        registry.register("trust_renewals", help, metrics.renewals.clone());
        metrics.doors.register(&mut registry);
        metrics.notary.register(&mut registry);
        metrics.verifying.register(&mut registry);
        Self { registry, ..metrics }
    }
}

impl Metrics {
    /// Counts a call in; its end is counted when the guard is told, or dropped.
    pub(crate) fn begin(&self, method: Method) -> InFlight<'_> {
        self.in_flight.inc();
        InFlight { metrics: self, method, answer: Answer::Cancelled }
    }

    /// Signatures that leave.
    pub(crate) fn signed(&self, algorithm: Algorithm, form: Form, count: u64) {
        let labels = SignatureLabels { algorithm: Word(algorithm.name()), form: Word(form.name()) };
        self.signatures.get_or_create(&labels).inc_by(count);
    }

    /// A refusal, also one that leaves no leaf (D15). `reason` is a word out of the code.
    pub(crate) fn refused(&self, action: Action, reason: &'static str) {
        let labels = RefusalLabels { action: Word(action.name()), reason: Word(reason) };
        self.refusals.get_or_create(&labels).inc();
    }

    /// A request beyond its principal's rate.
    pub(crate) fn rate_limited(&self) {
        self.rate_limited.inc();
    }

    /// How a publication ended: `published`, or a word out of the code.
    pub(crate) fn published(&self, end: &'static str) {
        self.publications.get_or_create(&EndLabels { end: Word(end) }).inc();
    }

    /// A timestamp that the daemon signed anew.
    pub(crate) fn renewed(&self) {
        self.renewals.get_or_create(&EndLabels { end: Word("renewed") }).inc();
    }

    /// A timestamp that it could not sign anew.
    pub(crate) fn renewal_failed(&self) {
        self.renewals.get_or_create(&EndLabels { end: Word("failed") }).inc();
    }

    /// What the doors count.
    pub(crate) const fn doors(&self) -> &DoorCounts {
        &self.doors
    }

    /// What the Notary door counts.
    pub(crate) const fn notary(&self) -> &NotaryCounts {
        &self.notary
    }

    /// What verification counts.
    pub(crate) const fn verifying(&self) -> &VerifyCounts {
        &self.verifying
    }

    /// Everything that is counted, in the OpenMetrics text format, without its end.
    pub(crate) fn encode(&self, page: &mut String) -> fmt::Result {
        text::encode_registry(page, &self.registry)
    }
}

/// A call that has no answer yet.
pub(crate) struct InFlight<'a> {
    metrics: &'a Metrics,
    method: Method,
    answer: Answer,
}

impl InFlight<'_> {
    /// The answer begins, this long after the call.
    pub(crate) fn end(mut self, answer: Answer, after: Duration) {
        self.answer = answer;
        let labels = MethodLabels { method: Word(self.method.name()) };
        self.metrics.call_seconds.get_or_create(&labels).observe(after.as_secs_f64());
    }
}

impl Drop for InFlight<'_> {
    fn drop(&mut self) {
        self.metrics.in_flight.dec();
        let labels = CallLabels { method: Word(self.method.name()), answer: Word(self.answer.name()) };
        self.metrics.calls.get_or_create(&labels).inc();
    }
}

#[cfg(test)]
#[path = "metrics/tests.rs"]
mod tests;
