//! The documents of the checkout, which tests do as they say.

use anyhow::{Context as _, Result, ensure};

use crate::program::checkout;

/// A document, such as `docs/tls.md`.
///
/// # Errors
/// When it cannot be read.
pub fn document(name: &str) -> Result<String> {
    std::fs::read_to_string(checkout().join(name)).with_context(|| format!("read {name}"))
}

/// The fenced blocks of a text that are marked as `language`, in order.
///
/// # Errors
/// When there are none: what is tested of each would be true of nothing.
pub fn blocks(text: &str, language: &str) -> Result<Vec<String>> {
    let fence = format!("```{language}\n");
    let found = text.split(&fence).skip(1).filter_map(|rest| rest.split("\n```").next());
    let found: Vec<String> = found.map(str::to_owned).collect();
    ensure!(!found.is_empty(), "no {language} block");
    Ok(found)
}
