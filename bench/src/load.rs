//! A closed loop: so many operations in flight, each replaced by the next as soon as it is answered. And, for what
//! callers meet who do not wait for each other, an open one.

mod open;

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, anyhow};
use hdrhistogram::Histogram;
use tokio::task::JoinSet;

use crate::report::Latency;
use crate::spread::number;

pub(crate) use open::{Offer, drive_open};

/// The longest latency that is told apart, in nanoseconds: a minute.
const LATENCY_NS_MAX: u64 = 60_000_000_000;

/// How much at once, and how long.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Load {
    /// Operations in flight.
    pub(crate) in_flight: usize,
    /// Before anything counts.
    pub(crate) warm_up: Duration,
    /// While it counts.
    pub(crate) length: Duration,
}

/// What a load found.
#[derive(Debug, Clone)]
pub(crate) struct Measured {
    /// Operations that ended while it counted, per second.
    pub(crate) per_second: f64,
    latency: Histogram<u64>,
}

impl Measured {
    /// Operations that took so long, in nanoseconds, and were all there was in `took`.
    pub(crate) fn of(latency: Histogram<u64>, took: Duration) -> Self {
        Self { per_second: number(latency.len()) / took.as_secs_f64(), latency }
    }

    /// How many operations there were.
    pub(crate) fn count(&self) -> u64 {
        self.latency.len()
    }

    /// How long the operations took.
    pub(crate) fn latency(&self) -> Latency {
        let us = |percent| Duration::from_nanos(self.latency.value_at_percentile(percent)).as_secs_f64() * 1e6;
        Latency { p50_us: us(50.0), p99_us: us(99.0), p999_us: us(99.9) }
    }
}

/// The time now. The one clock of this program: it measures, it decides nothing.
#[expect(clippy::disallowed_methods, reason = "a benchmark measures real time")]
pub(crate) fn now() -> Instant {
    Instant::now()
}

/// Keeps `load.in_flight` of `operation` going; its argument is the number of the loop that calls, from 0.
///
/// # Errors
/// The first operation that fails ends it: a rate with errors in it would say nothing.
pub(crate) async fn drive<F, R>(load: Load, operation: F) -> Result<Measured>
where
    F: Fn(usize) -> R + Clone + Send + Sync + 'static,
    R: Future<Output = Result<()>> + Send,
{
    let from = now() + load.warm_up;
    let until = from + load.length;
    let mut loops = JoinSet::new();
    for number in 0..load.in_flight {
        let operation = operation.clone();
        loops.spawn(async move { repeat(number, from, until, &operation).await });
    }
    let mut latency = histogram()?;
    while let Some(ended) = loops.join_next().await {
        latency.add(ended.map_err(|error| anyhow!("a loop panicked: {error}"))??).context("add up latencies")?;
    }
    Ok(Measured::of(latency, load.length))
}

/// Does `operation` exactly `total` times, `in_flight` of them at once; its argument is the number of the call.
///
/// # Errors
/// The first operation that fails ends it.
pub(crate) async fn drive_count<F, R>(in_flight: usize, total: u64, operation: F) -> Result<()>
where
    F: Fn(u64) -> R + Clone + Send + Sync + 'static,
    R: Future<Output = Result<()>> + Send,
{
    let next = Arc::new(AtomicU64::new(0));
    let mut loops = JoinSet::new();
    for _ in 0..in_flight {
        let (operation, next) = (operation.clone(), Arc::clone(&next));
        loops.spawn(async move {
            loop {
                let number = next.fetch_add(1, Ordering::Relaxed);
                if number >= total {
                    return anyhow::Ok(());
                }
                operation(number).await?;
            }
        });
    }
    while let Some(ended) = loops.join_next().await {
        ended.map_err(|error| anyhow!("a loop panicked: {error}"))??;
    }
    Ok(())
}

async fn repeat<F, R>(number: usize, from: Instant, until: Instant, operation: &F) -> Result<Histogram<u64>>
where
    F: Fn(usize) -> R,
    R: Future<Output = Result<()>>,
{
    let mut latency = histogram()?;
    loop {
        let begun = now();
        if begun >= until {
            return Ok(latency);
        }
        operation(number).await?;
        let ended = now();
        if ended >= from && ended < until {
            let nanoseconds = u64::try_from((ended - begun).as_nanos()).unwrap_or(LATENCY_NS_MAX);
            latency.saturating_record(nanoseconds);
        }
    }
}

/// One for nanoseconds.
pub(crate) fn histogram() -> Result<Histogram<u64>> {
    Histogram::new_with_bounds(1, LATENCY_NS_MAX, 3).context("make a histogram")
}

/// The same for one blocking thread each: `threads` call `operation` again and again; its answer counts.
///
/// # Errors
/// The first that fails.
pub(crate) fn drive_threads<F>(threads: usize, load: Load, make: F) -> Result<f64>
where
    F: Fn(usize) -> Result<Box<dyn FnMut() -> Result<u64> + Send>> + Sync,
{
    let rates: Result<Vec<f64>> = std::thread::scope(|scope| {
        let make = &make;
        let running: Vec<_> =
            (0..threads).map(|number| scope.spawn(move || drive_here(load, &mut make(number)?))).collect();
        running.into_iter().map(|thread| thread.join().map_err(|_| anyhow!("a thread panicked"))?).collect()
    });
    Ok(rates?.into_iter().sum())
}

/// Calls `operation` again and again on this thread; its answer counts. What was begun in time is finished and
/// counted, and the time that it took with it: long operations are not cut to a whole number of them.
///
/// # Errors
/// The first that fails.
pub(crate) fn drive_here(load: Load, operation: &mut dyn FnMut() -> Result<u64>) -> Result<f64> {
    let warm = now() + load.warm_up;
    while now() < warm {
        operation()?;
    }
    let begun = now();
    let mut count: u64 = 0;
    loop {
        count = count.saturating_add(operation()?);
        let elapsed = begun.elapsed();
        if elapsed >= load.length {
            return Ok(number(count) / elapsed.as_secs_f64());
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicUsize;

    use super::*;

    const SHORT: Load = Load { in_flight: 3, warm_up: Duration::from_millis(10), length: Duration::from_millis(100) };

    #[tokio::test]
    async fn never_more_than_asked_are_in_flight() {
        let (now, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let seen = Arc::clone(&most);

        let measured = drive(SHORT, move |_| {
            let (now, most) = (Arc::clone(&now), Arc::clone(&most));
            async move {
                most.fetch_max(now.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                tokio::task::yield_now().await;
                now.fetch_sub(1, Ordering::SeqCst);
                Ok(())
            }
        })
        .await
        .unwrap();

        assert_eq!(seen.load(Ordering::SeqCst), 3);
        assert!(measured.per_second > 0.0);
        assert!(measured.latency().p50_us <= measured.latency().p99_us);
    }

    #[tokio::test]
    async fn an_operation_that_fails_ends_it() {
        let error = drive(SHORT, |_| async { anyhow::bail!("refused") }).await.unwrap_err();

        assert_eq!(error.to_string(), "refused");
    }

    #[tokio::test]
    async fn a_count_is_reached_and_not_passed() {
        let seen = Arc::new(AtomicU64::new(0));
        let sum = Arc::clone(&seen);

        drive_count(7, 100, move |number| {
            sum.fetch_add(number + 1, Ordering::SeqCst);
            async { Ok(()) }
        })
        .await
        .unwrap();

        assert_eq!(seen.load(Ordering::SeqCst), 5050);
    }

    #[test]
    fn threads_count_what_their_operations_say() {
        let per_second = drive_threads(2, SHORT, |_| {
            Ok(Box::new(|| {
                std::thread::yield_now();
                Ok(10)
            }))
        })
        .unwrap();

        assert!(per_second >= 100.0, "{per_second}");
    }

    #[test]
    fn an_operation_longer_than_the_measurement_counts_with_its_whole_time() {
        let short = Load { in_flight: 1, warm_up: Duration::ZERO, length: Duration::from_millis(1) };
        let begun = now();

        let per_second = drive_here(short, &mut || {
            let until = now() + Duration::from_millis(20);
            while now() < until {
                std::hint::spin_loop();
            }
            Ok(7)
        })
        .unwrap();

        let bound = 7.0 / 0.020;
        assert!(per_second <= bound && per_second >= 7.0 / begun.elapsed().as_secs_f64(), "{per_second}");
    }
}
