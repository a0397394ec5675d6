//! Asking again for what may have been done already: every change and signature carries a key of its own, by which the
//! daemon knows a repetition and answers what it answered the first time (for 24 hours).

use std::time::Duration;

use tonic::{Response, Status};

use crate::failure::Failure;

/// How often a request is sent whose answer was lost: a daemon that is restarted is back within these.
const ATTEMPTS_MAX: usize = 40;
/// Between two of them.
const PAUSE: Duration = Duration::from_millis(250);

/// A key that no other request has: 32 hexadecimal digits.
pub(crate) fn idempotency_key() -> Result<String, Failure> {
    let mut bytes = [0_u8; 16];
    getrandom::fill(&mut bytes).map_err(|error| {
        Failure::other("the system gives no random numbers", "this is a fault of the machine").because(error)
    })?;
    Ok(hex::encode(bytes))
}

/// Sends a request with an idempotency key, again and again while the connection breaks before there is an answer; at
/// most for ten seconds. What the daemon answers, a refusal too, is the answer.
pub(crate) async fn until_answered<T>(ask: impl AsyncFn() -> Result<Response<T>, Status>) -> Result<T, Failure> {
    ask_again(ask, PAUSE).await
}

async fn ask_again<T>(ask: impl AsyncFn() -> Result<Response<T>, Status>, pause: Duration) -> Result<T, Failure> {
    for _ in 1..ATTEMPTS_MAX {
        match ask().await {
            Err(status) if is_lost(&status) => tokio::time::sleep(pause).await,
            answer => return Ok(answer?.into_inner()),
        }
    }
    Ok(ask().await?.into_inner())
}

/// A status that was made on this side has a source. One of a call that took too long is none of these: whoever waited
/// for two minutes does not want to wait for two more.
fn is_lost(status: &Status) -> bool {
    std::error::Error::source(status).is_some()
        && !matches!(status.code(), tonic::Code::Cancelled | tonic::Code::DeadlineExceeded)
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    fn lost() -> Status {
        Status::from_error(Box::new(std::io::Error::other("broken pipe")))
    }

    #[test]
    fn no_two_keys_are_the_same_and_the_daemon_takes_them() {
        let (one, other) = (idempotency_key().unwrap(), idempotency_key().unwrap());

        assert_ne!(one, other);
        assert_eq!(one.len(), 32);
    }

    #[tokio::test]
    async fn what_was_lost_is_asked_for_again_and_an_answer_is_final() {
        let asked = Cell::new(0);
        let third = async || {
            asked.set(asked.get() + 1);
            if asked.get() < 3 { Err(lost()) } else { Ok(Response::new(7)) }
        };
        let answer = ask_again(third, Duration::ZERO);
        assert_eq!((answer.await.unwrap(), asked.get()), (7, 3));

        asked.set(0);
        let unavailable = async || {
            asked.set(asked.get() + 1);
            Err::<Response<()>, _>(Status::unavailable("the token does not answer"))
        };
        assert!(ask_again(unavailable, Duration::ZERO).await.is_err());
        assert_eq!(asked.get(), 1);

        asked.set(0);
        let gone = async || {
            asked.set(asked.get() + 1);
            Err::<Response<()>, _>(lost())
        };
        assert!(ask_again(gone, Duration::ZERO).await.is_err());
        assert_eq!(asked.get(), ATTEMPTS_MAX);
    }
}
