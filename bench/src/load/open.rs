//! An open loop: operations begin when it is their time, as if callers who know nothing of each other sent them,
//! whether those before were answered or not. Each is timed from when it *should* have begun: a server that stops for a
//! second is charged with the wait of everybody who came in that second (no coordinated omission, as Tene named it).

use std::future::Future;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, anyhow, bail};
use hdrhistogram::Histogram;
use tokio::runtime::Handle;
use tokio::sync::Semaphore;

use super::{LATENCY_NS_MAX, Measured, histogram, now};
use crate::random::Random;

/// Fewer a second would not be one in any measurement.
const PER_SECOND_MIN: f64 = 0.001;

/// What is sent.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Offer {
    /// How many a second, on average; the time between two is exponential (Poisson arrivals).
    pub(crate) per_second: f64,
    /// How many may be unanswered. More wait their turn here, and their time runs.
    pub(crate) unanswered_max: u32,
    /// Before anything counts.
    pub(crate) warm_up: Duration,
    /// While it counts.
    pub(crate) length: Duration,
}

/// Sends `offer`; its argument is the number of the operation. The rate of the answer is that of the operations that
/// were due while it counted, over the time until the last of them was answered.
///
/// # Errors
/// The first operation that fails ends it, and an offer that is none.
pub(crate) async fn drive_open<F, R>(offer: Offer, operation: F) -> Result<Measured>
where
    F: Fn(usize) -> R + Clone + Send + Sync + 'static,
    R: Future<Output = Result<()>> + Send + 'static,
{
    if !(offer.per_second.is_finite() && offer.per_second >= PER_SECOND_MIN) || offer.unanswered_max == 0 {
        bail!("an offer of nothing");
    }
    let seen = Arc::new(Mutex::new(Seen { latency: histogram()?, last: None, failed: None }));
    let places = Arc::new(Semaphore::new(usize::try_from(offer.unanswered_max)?));
    let from = now() + offer.warm_up;
    let pace = Pace { offer, from, seen: Arc::clone(&seen), places: Arc::clone(&places), runtime: Handle::current() };
    // Sleeping in a thread of its own is exact to some 60 µs; the runtime's timer is exact to a millisecond.
    let paced = tokio::task::spawn_blocking(move || pace.run(&operation));
    paced.await.map_err(|error| anyhow!("the pace panicked: {error}"))??;
    // Who holds every place knows that all were answered.
    let _all = places.acquire_many(offer.unanswered_max).await.context("wait for the last answers")?;
    let mut seen = seen.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(error) = seen.failed.take() {
        return Err(error);
    }
    let took = seen.last.map_or(offer.length, |last| last.saturating_duration_since(from)).max(offer.length);
    Ok(Measured::of(seen.latency.clone(), took))
}

/// What the answers so far say.
struct Seen {
    latency: Histogram<u64>,
    last: Option<Instant>,
    failed: Option<anyhow::Error>,
}

struct Pace {
    offer: Offer,
    from: Instant,
    seen: Arc<Mutex<Seen>>,
    places: Arc<Semaphore>,
    runtime: Handle,
}

impl Pace {
    /// Begins each operation at its time, until the offer is over or one failed.
    fn run<F, R>(&self, operation: &F) -> Result<()>
    where
        F: Fn(usize) -> R,
        R: Future<Output = Result<()>> + Send + 'static,
    {
        let mut random = Random::new(1);
        let mut due = self.from.checked_sub(self.offer.warm_up).unwrap_or(self.from);
        let until = self.from + self.offer.length;
        for number in 0.. {
            due += Duration::from_secs_f64(random.exponential() / self.offer.per_second);
            if due >= until || self.has_failed() {
                break;
            }
            std::thread::sleep(due.saturating_duration_since(now()));
            let place = self.runtime.block_on(Arc::clone(&self.places).acquire_owned()).context("no places")?;
            let (seen, from, work) = (Arc::clone(&self.seen), self.from, operation(number));
            self.runtime.spawn(async move {
                let ended = work.await;
                note(&seen, from, due, ended);
                drop(place);
            });
        }
        Ok(())
    }

    fn has_failed(&self) -> bool {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).failed.is_some()
    }
}

fn note(seen: &Mutex<Seen>, from: Instant, due: Instant, ended: Result<()>) {
    let at = now();
    let mut seen = seen.lock().unwrap_or_else(PoisonError::into_inner);
    match ended {
        Ok(()) if due >= from => {
            let nanoseconds = u64::try_from(at.saturating_duration_since(due).as_nanos()).unwrap_or(LATENCY_NS_MAX);
            seen.latency.saturating_record(nanoseconds);
            seen.last = Some(seen.last.map_or(at, |last| last.max(at)));
        }
        Ok(()) => {}
        Err(error) => seen.failed = Some(error),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;

    fn offer(per_second: f64, unanswered_max: u32) -> Offer {
        Offer { per_second, unanswered_max, warm_up: Duration::ZERO, length: Duration::from_millis(300) }
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_pause_is_charged_to_everybody_who_came_in_it() {
        // The first operation holds the only place for 200 ms; some 40 are due meanwhile.
        let measured = drive_open(offer(200.0, 1), |number| async move {
            if number == 0 {
                tokio::time::sleep(Duration::from_millis(200)).await;
            }
            Ok(())
        })
        .await
        .unwrap();

        // A closed loop would have seen one slow operation, and a median of almost nothing.
        assert!(measured.latency().p50_us > 20_000.0, "{:?}", measured.latency());
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn about_as_many_are_sent_as_were_offered() {
        let sent = Arc::new(AtomicU32::new(0));
        let count = Arc::clone(&sent);

        drive_open(offer(2000.0, 1000), move |_| {
            count.fetch_add(1, Ordering::SeqCst);
            async { Ok(()) }
        })
        .await
        .unwrap();

        // 600 on average; the sequence of waits is always the same one.
        let sent = sent.load(Ordering::SeqCst);
        assert!((500..700).contains(&sent), "{sent}");
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn never_more_than_allowed_are_unanswered() {
        let (open, most) = (Arc::new(AtomicU32::new(0)), Arc::new(AtomicU32::new(0)));
        let seen = Arc::clone(&most);

        drive_open(offer(2000.0, 3), move |_| {
            let (open, most) = (Arc::clone(&open), Arc::clone(&most));
            async move {
                most.fetch_max(open.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                tokio::time::sleep(Duration::from_millis(2)).await;
                open.fetch_sub(1, Ordering::SeqCst);
                Ok(())
            }
        })
        .await
        .unwrap();

        assert_eq!(seen.load(Ordering::SeqCst), 3);
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn an_operation_that_fails_ends_it_and_an_offer_of_nothing_is_refused() {
        let error = drive_open(offer(500.0, 10), |_| async { bail!("refused") }).await.unwrap_err();

        assert_eq!(error.to_string(), "refused");
        assert!(drive_open(offer(0.0, 10), |_| async { Ok(()) }).await.is_err());
        assert!(drive_open(offer(f64::NAN, 10), |_| async { Ok(()) }).await.is_err());
    }
}
