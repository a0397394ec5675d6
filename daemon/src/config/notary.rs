//! `[notary]`: the door for docker's content trust and the `notary` command.

use std::path::PathBuf;
use std::time::Duration;

use trust::format::tuf::Gun;

use super::TlsConfig;
use super::reader::Section;
use super::sections::client_cas;

/// The most prefixes of repository names.
const PREFIXES_MAX: usize = 256;
/// The longest of them, in bytes.
const PREFIX_BYTES_MAX: usize = 255;
/// The longest text of `[notary.token]`, in bytes.
const TEXT_BYTES_MAX: usize = 255;
/// A year: what HTTP caches are told at most, in seconds.
const AGE_MAX: u64 = 31_536_000;
/// How long a cache may keep what is current, in seconds.
const CURRENT_AGE: u64 = 300;
/// How long a cache may keep what is asked for by hash or version, in seconds.
const CONSISTENT_AGE: u64 = 2_592_000;
/// Connections at once.
const CONNECTIONS: usize = 1024;
/// The longest body of a request, in MiB.
const UPLOAD_MIB: usize = 32;

/// The listener for clients of Notary v1.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct NotaryConfig {
    /// Where it listens, what it shows, and who vouches for clients that have certificates.
    pub(crate) tls: TlsConfig,
    /// What the names of repositories begin with, each ending in `/`; empty: every name.
    pub(crate) gun_prefixes: Vec<String>,
    /// How clients say who they are.
    pub(crate) auth: NotaryAuth,
    /// How long caches may keep what is current.
    pub(crate) current_max_age: Duration,
    /// How long caches may keep what is asked for by hash or version.
    pub(crate) consistent_max_age: Duration,
    /// Open connections.
    pub(crate) connections_max: usize,
    /// The longest body of a request, in bytes.
    pub(crate) upload_bytes_max: usize,
    /// Whether `/metrics` answers others than this machine's own.
    pub(crate) metrics: bool,
}

impl NotaryConfig {
    /// Whether a repository of this name is served.
    #[must_use]
    pub(crate) fn serves(&self, gun: &Gun) -> bool {
        self.gun_prefixes.is_empty() || self.gun_prefixes.iter().any(|prefix| gun.as_str().starts_with(prefix))
    }
}

/// How clients of the Notary door say who they are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum NotaryAuth {
    /// Whoever comes is let in, as nobody; whoever shows a certificate, by that.
    None,
    /// By a client certificate; there is no handshake without one.
    Certificate,
    /// By a token of the registry's issuer, or by a client certificate.
    Token(BearerConfig),
}

/// Whose tokens are believed (the registry's token authentication).
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct BearerConfig {
    /// Where clients get tokens: a URL.
    pub(crate) realm: String,
    /// What this door is called in tokens.
    pub(crate) service: String,
    /// Who issues them.
    pub(crate) issuer: String,
    /// PEM certificates of the issuer, or of the authorities above it.
    pub(crate) rootcertbundle: PathBuf,
}

/// Reads the table.
pub(super) fn notary(mut section: Section) -> NotaryConfig {
    let tls = TlsConfig {
        listen: section.address("listen"),
        certificate: section.path("certificate"),
        key: section.path("key"),
        client_cas: client_cas(&mut section),
    };
    let gun_prefixes = section.texts(
        "gun_prefixes",
        "a list of at most 256 beginnings of repository names, each ending in /: \"registry.example.com/team/\"",
        PREFIXES_MAX,
        is_prefix,
    );
    let auth = auth(&mut section, tls.client_cas.is_empty(), gun_prefixes.is_empty());
    NotaryConfig {
        tls,
        gun_prefixes,
        auth,
        current_max_age: section.seconds("current_max_age_seconds", 0..=AGE_MAX, CURRENT_AGE),
        consistent_max_age: section.seconds("consistent_max_age_seconds", 0..=AGE_MAX, CONSISTENT_AGE),
        connections_max: section.count("connections_max", 1..=65_536, CONNECTIONS),
        upload_bytes_max: section.count("upload_mib_max", 1..=100, UPLOAD_MIB) << 20,
        metrics: section.flag("metrics", false),
    }
}

fn auth(section: &mut Section, no_authority: bool, every_name: bool) -> NotaryAuth {
    const WORDS: &str = "none, certificate or token";
    let word = section.text("auth", WORDS, |text| matches!(text, "none" | "certificate" | "token"));
    let has_token = section.has("token");
    let token = (has_token || word == "token").then(|| bearer(section.section("token")));
    if has_token && word != "token" {
        section.fault("token", "auth = \"token\" where this table is");
    }
    match (word.as_str(), token) {
        ("token", Some(token)) => NotaryAuth::Token(token),
        ("certificate", _) => {
            if no_authority {
                section.fault("client_ca", "at least one where auth is \"certificate\": nobody could come in");
            }
            NotaryAuth::Certificate
        }
        ("none", _) => {
            if every_name {
                section.fault("gun_prefixes", "at least one where auth is \"none\": strangers may name repositories");
            }
            NotaryAuth::None
        }
        // A fault already.
        _ => NotaryAuth::Certificate,
    }
}

fn bearer(mut section: Section) -> BearerConfig {
    let realm = section.text("realm", "an https:// or http:// address of printable characters", |text| {
        (text.starts_with("https://") || text.starts_with("http://")) && is_quotable(text) && !text.contains(' ')
    });
    let named = "1 to 255 printable characters without quotes";
    let service = section.text("service", named, is_quotable);
    // Accounts are written `NAME@ISSUER`, which must read one way only.
    let issuer = section.text("issuer", "1 to 255 printable characters without quotes and @", |text| {
        is_quotable(text) && !text.contains('@')
    });
    BearerConfig { realm, service, issuer, rootcertbundle: section.path("rootcertbundle") }
}

/// What may stand between the quotes of a header (RFC 9110 §5.6.4) as it is.
fn is_quotable(text: &str) -> bool {
    (1..=TEXT_BYTES_MAX).contains(&text.len())
        && text.bytes().all(|b| (b.is_ascii_graphic() || b == b' ') && !matches!(b, b'"' | b'\\'))
}

fn is_prefix(text: &str) -> bool {
    (2..=PREFIX_BYTES_MAX).contains(&text.len())
        && text.strip_suffix('/').is_some_and(|name| name.parse::<Gun>().is_ok())
}

#[cfg(test)]
mod tests {
    use crate::config::Config;

    const HEAD: &str = "data_directory = \"/d\"\nlog_origin = \"log.example.org\"\nsocket = \"/s\"\n\
                        [root_kek]\nfile = \"/k\"\n";
    const DOOR: &str = "[notary]\nlisten = \"127.0.0.1:4443\"\ncertificate = \"/c\"\nkey = \"/k\"\n";
    const TOKEN: &str = "[notary.token]\nrealm = \"https://auth.example.com/token\"\nservice = \"notary\"\n\
                         issuer = \"auth\"\nrootcertbundle = \"/b\"\n";
    const CA: &str = "[[notary.client_ca]]\ntrust_domain = \"example.com\"\ncertificate = \"/a\"\n";

    fn faults(more: &str) -> Vec<String> {
        Config::parse(&format!("{HEAD}{DOOR}{more}"))
            .err()
            .unwrap_or_default()
            .iter()
            .map(ToString::to_string)
            .collect()
    }

    #[test]
    fn each_way_to_say_who_one_is_needs_what_makes_it_safe() {
        let prefixes = "auth = \"none\"\ngun_prefixes = [\"registry.example.com/\"]\n";
        for good in [
            prefixes.to_owned(),
            format!("{prefixes}{CA}"),
            format!("auth = \"certificate\"\n{CA}"),
            format!("auth = \"token\"\n{TOKEN}"),
            format!("auth = \"token\"\n{TOKEN}{CA}"),
        ] {
            assert_eq!(faults(&good), Vec::<String>::new(), "{good}");
        }
        for (bad, place) in [
            (String::new(), "[notary] auth: expected none, certificate or token"),
            ("auth = \"basic\"\n".to_owned(), "[notary] auth: expected none, certificate or token"),
            ("auth = \"none\"\n".to_owned(), "[notary] gun_prefixes: expected at least one where auth is \"none\""),
            ("auth = \"certificate\"\n".to_owned(), "[notary] client_ca: expected at least one"),
            (format!("{prefixes}{TOKEN}"), "[notary] token: expected auth = \"token\""),
            ("auth = \"token\"\n".to_owned(), "[notary.token] realm"),
        ] {
            let found = faults(&bad);
            assert!(found.iter().any(|fault| fault.starts_with(place)), "{bad}: {found:?}");
        }
    }

    #[test]
    fn what_begins_with_a_prefix_is_served_and_without_one_everything() {
        let serves = |prefixes: &str, name: &str| {
            let config = Config::parse(&format!("{HEAD}{DOOR}auth = \"certificate\"\n{prefixes}{CA}")).unwrap();
            config.notary.unwrap().serves(&name.parse().unwrap())
        };
        let prefixes = "gun_prefixes = [\"a.io/\", \"b.io/team/\"]\n";

        for (name, expected) in [("a.io/x", true), ("b.io/team/x", true), ("b.io/teams/x", false), ("c.a.io/x", false)]
        {
            assert_eq!(serves(prefixes, name), expected, "{name}");
            assert!(serves("", name), "{name}");
        }
    }

    #[test]
    fn a_prefix_is_the_beginning_of_names_up_to_a_slash() {
        let with = |prefix: &str| faults(&format!("auth = \"none\"\ngun_prefixes = [\"{prefix}\"]\n"));

        for good in ["registry.example.com/", "localhost:5000/team/", "a/"] {
            assert_eq!(with(good), Vec::<String>::new(), "{good}");
        }
        for bad in ["", "/", "registry.example.com", "/a/", "../a/", "a//", "a*/", "a/./"] {
            assert!(!with(bad).is_empty(), "{bad}");
        }
    }

    #[test]
    fn what_stands_in_a_header_cannot_end_it() {
        let with = |key: &str, value: &str| {
            let lines = TOKEN.lines().map(|line| match line.split_once(" = ") {
                Some((name, _)) if name == key => format!("{key} = {value}\n"),
                _ => format!("{line}\n"),
            });
            faults(&format!("auth = \"token\"\n{}", lines.collect::<String>()))
        };

        for (key, bad) in [
            ("realm", "\"ftp://auth.example.com\""),
            ("realm", "\"https://a\\\"b\""),
            ("service", "'a\"b'"),
            ("service", "\"a\\nb\""),
            ("service", "\"\""),
            ("issuer", "\"a@b\""),
            ("rootcertbundle", "\"bundle.pem\""),
        ] {
            assert_eq!(with(key, bad).len(), 1, "{key} {bad}: {:?}", with(key, bad));
        }
    }
}
