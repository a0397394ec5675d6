//! What a token says of itself, and what is known about its PIN: for people, and to know the token again.

use crate::TokenSelector;

/// What a token says of itself (`CK_TOKEN_INFO`, PKCS#11 2.40 §3.2), in words that a terminal and a log take.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct TokenFacts {
    /// Its label, at most 32 bytes.
    pub label: String,
    /// Its serial number, at most 16 bytes.
    pub serial: String,
    /// Who made it, at most 32 bytes.
    pub manufacturer: String,
    /// Which of the maker's, at most 16 bytes.
    pub model: String,
    /// The version of its firmware, at most 16 bytes: `2.6`.
    pub firmware: String,
    /// What its module calls itself, and the module's version, at most 48 bytes: `A library 2.6`; empty where it says nothing.
    pub module: String,
}

impl TokenFacts {
    const MANUFACTURER_BYTES_MAX: usize = 32;
    const MODEL_BYTES_MAX: usize = 16;
    const FIRMWARE_BYTES_MAX: usize = 16;
    const MODULE_BYTES_MAX: usize = 48;

    /// Takes what a module said: a stranger's words, so each is cut to its length and control characters are left out.
    #[must_use]
    pub fn new(label: &str, serial: &str, manufacturer: &str, model: &str, firmware: &str, module: &str) -> Self {
        Self {
            label: plain(label, TokenSelector::LABEL_BYTES_MAX),
            serial: plain(serial, TokenSelector::SERIAL_BYTES_MAX),
            manufacturer: plain(manufacturer, Self::MANUFACTURER_BYTES_MAX),
            model: plain(model, Self::MODEL_BYTES_MAX),
            firmware: plain(firmware, Self::FIRMWARE_BYTES_MAX),
            module: plain(module, Self::MODULE_BYTES_MAX),
        }
    }

    /// Whether a token that says this of itself is the one of these facts.
    pub(crate) fn is_of(&self, label: &str, serial: &str) -> bool {
        self.label == plain(label, TokenSelector::LABEL_BYTES_MAX)
            && self.serial == plain(serial, TokenSelector::SERIAL_BYTES_MAX)
    }
}

/// The text without control characters, at most so many bytes of it.
pub(crate) fn plain(text: &str, bytes_max: usize) -> String {
    let mut kept = String::new();
    for c in text.chars().filter(|c| !c.is_control()) {
        if kept.len().saturating_add(c.len_utf8()) > bytes_max {
            break;
        }
        kept.push(c);
    }
    kept
}

/// What is known about a token's PIN.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[expect(clippy::exhaustive_enums, reason = "closed set: status has a word for each")]
pub enum PinState {
    /// There is none: no file is configured, and nobody has logged in.
    Missing,
    /// It has opened the token and is kept.
    Proven,
    /// The token has refused the one that is in the file.
    Refused,
    /// One is in the file, and was not tried yet.
    Unproven,
}

impl PinState {
    /// The word for it in status.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Missing => "missing",
            Self::Proven => "proven",
            Self::Refused => "refused",
            Self::Unproven => "unproven",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_module_says_is_cut_and_has_no_control_characters() {
        let facts = TokenFacts::new(&"l\u{1b}é".repeat(40), &"7".repeat(100), "a\nb\0c", "", "2.6\r", "m\n");

        assert_eq!(facts.label, "lé".repeat(10) + "l", "32 bytes, no half of a character");
        assert_eq!(facts.serial, "7".repeat(16));
        assert_eq!((facts.manufacturer.as_str(), facts.model.as_str(), facts.firmware.as_str()), ("abc", "", "2.6"));
    }
}
