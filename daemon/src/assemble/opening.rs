//! The house is opened at the start: with the root key, as the ring and the configuration say.

use std::error::Error as _;

use anyhow::{Result, anyhow, bail};
use tracing::warn;
use trust::{Fault, FaultKind};
use trust_hsm::{RootPlace, RootSource};

use crate::config::RootConfig;
use crate::house::{House, Opening, StartError};
use crate::root;

/// Opens everything with the root key, or leaves it sealed where somebody or something else must open it.
pub(super) async fn open_house(house: &House, place: RootPlace) -> Result<()> {
    let config = house.config();
    if root::differs(&place, config) {
        warn!(root = root::words(&place), "[root_kek] of the configuration names another place; the ring's own holds");
    }
    match (place, &config.root_kek) {
        (RootPlace::File, RootConfig::File(path)) => {
            let opened = house.open_up(Opening::Secret(RootSource::File { path: path.clone() })).await;
            opened.map_err(|fault| refused(fault, format!("open the house with the root key {}", path.display())))
        }
        (RootPlace::File, _) => bail!("the root key is in a file that the configuration does not name"),
        (RootPlace::Passphrase, _) => {
            warn!("sealed: nothing is signed until `trustctl unseal`");
            Ok(())
        }
        (RootPlace::Token { wraps, has_passphrase }, _) => {
            match house.open_up(Opening::Token).await {
                Ok(()) => Ok(()),
                // It will not pass, and nobody can help from outside: another token, or another store.
                Err(fault) if fault.kind() == FaultKind::Refused && !has_passphrase => {
                    let token = root::names(&wraps);
                    Err(refused(fault, format!("open the house by the token {token}, which has its root key wrapped")))
                }
                Err(fault) => {
                    warn!(%fault, "sealed: until the root key's token serves, or `trustctl unseal`");
                    Ok(())
                }
            }
        }
    }
}

/// Why the start stops; where it is known what can be done, in two lines.
fn refused(fault: Fault, step: String) -> anyhow::Error {
    match fault.source().and_then(|cause| cause.downcast_ref::<StartError>()) {
        Some(error) => anyhow!("{step}: {error}\n{}", error.remedy()),
        None => anyhow::Error::new(fault).context(step),
    }
}
