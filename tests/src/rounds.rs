//! How often a test does what chance decides, and what chance says.

use std::hash::{BuildHasher as _, Hasher as _, RandomState};

/// How often: more in `make test-long`.
#[must_use]
pub fn rounds<N>(usual: N, long: N) -> N {
    if std::env::var_os("TRUSTD_TEST_LONG").is_some() { long } else { usual }
}

/// A number below `limit` that is different in each run.
#[must_use]
pub fn random_below(limit: u64) -> u64 {
    RandomState::new().build_hasher().finish() % limit
}
