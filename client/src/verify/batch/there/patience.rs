//! How long to wait for a daemon that has no room now, or ends and comes back.
//!
//! It says itself when to come back. Whoever waits is answered in the end or hears what it said: the waits grow, and
//! after some without an answer in between there is no other.

use std::error::Error as _;
use std::time::Duration;

use tonic::{Code, Status};
use trust_proto::fault;

/// Streams in a row that end without an answer, at most: waits of a minute, all together.
const STREAMS_MAX: u32 = 8;
/// The first wait, so that it is not asked for each item that it has room for.
const FIRST: Duration = Duration::from_millis(250);
/// Who is to come back later than that decides by himself whether to wait.
const ASKED_MAX: Duration = Duration::from_secs(30);

/// How long to wait before the next stream, after so many in a row without an answer; `None` where waiting does not
/// help.
pub(super) fn pause(status: &Status, unanswered: u32) -> Option<Duration> {
    // A status that was made here has a source: nobody is there. Who had said to come back is waited for.
    let is_gone = status.source().is_some();
    let asked = match (status.code(), fault::from_status(status).comes_back_after()) {
        (Code::ResourceExhausted | Code::Unavailable, Some(after)) if !is_gone => after,
        (Code::Unavailable, _) if is_gone && unanswered > 0 => Duration::ZERO,
        _ => return None,
    };
    let own = FIRST.saturating_mul(2_u32.saturating_pow(unanswered));
    (unanswered < STREAMS_MAX && asked <= ASKED_MAX).then(|| own.max(asked))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use trust::{Fault, FaultKind};

    use super::*;

    fn said(kind: FaultKind, after: Option<u64>) -> Status {
        let fault = Fault::new(kind, "not now");
        fault::to_status(&match after {
            Some(milliseconds) => fault.retry_after(Duration::from_millis(milliseconds)),
            None => fault,
        })
    }

    fn gone() -> Status {
        let mut status = Status::unavailable("tcp connect error");
        status.set_source(Arc::new(std::io::Error::other("refused")));
        status
    }

    #[test]
    fn who_says_when_to_come_back_is_waited_for_so_long_and_ever_longer() {
        for kind in [FaultKind::Busy, FaultKind::Unavailable] {
            let waits =
                |after| (0..=STREAMS_MAX).map(|number| pause(&said(kind, Some(after)), number)).collect::<Vec<_>>();

            let short: Vec<_> = [250, 500, 1000, 2000, 4000, 8000, 16_000, 32_000].map(Duration::from_millis).into();
            assert_eq!(waits(5)[..8], short.into_iter().map(Some).collect::<Vec<_>>(), "{kind:?}");
            assert_eq!(waits(3000)[..5], [3000, 3000, 3000, 3000, 4000].map(|wait| Some(Duration::from_millis(wait))));
            assert_eq!(waits(5)[8], None, "{kind:?}");
            assert_eq!(pause(&said(kind, Some(30_001)), 0), None, "{kind:?}");
        }
    }

    #[test]
    fn who_is_away_is_waited_for_only_after_having_said_so() {
        assert_eq!(pause(&gone(), 0), None);
        assert_eq!(pause(&gone(), 1), Some(Duration::from_millis(500)));
        assert_eq!(pause(&gone(), STREAMS_MAX), None);
        // Sealed: somebody has to come.
        assert_eq!(pause(&said(FaultKind::Unavailable, None), 1), None);
        for kind in [FaultKind::Forbidden, FaultKind::Internal, FaultKind::Malformed, FaultKind::Unauthenticated] {
            assert_eq!(pause(&said(kind, Some(5)), 0), None, "{kind:?}");
        }
    }
}
