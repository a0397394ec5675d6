//! Where a repository's files are: one GET for each, bounded in size and time, without redirects.
//!
//! Nothing that comes is believed here; who asks holds it against metadata.

use reqwest::{Client, Response, StatusCode, Url};

use crate::failure::Failure;
use crate::registry::{PlainHttp, bounded_client};

/// A place where files are, by its URL.
#[derive(Debug)]
pub(super) struct Remote {
    client: Client,
    /// Without a slash at its end.
    base: String,
}

/// A file on its way.
#[derive(Debug)]
pub(super) struct Incoming {
    url: String,
    response: Response,
    left: u64,
}

impl Remote {
    /// Reads the URL of a place.
    pub(super) fn at(base: &str, plain: PlainHttp) -> Result<Self, Failure> {
        let malformed = |why: &str| {
            Failure::usage(format!("{base:?} is not a place of files: {why}"), "it has to be https://host/path")
        };
        let url = Url::parse(base).map_err(|error| malformed(&error.to_string()))?;
        let on_loopback = match url.host() {
            Some(url::Host::Domain(name)) => name == "localhost",
            Some(url::Host::Ipv4(address)) => address.is_loopback(),
            Some(url::Host::Ipv6(address)) => address.is_loopback(),
            None => return Err(malformed("it has no host")),
        };
        match url.scheme() {
            "https" => {}
            "http" if on_loopback || plain == PlainHttp::Asked => {}
            "http" => return Err(malformed("it is not https").remedied_by("--plain-http speaks without TLS")),
            _ => return Err(malformed("it is not https")),
        }
        if url.query().is_some() || url.fragment().is_some() {
            return Err(malformed("it has a query or a fragment"));
        }
        let mut client = bounded_client();
        if on_loopback {
            client = client.no_proxy();
        }
        if url.scheme() == "http" {
            // The system's certificates take a moment to read, and no TLS will be spoken.
            client = client.tls_certs_only([]);
        }
        let client = client.build().map_err(|error| {
            Failure::other("make an HTTP client", "are the system's certificates readable?").because(error)
        })?;
        Ok(Self { client, base: url.as_str().trim_end_matches('/').to_owned() })
    }

    /// A whole file of at most `bytes_max`, or `None` where there is none. `name` is escaped already.
    pub(super) async fn get(&self, name: &str, bytes_max: u64) -> Result<Option<Vec<u8>>, Failure> {
        let Some(mut incoming) = self.begin(name, bytes_max).await? else { return Ok(None) };
        let mut bytes = Vec::new();
        while let Some(part) = incoming.part().await? {
            bytes.extend_from_slice(&part);
        }
        Ok(Some(bytes))
    }

    /// Asks for a file of at most `bytes_max`, or says that there is none. `name` is escaped already.
    pub(super) async fn begin(&self, name: &str, bytes_max: u64) -> Result<Option<Incoming>, Failure> {
        let url = format!("{}/{name}", self.base);
        let response = self.client.get(&url).send().await.map_err(|error| unreachable(&url, error))?;
        match response.status() {
            StatusCode::OK => Ok(Some(Incoming { url, response, left: bytes_max })),
            // Stores of objects do not tell a stranger what is not there.
            StatusCode::NOT_FOUND | StatusCode::FORBIDDEN | StatusCode::GONE => Ok(None),
            status => Err(Failure::unreachable(
                format!("{url} answers {status}"),
                "is it the place of a repository's files? redirects are not followed",
            )),
        }
    }
}

impl Incoming {
    /// The next part, `None` at the end.
    pub(super) async fn part(&mut self) -> Result<Option<Vec<u8>>, Failure> {
        let part = self.response.chunk().await.map_err(|error| unreachable(&self.url, error))?;
        let Some(part) = part else { return Ok(None) };
        let length = u64::try_from(part.len()).unwrap_or(u64::MAX);
        self.left = self.left.checked_sub(length).ok_or_else(|| {
            Failure::refused(
                format!("{} does not end where it has to", self.url),
                "the place serves another file, or somebody is in between",
            )
        })?;
        Ok(Some(part.to_vec()))
    }
}

fn unreachable(url: &str, error: reqwest::Error) -> Failure {
    Failure::unreachable(format!("{url} cannot be read"), "is the place there, and is its certificate good?")
        .because(error.without_url())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_tls_only_this_machine_is_spoken_to() {
        let at = |base: &str, plain| Remote::at(base, plain).map(|remote| remote.base);

        for good in ["https://tuf.example/metadata/", "http://127.0.0.1:8080/m", "http://[::1]/m", "http://localhost/m"]
        {
            assert_eq!(at(good, PlainHttp::LoopbackOnly).unwrap(), good.trim_end_matches('/'));
        }
        for bad in [
            "http://tuf.example/",
            "http://localhost.example/",
            "ftp://tuf.example/",
            "metadata",
            "https://tuf.example/?a",
            "https://tuf.example/#a",
            "unix:/socket",
        ] {
            assert_eq!(at(bad, PlainHttp::LoopbackOnly).unwrap_err().exit().code(), 2, "{bad}");
        }
        assert!(at("http://tuf.example/", PlainHttp::Asked).is_ok());
    }
}
