//! One request and its answer: bounded in size, time, redirects and patience.
//!
//! Redirects are followed here and not by the HTTP library, because each hop must be judged, and credentials must not
//! go along to another host.

use std::path::Path;
use std::time::Duration;

use bytes::Bytes;
use reqwest::header::{AUTHORIZATION, CONTENT_LENGTH, HeaderMap, HeaderValue, LOCATION, RETRY_AFTER};
use reqwest::{Client, ClientBuilder, Method, StatusCode, Url};

use tokio::sync::OnceCell;

use super::address::Address;
use super::error::{RegistryError, chain};
use super::guard::{GuardedResolver, Way, way};

const CONNECT_LIMIT: Duration = Duration::from_secs(10);
/// Longest silence in an answer.
const SILENCE_LIMIT: Duration = Duration::from_secs(30);
/// Longest whole request; nothing that we move is large.
const REQUEST_LIMIT: Duration = Duration::from_secs(120);
const REDIRECTS_MAX: u32 = 5;
/// Of an error's body no more is read.
const ERROR_BYTES_MAX: usize = 64 * 1024;
/// Directories with `HOST[:PORT]/*.crt`, as docker and podman have them.
const CERTIFICATES: [&str; 2] = ["/etc/docker/certs.d", "/etc/containers/certs.d"];
/// A certificate file is not larger.
const CERTIFICATE_BYTES_MAX: u64 = 1024 * 1024;

/// Who may read the authorization that goes with a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Reader {
    /// The registry itself, and nobody it redirects to.
    Registry,
    /// The token realm at this URL, already judged; its redirects are not followed.
    Realm,
}

/// What is asked of the registry.
#[derive(Debug, Clone)]
pub(super) struct Ask {
    pub(super) method: Method,
    pub(super) url: Url,
    pub(super) headers: HeaderMap,
    pub(super) body: Bytes,
    /// The longest body of a good answer.
    pub(super) bytes_max: usize,
}

impl Ask {
    /// A request without a body.
    pub(super) fn new(method: Method, url: Url, bytes_max: usize) -> Self {
        Self { method, url, headers: HeaderMap::new(), body: Bytes::new(), bytes_max }
    }

    /// What it is, for messages: `GET /v2/team/app/manifests/1.0`.
    pub(super) fn words(&self) -> String {
        format!("{} {}", self.method, self.url.path())
    }
}

/// What came back.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    /// Whole for a good answer, its beginning for any other.
    pub(super) body: Vec<u8>,
    /// Who gave it at the end of all redirects.
    pub(super) from: Way,
}

/// How long we wait for a registry that asks us to.
#[derive(Debug, Clone, Copy)]
pub(super) struct Patience {
    pub(super) tries_max: u32,
    pub(super) first_wait: Duration,
    /// Longer waits are cut to this.
    pub(super) wait_max: Duration,
}

impl Patience {
    /// At most about a minute in all.
    pub(super) const USUAL: Self =
        Self { tries_max: 5, first_wait: Duration::from_millis(500), wait_max: Duration::from_secs(20) };

    /// The wait after try `number` (from 0): what the registry asks for, else twice the wait before.
    fn wait(self, number: u32, headers: &HeaderMap) -> Duration {
        let asked = headers.get(RETRY_AFTER).and_then(|value| value.to_str().ok()?.trim().parse().ok());
        let own = self.first_wait.saturating_mul(2_u32.saturating_pow(number));
        asked.map_or(own, Duration::from_secs).min(self.wait_max)
    }
}

/// Carries requests to one registry, and to where it sends us.
#[derive(Debug)]
pub(super) struct Exchange {
    address: Address,
    home: Client,
    /// Made when first needed: few registries send us elsewhere.
    abroad: OnceCell<Client>,
    patience: Patience,
}

impl Exchange {
    /// A way to `address`; the certificates of authorities in PEM count beside the system's.
    pub(super) fn new(address: Address, authorities: &[u8], patience: Patience) -> Result<Self, RegistryError> {
        let mut home = builder();
        if address.is_loopback() {
            home = home.no_proxy();
        }
        if address.is_plain() {
            // The system's certificates take a moment to read, and no TLS will be spoken.
            home = home.tls_certs_only([]);
        } else {
            for directory in CERTIFICATES {
                home = trusting(home, &Path::new(directory).join(address.registry()), address.registry())?;
            }
            if !authorities.is_empty() {
                let found = reqwest::Certificate::from_pem_bundle(authorities);
                home = home.tls_certs_merge(found.map_err(|error| no_client(&address, &error))?);
            }
        }
        let home = home.build().map_err(|error| no_client(&address, &error))?;
        Ok(Self { address, home, abroad: OnceCell::new(), patience })
    }

    async fn client(&self, way: Way) -> Result<&Client, RegistryError> {
        match way {
            Way::Home => Ok(&self.home),
            Way::Abroad => {
                let guard = GuardedResolver { home_is_loopback: self.address.is_loopback() };
                let made = || async { builder().dns_resolver(guard).build() };
                self.abroad.get_or_try_init(made).await.map_err(|error| no_client(&self.address, &error))
            }
        }
    }

    pub(super) const fn address(&self) -> &Address {
        &self.address
    }

    /// The answer to `ask`; where the registry is overloaded (429, 502, 503, 504), after waiting and asking again.
    ///
    /// # Errors
    /// [`RegistryError`]; every 5xx and a 429 that does not end is `Unreachable`.
    pub(super) async fn patiently(
        &self,
        ask: &Ask,
        authorization: Option<&HeaderValue>,
    ) -> Result<Answer, RegistryError> {
        self.until_ready(ask, authorization, Reader::Registry).await
    }

    /// The answer of a token realm that [`Exchange::way`] and the registry's domain have been held against.
    pub(super) async fn token(&self, ask: &Ask, basic: Option<&HeaderValue>) -> Result<Answer, RegistryError> {
        self.until_ready(ask, basic, Reader::Realm).await
    }

    async fn until_ready(
        &self,
        ask: &Ask,
        authorization: Option<&HeaderValue>,
        reader: Reader,
    ) -> Result<Answer, RegistryError> {
        let mut number: u32 = 0;
        loop {
            let answer = match reader {
                Reader::Registry => self.once(ask, authorization).await?,
                Reader::Realm => self.realm(ask, authorization).await?,
            };
            let overloaded = matches!(answer.status.as_u16(), 429 | 502 | 503 | 504);
            if overloaded && number.saturating_add(1) < self.patience.tries_max {
                tokio::time::sleep(self.patience.wait(number, &answer.headers)).await;
                number = number.saturating_add(1);
                continue;
            }
            if overloaded || answer.status.is_server_error() {
                return Err(self.unreachable(format!("it answers {} to {}", answer.status, ask.words())));
            }
            return Ok(answer);
        }
    }

    /// One try, redirects of a GET or HEAD followed.
    async fn once(&self, ask: &Ask, authorization: Option<&HeaderValue>) -> Result<Answer, RegistryError> {
        let mut url = ask.url.clone();
        for _ in 0..=REDIRECTS_MAX {
            let from = self.way(&url)?;
            let carried = authorization.filter(|_| from == Way::Home);
            let response = self.send(ask, &url, from, carried).await?;
            let followed = matches!(ask.method, Method::GET | Method::HEAD) && response.status().is_redirection();
            if !followed {
                return self.read(ask, response, from).await;
            }
            url = self.target(&url, response.headers())?;
        }
        Err(self.detour(&url, "too many redirects"))
    }

    async fn realm(&self, ask: &Ask, authorization: Option<&HeaderValue>) -> Result<Answer, RegistryError> {
        let from = self.way(&ask.url)?;
        let response = self.send(ask, &ask.url, from, authorization).await?;
        self.read(ask, response, from).await
    }

    async fn send(
        &self,
        ask: &Ask,
        url: &Url,
        way: Way,
        authorization: Option<&HeaderValue>,
    ) -> Result<reqwest::Response, RegistryError> {
        let mut request = self.client(way).await?.request(ask.method.clone(), url.clone()).headers(ask.headers.clone());
        if let Some(value) = authorization {
            request = request.header(AUTHORIZATION, value.clone());
        }
        if matches!(ask.method, Method::PUT | Method::POST | Method::PATCH) {
            request = request.header(CONTENT_LENGTH, ask.body.len()).body(ask.body.clone());
        }
        request.send().await.map_err(|error| self.unreachable(chain(&error.without_url())))
    }

    /// Reads the body as far as it may go.
    async fn read(&self, ask: &Ask, mut response: reqwest::Response, from: Way) -> Result<Answer, RegistryError> {
        let (status, headers) = (response.status(), response.headers().clone());
        let good = status.is_success();
        let bytes_max = if good { ask.bytes_max } else { ERROR_BYTES_MAX };
        let mut body = Vec::new();
        if ask.method != Method::HEAD {
            // A length that is announced is refused before a byte is read.
            let announced = response.content_length().and_then(|length| usize::try_from(length).ok()).unwrap_or(0);
            if good && announced > bytes_max {
                return Err(self.too_long(ask));
            }
            while body.len() <= bytes_max {
                let part = response.chunk().await.map_err(|error| self.unreachable(chain(&error.without_url())))?;
                let Some(part) = part else { break };
                body.extend_from_slice(&part);
            }
        }
        if body.len() > bytes_max {
            if good {
                return Err(self.too_long(ask));
            }
            body.truncate(bytes_max);
        }
        Ok(Answer { status, headers, body, from })
    }

    /// The URL in `Location`, which may be relative to `from`.
    pub(super) fn target(&self, from: &Url, headers: &HeaderMap) -> Result<Url, RegistryError> {
        let location = headers.get(LOCATION).and_then(|value| value.to_str().ok());
        location
            .and_then(|location| from.join(location).ok())
            .ok_or_else(|| self.detour(from, "an answer without a usable Location"))
    }

    /// Whose house `url` leads to, or why we do not go there.
    pub(super) fn way(&self, url: &Url) -> Result<Way, RegistryError> {
        way(&self.address, url).map_err(|why| self.detour(url, why))
    }

    pub(super) fn detour(&self, url: &Url, why: &'static str) -> RegistryError {
        let host = url.host_str().unwrap_or_default();
        let port = url.port().map(|port| format!(":{port}")).unwrap_or_default();
        let to = super::error::printable(&format!("{}://{host}{port}{}", url.scheme(), url.path()));
        RegistryError::Detour { registry: self.address.registry().to_owned(), to, why }
    }

    pub(super) fn lied(&self, why: String) -> RegistryError {
        RegistryError::Lied { registry: self.address.registry().to_owned(), why }
    }

    fn too_long(&self, ask: &Ask) -> RegistryError {
        self.lied(format!("it sends more than the {} bytes that {} may have", ask.bytes_max, ask.words()))
    }

    fn unreachable(&self, why: String) -> RegistryError {
        RegistryError::Unreachable { registry: self.address.registry().to_owned(), why }
    }
}

fn no_client(address: &Address, error: &reqwest::Error) -> RegistryError {
    let why = format!("no HTTP client: {}", chain(error));
    RegistryError::Unreachable { registry: address.registry().to_owned(), why }
}

/// What every client of ours has in common: TLS by rustls, no redirects by itself, limits for connecting and silence.
pub(crate) fn bounded_client() -> ClientBuilder {
    // Fails when one is installed already, which is as good.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    Client::builder()
        .tls_backend_rustls()
        .user_agent(concat!("trustctl/", env!("CARGO_PKG_VERSION")))
        .redirect(reqwest::redirect::Policy::none())
        .referer(false)
        .connect_timeout(CONNECT_LIMIT)
        .read_timeout(SILENCE_LIMIT)
}

fn builder() -> ClientBuilder {
    bounded_client().timeout(REQUEST_LIMIT)
}

/// Adds the certificates of `directory` to those of the system, and the client certificate that lies there.
fn trusting(mut client: ClientBuilder, directory: &Path, registry: &str) -> Result<ClientBuilder, RegistryError> {
    let broken = |path: &Path, why: String| RegistryError::Credentials {
        registry: registry.to_owned(),
        why: format!("{}: {why}", path.display()),
    };
    let Ok(entries) = std::fs::read_dir(directory) else { return Ok(client) };
    for path in entries.filter_map(|entry| Some(entry.ok()?.path())) {
        let extension = path.extension().and_then(|extension| extension.to_str()).unwrap_or_default();
        if !matches!(extension, "crt" | "cert") {
            continue;
        }
        let mut pem = bounded(&path).map_err(|error| broken(&path, error.to_string()))?;
        if extension == "crt" {
            let found = reqwest::Certificate::from_pem_bundle(&pem).map_err(|error| broken(&path, chain(&error)))?;
            client = client.tls_certs_merge(found);
        } else {
            let key = path.with_extension("key");
            pem.extend(bounded(&key).map_err(|error| broken(&key, error.to_string()))?);
            let identity = reqwest::Identity::from_pem(&pem).map_err(|error| broken(&path, chain(&error)))?;
            client = client.identity(identity);
        }
    }
    Ok(client)
}

fn bounded(path: &Path) -> std::io::Result<Vec<u8>> {
    use std::io::Read;
    let mut bytes = Vec::new();
    std::fs::File::open(path)?.take(CERTIFICATE_BYTES_MAX).read_to_end(&mut bytes)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_registry_cannot_make_us_wait_for_a_year() {
        let mut headers = HeaderMap::new();
        let patience = Patience::USUAL;
        assert_eq!(patience.wait(0, &headers), Duration::from_millis(500));
        assert_eq!(patience.wait(40, &headers), patience.wait_max);

        headers.insert(RETRY_AFTER, HeaderValue::from_static("3"));
        assert_eq!(patience.wait(0, &headers), Duration::from_secs(3));
        headers.insert(RETRY_AFTER, HeaderValue::from_static("31536000"));
        assert_eq!(patience.wait(0, &headers), patience.wait_max);
        headers.insert(RETRY_AFTER, HeaderValue::from_static("Fri, 31 Dec 2027 23:59:59 GMT"));
        assert_eq!(patience.wait(1, &headers), Duration::from_secs(1));
    }
}
