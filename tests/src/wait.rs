//! Waiting for something that another program does, with a deadline and no guessed pauses.

use std::time::{Duration, Instant};

use anyhow::{Result, bail};

const POLL: Duration = Duration::from_millis(5);

/// As long as anything may take that a person waits for, on the busiest machine.
pub const SOON: Duration = Duration::from_secs(90);

/// Asks again and again until it is so.
///
/// # Errors
/// After [`SOON`], naming `what`.
pub fn soon(what: &str, is_so: impl Fn() -> bool) -> Result<()> {
    until(what, SOON, || Ok(is_so().then_some(())))
}

/// Asks `probe` again and again until it gives something.
///
/// # Errors
/// After `limit`, naming `what`; or the probe's own error, at once.
#[expect(clippy::disallowed_methods, reason = "a real program runs in real time")]
pub fn until<T>(what: &str, limit: Duration, mut probe: impl FnMut() -> Result<Option<T>>) -> Result<T> {
    let start = Instant::now();
    loop {
        if let Some(found) = probe()? {
            return Ok(found);
        }
        if start.elapsed() > limit {
            bail!("{what}: not within {limit:?}");
        }
        std::thread::sleep(POLL);
    }
}

/// How long `work` took, with what it gave.
#[expect(clippy::disallowed_methods, reason = "a real program runs in real time")]
pub fn timed<T>(work: impl FnOnce() -> T) -> (Duration, T) {
    let start = Instant::now();
    let result = work();
    (start.elapsed(), result)
}

/// Asks `probe` again and again for so long; it has to say yes each time.
///
/// # Errors
/// The first no, naming `what`; or the probe's own error.
#[expect(clippy::disallowed_methods, reason = "a real program runs in real time")]
pub fn throughout(what: &str, time: Duration, mut probe: impl FnMut() -> Result<bool>) -> Result<()> {
    let start = Instant::now();
    while start.elapsed() < time {
        if !probe()? {
            bail!("{what}: not any more after {:?}", start.elapsed());
        }
        std::thread::sleep(POLL);
    }
    Ok(())
}
