//! The page: what the daemon counted, and what log, custody and health know as it is read.

use std::fmt;

use prometheus_client::encoding::{EncodeLabelSet, text};
use prometheus_client::metrics::counter::{ConstCounter, Counter};
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::{ConstGauge, Gauge};
use prometheus_client::registry::Registry;
use trust_hsm::CustodianState;

use crate::health::Trouble;
use crate::house::House;
use crate::metrics::{PREFIX, Word};

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct KindLabels {
    kind: Word,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct StateLabels {
    state: Word,
}

/// A token's name is the operator's, and there are as many as the configuration has.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct TokenLabels {
    token: String,
    state: Word,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct TokenName {
    token: String,
}

/// Everything, in the OpenMetrics text format.
pub(crate) fn write(house: &House) -> Result<String, fmt::Error> {
    let mut page = String::with_capacity(16 * 1024);
    house.metrics().encode(&mut page)?;
    text::encode_registry(&mut page, &observe(house))?;
    text::encode_eof(&mut page)?;
    Ok(page)
}

/// What is known elsewhere, as it is now.
fn observe(house: &House) -> Registry {
    let mut now = Registry::with_prefix(PREFIX);
    let count = |now: &mut Registry, name: &str, help: &str, value: u64| {
        now.register(name, help, ConstCounter::new(value));
    };
    let level = |now: &mut Registry, name: &str, help: &str, value: u64| {
        now.register(name, help, ConstGauge::new(i64::try_from(value).unwrap_or(i64::MAX)));
    };
    let size = |number: usize| u64::try_from(number).unwrap_or(u64::MAX);
    let audit = house.audit();
    count(&mut now, "intents", "Intents on disk since the start", audit.intents());
    count(&mut now, "log_groups", "Groups of leaves that were flushed since the start", audit.groups());
    level(&mut now, "log_leaves", "Leaves of the durable log", audit.durable().0);
    level(&mut now, "log_waiting", "Leaves that wait for the log's writer", size(audit.waiting()));
    level(&mut now, "log_disk_free_bytes", "Free bytes on the log's disk", audit.free_bytes());
    level(&mut now, "custody_waiting", "Work that waits for a custody session", size(house.custody().waiting()));
    let (_, state, restarts) = house.custody().status();
    count(&mut now, "custody_restarts", "How often the custody worker was started again", restarts);
    level(&mut now, "sealed", "1 while the daemon is sealed", u64::from(house.records().is_sealed()));
    let prepared = house.tables().prepared();
    level(&mut now, "prepared_keys", "Public keys that are prepared for verification", size(prepared.keys));
    level(&mut now, "prepared_bytes", "What prepared keys take in memory", size(prepared.bytes));
    count(&mut now, "key_preparations", "Public keys that were prepared since the start", prepared.made);
    let seconds = ConstCounter::new(prepared.making.as_secs_f64());
    now.register("key_preparation_seconds", "How long preparing keys took since the start", seconds);
    // Sealed, nobody can tell.
    let (timestamps, late) = house.records().timestamps(house.clock().now_unix_seconds()).unwrap_or_default();
    level(&mut now, "timestamps", "Repositories with trust data", timestamps);
    level(
        &mut now,
        "timestamps_late",
        "Repositories whose timestamp is past half of its life, or of a clock that was ahead",
        late,
    );
    level(&mut now, "verify_items_at_work", "Signatures that are being verified", size(house.cores().at_work()));
    let start = house.parts.started_at_unix_seconds;
    level(&mut now, "start_time_seconds", "When the daemon started, in Unix time", start);
    let states = Family::<StateLabels, Gauge>::default();
    for known in [CustodianState::Ready, CustodianState::Sealed, CustodianState::Unavailable] {
        states.get_or_create(&StateLabels { state: Word(known.name()) }).set(i64::from(known == state));
    }
    now.register("custody_state", "1 for the state that the custody worker is in", states);
    let tokens = Family::<TokenLabels, Gauge>::default();
    let token_restarts = Family::<TokenName, Counter>::default();
    for token in house.custodians().tokens() {
        for known in [CustodianState::Ready, CustodianState::Unavailable] {
            let labels = TokenLabels { token: token.name.clone(), state: Word(known.name()) };
            tokens.get_or_create(&labels).set(i64::from(known == token.state));
        }
        token_restarts.get_or_create(&TokenName { token: token.name }).inc_by(token.restarts);
    }
    now.register("token_state", "1 for the state that a token's worker is in", tokens);
    now.register("token_restarts", "How often a token's worker was started again", token_restarts);
    let troubles = Family::<KindLabels, Gauge>::default();
    let present = house.troubles();
    for trouble in Trouble::ALL {
        let is_present = present.contains(&trouble);
        troubles.get_or_create(&KindLabels { kind: Word(trouble.name()) }).set(i64::from(is_present));
    }
    now.register("trouble", "1 for each thing that keeps the daemon from doing all it is for", troubles);
    now
}
