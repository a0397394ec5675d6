//! Every bound, and what it is where the configuration says nothing.

use std::time::Duration;

/// Every bound.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Limits {
    /// Open connections of one listener.
    pub(crate) connections_max: usize,
    /// Requests at work, all doors together.
    pub(crate) in_flight_max: usize,
    /// Signing and key work past its permit.
    pub(crate) work_max: usize,
    /// The longest a request may take.
    pub(crate) request_time_max: Duration,
    /// The longest message on the wire, in bytes.
    pub(crate) message_bytes_max: usize,
    /// Statements of a batch.
    pub(crate) batch_items_max: usize,
    /// Items of a batch to verify.
    pub(crate) verify_items_max: usize,
    /// Items of one principal that are verified at once, in all its batches and streams.
    pub(crate) verify_items_at_work_max: usize,
    /// Ed25519 public keys that are kept prepared for many verifications; 0: none.
    pub(crate) verify_tables_max: usize,
    /// The most keys for trust data, in all repositories; two for each.
    pub(crate) trust_keys_max: usize,
    /// Below so many free bytes on the log's disk refusals leave no leaves any more.
    pub(crate) log_free_bytes_min: u64,
    /// Entries that wait for the log's writer.
    pub(crate) log_waiting_max: usize,
    /// Work that waits for a session.
    pub(crate) custody_waiting_max: usize,
    /// Calls of one principal in a second, and messages of its streams of signatures.
    pub(crate) rate_per_second: u32,
    /// How many of them at once.
    pub(crate) rate_burst: u32,
    /// Idempotency keys of one principal.
    pub(crate) replays_per_principal_max: usize,
    /// Idempotency keys of all.
    pub(crate) replays_max: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections_max: 1024,
            in_flight_max: 4096,
            work_max: 4096,
            request_time_max: Duration::from_secs(30),
            message_bytes_max: 8 * 1024 * 1024,
            batch_items_max: 4096,
            verify_items_max: 65_536,
            verify_items_at_work_max: 262_144,
            verify_tables_max: 64,
            trust_keys_max: 20_000,
            log_free_bytes_min: 64 * 1024 * 1024,
            log_waiting_max: 16_384,
            custody_waiting_max: 8192,
            rate_per_second: 100_000,
            rate_burst: 200_000,
            replays_per_principal_max: 10_000,
            replays_max: 100_000,
        }
    }
}
