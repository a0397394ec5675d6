//! What can go wrong between us and a registry, by what the user can do about it.

use reqwest::StatusCode;

/// Longest text of a registry's own that goes to a terminal, in characters.
const SAID_CHARS_MAX: usize = 200;

/// Why a registry did not give or take something.
///
/// "It is not there" is no error: those verbs answer with an `Option`, so that an outage can never read as "unsigned".
#[derive(Debug, thiserror::Error)]
pub(crate) enum RegistryError {
    /// Our side: a credential file or helper, a certificate.
    #[error("credentials for registry {registry}: {why}")]
    Credentials {
        /// Which registry.
        registry: String,
        /// What is wrong with them.
        why: String,
    },
    /// It wants other credentials, or more rights than these have.
    #[error("registry {registry} refuses access ({status}){said}")]
    Denied {
        /// Which registry.
        registry: String,
        /// 401 or 403.
        status: StatusCode,
        /// Its own words, or nothing.
        said: String,
    },
    /// It sends us where we do not go.
    #[error("registry {registry} sends us to {to}: {why}")]
    Detour {
        /// Which registry.
        registry: String,
        /// Where to, without query.
        to: String,
        /// Why we do not go there.
        why: &'static str,
    },
    /// What it sent is not what it, or a digest, says it is.
    #[error("registry {registry} lies: {why}")]
    Lied {
        /// Which registry.
        registry: String,
        /// What did not match.
        why: String,
    },
    /// Others write the same tag again and again.
    #[error("registry {registry}: tag {tag} changed under each of {tries} attempts to add to it")]
    Raced {
        /// Which registry.
        registry: String,
        /// Which tag.
        tag: String,
        /// How often we tried.
        tries: u32,
    },
    /// An answer that the protocol does not have at this place.
    #[error("registry {registry} answers {status} to {asked}{said}")]
    Refused {
        /// Which registry.
        registry: String,
        /// Its status.
        status: StatusCode,
        /// What we asked for.
        asked: String,
        /// Its own words, or nothing.
        said: String,
    },
    /// Nobody answers, or not in time, or it is in trouble itself.
    #[error("registry {registry} cannot be reached: {why}")]
    Unreachable {
        /// Which registry.
        registry: String,
        /// What happened.
        why: String,
    },
}

/// The first error of a registry's JSON error body (OCI distribution-spec, error codes) as `: CODE message`, fit for a
/// terminal; empty where there is none.
pub(super) fn said(body: &[u8]) -> String {
    let Ok(json) = serde_json::from_slice::<serde_json::Value>(body) else { return String::new() };
    let first = json.get("errors").and_then(|errors| errors.get(0));
    let text = |name: &str| first.and_then(|e| e.get(name)).and_then(serde_json::Value::as_str).unwrap_or_default();
    let words = format!("{} {}", text("code"), text("message"));
    let words = printable(words.trim());
    if words.is_empty() { words } else { format!(": {words}") }
}

/// A stranger's text, fit for a terminal and not too long.
pub(crate) fn printable(text: &str) -> String {
    crate::failure::printable(text).chars().take(SAID_CHARS_MAX).collect()
}

/// An error and its sources in one line.
pub(super) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(source) = next {
        let more = source.to_string();
        if !text.contains(&more) {
            text = format!("{text}: {more}");
        }
        next = source.source();
    }
    printable(&text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_registry_cannot_write_to_the_terminal() {
        let body = serde_json::json!({"errors": [{"code": "DENIED", "message": "\u{1b}[2J".repeat(500)}]}).to_string();

        let words = said(body.as_bytes());

        assert!(words.starts_with(": DENIED"), "{words}");
        assert!(!words.chars().any(char::is_control) && words.chars().count() < 210);
        assert_eq!(said(b"<html>"), "");
    }
}
