//! Where a registry is spoken to: its name made a URL.

use std::net::Ipv4Addr;

use reqwest::Url;

use super::error::RegistryError;

/// Whether a registry that is not on this machine may be spoken to without TLS.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum PlainHttp {
    /// The user asked for it.
    Asked,
    /// Only on the loopback, as docker does.
    LoopbackOnly,
}

/// A registry by name, and how to reach it.
#[derive(Debug, Clone)]
pub(crate) struct Address {
    /// As references name it: `docker.io`, `localhost:5000`.
    registry: String,
    /// `https://registry-1.docker.io/v2/`.
    base: Url,
}

impl Address {
    /// The address of the registry that canonical references call `registry`.
    pub(super) fn of(registry: &str, plain: PlainHttp) -> Result<Self, RegistryError> {
        let host = if registry == "docker.io" { "registry-1.docker.io" } else { registry };
        let scheme = if plain == PlainHttp::Asked || on_loopback(host) { "http" } else { "https" };
        let base = Url::parse(&format!("{scheme}://{host}/v2/")).map_err(|error| RegistryError::Unreachable {
            registry: registry.to_owned(),
            why: format!("its name makes no URL: {error}"),
        })?;
        Ok(Self { registry: registry.to_owned(), base })
    }

    /// The address of a server of trust data by its URL, `https://host[:port]`.
    ///
    /// # Errors
    /// Why that is none.
    pub(super) fn of_trust_server(url: &str, plain: PlainHttp) -> Result<Self, &'static str> {
        let mut base = Url::parse(url).map_err(|_| "it is no URL")?;
        let host = base.host_str().ok_or("it has no host")?;
        let may_be_plain = plain == PlainHttp::Asked || on_loopback(host);
        let registry = base.port().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"));
        match base.scheme() {
            "https" => {}
            "http" if may_be_plain => {}
            _ => return Err("it is not https"),
        }
        if !matches!(base.path(), "" | "/") || base.query().is_some() || base.fragment().is_some() {
            return Err("it has more than a host and a port");
        }
        if !base.username().is_empty() || base.password().is_some() {
            return Err("it has credentials in it");
        }
        base.set_path("/v2/");
        Ok(Self { registry, base })
    }

    /// The registry's name in references.
    pub(crate) fn registry(&self) -> &str {
        &self.registry
    }

    /// True where this registry is spoken to without TLS.
    pub(crate) fn is_plain(&self) -> bool {
        self.base.scheme() == "http"
    }

    /// True for a registry on this machine.
    pub(super) fn is_loopback(&self) -> bool {
        self.base.host_str().is_some_and(on_loopback)
    }

    /// The base of all requests, `…/v2/`.
    pub(super) const fn base(&self) -> &Url {
        &self.base
    }

    /// True when `url` goes to this very registry: scheme, host and port.
    pub(super) fn is_home(&self, url: &Url) -> bool {
        url.scheme() == self.base.scheme()
            && url.host_str() == self.base.host_str()
            && url.port_or_known_default() == self.base.port_or_known_default()
    }

    /// Under which name docker keeps credentials of this registry.
    pub(super) fn credential_key(&self) -> &str {
        if self.registry == "docker.io" { "https://index.docker.io/v1/" } else { &self.registry }
    }
}

/// `localhost` and 127.0.0.0/8, with or without a port.
fn on_loopback(host: &str) -> bool {
    let name = host.split(':').next().unwrap_or_default();
    name == "localhost" || name.parse::<Ipv4Addr>().is_ok_and(|ip| ip.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_http_is_for_the_loopback_and_for_whoever_asks() {
        let url = |registry, plain| Address::of(registry, plain).unwrap().base().to_string();

        assert_eq!(url("registry.example.com", PlainHttp::LoopbackOnly), "https://registry.example.com/v2/");
        assert_eq!(url("registry.example.com:5000", PlainHttp::Asked), "http://registry.example.com:5000/v2/");
        for registry in ["localhost:5000", "127.0.0.1:5000", "127.9.9.9:1"] {
            assert!(url(registry, PlainHttp::LoopbackOnly).starts_with("http://"), "{registry}");
        }
        for registry in ["localhost.example.com", "127.0.0.1.example.com", "10.0.0.1:5000"] {
            assert!(url(registry, PlainHttp::LoopbackOnly).starts_with("https://"), "{registry}");
        }
    }

    #[test]
    fn a_trust_server_is_a_host_and_nothing_else() {
        let of = |url| Address::of_trust_server(url, PlainHttp::LoopbackOnly);

        let known = of("https://notary.example.com:4443").unwrap();
        assert_eq!(known.base().as_str(), "https://notary.example.com:4443/v2/");
        assert_eq!(known.registry(), "notary.example.com:4443");
        assert!(of("http://localhost:4443/").is_ok());
        for bad in [
            "notary.example.com",
            "http://notary.example.com",
            "https://notary.example.com/path",
            "https://notary.example.com/?a",
            "https://user@notary.example.com/",
            "ftp://notary.example.com",
        ] {
            assert!(of(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn docker_hub_is_spoken_to_by_another_name() {
        let hub = Address::of("docker.io", PlainHttp::LoopbackOnly).unwrap();

        assert_eq!(hub.base().as_str(), "https://registry-1.docker.io/v2/");
        assert_eq!(hub.credential_key(), "https://index.docker.io/v1/");
    }

    #[test]
    fn another_port_or_scheme_is_not_home() {
        let home = Address::of("localhost:5000", PlainHttp::LoopbackOnly).unwrap();
        let is_home = |url: &str| home.is_home(&Url::parse(url).unwrap());

        assert!(is_home("http://localhost:5000/elsewhere"));
        assert!(!is_home("https://localhost:5000/"));
        assert!(!is_home("http://localhost:5001/"));
        assert!(!is_home("http://127.0.0.1:5000/"));
    }
}
