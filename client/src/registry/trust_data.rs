//! Trust data: a repository's TUF metadata, as Notary's servers have it.

use reqwest::{Method, StatusCode};
use tokio::sync::Mutex;
use trust::Repository;

use super::address::{Address, PlainHttp};
use super::exchange::{Ask, Exchange, Patience};
use super::{Access, CredentialFiles, Registry, RegistryError};

/// One repository's trust data on one server.
#[derive(Debug)]
pub(crate) struct TrustServer(Registry);

impl TrustServer {
    /// A way to the server at `url` (`https://host[:port]`); nothing is asked of it yet. It is shown the credentials of
    /// the repository's registry, as docker shows them, and `authorities` in PEM count for it beside the system's.
    ///
    /// # Errors
    /// When the URL or the certificates are none.
    pub(crate) fn open(
        url: &str,
        authorities: &[u8],
        repository: &Repository,
        plain: PlainHttp,
        credentials: CredentialFiles,
    ) -> Result<Self, RegistryError> {
        let address = Address::of_trust_server(url, plain)
            .map_err(|why| RegistryError::Unreachable { registry: url.to_owned(), why: why.to_owned() })?;
        Ok(Self(Registry {
            exchange: Exchange::new(address, authorities, Patience::USUAL)?,
            repository: repository.clone(),
            access: Access::Pull,
            scope: repository.as_str().to_owned(),
            credentials,
            credentials_of: Address::of(repository.registry(), plain)?,
            authorization: Mutex::new(None),
        }))
    }

    /// A file of metadata of at most `bytes_max`, or `None` where the server has none. `name` is a role, with a version
    /// before it or a hash behind it: `root`, `2.root`, `targets.6b86…`.
    ///
    /// # Errors
    /// [`RegistryError`]
    pub(crate) async fn file(&self, name: &str, bytes_max: usize) -> Result<Option<Vec<u8>>, RegistryError> {
        let (base, repository) = (self.0.exchange.address().base(), self.0.repository.as_str());
        let url = base.join(&format!("/v2/{repository}/_trust/tuf/{name}.json"));
        let url = url.map_err(|_| self.0.exchange.detour(base, "a repository that makes no URL"))?;
        let ask = Ask::new(Method::GET, url, bytes_max);
        let answer = self.0.ask(&ask).await?;
        match answer.status {
            StatusCode::OK => Ok(Some(answer.body)),
            StatusCode::NOT_FOUND => Ok(None),
            _ => Err(self.0.refused(&ask, &answer)),
        }
    }
}
