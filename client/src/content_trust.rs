//! The content trust switch (D4): on, unless it is switched off in so many words.
//!
//! docker's own default is off; ours is on, because a check that must be asked for is not there when it is needed.

use std::ffi::OsStr;

use trust::Repository;

use crate::config::Config;
use crate::failure::Failure;
use crate::pin;
use crate::trust_server::TrustServerEntry;

/// The environment variable that docker reads, too.
pub(crate) const VARIABLE: &str = "DOCKER_CONTENT_TRUST";

/// Whether signatures are looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ContentTrust {
    /// Only what is verified is pulled.
    On,
    /// Pulled unverified; every such pull says so.
    Off,
}

impl ContentTrust {
    /// From `--disable-content-trust[=BOOL]`, which decides where it is given, and `DOCKER_CONTENT_TRUST`.
    pub(crate) fn asked(disable: Option<bool>, variable: Option<&OsStr>) -> Self {
        match disable {
            Some(true) => Self::Off,
            Some(false) => Self::On,
            None if variable.is_some_and(is_false) => Self::Off,
            None => Self::On,
        }
    }

    /// What counts for `repository`: what was asked, unless the host, a pin or its trust server forbids "off".
    pub(crate) fn decide(self, config: &Config, repository: &Repository) -> Result<Self, Failure> {
        if self == Self::On {
            return Ok(Self::On);
        }
        if config.enforce {
            return Err(Failure::refused(
                "content trust is off, and this host allows no unverified image",
                format!(
                    "unset {VARIABLE} and leave --disable-content-trust away; enforce stands in {}",
                    config.places.host_file.display()
                ),
            ));
        }
        if pin::matching(&config.pins, repository).any(|pin| pin.required) {
            return Err(Failure::refused(
                format!("content trust is off, and a pin requires a valid signature for {repository}"),
                format!("unset {VARIABLE} and leave --disable-content-trust away; `trustctl pin list` shows the pin"),
            ));
        }
        if config.trust_servers.iter().find(|entry| entry.is_of(repository)).is_some_and(TrustServerEntry::is_required)
        {
            return Err(Failure::refused(
                format!("content trust is off, and trust data is required for {repository}"),
                format!("unset {VARIABLE} and leave --disable-content-trust away; [[trust_servers]] requires it"),
            ));
        }
        Ok(Self::Off)
    }
}

/// A word as Go's `strconv.ParseBool` reads it, which is what docker has for its options and variables.
pub(crate) fn go_bool(word: &str) -> Option<bool> {
    match word {
        "1" | "t" | "T" | "true" | "True" | "TRUE" => Some(true),
        "0" | "f" | "F" | "false" | "False" | "FALSE" => Some(false),
        _ => None,
    }
}

/// What cannot be read is not "off".
fn is_false(value: &OsStr) -> bool {
    value.to_str().and_then(go_bool) == Some(false)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::context::tests::{context, pin};

    #[test]
    fn only_what_go_reads_as_false_is_off() {
        for off in ["0", "f", "F", "false", "False", "FALSE"] {
            assert_eq!(ContentTrust::asked(None, Some(OsStr::new(off))), ContentTrust::Off, "{off}");
        }
        for on in ["1", "true", "", "off", "no", "fALSE", " 0", "00"] {
            assert_eq!(ContentTrust::asked(None, Some(OsStr::new(on))), ContentTrust::On, "{on}");
        }
        assert_eq!(ContentTrust::asked(None, None), ContentTrust::On);
    }

    #[test]
    fn the_option_decides_before_the_environment() {
        assert_eq!(ContentTrust::asked(Some(true), Some(OsStr::new("1"))), ContentTrust::Off);
        assert_eq!(ContentTrust::asked(Some(false), Some(OsStr::new("0"))), ContentTrust::On);
    }

    #[test]
    fn what_the_host_a_pin_or_a_trust_server_requires_turns_off_into_a_refusal() {
        let repository = Repository::parse("r.example.com/team/app").unwrap();
        let mut off = context();
        off.content_trust = ContentTrust::Off;
        assert_eq!(off.content_trust.decide(&off.config, &repository).unwrap(), ContentTrust::Off);

        off.config.pins = vec![pin("r.example.com/other")];
        off.config.pins[0].required = true;
        assert_eq!(off.content_trust.decide(&off.config, &repository).unwrap(), ContentTrust::Off);
        off.config.pins.push(pin("r.example.com/team/*"));
        off.config.pins[1].required = true;
        assert_eq!(off.content_trust.decide(&off.config, &repository).unwrap_err().exit().code(), 1);

        off.config.pins.clear();
        let gun = repository.as_str().parse().unwrap();
        off.config.trust_servers = vec![TrustServerEntry::at("https://n.example.com".into(), None, &gun)];
        let refused = off.content_trust.decide(&off.config, &repository).unwrap_err();
        assert_eq!(refused.exit().code(), 1);
        let another = Repository::parse("r.example.com/other").unwrap();
        assert_eq!(off.content_trust.decide(&off.config, &another).unwrap(), ContentTrust::Off);

        off.config.trust_servers.clear();
        off.config.enforce = true;
        assert_eq!(off.content_trust.decide(&off.config, &repository).unwrap_err().exit().code(), 1);
    }
}
