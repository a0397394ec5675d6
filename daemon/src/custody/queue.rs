//! The bounded queue between the async floors and the blocking session threads.

use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

/// First in, first out; many producers, many takers. Full means "come back later", never "grow".
#[derive(Debug)]
pub(crate) struct Queue<T> {
    state: Mutex<State<T>>,
    arrived: Condvar,
    waiting_max: usize,
}

#[derive(Debug)]
struct State<T> {
    waiting: VecDeque<T>,
    closed: bool,
    taken: u64,
}

impl<T> Queue<T> {
    /// A queue in which at most `waiting_max` wait.
    pub(crate) fn new(waiting_max: usize) -> Self {
        Self {
            state: Mutex::new(State { waiting: VecDeque::new(), closed: false, taken: 0 }),
            arrived: Condvar::new(),
            waiting_max,
        }
    }

    /// Puts `work` at the end.
    ///
    /// # Errors
    /// Gives the work back when the queue is full or closed.
    pub(crate) fn push(&self, work: T) -> Result<(), T> {
        let mut state = self.state();
        if state.closed || state.waiting.len() >= self.waiting_max {
            return Err(work);
        }
        state.waiting.push_back(work);
        drop(state);
        self.arrived.notify_one();
        Ok(())
    }

    /// Waits for work and takes as much as fits: the first in any case, then
    /// while `fits` says so of the next. `None` when the queue is closed and empty.
    pub(crate) fn take(&self, mut fits: impl FnMut(&T) -> bool) -> Option<Vec<T>> {
        let mut state = self.state();
        loop {
            if let Some(first) = state.waiting.pop_front() {
                state.taken = state.taken.saturating_add(1);
                // `fits` counts, so it sees the first one too.
                let mut more = fits(&first);
                let mut taken = vec![first];
                while more {
                    let Some(next) = state.waiting.pop_front() else { break };
                    more = fits(&next);
                    if more {
                        taken.push(next);
                    } else {
                        state.waiting.push_front(next);
                    }
                }
                return Some(taken);
            }
            if state.closed {
                return None;
            }
            state = self.arrived.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// How many wait.
    pub(crate) fn len(&self) -> usize {
        self.state().waiting.len()
    }

    /// How often work was taken out.
    pub(crate) fn taken(&self) -> u64 {
        self.state().taken
    }

    /// Takes no more; what waits is still taken out.
    pub(crate) fn close(&self) {
        self.state().closed = true;
        self.arrived.notify_all();
    }

    fn state(&self) -> MutexGuard<'_, State<T>> {
        // The deque is whole after every single step, also after a panic beside it.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_queue_gives_the_work_back() {
        let queue = Queue::new(2);
        queue.push(1).unwrap();
        queue.push(2).unwrap();

        assert_eq!(queue.push(3), Err(3));
        assert_eq!(queue.len(), 2);
    }

    #[test]
    fn work_is_taken_in_order_as_much_as_fits() {
        let queue = Queue::new(8);
        for work in [5, 1, 1, 9, 1] {
            queue.push(work).unwrap();
        }
        let mut room = 7;

        let taken = queue.take(|work| {
            room -= work;
            room >= 0
        });

        assert_eq!(taken, Some(vec![5, 1, 1]));
        assert_eq!(queue.len(), 2);
    }

    #[test]
    fn the_first_is_taken_even_when_it_does_not_fit() {
        let queue = Queue::new(8);
        queue.push(100).unwrap();
        queue.push(1).unwrap();

        assert_eq!(queue.take(|_| false), Some(vec![100]));
    }

    #[test]
    fn a_closed_queue_is_emptied_and_takes_no_more() {
        let queue = Queue::new(8);
        queue.push(1).unwrap();

        queue.close();

        assert_eq!(queue.push(2), Err(2));
        assert_eq!(queue.take(|_| true), Some(vec![1]));
        assert_eq!(queue.take(|_| true), None);
    }

    #[test]
    fn a_taker_waits_for_work() {
        let queue = Queue::new(8);
        std::thread::scope(|scope| {
            let taker = scope.spawn(|| queue.take(|_| true));

            queue.push(7).unwrap();

            assert_eq!(taker.join().unwrap(), Some(vec![7]));
        });
    }
}
