//! Where the root key is: the ring says that, the configuration says how it is reached.

use std::sync::Arc;

use anyhow::{Context as _, Result, bail};
use tracing::warn;
use trust_hsm::worker::{TokenWorker, unseal_through};
use trust_hsm::{Custodian as _, CustodyError, KeyRing, RootPlace, Unsealed, WrappedRoot, root_place};

use crate::config::{Config, RootConfig};

/// A passphrase is the whole root: no shorter one is taken, in bytes.
pub(crate) const PASSPHRASE_BYTES_MIN: usize = 8;

/// Where the root key of the directory is. Refuses one that this configuration cannot reach, with the remedy.
pub(crate) fn place(config: &Config) -> Result<RootPlace> {
    let (_, place) = root_place(&config.ring()).context("read the KEK ring")?;
    if let Some(why) = unreachable(&place, config) {
        bail!("{why}");
    }
    Ok(place)
}

/// Why a root key in this place cannot be reached with the configuration.
pub(crate) fn unreachable(place: &RootPlace, config: &Config) -> Option<String> {
    match place {
        RootPlace::File if !matches!(config.root_kek, RootConfig::File(_)) => {
            Some("the root key of this directory is in a file: say file = \"/its/path\" in [root_kek]".to_owned())
        }
        RootPlace::Token { wraps, has_passphrase: false } if !is_configured(wraps, config) => Some(format!(
            "the root key of this directory is wrapped by the token {}, without a recovery passphrase: give the \
             configuration the [[token]] with that name, whose module reaches that very token",
            names(wraps)
        )),
        RootPlace::File | RootPlace::Passphrase | RootPlace::Token { .. } => None,
    }
}

/// Whether the configuration says something else than the ring, which holds.
pub(crate) fn differs(place: &RootPlace, config: &Config) -> bool {
    match (place, &config.root_kek) {
        (RootPlace::File, RootConfig::File(_)) | (RootPlace::Passphrase, RootConfig::Passphrase) => false,
        (RootPlace::Token { wraps, .. }, RootConfig::Token(name)) => wraps.iter().all(|wrap| wrap.token != *name),
        _ => true,
    }
}

fn is_configured(wraps: &[WrappedRoot], config: &Config) -> bool {
    wraps.iter().any(|wrap| config.tokens.iter().any(|token| token.name == wrap.token))
}

/// The place in words, for status and lists.
pub(crate) fn words(place: &RootPlace) -> String {
    match place {
        RootPlace::File => "file".to_owned(),
        RootPlace::Passphrase => "passphrase".to_owned(),
        RootPlace::Token { wraps, has_passphrase } => {
            let recovery = match (has_passphrase, wraps.len()) {
                (true, _) => ", recovery by passphrase",
                (false, 2..) => "",
                (false, _) => ", no recovery",
            };
            format!("token {}{recovery}", names(wraps))
        }
    }
}

pub(crate) fn names(wraps: &[WrappedRoot]) -> String {
    wraps.iter().map(|wrap| wrap.token.as_str()).collect::<Vec<_>>().join(" or ")
}

/// Opens the ring by the first of the tokens that does it. Blocks.
///
/// The error is the first token's; [`CustodyError::Unavailable`] where any of them may yet come.
pub(crate) fn unseal_by_token(
    ring: &dyn KeyRing,
    tokens: &[Arc<TokenWorker>],
    wraps: &[WrappedRoot],
) -> Result<Unsealed, CustodyError> {
    let mut met: Vec<CustodyError> = Vec::new();
    for wrapped in wraps {
        let name = wrapped.token.as_str();
        let opened = match tokens.iter().find(|token| token.name() == name) {
            Some(token) => unseal_through(ring, token, wrapped),
            None => {
                Err(CustodyError::Refused { why: format!("the configuration has no [[token]] with the name {name}") })
            }
        };
        match opened {
            Ok(unsealed) => {
                // The next time this one may be away: what did not open is to be mended while it is there.
                for (wrapped, error) in wraps.iter().zip(&met) {
                    warn!(token = %wrapped.token, %error, "a token did not open the root key; the next one did");
                }
                return Ok(unsealed);
            }
            Err(error) => met.push(error),
        }
    }
    let passes = |error: &CustodyError| matches!(error, CustodyError::Unavailable { .. } | CustodyError::Late);
    let chosen = met.iter().find(|error| passes(error)).or(met.first()).cloned();
    Err(chosen.unwrap_or(CustodyError::Failed { what: "a root key that no token has wrapped".to_owned() }))
}
