//! What every command needs to know: how it was called, what is configured, where the daemon is.

use crate::command_line::{CommandLine, EngineName};
use crate::config::Config;
use crate::connect::{self, Daemon, PEM_BYTES_MAX, Tls};
use crate::content_trust::{self, ContentTrust};
use crate::endpoint::{self, Authority, Endpoint};
use crate::enrolled::enrolled;
use crate::failure::Failure;
use crate::files;
use crate::output::Output;
use crate::places::Places;

/// One call of `trustctl`.
#[derive(Debug, Clone)]
pub(crate) struct Context {
    /// Where results go.
    pub(crate) output: Output,
    /// What is configured.
    pub(crate) config: Config,
    /// The daemon that signs; not the one that is believed.
    pub(crate) endpoint: Endpoint,
    /// The switch as it was asked for; [`ContentTrust::decide`] says what counts.
    pub(crate) content_trust: ContentTrust,
    /// The container engine that was asked for.
    pub(crate) engine: Option<EngineName>,
    /// Speak to registries without TLS.
    pub(crate) plain_http: bool,
}

impl Context {
    /// From the command line, the environment and the configuration.
    pub(crate) fn new(line: &CommandLine, output: Output) -> Result<Self, Failure> {
        let config = Config::load(Places::of_this_user())?;
        for remark in &config.remarks {
            output.warning(remark);
        }
        let variable = std::env::var_os(endpoint::VARIABLE)
            .map(|text| {
                text.into_string().map_err(|_| {
                    Failure::usage(format!("{} is not text", endpoint::VARIABLE), "set it to unix:///… or https://…")
                })
            })
            .transpose()?;
        Ok(Self {
            output,
            endpoint: Endpoint::choose(line.endpoint.as_deref(), variable.as_deref(), config.endpoint.as_deref())?,
            content_trust: ContentTrust::asked(
                line.disable_content_trust,
                std::env::var_os(content_trust::VARIABLE).as_deref(),
            ),
            engine: line.engine,
            plain_http: line.plain_http,
            config,
        })
    }

    /// Connects to the daemon that signs.
    pub(crate) async fn daemon(&self) -> Result<Daemon, Failure> {
        connect::connect(&self.endpoint, |authority| self.tls(authority)).await
    }

    /// The CA for a daemon on TCP: the one recorded for it, else the configured one.
    fn tls(&self, authority: &Authority) -> Result<Tls, Failure> {
        let address = format!("https://{authority}");
        let recorded = enrolled(&self.config.places)?.into_iter().find(|daemon| daemon.address == address);
        let ca = match (recorded, &self.config.tls.ca) {
            (Some(enrolled), _) => enrolled.ca.into_bytes(),
            (None, Some(path)) => files::read_named(path, PEM_BYTES_MAX)?,
            (None, None) => {
                return Err(Failure::usage(
                    format!("no CA is known for {address}"),
                    format!("trustctl enroll {address} --ca FILE, or ca in config.toml"),
                ));
            }
        };
        Tls::new(&ca, &self.config.tls)
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use std::path::{Path, PathBuf};

    use trust::PublicKey;
    use trust::scope::RepositoryPattern;

    use super::*;
    use crate::output::Format;
    use crate::pin::{Pin, PinSource};

    /// A call with nothing configured.
    pub(crate) fn context() -> Context {
        context_below(Path::new("/nonexistent"))
    }

    /// A call of a user whose files lie below `directory`.
    pub(crate) fn context_below(directory: &Path) -> Context {
        Context {
            output: Output::new(Format::Text),
            config: Config::load(Places::below(directory)).unwrap(),
            endpoint: Endpoint::Unix(PathBuf::from("/nonexistent")),
            content_trust: ContentTrust::On,
            engine: None,
            plain_http: false,
        }
    }

    /// A pin that the user added for `pattern`.
    pub(crate) fn pin(pattern: &str) -> Pin {
        // RFC 8032 §7.1, test 1.
        let key = hex::decode("d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a").unwrap();
        Pin {
            pattern: RepositoryPattern::normalise(pattern).unwrap(),
            key: PublicKey::from_ed25519_bytes(&key.try_into().unwrap()).unwrap(),
            any_tag: false,
            required: false,
            source: PinSource::Added,
        }
    }
}
