//! The seam to container registries: OCI distribution-spec 1.1, as far as signatures need it.
//!
//! What it promises its callers: bytes have the digest and the size they were asked by; "not there" means that the
//! registry said so (404), never that it was down, denied us or made no sense; every body, redirect, page, wait and
//! retry has a bound. It knows nothing about signatures.
//!
//! Ours and not `oci-client`: see docs/decisions/0004-own-registry-client.md.

mod address;
mod authorization;
mod credential;
mod error;
mod exchange;
mod guard;
mod referrers;
mod trust_data;
mod upload;

#[cfg(test)]
pub(crate) mod hostile;
#[cfg(test)]
mod tests;

use reqwest::header::{ACCEPT, CONTENT_TYPE, ETAG, HeaderMap, HeaderValue, IF_MATCH, IF_NONE_MATCH};
use reqwest::{Method, StatusCode, Url};
use tokio::sync::Mutex;
use trust::{Repository, Sha256Digest, Tag};

use self::address::Address;
pub(crate) use self::address::PlainHttp;
pub(crate) use self::authorization::Access;
pub(crate) use self::credential::CredentialFiles;
pub(crate) use self::error::{RegistryError, printable};
pub(crate) use self::exchange::bounded_client;
use self::exchange::{Answer, Ask, Exchange, Patience};
use self::guard::Way;
pub(crate) use self::referrers::Referrers;
pub(crate) use self::trust_data::{ChangeCategory, TrustFeed, TrustServer};

/// The longest manifest (OCI distribution-spec, "limits").
pub(crate) const MANIFEST_BYTES_MAX: usize = 4 * 1024 * 1024;

/// What we can read; everything else a registry may have under a name is refused.
const MANIFEST_TYPES: &str = "application/vnd.oci.image.index.v1+json, application/vnd.oci.image.manifest.v1+json, \
     application/vnd.docker.distribution.manifest.list.v2+json, application/vnd.docker.distribution.manifest.v2+json";

const DIGEST_HEADER: &str = "docker-content-digest";

/// How a manifest is found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Place {
    /// By its content.
    Digest(Sha256Digest),
    /// By a name that may move.
    Tag(Tag),
}

impl std::fmt::Display for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Digest(digest) => digest.fmt(f),
            Self::Tag(tag) => tag.fmt(f),
        }
    }
}

/// A manifest as the registry sent it.
#[derive(Debug, Clone)]
pub(crate) struct Manifest {
    /// The exact bytes; never written again from what was parsed.
    pub(crate) bytes: Vec<u8>,
    /// SHA-256 of them.
    pub(crate) digest: Sha256Digest,
    /// `Content-Type` without parameters; what the bytes say decides.
    pub(crate) media_type: String,
    /// For a later [`Registry::put_manifest`].
    pub(crate) version: Version,
}

/// What a tag must still be when it is written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Version {
    /// It must not exist.
    Absent,
    /// Whatever it is.
    Any,
    /// What this `ETag` names.
    Tagged(HeaderValue),
}

/// What became of a manifest that was put.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Put {
    /// It is there.
    Done {
        /// The registry said that it lists the manifest as a referrer of its subject.
        subject_listed: bool,
    },
    /// Somebody else changed the tag since its version was read.
    Moved,
}

/// One repository of one registry, with the rights for one kind of access.
#[derive(Debug)]
pub(crate) struct Registry {
    channel: Channel,
    repository: Repository,
}

/// A server, and the rights for one kind of access to one repository there.
#[derive(Debug)]
struct Channel {
    exchange: Exchange,
    access: Access,
    /// What a token is asked for: the repository as this server calls it.
    scope: String,
    credentials: CredentialFiles,
    /// Whose credentials are shown, and for which repository there: those of a registry to its trust server, too.
    credentials_of: (Address, String),
    /// The header that opened the door last.
    authorization: Mutex<Option<HeaderValue>>,
}

impl Registry {
    /// A way to `repository`; nothing is asked of the registry yet.
    ///
    /// # Errors
    /// When its certificates in `/etc/docker/certs.d` cannot be used.
    pub(crate) fn open(
        repository: &Repository,
        access: Access,
        plain: PlainHttp,
        credentials: CredentialFiles,
    ) -> Result<Self, RegistryError> {
        let address = Address::of(repository.registry(), plain)?;
        let exchange = Exchange::new(address.clone(), &[], Patience::USUAL)?;
        let channel = Channel {
            exchange,
            access,
            scope: repository.path().to_owned(),
            credentials,
            credentials_of: (address, repository.to_string()),
            authorization: Mutex::new(None),
        };
        Ok(Self { channel, repository: repository.clone() })
    }

    /// Which repository this is.
    pub(crate) const fn repository(&self) -> &Repository {
        &self.repository
    }

    /// True where it is spoken to without TLS: engines must be told.
    pub(crate) fn is_plain(&self) -> bool {
        self.channel.exchange.address().is_plain()
    }

    /// The manifest at `place`, or `None` where the registry has none.
    ///
    /// # Errors
    /// [`RegistryError`]; `Lied` when the bytes have another digest than asked for, or announced.
    pub(crate) async fn manifest(&self, place: &Place) -> Result<Option<Manifest>, RegistryError> {
        let mut ask = Ask::new(Method::GET, self.url(&format!("manifests/{place}"))?, MANIFEST_BYTES_MAX);
        ask.headers.insert(ACCEPT, HeaderValue::from_static(MANIFEST_TYPES));
        let answer = self.channel.ask(&ask).await?;
        match answer.status {
            StatusCode::OK => self.received(place, answer).map(Some),
            StatusCode::NOT_FOUND => Ok(None),
            _ => Err(self.channel.refused(&ask, &answer)),
        }
    }

    fn received(&self, place: &Place, answer: Answer) -> Result<Manifest, RegistryError> {
        let digest = Sha256Digest::of(&answer.body);
        if let Place::Digest(asked) = place
            && *asked != digest
        {
            return Err(self.channel.exchange.lied(format!("asked for the manifest {asked} it sends {digest}")));
        }
        if let Some(announced) = text(&answer.headers, DIGEST_HEADER)
            && announced != digest.to_string()
        {
            let announced = printable(&announced);
            return Err(self
                .channel
                .exchange
                .lied(format!("it announces manifest {announced} at {place} and sends {digest}")));
        }
        let media_type = text(&answer.headers, CONTENT_TYPE.as_str()).unwrap_or_default();
        let media_type = media_type.split(';').next().unwrap_or_default().trim().to_owned();
        let version = answer.headers.get(ETAG).map_or(Version::Any, |etag| Version::Tagged(etag.clone()));
        Ok(Manifest { bytes: answer.body, digest, media_type, version })
    }

    /// The blob of this digest and exact size, or `None` where the registry has none.
    ///
    /// # Errors
    /// [`RegistryError`]; `Lied` for another size or digest. The size is held before anything is hashed.
    pub(crate) async fn blob(&self, digest: &Sha256Digest, bytes: usize) -> Result<Option<Vec<u8>>, RegistryError> {
        let ask = Ask::new(Method::GET, self.url(&format!("blobs/{digest}"))?, bytes);
        let answer = self.channel.ask(&ask).await?;
        match answer.status {
            StatusCode::OK => {}
            StatusCode::NOT_FOUND => return Ok(None),
            _ => return Err(self.channel.refused(&ask, &answer)),
        }
        if answer.body.len() != bytes {
            let sent = answer.body.len();
            return Err(self.channel.exchange.lied(format!("blob {digest} has {sent} bytes and should have {bytes}")));
        }
        let found = Sha256Digest::of(&answer.body);
        if found != *digest {
            return Err(self.channel.exchange.lied(format!("asked for the blob {digest} it sends {found}")));
        }
        Ok(Some(answer.body))
    }

    /// Puts a manifest, exactly these bytes.
    ///
    /// # Errors
    /// [`RegistryError`]; `Lied` when the registry claims another digest for it.
    pub(crate) async fn put_manifest(
        &self,
        place: &Place,
        media_type: &'static str,
        bytes: &[u8],
        version: &Version,
    ) -> Result<Put, RegistryError> {
        let digest = Sha256Digest::of(bytes);
        let mut ask = Ask::new(Method::PUT, self.url(&format!("manifests/{place}"))?, MANIFEST_BYTES_MAX);
        ask.body = bytes::Bytes::copy_from_slice(bytes);
        ask.headers.insert(CONTENT_TYPE, HeaderValue::from_static(media_type));
        // Registries that do not know these headers ignore them; the caller reads again in any case.
        match version {
            Version::Absent => ask.headers.insert(IF_NONE_MATCH, HeaderValue::from_static("*")),
            Version::Any => None,
            Version::Tagged(etag) => ask.headers.insert(IF_MATCH, etag.clone()),
        };
        let answer = self.channel.ask(&ask).await?;
        match answer.status {
            StatusCode::PRECONDITION_FAILED | StatusCode::CONFLICT => return Ok(Put::Moved),
            status if status.is_success() => {}
            _ => return Err(self.channel.refused(&ask, &answer)),
        }
        if let Some(claimed) = text(&answer.headers, DIGEST_HEADER)
            && claimed != digest.to_string()
        {
            let claimed = printable(&claimed);
            return Err(self
                .channel
                .exchange
                .lied(format!("it stores the manifest {digest} under the digest {claimed}")));
        }
        Ok(Put::Done { subject_listed: answer.headers.contains_key("oci-subject") })
    }

    /// `…/v2/<path>/<rest>`; both consist of characters that need no escape.
    fn url(&self, rest: &str) -> Result<Url, RegistryError> {
        let base = self.channel.exchange.address().base();
        base.join(&format!("{}/{rest}", self.repository.path()))
            .map_err(|_| self.channel.exchange.detour(base, "a repository that makes no URL"))
    }
}

impl Channel {
    /// Asks, and where the registry wants to know who we are, shows it and asks again, once.
    async fn ask(&self, ask: &Ask) -> Result<Answer, RegistryError> {
        let known = self.authorization.lock().await.clone();
        let mut answer = self.exchange.patiently(ask, known.as_ref()).await?;
        // A challenge from where we were redirected to is none of the registry's.
        if answer.status == StatusCode::UNAUTHORIZED && answer.from == Way::Home {
            let value = self.renewed(&answer.headers).await?;
            answer = self.exchange.patiently(ask, Some(&value)).await?;
        }
        if matches!(answer.status, StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN) {
            let registry = self.exchange.address().registry().to_owned();
            return Err(RegistryError::Denied { registry, status: answer.status, said: error::said(&answer.body) });
        }
        Ok(answer)
    }

    async fn renewed(&self, headers: &HeaderMap) -> Result<HeaderValue, RegistryError> {
        let (of, repository) = &self.credentials_of;
        let credential = self.credentials.find(of, repository).await?;
        let (access, scope) = (self.access, self.scope.as_str());
        let value = authorization::authorize(&self.exchange, headers, credential.as_ref(), access, scope).await?;
        *self.authorization.lock().await = Some(value.clone());
        Ok(value)
    }

    fn refused(&self, ask: &Ask, answer: &Answer) -> RegistryError {
        RegistryError::Refused {
            registry: self.exchange.address().registry().to_owned(),
            status: answer.status,
            asked: ask.words(),
            said: error::said(&answer.body),
        }
    }
}

fn text(headers: &HeaderMap, name: &str) -> Option<String> {
    headers.get(name).map(|value| String::from_utf8_lossy(value.as_bytes()).trim().to_owned())
}
