//! Canonical names of images: `registry/repository:tag`.

use std::fmt;
use std::str::FromStr;

use crate::Malformed;
#[cfg(feature = "formats")]
use crate::Sha256Digest;

/// A canonical repository: `registry.example.com[:port]/path/of/it`.
///
/// Lower case, the registry always written out (`docker.io/library/busybox`),
/// never with the default port 443. [`Repository::parse`] refuses every other
/// spelling, so that one repository has one name; [`Repository::normalise`] is
/// for what a person types.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Repository {
    /// `host[:port]/path`.
    text: String,
    /// Where the first `/` stands.
    slash: usize,
}

const REPOSITORY: Malformed = Malformed::new(
    "repository",
    "canonical registry/path: registry written out in lower case without :443, docker.io for Docker Hub, path \
     segments of a-z 0-9 joined by . _ __ or -, at most 255 characters",
);

impl Repository {
    /// The longest repository name, in bytes (distribution's limit).
    pub const BYTES_MAX: usize = 255;

    /// Reads a canonical name and refuses every other.
    ///
    /// # Errors
    /// [`Malformed`] for a name that is not canonical.
    pub fn parse(text: &str) -> Result<Self, Malformed> {
        let (registry, path) = text.split_once('/').ok_or(REPOSITORY)?;
        let canonical_hub = registry != "index.docker.io" && registry != "registry-1.docker.io";
        let hub_path_ok = registry != "docker.io" || path.contains('/');
        if text.len() > Self::BYTES_MAX
            || !canonical_hub
            || !hub_path_ok
            || !registry_ok(registry)
            || !path.split('/').all(path_component_ok)
        {
            return Err(REPOSITORY);
        }
        Ok(Self { text: text.to_owned(), slash: registry.len() })
    }

    /// Reads what a person types, as docker does: `busybox` is
    /// `docker.io/library/busybox`, a default port is dropped, the registry is
    /// taken in any case.
    ///
    /// # Errors
    /// [`Malformed`] when no canonical name can be made of it.
    pub fn normalise(typed: &str) -> Result<Self, Malformed> {
        // docker's rule: the first part is a registry only if it looks like a host.
        let (registry, path) = match typed.split_once('/') {
            Some((first, rest))
                if first.contains(['.', ':'])
                    || first == "localhost"
                    || first.bytes().any(|b| b.is_ascii_uppercase()) =>
            {
                (first.to_ascii_lowercase(), rest.to_owned())
            }
            _ => ("docker.io".to_owned(), typed.to_owned()),
        };
        let registry = registry.strip_suffix(":443").unwrap_or(&registry);
        let registry = match registry {
            "index.docker.io" | "registry-1.docker.io" => "docker.io",
            other => other,
        };
        let path = if registry == "docker.io" && !path.contains('/') { format!("library/{path}") } else { path };
        Self::parse(&format!("{registry}/{path}"))
    }

    /// `host[:port]`.
    #[must_use]
    pub fn registry(&self) -> &str {
        self.text.get(..self.slash).unwrap_or_default()
    }

    /// What follows the registry: `team/app`.
    #[must_use]
    pub fn path(&self) -> &str {
        self.text.get(self.slash.saturating_add(1)..).unwrap_or_default()
    }

    /// The whole name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }
}

impl fmt::Display for Repository {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// `host[:port]`, lower case, port 1 to 65535 without leading zero and not 443.
fn registry_ok(registry: &str) -> bool {
    let (host, port) = match registry.split_once(':') {
        Some((host, port)) => (host, Some(port)),
        None => (registry, None),
    };
    let label_ok = |label: &str| {
        !label.is_empty()
            && label.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    let port_ok = port.is_none_or(|port| {
        port != "443"
            && !port.starts_with('0')
            && port.bytes().all(|b| b.is_ascii_digit())
            && port.parse::<u16>().is_ok()
    });
    let looks_like_a_host = host == "localhost" || host.contains('.') || port.is_some();
    host.split('.').all(label_ok) && port_ok && looks_like_a_host
}

/// `[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*` (distribution reference grammar).
fn path_component_ok(component: &str) -> bool {
    let alphanumeric = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    let bytes = component.as_bytes();
    let edges_ok = bytes.first().copied().is_some_and(alphanumeric) && bytes.last().copied().is_some_and(alphanumeric);
    let separators_ok = component
        .split(|c: char| c.is_ascii_lowercase() || c.is_ascii_digit())
        .filter(|separator| !separator.is_empty())
        .all(|separator| matches!(separator, "." | "_" | "__") || separator.bytes().all(|b| b == b'-'));
    edges_ok && separators_ok
}

/// A tag: `[A-Za-z0-9_][A-Za-z0-9._-]{0,127}`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Tag(String);

impl Tag {
    /// `sha256-<hex>` and `suffix`: where what is about a manifest lies, in registries that know no better.
    #[cfg(feature = "formats")]
    pub(crate) fn of_digest(digest: &Sha256Digest, suffix: &'static str) -> Self {
        Self(format!("sha256-{}{suffix}", digest.to_hex()))
    }

    /// The tag as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Tag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for Tag {
    type Err = Malformed;

    fn from_str(text: &str) -> Result<Self, Malformed> {
        let first_ok = text.starts_with(|c: char| c.is_ascii_alphanumeric() || c == '_');
        let rest_ok = text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-'));
        if !first_ok || !rest_ok || text.len() > 128 {
            return Err(Malformed::new("tag", "1 to 128 of A-Z a-z 0-9 _ . -, not starting with . or -"));
        }
        Ok(Self(text.to_owned()))
    }
}

/// What an image signature names: `registry/repository:tag`, canonical.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Reference {
    /// Registry and path.
    pub repository: Repository,
    /// The tag.
    pub tag: Tag,
}

impl Reference {
    /// Reads a canonical `registry/repository:tag` and refuses every other spelling.
    ///
    /// # Errors
    /// [`Malformed`] for a name that is not canonical, has no tag, or has a digest.
    pub fn parse(text: &str) -> Result<Self, Malformed> {
        let (repository, tag) =
            split_tag(text).ok_or(Malformed::new("reference", "canonical registry/repository:tag"))?;
        Ok(Self { repository: Repository::parse(repository)?, tag: tag.parse()? })
    }

    /// Reads what a person types; without a tag it is `latest`, as docker has it.
    ///
    /// # Errors
    /// [`Malformed`] when no canonical reference can be made of it.
    pub fn normalise(typed: &str) -> Result<Self, Malformed> {
        let (repository, tag) = split_tag(typed).unwrap_or((typed, "latest"));
        Ok(Self { repository: Repository::normalise(repository)?, tag: tag.parse()? })
    }
}

/// Splits at the last `:` that stands behind the last `/`.
fn split_tag(text: &str) -> Option<(&str, &str)> {
    let (repository, tag) = text.rsplit_once(':')?;
    (!tag.contains('/')).then_some((repository, tag))
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.repository, self.tag)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_repository_has_one_canonical_name() {
        for typed in
            ["busybox", "docker.io/busybox", "index.docker.io/library/busybox", "docker.io:443/library/busybox"]
        {
            assert_eq!(Repository::normalise(typed).unwrap().as_str(), "docker.io/library/busybox", "{typed}");
        }
        assert_eq!(
            Repository::normalise("Registry.Example.com/team/app").unwrap().as_str(),
            "registry.example.com/team/app"
        );
        assert_eq!(Repository::normalise("localhost:5000/app").unwrap().registry(), "localhost:5000");
    }

    #[test]
    fn the_daemon_refuses_every_other_spelling() {
        for text in [
            "busybox:1",
            "docker.io/busybox:1",
            "index.docker.io/library/busybox:1",
            "Registry.example.com/app:1",
            "registry.example.com:443/app:1",
            "registry.example.com/App:1",
            "registry.example.com/app",
            "registry.example.com/a//b:1",
            "registry.example.com/../b:1",
            "registry.example.com/app:",
            "registry.example.com/app:1@sha256:00",
            "team/app:1",
            "registry.example.com/a___b:1",
            "registry.example.com/-a:1",
            "registry.example.com/app:.1",
            "",
            "/",
            ":",
            "a b/c:1",
            "\u{0}/a:1",
            "registry.example.com:0443/app:1",
            "registry.example.com:99999/app:1",
        ] {
            assert!(Reference::parse(text).is_err(), "{text}");
        }
        assert!(Reference::parse("registry.example.com:5000/team/app__x-y.z:V1.0").is_ok());
        assert!(Reference::parse("docker.io/library/busybox:latest").is_ok());
    }

    #[test]
    fn whatever_normalises_is_canonical() {
        for typed in ["busybox", "busybox:1", "localhost/app", "LOCALHOST:5000/app:x", "a.b:443/c"] {
            let reference = Reference::normalise(typed).unwrap();
            assert_eq!(Reference::parse(&reference.to_string()).unwrap(), reference, "{typed}");
        }
    }
}
