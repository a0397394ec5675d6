//! What is wrong with a configuration.

use std::fmt;

use super::Config;

/// What a file says, and what is wrong with it.
#[derive(Debug)]
pub(crate) struct Reading {
    /// What could be read; a faulty value is at its default, or empty. None of what is no TOML.
    pub(crate) config: Option<Config>,
    /// Every fault of the text.
    pub(crate) faults: Vec<ConfigFault>,
}

impl Reading {
    /// The configuration, if nothing is wrong with it.
    pub(crate) fn whole(self) -> Result<Config, Vec<ConfigFault>> {
        match self.config {
            Some(config) if self.faults.is_empty() => Ok(config),
            Some(_) | None => Err(self.faults),
        }
    }
}

impl From<ConfigFault> for Reading {
    fn from(fault: ConfigFault) -> Self {
        Self { config: None, faults: vec![fault] }
    }
}

/// One thing that is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ConfigFault {
    /// `[section] key`, or a path.
    pub(crate) place: String,
    /// What is wrong, and what was expected.
    pub(crate) what: String,
}

impl fmt::Display for ConfigFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // A key is whatever the file says, and this is shown on terminals.
        let plain = |text: &str| -> String {
            let quoting = |c: char| matches!(c, '"' | '\'' | '\\');
            text.chars().flat_map(|c| if quoting(c) { vec![c] } else { c.escape_debug().collect() }).collect()
        };
        write!(f, "{}: {}", plain(&self.place), plain(&self.what))
    }
}
