//! Where a registry may send us (redirects, upload locations, token realms), and where not.
//!
//! A registry that could make us ask any address would be a way into networks that it cannot reach itself: the
//! metadata service of a cloud, a daemon on our loopback. Addresses are held where they are dialled, not where they
//! are named, so that a name cannot mean one thing when checked and another when used.

use std::net::{IpAddr, SocketAddr};

use reqwest::Url;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};

use super::address::Address;

/// Whose house a URL leads to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Way {
    /// Another host: no credentials, guarded addresses.
    Abroad,
    /// The registry itself.
    Home,
}

/// The way to `url`, which `home` sent us to.
///
/// # Errors
/// Why we do not go there.
pub(super) fn way(home: &Address, url: &Url) -> Result<Way, &'static str> {
    if !url.username().is_empty() || url.password().is_some() {
        return Err("a URL with credentials in it");
    }
    if home.is_home(url) {
        return Ok(Way::Home);
    }
    match url.scheme() {
        "https" => {}
        "http" if home.is_plain() => {}
        _ => return Err("that is not https"),
    }
    let literal = match url.host() {
        Some(url::Host::Ipv4(ip)) => Some(IpAddr::V4(ip)),
        Some(url::Host::Ipv6(ip)) => Some(IpAddr::V6(ip)),
        Some(url::Host::Domain(_)) => None,
        None => return Err("a URL without a host"),
    };
    if literal.is_some_and(|ip| !admits(ip, home.is_loopback())) {
        return Err("an address that no registry may send us to");
    }
    Ok(Way::Abroad)
}

/// False for addresses that mean "this machine" or "this link": they are nobody's business but ours. A registry that is
/// on the loopback itself may name the loopback.
fn admits(ip: IpAddr, home_is_loopback: bool) -> bool {
    let ip = ip.to_canonical();
    let local = match ip {
        IpAddr::V4(v4) => v4.is_link_local() || v4.is_broadcast() || v4.octets().first() == Some(&0),
        // fd00:ec2::254 is a metadata service, too.
        IpAddr::V6(v6) => v6.is_unicast_link_local() || v6.segments().starts_with(&[0xfd00, 0xec2]),
    };
    !local && !ip.is_multicast() && !ip.is_unspecified() && (home_is_loopback || !ip.is_loopback())
}

/// Resolves names as the system does, and drops the addresses that are not admitted.
pub(super) struct GuardedResolver {
    /// True when the registry itself is on the loopback.
    pub(super) home_is_loopback: bool,
}

impl Resolve for GuardedResolver {
    fn resolve(&self, name: Name) -> Resolving {
        let home_is_loopback = self.home_is_loopback;
        Box::pin(async move {
            // Port 0 is replaced by the URL's.
            let found = tokio::net::lookup_host((name.as_str(), 0)).await?;
            let admitted: Vec<SocketAddr> = found.filter(|at| admits(at.ip(), home_is_loopback)).collect();
            if admitted.is_empty() {
                return Err("it has no address that a registry may send us to".into());
            }
            let admitted: Addrs = Box::new(admitted.into_iter());
            Ok(admitted)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::super::address::PlainHttp;
    use super::*;

    fn way_from(registry: &str, url: &str) -> Result<Way, &'static str> {
        way(&Address::of(registry, PlainHttp::LoopbackOnly).unwrap(), &Url::parse(url).unwrap())
    }

    #[test]
    fn this_machine_and_this_link_are_not_gone_to() {
        for url in [
            "https://127.0.0.1/",
            "https://2130706433/",
            "https://0x7f.1/",
            "https://[::1]/",
            "https://[::ffff:127.0.0.1]/",
            "https://169.254.169.254/latest/meta-data",
            "https://[fe80::1]/",
            "https://[fd00:ec2::254]/",
            "https://0.0.0.0/",
            "https://[::]/",
            "https://224.0.0.1/",
            "http://storage.example.com/",
            "file:///etc/passwd",
            "unix:///run/docker.sock",
            "https://user:secret@storage.example.com/",
        ] {
            assert!(way_from("registry.example.com", url).is_err(), "{url}");
        }
        assert_eq!(way_from("registry.example.com", "https://storage.example.com/x"), Ok(Way::Abroad));
        assert_eq!(way_from("registry.example.com", "https://registry.example.com/x"), Ok(Way::Home));
    }

    #[test]
    fn a_registry_on_the_loopback_may_name_the_loopback_only() {
        assert_eq!(way_from("localhost:5000", "http://127.0.0.1:6000/x"), Ok(Way::Abroad));
        assert!(way_from("localhost:5000", "http://169.254.169.254/").is_err());
    }

    #[tokio::test]
    async fn a_name_that_resolves_to_the_loopback_is_not_dialled() {
        let guard = GuardedResolver { home_is_loopback: false };

        assert!(guard.resolve("localhost".parse().unwrap()).await.is_err());
        let guard = GuardedResolver { home_is_loopback: true };
        assert!(guard.resolve("localhost".parse().unwrap()).await.is_ok());
    }
}
