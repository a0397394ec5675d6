//! Faults and gRPC status codes: the one table, both ways.
//!
//! The cause of a fault never crosses the wire; what the caller reads is its
//! public text and, for [`FaultKind::Busy`] and [`FaultKind::Unavailable`], when to come back.

use std::time::Duration;

use tonic::metadata::AsciiMetadataValue;
use tonic::{Code, Status};
use trust::{Fault, FaultKind};

/// Metadata key that says when to come back, in whole milliseconds, 1 to 3,600,000.
const RETRY_AFTER_MS: &str = "trustd-retry-after-ms";

/// The longest wait that a peer may ask for.
const RETRY_AFTER_MAX: Duration = Duration::from_secs(3600);

/// The longest public text that is taken from a peer, in characters.
const PUBLIC_CHARS_MAX: usize = 1024;

/// The status code of a kind of fault.
#[must_use]
pub const fn code(kind: FaultKind) -> Code {
    match kind {
        FaultKind::Malformed => Code::InvalidArgument,
        FaultKind::Unauthenticated => Code::Unauthenticated,
        FaultKind::Forbidden => Code::PermissionDenied,
        FaultKind::Missing => Code::NotFound,
        FaultKind::Taken => Code::AlreadyExists,
        FaultKind::Conflict => Code::Aborted,
        FaultKind::Refused => Code::FailedPrecondition,
        FaultKind::Busy => Code::ResourceExhausted,
        FaultKind::Unavailable => Code::Unavailable,
        FaultKind::Late => Code::DeadlineExceeded,
        FaultKind::Internal => Code::Internal,
    }
}

/// The kind of fault behind a status code; codes the daemon never sends are [`FaultKind::Internal`].
#[must_use]
pub fn kind(code: Code) -> FaultKind {
    FaultKind::ALL.into_iter().find(|kind| self::code(*kind) == code).unwrap_or(FaultKind::Internal)
}

/// What the caller gets. The cause stays here.
#[must_use]
pub fn to_status(fault: &Fault) -> Status {
    let mut status = Status::new(code(fault.kind()), fault.public());
    if let Some(after) = fault.comes_back_after() {
        let milliseconds = after.clamp(Duration::from_millis(1), RETRY_AFTER_MAX).as_millis();
        if let Ok(value) = AsciiMetadataValue::try_from(milliseconds.to_string()) {
            status.metadata_mut().insert(RETRY_AFTER_MS, value);
        }
    }
    status
}

/// What the client makes of it. Text from a peer is cut to 1024 characters and
/// loses its control characters, so that it can go to a terminal.
#[must_use]
pub fn from_status(status: &Status) -> Fault {
    let public: String =
        status.message().chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).take(PUBLIC_CHARS_MAX).collect();
    let fault = Fault::new(kind(status.code()), public);
    let retry_after = status
        .metadata()
        .get(RETRY_AFTER_MS)
        .and_then(|value| value.to_str().ok())
        .and_then(|text| text.parse().ok())
        .map(Duration::from_millis);
    match retry_after {
        Some(after) => fault.retry_after(after.clamp(Duration::from_millis(1), RETRY_AFTER_MAX)),
        None => fault,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_survives_the_wire() {
        for kind in FaultKind::ALL {
            let fault = Fault::new(kind, "key is disabled").retry_after(Duration::from_millis(1500));

            let back = from_status(&to_status(&fault));

            assert_eq!(back.kind(), kind);
            assert_eq!(back.public(), "key is disabled");
            assert_eq!(back.comes_back_after(), Some(Duration::from_millis(1500)));
        }
    }

    #[test]
    fn the_cause_stays_at_home() {
        let fault = Fault::internal("the KEK ring is damaged at byte 17");

        let status = to_status(&fault);

        assert_eq!(status.message(), "internal error");
        assert!(!format!("{status:?}").contains("KEK"));
    }

    #[test]
    fn a_peer_cannot_write_to_the_terminal_or_ask_for_a_year() {
        let mut status = Status::unavailable("\u{1b}[2Jgone\n".repeat(1000));
        status.metadata_mut().insert(RETRY_AFTER_MS, AsciiMetadataValue::from(u64::MAX));

        let fault = from_status(&status);

        assert!(!fault.public().chars().any(char::is_control));
        assert_eq!(fault.public().chars().count(), PUBLIC_CHARS_MAX);
        assert_eq!(fault.comes_back_after(), Some(RETRY_AFTER_MAX));
    }

    #[test]
    fn a_code_the_daemon_never_sends_is_internal() {
        assert_eq!(kind(Code::DataLoss), FaultKind::Internal);
        assert_eq!(kind(Code::Ok), FaultKind::Internal);
    }
}
