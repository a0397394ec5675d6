//! Trust data: a repository's TUF metadata, as Notary's servers have it, and which repositories they have.

use reqwest::{Method, StatusCode};
use serde::Deserialize;
use tokio::sync::Mutex;
use trust::{Gun, Repository};

use super::address::{Address, PlainHttp};
use super::exchange::{Ask, Exchange, Patience};
use super::{Access, Channel, CredentialFiles, RegistryError};

/// So many changes are asked for at once; a server may give fewer.
const CHANGES: usize = 1000;
/// The longest page of changes, in bytes.
const CHANGES_BYTES_MAX: usize = 4 * 1024 * 1024;

/// One repository's trust data on one server.
#[derive(Debug)]
pub(crate) struct TrustServer {
    channel: Channel,
    gun: Gun,
}

/// Everything that changed on one server.
#[derive(Debug)]
pub(crate) struct TrustFeed(Channel);

/// One change of it.
#[derive(Debug, Deserialize)]
pub(crate) struct FeedChange {
    /// Behind which the next page begins.
    #[serde(rename = "ID")]
    pub(crate) id: String,
    /// The repository.
    #[serde(rename = "GUN")]
    pub(crate) gun: String,
    /// What happened to it.
    #[serde(rename = "Category")]
    pub(crate) category: ChangeCategory,
}

/// What happened to a repository.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum ChangeCategory {
    /// All of its trust data was deleted.
    Deletion,
    /// It was published.
    Update,
}

/// A page; the original says `null` where there is nothing, in one of its stores.
#[derive(Deserialize)]
struct Changes {
    // An answer that leaves it out is no page.
    #[serde(deserialize_with = "Option::deserialize")]
    records: Option<Vec<FeedChange>>,
}

impl TrustServer {
    /// A way to the server at `url` (`https://host[:port]`); nothing is asked of it yet. It is shown the credentials of
    /// the repository's registry, as docker shows them, and its own where the name is no image's; `authorities` in PEM
    /// count for it beside the system's.
    ///
    /// # Errors
    /// When the URL or the certificates are none.
    pub(crate) fn open(
        url: &str,
        authorities: &[u8],
        gun: &Gun,
        plain: PlainHttp,
        credentials: CredentialFiles,
    ) -> Result<Self, RegistryError> {
        let channel = open(url, authorities, (gun, Access::Pull), plain, credentials)?;
        Ok(Self { channel, gun: gun.clone() })
    }

    /// A file of metadata of at most `bytes_max`, or `None` where the server has none. `name` is a role, with a version
    /// before it or a hash behind it: `root`, `2.root`, `targets.6b86…`.
    ///
    /// # Errors
    /// [`RegistryError`]
    pub(crate) async fn file(&self, name: &str, bytes_max: usize) -> Result<Option<Vec<u8>>, RegistryError> {
        let (base, gun) = (self.channel.exchange.address().base(), &self.gun);
        let url = base.join(&format!("/v2/{gun}/_trust/tuf/{name}.json"));
        let url = url.map_err(|_| self.channel.exchange.detour(base, "a repository that makes no URL"))?;
        let ask = Ask::new(Method::GET, url, bytes_max);
        let answer = self.channel.ask(&ask).await?;
        match answer.status {
            StatusCode::OK => Ok(Some(answer.body)),
            StatusCode::NOT_FOUND => Ok(None),
            _ => Err(self.channel.refused(&ask, &answer)),
        }
    }
}

impl TrustFeed {
    /// A way to the server at `url`, as for one of its repositories: that one's credentials are shown.
    ///
    /// # Errors
    /// When the URL or the certificates are none.
    pub(crate) fn open(
        url: &str,
        authorities: &[u8],
        gun: &Gun,
        plain: PlainHttp,
        credentials: CredentialFiles,
    ) -> Result<Self, RegistryError> {
        open(url, authorities, (gun, Access::Catalog), plain, credentials).map(Self)
    }

    /// The changes behind the one with this number, oldest first; none where there are no more.
    ///
    /// # Errors
    /// [`RegistryError`]
    pub(crate) async fn behind(&self, id: &str) -> Result<Vec<FeedChange>, RegistryError> {
        let base = self.0.exchange.address().base();
        let mut url = base.clone();
        url.set_path("/v2/_trust/changefeed");
        url.query_pairs_mut().append_pair("change_id", id).append_pair("records", &CHANGES.to_string());
        let ask = Ask::new(Method::GET, url, CHANGES_BYTES_MAX);
        let answer = self.0.ask(&ask).await?;
        if answer.status != StatusCode::OK {
            return Err(self.0.refused(&ask, &answer));
        }
        let page: Changes = serde_json::from_slice(&answer.body)
            .map_err(|_| self.0.exchange.lied("its changefeed is not one of Notary's".to_owned()))?;
        Ok(page.records.unwrap_or_default())
    }
}

fn open(
    url: &str,
    authorities: &[u8],
    (gun, access): (&Gun, Access),
    plain: PlainHttp,
    credentials: CredentialFiles,
) -> Result<Channel, RegistryError> {
    let address = Address::of_trust_server(url, plain)
        .map_err(|why| RegistryError::Unreachable { registry: url.to_owned(), why: why.to_owned() })?;
    // A name that is no image's has no registry, whatever it begins with.
    let credentials_of = match Repository::parse(gun.as_str()) {
        Ok(repository) => (Address::of(repository.registry(), plain)?, repository.to_string()),
        Err(_) => (address.clone(), address.registry().to_owned()),
    };
    Ok(Channel {
        exchange: Exchange::new(address, authorities, Patience::USUAL)?,
        access,
        scope: gun.to_string(),
        credentials,
        credentials_of,
        authorization: Mutex::new(None),
    })
}
