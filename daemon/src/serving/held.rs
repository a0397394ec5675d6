//! The bytes of one request while they are in our memory: of all that are allowed, and of what its identity may have.
//!
//! Those of a request are held until its answer begins. A stream has no end, so its door gives them back, message by message.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// The longest DATA frame that we let a peer send (RFC 9113 §6.5.2, the initial value): so much of the next message
/// may come in with the end of one.
const FRAME_BYTES_MAX: usize = 16 * 1024;

/// What one request holds.
#[derive(Debug)]
pub(crate) struct Held {
    of_all: Arc<Semaphore>,
    of_one: Arc<Semaphore>,
    /// The longest message, in bytes.
    message_bytes_max: usize,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    taken: Option<(OwnedSemaphorePermit, OwnedSemaphorePermit)>,
    /// The most that may be held at once, in bytes.
    bytes_max: usize,
    /// Bytes that came in, and those of them that were given back.
    received: usize,
    given_back: usize,
}

/// Why bytes of a request are not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum NoRoom {
    /// Others hold what there is, or others of this identity.
    Busy,
    /// The request is longer than a message may be.
    TooLong,
}

/// How much had come in at some moment of a stream.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Mark(usize);

impl Held {
    pub(super) const fn new(of_all: Arc<Semaphore>, of_one: Arc<Semaphore>, message_bytes_max: usize) -> Self {
        let state = State { taken: None, bytes_max: message_bytes_max, received: 0, given_back: 0 };
        Self { of_all, of_one, message_bytes_max, state: Mutex::new(state) }
    }

    /// Takes bytes that came in, or none of them.
    pub(super) fn take(&self, bytes: usize) -> Result<(), NoRoom> {
        let mut state = self.state();
        if state.held().saturating_add(bytes) > state.bytes_max {
            return Err(NoRoom::TooLong);
        }
        let count = u32::try_from(bytes).map_err(|_| NoRoom::TooLong)?;
        let of_one = Arc::clone(&self.of_one).try_acquire_many_owned(count).map_err(|_| NoRoom::Busy)?;
        let of_all = Arc::clone(&self.of_all).try_acquire_many_owned(count).map_err(|_| NoRoom::Busy)?;
        match &mut state.taken {
            Some((all, one)) => {
                all.merge(of_all);
                one.merge(of_one);
            }
            none => *none = Some((of_all, of_one)),
        }
        state.received = state.received.saturating_add(bytes);
        Ok(())
    }

    /// From now on the request is a stream: one longest message may be at work while another one comes in, for as long
    /// as the door gives back what it has answered.
    pub(crate) fn begin_stream(&self) {
        self.state().bytes_max = self.message_bytes_max.saturating_mul(2).saturating_add(FRAME_BYTES_MAX);
    }

    /// What has come in by now. At the moment a message is whole that is the message, all before it, and at most one
    /// frame of what follows.
    pub(crate) fn mark(&self) -> Mark {
        Mark(self.state().received)
    }

    /// Whether as much is held as one longest message, so that the door takes no other for now.
    pub(crate) fn is_full(&self) -> bool {
        self.state().held() > self.message_bytes_max
    }

    /// Gives back what had come in by then.
    pub(crate) fn give_back(&self, until: Mark) {
        let mut state = self.state();
        let bytes = until.0.saturating_sub(state.given_back);
        if let Some((of_all, of_one)) = &mut state.taken {
            drop((of_all.split(bytes), of_one.split(bytes)));
        }
        state.given_back = state.given_back.saturating_add(bytes);
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    const fn held(&self) -> usize {
        self.received.saturating_sub(self.given_back)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn semaphores() -> (Arc<Semaphore>, Arc<Semaphore>) {
        (Arc::new(Semaphore::new(100_000)), Arc::new(Semaphore::new(30_000)))
    }

    #[test]
    fn a_request_holds_its_bytes_until_it_is_dropped() {
        let (all, one) = semaphores();
        let held = Held::new(Arc::clone(&all), Arc::clone(&one), 100);

        assert_eq!(held.take(60), Ok(()));
        assert_eq!(held.take(41), Err(NoRoom::TooLong));
        assert_eq!(held.take(40), Ok(()));
        assert_eq!((all.available_permits(), one.available_permits()), (99_900, 29_900));

        drop(held);
        assert_eq!((all.available_permits(), one.available_permits()), (100_000, 30_000));
    }

    #[test]
    fn a_stream_is_as_long_as_it_likes_and_holds_little() {
        let (all, one) = semaphores();
        let held = Held::new(Arc::clone(&all), Arc::clone(&one), 100);
        held.begin_stream();
        let mut before = held.mark();
        for _ in 0..1000 {
            assert_eq!(held.take(90), Ok(()));
            let mark = held.mark();
            held.give_back(before);
            assert_eq!(one.available_permits(), 29_910);
            assert!(!held.is_full());
            before = mark;
        }
        assert_eq!(held.take(110 + FRAME_BYTES_MAX), Ok(()));
        assert!(held.is_full());
        assert_eq!(held.take(1), Err(NoRoom::TooLong));
        held.give_back(held.mark());
        held.give_back(before);
        assert!(!held.is_full());

        assert_eq!((all.available_permits(), one.available_permits()), (100_000, 30_000));
    }

    #[test]
    fn who_finds_no_room_takes_nothing() {
        let (all, one) = semaphores();
        let others = Arc::clone(&one).try_acquire_many_owned(29_950).unwrap();
        let held = Held::new(Arc::clone(&all), Arc::clone(&one), 100);

        assert_eq!(held.take(60), Err(NoRoom::Busy));
        assert_eq!(all.available_permits(), 100_000);
        drop(others);
        assert_eq!(held.take(60), Ok(()));
    }
}
