//! Tokens of a registry's issuer: JSON web tokens (RFC 7519) as docker registries take them.
//!
//! The list of algorithms is closed, and the algorithm has to be the key's own. A key is believed when a chain leads from it
//! to the configured certificates (`x5c`), or when it is the key of one of them (`kid`). Of a key inside a token (`jwk`), as
//! the issuer of docker's registry writes it, only its name is read; what is behind an address (`jku`, `x5u`) is never
//! looked at.

mod bundle;

use std::sync::atomic::{AtomicU64, Ordering};

use arc_swap::ArcSwap;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED, ECDSA_P384_SHA384_FIXED, ECDSA_P521_SHA512_FIXED, RSA_PKCS1_2048_8192_SHA256,
    RSA_PKCS1_2048_8192_SHA384, RSA_PKCS1_2048_8192_SHA512, RSA_PSS_2048_8192_SHA256, RSA_PSS_2048_8192_SHA384,
    RSA_PSS_2048_8192_SHA512, UnparsedPublicKey, VerificationAlgorithm,
};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Deserialize;
use serde::de::{DeserializeOwned, IgnoredAny};
use thiserror::Error;
use tracing::{error, info};
use trust::Principal;
use trust::principal::RegistryAccount;

use crate::config::{BearerConfig, ConfigFault};

use self::bundle::{Bundle, KeyFamily, KeyRefusal, TokenKey};

/// The longest token, in bytes.
const TOKEN_BYTES_MAX: usize = 16 * 1024;
/// How much the issuer's clock and ours may differ, in seconds.
const SKEW_SECONDS: i64 = 60;
/// The most entries of `access`, and actions of one.
const ACCESS_MAX: usize = 256;
/// The certificates' file is looked at once in so many seconds.
const LOOK_SECONDS: u64 = 1;

/// Reads tokens of one issuer.
#[derive(Debug)]
pub(crate) struct Bearer {
    config: BearerConfig,
    bundle: ArcSwap<Bundle>,
    looked_at_unix_seconds: AtomicU64,
}

/// What a token that is believed says.
#[derive(Debug)]
pub(crate) struct Grant {
    /// The account; `None` where the token is for nobody in particular.
    pub(crate) account: Option<Principal>,
    access: Vec<Access>,
}

/// Why a token is not believed: for our log.
#[derive(Debug, Error)]
pub(crate) enum TokenRefusal {
    /// No JSON web token that can be read, or an account that cannot be written.
    #[error("it cannot be read: {0}")]
    Form(&'static str),
    /// `none`, a MAC, or anything else that is not in the table.
    #[error("its algorithm is not accepted, or not its key's")]
    Algorithm,
    /// Its key is nobody's we know.
    #[error(transparent)]
    Key(#[from] KeyRefusal),
    /// The signature does not fit.
    #[error("its signature does not fit")]
    Signature,
    /// Another issuer's.
    #[error("another issuer's")]
    Issuer,
    /// For another service.
    #[error("for another service")]
    Audience,
    /// Expired, or not valid yet.
    #[error("expired or not valid yet")]
    Time,
}

/// The header (RFC 7515 §4.1). Members twice are refused; those that are not here say nothing about the signature.
#[derive(Deserialize)]
struct Header {
    alg: String,
    #[serde(default)]
    kid: Option<String>,
    #[serde(default)]
    x5c: Option<Vec<String>>,
    /// A key that the token brings: it names one of ours, or nothing.
    #[serde(default)]
    jwk: Option<NamedKey>,
    /// Extensions that must be understood (RFC 7515 §4.1.11): we understand none.
    #[serde(default)]
    crit: Option<IgnoredAny>,
}

/// What is read of a key (RFC 7517 §4.5).
#[derive(Deserialize)]
struct NamedKey {
    #[serde(default)]
    kid: Option<String>,
}

/// The claims (RFC 7519 §4.1). Issuers in Go write `null` where they have nothing to say.
#[derive(Deserialize)]
struct Claims {
    iss: String,
    #[serde(default)]
    sub: Option<String>,
    aud: Audience,
    exp: i64,
    #[serde(default)]
    nbf: Option<i64>,
    #[serde(default)]
    access: Option<Vec<Access>>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Audience {
    One(String),
    Several(Vec<String>),
}

/// What the token grants.
#[derive(Debug, Deserialize)]
struct Access {
    #[serde(rename = "type")]
    kind: String,
    name: String,
    #[serde(default)]
    actions: Option<Vec<String>>,
}

impl Access {
    fn actions(&self) -> &[String] {
        self.actions.as_deref().unwrap_or_default()
    }
}

impl Bearer {
    /// Reads the certificates that `config` names.
    ///
    /// # Errors
    /// What is wrong with their file.
    pub(crate) fn load(config: &BearerConfig) -> Result<Self, ConfigFault> {
        let bundle = ArcSwap::from_pointee(Bundle::read(&config.rootcertbundle)?);
        Ok(Self { config: config.clone(), bundle, looked_at_unix_seconds: AtomicU64::new(0) })
    }

    /// Reads the certificates anew.
    ///
    /// # Errors
    /// What is wrong with their file; the old ones then stay in force.
    pub(crate) fn reload(&self) -> Result<(), ConfigFault> {
        self.bundle.store(std::sync::Arc::new(Bundle::read(&self.config.rootcertbundle)?));
        Ok(())
    }

    /// Reads the certificates anew where their file is another one than before. Blocks for one look at a file.
    pub(crate) fn follow(&self, now_unix_seconds: u64) {
        let last = self.looked_at_unix_seconds.load(Ordering::Relaxed);
        let is_due = now_unix_seconds.abs_diff(last) >= LOOK_SECONDS;
        let is_ours = is_due
            && self
                .looked_at_unix_seconds
                .compare_exchange(last, now_unix_seconds, Ordering::Relaxed, Ordering::Relaxed)
                .is_ok();
        if !is_ours || self.bundle.load().is_of(&self.config.rootcertbundle) {
            return;
        }
        match self.reload() {
            Ok(()) => info!("the certificates of the token issuer were read anew"),
            Err(fault) => {
                // Said once for each state of the file.
                self.bundle.store(std::sync::Arc::new(self.bundle.load().as_of(&self.config.rootcertbundle)));
                error!(%fault, "the certificates of the token issuer are refused; the old ones stay in force");
            }
        }
    }

    /// The configuration it was made from.
    pub(crate) const fn config(&self) -> &BearerConfig {
        &self.config
    }

    /// What `token` grants at `now_unix_seconds`.
    ///
    /// # Errors
    /// [`TokenRefusal`].
    pub(crate) fn read(&self, token: &str, now_unix_seconds: u64) -> Result<Grant, TokenRefusal> {
        if token.len() > TOKEN_BYTES_MAX {
            return Err(TokenRefusal::Form("longer than 16 KiB"));
        }
        let (signed, signature) = token.rsplit_once('.').ok_or(TokenRefusal::Form("not three parts"))?;
        let (header, claims) = signed.split_once('.').ok_or(TokenRefusal::Form("not three parts"))?;
        let header: Header = part(header, "its header")?;
        if header.crit.is_some() {
            return Err(TokenRefusal::Form("it wants extensions to be understood (crit)"));
        }
        let (family, algorithm) = algorithm(&header.alg).ok_or(TokenRefusal::Algorithm)?;
        let bundle = self.bundle.load();
        let name = header.kid.or_else(|| header.jwk.and_then(|key| key.kid));
        let key = match (&header.x5c, &name) {
            (Some(chain), _) => bundle.by_chain(chain, now_unix_seconds)?,
            (None, Some(name)) => bundle.by_name(name, now_unix_seconds)?,
            (None, None) => return Err(KeyRefusal::Unnamed.into()),
        };
        let TokenKey { family: of_key, bytes } = key;
        if of_key != family {
            return Err(TokenRefusal::Algorithm);
        }
        let signature = decoded(signature, "its signature")?;
        UnparsedPublicKey::new(algorithm, &bytes)
            .verify(signed.as_bytes(), &signature)
            .map_err(|_| TokenRefusal::Signature)?;
        self.judge(part(claims, "its claims")?, now_unix_seconds)
    }

    fn judge(&self, claims: Claims, now_unix_seconds: u64) -> Result<Grant, TokenRefusal> {
        if claims.iss != self.config.issuer {
            return Err(TokenRefusal::Issuer);
        }
        let is_for_us = match &claims.aud {
            Audience::One(service) => *service == self.config.service,
            Audience::Several(services) => services.contains(&self.config.service),
        };
        if !is_for_us {
            return Err(TokenRefusal::Audience);
        }
        let now = i64::try_from(now_unix_seconds).unwrap_or(i64::MAX);
        let has_begun = claims.nbf.is_none_or(|begin| begin <= now.saturating_add(SKEW_SECONDS));
        if !has_begun || claims.exp <= now.saturating_sub(SKEW_SECONDS) {
            return Err(TokenRefusal::Time);
        }
        let account = match claims.sub.as_deref() {
            None | Some("") => None,
            Some(account) => {
                let account = RegistryAccount::new(&self.config.issuer, account)
                    .map_err(|_| TokenRefusal::Form("its account is not written in printable ASCII"))?;
                Some(Principal::RegistryAccount(account))
            }
        };
        let access = claims.access.unwrap_or_default();
        if access.len() > ACCESS_MAX || access.iter().any(|entry| entry.actions().len() > ACCESS_MAX) {
            return Err(TokenRefusal::Form("it grants too much at once"));
        }
        Ok(Grant { account, access })
    }
}

impl Grant {
    /// Whether it grants `action` on what is called `name`.
    pub(crate) fn covers(&self, kind: &str, name: &str, action: &str) -> bool {
        self.access
            .iter()
            .filter(|entry| entry.kind == kind && entry.name == name)
            .any(|entry| entry.actions().iter().any(|granted| granted == action || granted == "*"))
    }
}

/// The signatures that are accepted (RFC 7518 §3.1) and the family of keys that each is for.
fn algorithm(name: &str) -> Option<(KeyFamily, &'static dyn VerificationAlgorithm)> {
    Some(match name {
        "ES256" => (KeyFamily::P256, &ECDSA_P256_SHA256_FIXED),
        "ES384" => (KeyFamily::P384, &ECDSA_P384_SHA384_FIXED),
        "ES512" => (KeyFamily::P521, &ECDSA_P521_SHA512_FIXED),
        "PS256" => (KeyFamily::Rsa, &RSA_PSS_2048_8192_SHA256),
        "PS384" => (KeyFamily::Rsa, &RSA_PSS_2048_8192_SHA384),
        "PS512" => (KeyFamily::Rsa, &RSA_PSS_2048_8192_SHA512),
        "RS256" => (KeyFamily::Rsa, &RSA_PKCS1_2048_8192_SHA256),
        "RS384" => (KeyFamily::Rsa, &RSA_PKCS1_2048_8192_SHA384),
        "RS512" => (KeyFamily::Rsa, &RSA_PKCS1_2048_8192_SHA512),
        _ => return None,
    })
}

fn part<T: DeserializeOwned>(text: &str, what: &'static str) -> Result<T, TokenRefusal> {
    serde_json::from_slice(&decoded(text, what)?).map_err(|_| TokenRefusal::Form(what))
}

fn decoded(text: &str, what: &'static str) -> Result<Vec<u8>, TokenRefusal> {
    // Some issuers pad, which RFC 7515 §2 forbids and Go's reader allows.
    URL_SAFE_NO_PAD.decode(text.trim_end_matches('=')).map_err(|_| TokenRefusal::Form(what))
}

#[cfg(test)]
#[path = "bearer/tests.rs"]
mod tests;
