//! The doors of `trust.v1`: wire in, wire out. A door knows who asks, reads the
//! request into a type that cannot be wrong, calls one function of the pipeline
//! and maps its fault by the one table.

mod admin;
mod audit;
mod call;
mod content_trust;
mod hsm;
mod keys;
mod notary_http;
mod notary_signer;
mod signing;
mod verification;

use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use tonic::{Request, Status};
use tracing::{error, warn};
use trust::{Fault, FaultKind, Form, Principal};
use trust_proto::fault;
use trust_proto::v1;
use trust_proto::words::Word as _;
use zeroize::{Zeroize as _, Zeroizing};

use crate::authorize::Action;
use crate::house::House;
use crate::idempotency::IdempotencyKey;
use crate::identity::Caller;
use crate::keys::KeySelector;
use crate::records::KeyView;
use crate::telemetry::RequestId;

use call::unread_fault;

pub(crate) use call::CallLayer;
pub(crate) use notary_http::{Listener as NotaryListener, NotaryDoor};
pub(crate) use notary_signer::MESSAGE_BYTES_MAX as NOTARY_BYTES_MAX;

/// One door for all services: they differ in what they read, not in what they stand on.
#[derive(Clone)]
pub(crate) struct Door {
    house: Arc<House>,
}

impl Door {
    /// A door into `house`.
    pub(crate) const fn new(house: Arc<House>) -> Self {
        Self { house }
    }

    /// Who asks, as the connection proves it now (expiry and revocation are looked at for each call), held to its
    /// rate: every method begins here, so none is left out.
    fn caller<T>(&self, request: &Request<T>) -> Result<Principal, Status> {
        let caller = request
            .extensions()
            .get::<Caller>()
            .ok_or_else(|| answer(Fault::internal("a request without the identity of its connection")))?;
        let principal = self.house.identify(caller).map_err(answer)?;
        self.house.pace(&principal).map_err(answer)?;
        Ok(principal)
    }

    /// Refuses `what` to a caller that is not at the Unix socket. Whoever may not do it at all hears that, not how it is
    /// done.
    fn at_socket_only<T>(
        &self,
        request: &Request<T>,
        principal: &Principal,
        action: Action,
        what: &str,
    ) -> Result<(), Status> {
        if matches!(request.extensions().get::<Caller>(), Some(caller) if caller.is_local()) {
            return Ok(());
        }
        self.house.allow(principal, action).map_err(answer)?;
        Err(answer(Fault::new(FaultKind::Refused, format!("{what}: over the Unix socket only"))))
    }

    /// When the caller stops waiting: its `grpc-timeout`, at most the configured longest; in time of the clock's `monotonic`.
    fn deadline<T>(&self, request: &Request<T>) -> Duration {
        let asked = request.metadata().get("grpc-timeout").and_then(|value| timeout(value.to_str().ok()?));
        let longest = self.house.limits().request_time_max;
        self.house.clock().monotonic() + asked.unwrap_or(longest).min(longest)
    }
}

/// Reads `grpc-timeout`: at most 8 digits and a unit (gRPC over HTTP/2, "Requests").
fn timeout(text: &str) -> Option<Duration> {
    let (digits, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    if digits.is_empty() || digits.len() > 8 {
        return None;
    }
    let count: u64 = digits.parse().ok()?;
    match unit {
        "H" => Some(Duration::from_secs(count * 3600)),
        "M" => Some(Duration::from_secs(count * 60)),
        "S" => Some(Duration::from_secs(count)),
        "m" => Some(Duration::from_millis(count)),
        "u" => Some(Duration::from_micros(count)),
        "n" => Some(Duration::from_nanos(count)),
        _ => None,
    }
}

/// The mark of a status that a door made, and nobody between it and the wire.
#[derive(Debug)]
struct FromDoor;

impl std::fmt::Display for FromDoor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("answered by a door")
    }
}

impl std::error::Error for FromDoor {}

/// What the caller gets of a fault, marked as ours.
fn answer(fault: Fault) -> Status {
    let mut status = told(fault);
    status.set_source(Arc::new(FromDoor));
    status
}

/// The words of [`answer`]. The cause is logged here, once; of an internal one the caller gets the name under which
/// the log has it.
fn told(fault: Fault) -> Status {
    let kind = fault.kind();
    let request = RequestId::current();
    if let Some(cause) = fault.cause() {
        let cause = chain(cause);
        match kind {
            FaultKind::Internal => error!(%request, fault = kind.name(), cause, "a request failed"),
            _ => warn!(%request, fault = kind.name(), cause, "a request failed"),
        }
    }
    if kind == FaultKind::Internal {
        return fault::to_status(&Fault::new(
            kind,
            format!("{}; the daemon's log has it under {request}", fault.public()),
        ));
    }
    fault::to_status(&fault)
}

fn chain(cause: &(dyn std::error::Error + 'static)) -> String {
    let mut text = cause.to_string();
    let mut next = cause.source();
    while let Some(source) = next {
        text.push_str(": ");
        text.push_str(&source.to_string());
        next = source.source();
    }
    text
}

/// A secret that came with a request, out of the message, whose memory is wiped. What the connection has read it into
/// before is wiped when it is given back.
fn only_copy(secret: Bytes) -> Zeroizing<Vec<u8>> {
    let copy = Zeroizing::new(secret.to_vec());
    drop(wipe(secret));
    copy
}

/// Wipes the memory of a message that nobody else holds any more; that of any other stays as it is.
fn wipe(secret: Bytes) -> Option<BytesMut> {
    let mut memory = secret.try_into_mut().ok()?;
    memory.as_mut().zeroize();
    Some(memory)
}

fn malformed(text: &str) -> Fault {
    Fault::new(FaultKind::Malformed, text)
}

fn selector(text: &str) -> Result<KeySelector, Fault> {
    KeySelector::parse(text).map_err(Fault::from)
}

fn idempotency(text: &str) -> Result<Option<IdempotencyKey>, Fault> {
    if text.is_empty() { Ok(None) } else { IdempotencyKey::parse(text).map(Some).map_err(Fault::from) }
}

fn forms(numbers: &[i32]) -> Result<Vec<Form>, Fault> {
    if numbers.len() > Form::ALL.len() {
        return Err(malformed("forms: each at most once"));
    }
    let mut forms = numbers.iter().map(|number| Form::from_wire(*number)).collect::<Result<Vec<_>, _>>()?;
    forms.sort_unstable();
    forms.dedup();
    if forms.len() != numbers.len() {
        return Err(malformed("forms: each at most once"));
    }
    Ok(forms)
}

/// A key as its readers see it.
fn key_to_wire(view: &KeyView) -> v1::Key {
    let (use_, destroy_at) = match view.state.use_ {
        trust::Use::Active => (v1::Use::Active, 0),
        trust::Use::Disabled => (v1::Use::Disabled, 0),
        trust::Use::Retired => (v1::Use::Retired, 0),
        trust::Use::DestroyScheduled { at_unix_seconds } => (v1::Use::DestroyScheduled, at_unix_seconds),
        trust::Use::Destroyed => (v1::Use::Destroyed, 0),
    };
    let (trust, reason, since) = match &view.state.trust {
        trust::Trust::Trusted => (v1::Trust::Trusted, 0, 0),
        trust::Trust::Distrusted { reason, since_leaf } => (v1::Trust::Distrusted, reason.to_wire(), *since_leaf),
    };
    v1::Key {
        id: view.record.id.to_string(),
        name: view.record.name.to_string(),
        purpose: view.record.purpose.to_wire(),
        algorithm: view.record.algorithm.to_wire(),
        scope: view.record.scope.words(),
        forms: view.record.forms.iter().map(|form| form.to_wire()).collect(),
        r#use: use_.into(),
        destroy_at_unix_seconds: destroy_at,
        trust: trust.into(),
        distrust_reason: reason,
        distrusted_since_leaf: since,
        versions: view.versions.iter().map(version_to_wire).collect(),
        created_at_unix_seconds: view.record.created_at_unix_seconds,
        shred_pending: view.state.shred_pending,
        custodian: view.record.custodian().to_owned(),
        object_pending: view.object_pending(),
    }
}

fn version_to_wire(version: &crate::records::VersionRecord) -> v1::KeyVersion {
    v1::KeyVersion {
        version: version.key.version.number(),
        spki_der: Bytes::copy_from_slice(version.public_key.spki_der()),
        created_at_unix_seconds: version.created_at_unix_seconds,
        leaf: version.leaf,
        origin: version.origin.to_wire(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_memory_of_a_message_with_a_secret_is_wiped() {
        // As a message is read: its fields are parts of one buffer, which is gone when they are looked at.
        let mut message = BytesMut::from(&b"token 123456 tail"[..]);
        let token = message.split_to(6);
        let secret = message.split_to(6).freeze();
        drop((token, message));

        assert_eq!(*only_copy(Bytes::from_static(b"123456")), b"123456");
        assert_eq!(wipe(secret).unwrap().as_ref(), [0; 6]);
    }

    #[test]
    fn a_grpc_timeout_is_read_in_each_unit() {
        for (text, expected) in [
            ("1H", Duration::from_secs(3600)),
            ("2M", Duration::from_secs(120)),
            ("3S", Duration::from_secs(3)),
            ("4m", Duration::from_millis(4)),
            ("5u", Duration::from_micros(5)),
            ("6n", Duration::from_nanos(6)),
            ("99999999H", Duration::from_secs(99_999_999 * 3600)),
        ] {
            assert_eq!(timeout(text), Some(expected), "{text}");
        }
    }

    #[test]
    fn a_timeout_that_is_none_is_not_one() {
        for text in ["", "1", "S", "123456789S", "-1S", "1s ", "1é"] {
            assert_eq!(timeout(text), None, "{text:?}");
        }
    }

    #[test]
    fn a_form_asked_for_twice_is_malformed() {
        let sig = Form::Sig.to_wire();

        assert!(forms(&[sig, sig]).is_err());
        assert!(forms(&[0]).is_err());
        assert_eq!(forms(&[sig, Form::Bundle.to_wire()]).ok(), Some(vec![Form::Bundle, Form::Sig]));
    }
}
