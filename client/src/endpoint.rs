//! Where the daemon is: from the call, the environment, the configuration, or the default socket.

use std::fmt;
use std::path::{Path, PathBuf};

use url::Url;

use crate::failure::Failure;

/// The environment variable that names a daemon.
pub(crate) const VARIABLE: &str = "TRUSTD_ADDR";

/// The socket of the host's daemon.
const HOST_SOCKET: &str = "/run/trustd/trustd.sock";

/// The port of https.
const DEFAULT_PORT: u16 = 443;

/// A daemon's address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Endpoint {
    /// A Unix socket.
    Unix(PathBuf),
    /// TCP with TLS 1.3.
    Https(Authority),
}

/// Host and port of a daemon on TCP.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Authority {
    /// A DNS name or an IP address, without brackets.
    pub(crate) host: String,
    /// The port.
    pub(crate) port: u16,
}

impl Endpoint {
    /// Reads `unix:///path` or `https://host[:port]`.
    pub(crate) fn parse(text: &str) -> Result<Self, Failure> {
        let malformed = || {
            Failure::usage(
                format!("{text:?} is not the address of a daemon"),
                "it has to be unix:///path/to/socket or https://host:port",
            )
        };
        if let Some(path) = text.strip_prefix("unix://") {
            // sun_path has room for 107 bytes and its end.
            let fits = path.starts_with('/') && path.len() <= 107 && !path.contains('\0');
            return if fits { Ok(Self::Unix(PathBuf::from(path))) } else { Err(malformed()) };
        }
        let url = Url::parse(text).map_err(|_| malformed())?;
        let bare = url.username().is_empty()
            && url.password().is_none()
            && matches!(url.path(), "" | "/")
            && url.query().is_none()
            && url.fragment().is_none();
        let host = url.host().map(|host| match host {
            url::Host::Ipv6(address) => address.to_string(),
            other => other.to_string(),
        });
        match (url.scheme(), host) {
            ("https", Some(host)) if bare && !host.is_empty() => {
                Ok(Self::Https(Authority { host, port: url.port().unwrap_or(DEFAULT_PORT) }))
            }
            _ => Err(malformed()),
        }
    }

    /// The first that is given: in the call, in the environment, in the configuration; else the default socket.
    pub(crate) fn choose(
        option: Option<&str>,
        variable: Option<&str>,
        configured: Option<&str>,
    ) -> Result<Self, Failure> {
        match [option, variable, configured].into_iter().flatten().find(|text| !text.is_empty()) {
            Some(text) => Self::parse(text),
            None => Ok(Self::Unix(default_socket())),
        }
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unix(path) => write!(f, "unix://{}", path.display()),
            Self::Https(authority) => write!(f, "https://{authority}"),
        }
    }
}

impl fmt::Display for Authority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            write!(f, "[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{}:{}", self.host, self.port)
        }
    }
}

/// The socket a daemon without configuration makes (D25): the user's own where there is one, else the host's.
pub(crate) fn default_socket() -> PathBuf {
    let variable = |name: &str| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    own_socket(rustix::process::geteuid().is_root(), variable)
        .filter(|own| own.exists() || !Path::new(HOST_SOCKET).exists())
        .unwrap_or_else(|| PathBuf::from(HOST_SOCKET))
}

/// Where `trustd serve`, run by a user without configuration, listens.
fn own_socket(root: bool, variable: impl Fn(&str) -> Option<PathBuf>) -> Option<PathBuf> {
    if root {
        return None;
    }
    variable("XDG_RUNTIME_DIR").map(|run| run.join("trustd/trustd.sock")).or_else(|| {
        variable("XDG_DATA_HOME")
            .or_else(|| variable("HOME").map(|home| home.join(".local/share")))
            .map(|data| data.join("trustd.sock"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn https(host: &str, port: u16) -> Endpoint {
        Endpoint::Https(Authority { host: host.to_owned(), port })
    }

    #[test]
    fn an_address_is_read_and_written_the_same() {
        for (text, endpoint) in [
            ("unix:///run/trustd/trustd.sock", Endpoint::Unix("/run/trustd/trustd.sock".into())),
            ("https://t.example.com:8443", https("t.example.com", 8443)),
            ("https://[::1]:8443", https("::1", 8443)),
        ] {
            assert_eq!(Endpoint::parse(text).unwrap(), endpoint);
            assert_eq!(endpoint.to_string(), text);
        }
        assert_eq!(Endpoint::parse("https://t.example.com/").unwrap(), https("t.example.com", 443));
    }

    #[test]
    fn what_is_no_address_is_a_usage_error() {
        for text in [
            "",
            "/run/trustd.sock",
            "unix://relative",
            "unix:///a\0b",
            "http://t.example.com",
            "https://",
            "https://user@t.example.com",
            "https://t.example.com/path",
            "https://t.example.com?x",
            "https://t.example.com:99999",
        ] {
            assert_eq!(Endpoint::parse(text).unwrap_err().exit().code(), 2, "{text}");
        }
    }

    proptest::proptest! {
        #[test]
        fn whatever_is_typed_is_an_address_with_one_spelling_or_an_error(text in "(unix://|https://|)[ -~é]{0,40}") {
            if let Ok(endpoint) = Endpoint::parse(&text) {
                assert_eq!(Endpoint::parse(&endpoint.to_string()).unwrap(), endpoint);
            }
        }
    }

    #[test]
    fn the_call_goes_before_the_environment_and_that_before_the_configuration() {
        let choose = |option, variable, configured| Endpoint::choose(option, variable, configured).unwrap().to_string();

        assert_eq!(choose(Some("unix:///a"), Some("unix:///b"), Some("unix:///c")), "unix:///a");
        assert_eq!(choose(None, Some("unix:///b"), Some("unix:///c")), "unix:///b");
        assert_eq!(choose(None, Some(""), Some("unix:///c")), "unix:///c");
        assert!(choose(None, None, None).starts_with("unix:///"));
    }

    #[test]
    fn the_default_socket_is_where_the_daemon_makes_it() {
        let variables = |given: &'static [(&str, &str)]| {
            move |name: &str| given.iter().find(|(known, _)| *known == name).map(|(_, value)| PathBuf::from(value))
        };
        let own = |given| own_socket(false, variables(given));

        assert_eq!(own(&[("XDG_RUNTIME_DIR", "/run/user/7")]), Some("/run/user/7/trustd/trustd.sock".into()));
        assert_eq!(own(&[("HOME", "/home/a")]), Some("/home/a/.local/share/trustd.sock".into()));
        assert_eq!(own(&[]), None);
        assert_eq!(own_socket(true, variables(&[("HOME", "/root")])), None);
    }
}
