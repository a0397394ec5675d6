//! What the daemon does from time to time, whoever asks for what meanwhile.

use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinSet;
use tracing::error;

use crate::health;
use crate::house::House;

/// How often timestamps that are to be signed anew are looked for.
const RENEWAL_INTERVAL: Duration = Duration::from_secs(60);
/// How often keys whose wait is over are looked for.
const DESTRUCTION_INTERVAL: Duration = Duration::from_secs(5);
/// How often keys are looked for that were never used.
const UNUSED_INTERVAL: Duration = Duration::from_secs(60 * 60);

/// Begins all of it.
pub(super) fn begin(house: &Arc<House>, background: &mut JoinSet<()>) {
    background.spawn(destructions(Arc::clone(house)));
    background.spawn(renewals(Arc::clone(house)));
    background.spawn(unused_keys(Arc::clone(house)));
    background.spawn(Arc::clone(house).check_rows());
    background.spawn(Arc::clone(house).save_index_at_times());
    background.spawn(Arc::clone(house).follow_custody());
    background.spawn(Arc::clone(house).follow_token());
    background.spawn(health::probe_tokens(Arc::clone(house)));
    background.spawn(health::watch(Arc::clone(house), house.parts.drain.clone()));
}

/// Destroys keys whose wait is over, in the store and in their tokens.
async fn destructions(house: Arc<House>) {
    loop {
        tokio::time::sleep(DESTRUCTION_INTERVAL).await;
        if house.records().is_sealed() {
            continue;
        }
        if let Err(fault) = house.finish_destructions().await {
            error!(%fault, "keys whose wait is over could not be destroyed");
        }
        if let Err(fault) = house.remove_objects().await {
            error!(%fault, "the objects of destroyed keys could not be looked for in their tokens");
        }
    }
}

/// Signs timestamps anew, also where nobody reads them (D29).
async fn renewals(house: Arc<House>) {
    loop {
        unsealed_after(&house, RENEWAL_INTERVAL).await;
        if let Err(fault) = house.renew_timestamps().await {
            error!(%fault, "timestamps that are to be signed anew could not be looked for");
        }
    }
}

/// Takes away keys of trust data that were made for somebody and never used.
async fn unused_keys(house: Arc<House>) {
    loop {
        unsealed_after(&house, UNUSED_INTERVAL).await;
        if let Err(fault) = house.discard_unused_keys().await {
            error!(%fault, "keys that were never used could not be looked for");
        }
    }
}

/// Waits for so long, and again as often as the daemon is sealed then.
async fn unsealed_after(house: &House, interval: Duration) {
    loop {
        tokio::time::sleep(interval).await;
        if !house.is_sealed() {
            return;
        }
    }
}
