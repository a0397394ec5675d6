//! The bounded queue between the async floors and the blocking session threads.
//!
//! A taker that is back in a moment finds what arrived meanwhile and takes it as one group: one exchange with the
//! custodian and one batch verification instead of many. So a second taker is woken only when nobody is back soon, or
//! when more waits than one taker does in [`SHARE`].

use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// Work of so much time, waiting, is worth one more taker.
const SHARE: Duration = Duration::from_millis(4);
/// Work of more time than this is taken alone, and whoever does it is not back soon.
const TURN_MAX: Duration = Duration::from_millis(8);

/// First in, first out; many producers, many takers. Full means "come back later", never "grow".
#[derive(Debug)]
pub(crate) struct Queue<T> {
    state: Mutex<State<T>>,
    arrived: Condvar,
    waiting_max: usize,
}

#[derive(Debug)]
struct State<T> {
    waiting: VecDeque<(Duration, T)>,
    /// What all that waits takes.
    cost: Duration,
    closed: bool,
    taken: u64,
    /// How often it had been, at the last look of [`Queue::nudge`].
    seen: u64,
    /// Takers that wait for work.
    idle: usize,
    /// Takers that were woken and did not look yet.
    coming: usize,
    /// Takers that are back soon.
    short: usize,
}

/// What a taker took. It comes back for more once this is dropped.
#[derive(Debug)]
pub(crate) struct Turn<'a, T> {
    queue: &'a Queue<T>,
    is_short: bool,
    /// One piece or more, in order.
    pub(crate) work: Vec<T>,
}

impl<T> Queue<T> {
    /// A queue in which at most `waiting_max` wait.
    pub(crate) fn new(waiting_max: usize) -> Self {
        let state = State {
            waiting: VecDeque::new(),
            cost: Duration::ZERO,
            closed: false,
            taken: 0,
            seen: 0,
            idle: 0,
            coming: 0,
            short: 0,
        };
        Self { state: Mutex::new(state), arrived: Condvar::new(), waiting_max }
    }

    /// Puts `work`, which takes about `cost`, at the end.
    ///
    /// # Errors
    /// Gives the work back when the queue is full or closed.
    pub(crate) fn push(&self, work: T, cost: Duration) -> Result<(), T> {
        let mut state = self.state();
        if state.closed || state.waiting.len() >= self.waiting_max {
            return Err(work);
        }
        state.waiting.push_back((cost, work));
        state.cost = state.cost.saturating_add(cost);
        self.wake(&mut state);
        Ok(())
    }

    /// Puts work back that was taken and is not over, behind what waits; also when the queue is full, for it was in it.
    ///
    /// # Errors
    /// Gives the work back when the queue is closed.
    pub(crate) fn put_back(&self, work: T, cost: Duration) -> Result<(), T> {
        let mut state = self.state();
        if state.closed {
            return Err(work);
        }
        state.waiting.push_back((cost, work));
        state.cost = state.cost.saturating_add(cost);
        self.wake(&mut state);
        Ok(())
    }

    /// Waits for work and takes as much as fits: the first in any case, then while `fits` says so of the next and all
    /// of it is done in a moment. `None` when the queue is closed and empty.
    pub(crate) fn take(&self, mut fits: impl FnMut(&T) -> bool) -> Option<Turn<'_, T>> {
        let mut state = self.state();
        loop {
            if let Some((mut cost, first)) = state.waiting.pop_front() {
                state.taken = state.taken.saturating_add(1);
                // `fits` counts, so it sees the first one too.
                let mut more = fits(&first);
                let mut work = vec![first];
                while more && let Some((next_cost, next)) = state.waiting.front() {
                    let total = cost.saturating_add(*next_cost);
                    more = total <= TURN_MAX && fits(next);
                    if more && let Some((_, next)) = state.waiting.pop_front() {
                        cost = total;
                        work.push(next);
                    }
                }
                state.cost = state.cost.saturating_sub(cost);
                let is_short = cost <= TURN_MAX;
                if is_short {
                    state.short = state.short.saturating_add(1);
                }
                self.wake(&mut state);
                return Some(Turn { queue: self, is_short, work });
            }
            if state.closed {
                return None;
            }
            state.idle = state.idle.saturating_add(1);
            state = self.arrived.wait(state).unwrap_or_else(PoisonError::into_inner);
            state.idle = state.idle.saturating_sub(1);
            state.coming = state.coming.saturating_sub(1);
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

    /// Wakes a taker when nothing was taken since the last call and something waits: whoever was to be back is not.
    /// Called from time to time.
    pub(crate) fn nudge(&self) {
        let mut state = self.state();
        let is_stuck = !state.waiting.is_empty() && state.taken == state.seen;
        state.seen = state.taken;
        if is_stuck && state.idle > state.coming {
            state.coming = state.coming.saturating_add(1);
            self.arrived.notify_one();
        }
    }

    /// Takes no more; what waits is still taken out.
    pub(crate) fn close(&self) {
        self.state().closed = true;
        self.arrived.notify_all();
    }

    /// Wakes one more taker where what waits is nobody's soon, or too much for those who are.
    fn wake(&self, state: &mut State<T>) {
        let nobody_soon = state.short.saturating_add(state.coming) == 0;
        if !state.waiting.is_empty() && state.idle > state.coming && (nobody_soon || state.cost >= SHARE) {
            state.coming = state.coming.saturating_add(1);
            self.arrived.notify_one();
        }
    }

    fn state(&self) -> MutexGuard<'_, State<T>> {
        // The deque is whole after every single step, also after a panic beside it; the counts only plan.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<T> Drop for Turn<'_, T> {
    fn drop(&mut self) {
        let mut state = self.queue.state();
        if self.is_short {
            state.short = state.short.saturating_sub(1);
        }
        if std::thread::panicking() {
            // It does not come back: what it would have found is another's.
            self.queue.wake(&mut state);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    const SOME: Duration = Duration::from_micros(60);
    /// A wake that does not come is a failure, not a hang.
    const LONG: Duration = Duration::from_secs(10);

    /// A queue with `waiting` in it, each of `cost`.
    fn filled<T>(waiting: impl IntoIterator<Item = T>, cost: Duration) -> Queue<T> {
        let queue = Queue::new(8);
        for work in waiting {
            assert!(queue.push(work, cost).is_ok());
        }
        queue
    }

    fn taken<T>(turn: Option<Turn<'_, T>>) -> Vec<T> {
        std::mem::take(&mut turn.unwrap().work)
    }

    #[test]
    fn a_full_queue_gives_the_work_back() {
        let queue = Queue::new(2);
        queue.push(1, SOME).unwrap();
        queue.push(2, SOME).unwrap();

        assert_eq!(queue.push(3, SOME), Err(3));
        assert_eq!(queue.len(), 2);
    }

    #[test]
    fn what_was_taken_is_put_back_behind_what_waits_though_that_fills_the_queue() {
        let queue = Queue::new(1);
        queue.push(1, TURN_MAX * 2).unwrap();
        assert_eq!(taken(queue.take(|_| true)), [1]);
        queue.push(2, TURN_MAX * 2).unwrap();

        queue.put_back(1, TURN_MAX * 2).unwrap();

        assert_eq!(queue.push(3, SOME), Err(3));
        assert_eq!(taken(queue.take(|_| true)), [2]);
        queue.close();
        assert_eq!(queue.put_back(2, SOME), Err(2));
        assert_eq!(taken(queue.take(|_| true)), [1]);
    }

    #[test]
    fn work_is_taken_in_order_as_much_as_fits() {
        let queue = filled([5, 1, 1, 9, 1], SOME);
        let mut room = 7;

        let turn = queue.take(|work| {
            room -= work;
            room >= 0
        });

        assert_eq!(taken(turn), [5, 1, 1]);
        assert_eq!(queue.len(), 2);
    }

    #[test]
    fn the_first_is_taken_even_when_it_does_not_fit() {
        let queue = filled([100, 1], SOME);

        assert_eq!(taken(queue.take(|_| false)), [100]);
    }

    #[test]
    fn no_more_is_taken_than_is_done_in_a_moment() {
        let queue = filled([1, 2, 3], TURN_MAX / 2);
        assert_eq!(taken(queue.take(|_| true)), [1, 2]);

        let queue = filled([1, 2], TURN_MAX * 2);
        assert_eq!(taken(queue.take(|_| true)), [1]);
    }

    #[test]
    fn a_closed_queue_is_emptied_and_takes_no_more() {
        let queue = filled([1], SOME);

        queue.close();

        assert_eq!(queue.push(2, SOME), Err(2));
        assert_eq!(taken(queue.take(|_| true)), [1]);
        assert!(queue.take(|_| true).is_none());
    }

    #[test]
    fn a_taker_waits_for_work() {
        let queue = Queue::new(8);
        std::thread::scope(|scope| {
            let taker = scope.spawn(|| taken(queue.take(|_| true)));

            queue.push(7, SOME).unwrap();

            assert_eq!(taker.join().unwrap(), [7]);
        });
    }

    /// Ends the takers of a test that fails, too: a hang says less than a failure.
    struct Closing<'a>(&'a Queue<u32>);

    impl Drop for Closing<'_> {
        fn drop(&mut self) {
            self.0.close();
        }
    }

    /// Runs `test` beside an idle taker, which reports what it takes.
    fn beside_an_idle_taker(test: impl FnOnce(&Queue<u32>, &mpsc::Receiver<u32>)) {
        let queue = Queue::new(1024);
        std::thread::scope(|scope| {
            let _closing = Closing(&queue);
            let (report, reports) = mpsc::channel();
            scope.spawn({
                let queue = &queue;
                move || {
                    while let Some(turn) = queue.take(|_| true) {
                        turn.work.iter().for_each(|work| report.send(*work).unwrap());
                    }
                }
            });
            while queue.state().idle == 0 {
                std::thread::yield_now();
            }
            test(&queue, &reports);
        });
    }

    #[test]
    fn what_comes_while_a_short_turn_lasts_is_left_to_its_taker() {
        beside_an_idle_taker(|queue, reports| {
            queue.state().short = 1;

            queue.push(1, SOME).unwrap();
            queue.push(2, SOME).unwrap();

            assert_eq!(queue.state().coming, 0);
            assert_eq!(taken(queue.take(|_| true)), [1, 2]);
            assert!(reports.try_recv().is_err());
        });
    }

    #[test]
    fn what_is_too_much_for_one_taker_wakes_another() {
        beside_an_idle_taker(|queue, reports| {
            queue.state().short = 1;

            queue.push(1, SHARE - SOME).unwrap();
            assert_eq!(queue.state().coming, 0);
            queue.push(2, SOME).unwrap();

            assert_eq!((reports.recv_timeout(LONG), reports.recv_timeout(LONG)), (Ok(1), Ok(2)));
        });
    }

    #[test]
    fn whoever_does_not_come_back_is_not_waited_for() {
        beside_an_idle_taker(|queue, reports| {
            queue.state().short = 1;
            queue.push(1, SOME).unwrap();

            queue.nudge();
            queue.nudge();

            assert_eq!(reports.recv_timeout(LONG), Ok(1));
        });
    }

    #[test]
    fn a_long_turn_keeps_nobody_waiting() {
        beside_an_idle_taker(|queue, reports| {
            // Without a wake: as if it had been taken by somebody else.
            queue.state().waiting.push_back((Duration::from_secs(1), 1));
            let long = queue.take(|_| true).unwrap();
            assert_eq!(long.work, [1]);

            queue.push(2, SOME).unwrap();

            assert_eq!(reports.recv_timeout(LONG), Ok(2));
        });
    }

    #[test]
    fn a_taker_that_dies_leaves_its_work_to_another() {
        beside_an_idle_taker(|queue, reports| {
            queue.state().waiting.push_back((SOME, 1));
            let died = std::thread::scope(|scope| {
                let dying = scope.spawn(|| {
                    let _turn = queue.take(|_| true);
                    queue.push(2, SOME).unwrap();
                    panic!("a session thread dies: this line in the output is part of the test");
                });
                dying.join()
            });

            assert!(died.is_err());
            assert_eq!(reports.recv_timeout(LONG), Ok(2));
        });
    }
}
