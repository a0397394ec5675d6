//! What a token says of itself.

use cryptoki::object::{Attribute, AttributeType, ObjectHandle};
use cryptoki::session::Session;
use cryptoki::slot::{Limit, TokenInfo};

use super::super::Inner;
use super::super::fault::Fault;
use crate::TokenFacts;
use crate::doctor::Identity;

/// Which token it is, its flags, and the most sessions that it says it has.
pub(super) fn read(inner: &Inner) -> Result<(Identity, Vec<String>, Option<u64>), Fault> {
    let token = inner.context.get_token_info(inner.slot).map_err(|error| Fault::of("look at the token", &error))?;
    let stated = match token.max_session_count() {
        Limit::Max(most) => Some(most),
        Limit::Unavailable | Limit::Infinite => None,
    };
    Ok((identity(inner, &token), flags(&token), stated))
}

/// What was said when the token was mounted, and its hardware's version.
fn identity(inner: &Inner, token: &TokenInfo) -> Identity {
    let TokenFacts { label, serial, manufacturer, model, firmware, module } = inner.facts.clone();
    let hardware = token.hardware_version().to_string();
    Identity { serial, label, manufacturer, model, hardware, firmware, module }
}

/// PKCS#11 3.0 table 7, without `CKF_`.
fn flags(token: &TokenInfo) -> Vec<String> {
    let all = [
        ("RNG", token.rng()),
        ("WRITE_PROTECTED", token.write_protected()),
        ("LOGIN_REQUIRED", token.login_required()),
        ("USER_PIN_INITIALIZED", token.user_pin_initialized()),
        ("CLOCK_ON_TOKEN", token.clock_on_token()),
        ("PROTECTED_AUTHENTICATION_PATH", token.protected_authentication_path()),
        ("DUAL_CRYPTO_OPERATIONS", token.dual_crypto_operations()),
        ("TOKEN_INITIALIZED", token.token_initialized()),
        ("USER_PIN_COUNT_LOW", token.user_pin_count_low()),
        ("USER_PIN_FINAL_TRY", token.user_pin_final_try()),
        ("USER_PIN_LOCKED", token.user_pin_locked()),
        ("USER_PIN_TO_BE_CHANGED", token.user_pin_to_be_changed()),
        ("ERROR_STATE", token.error_state()),
    ];
    all.into_iter().filter(|(_, is_set)| *is_set).map(|(name, _)| name.to_owned()).collect()
}

/// The object's `CKA_EC_POINT`; none where it does not tell it.
pub(super) fn point_bytes(session: &Session, object: ObjectHandle) -> Option<Vec<u8>> {
    let told = session.get_attributes(object, &[AttributeType::EcPoint]).ok()?;
    told.into_iter().find_map(|attribute| match attribute {
        Attribute::EcPoint(point) if !point.is_empty() => Some(point),
        _ => None,
    })
}

/// Whether it is a point of Ed25519, P-256 or P-384 without the OCTET STRING around it (PKCS#11 3.0 §2.3.3).
pub(super) fn is_bare_point(point: Vec<u8>) -> bool {
    [32, 65, 97].contains(&point.len())
}
