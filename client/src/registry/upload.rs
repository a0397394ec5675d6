//! Putting blobs: small ones, in one piece.

use bytes::Bytes;
use reqwest::header::{CONTENT_TYPE, HeaderValue};
use reqwest::{Method, StatusCode};
use trust::Sha256Digest;

use super::exchange::Ask;
use super::{Registry, RegistryError, error};

/// Answers to uploads say nothing that we need.
const ANSWER_BYTES_MAX: usize = 64 * 1024;

impl Registry {
    /// Makes sure that the blob is there.
    ///
    /// # Errors
    /// [`RegistryError`]
    pub(crate) async fn put_blob(&self, bytes: &[u8]) -> Result<Sha256Digest, RegistryError> {
        let digest = Sha256Digest::of(bytes);
        let head = Ask::new(Method::HEAD, self.url(&format!("blobs/{digest}"))?, 0);
        if self.channel.ask(&head).await?.status == StatusCode::OK {
            return Ok(digest);
        }
        let start = Ask::new(Method::POST, self.url("blobs/uploads/")?, ANSWER_BYTES_MAX);
        let answer = self.channel.ask(&start).await?;
        if answer.status != StatusCode::ACCEPTED {
            return Err(self.channel.refused(&start, &answer));
        }
        // The location may hold a query of its own; only `digest` is ours.
        let mut url = self.channel.exchange.target(&start.url, &answer.headers)?;
        self.channel.exchange.way(&url)?;
        url.query_pairs_mut().append_pair("digest", &digest.to_string());
        let mut put = Ask::new(Method::PUT, url, ANSWER_BYTES_MAX);
        put.body = Bytes::copy_from_slice(bytes);
        put.headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/octet-stream"));
        let answer = self.channel.ask(&put).await?;
        if !answer.status.is_success() {
            return Err(RegistryError::Refused {
                registry: self.channel.exchange.address().registry().to_owned(),
                status: answer.status,
                asked: format!("PUT of blob {digest}"),
                said: error::said(&answer.body),
            });
        }
        Ok(digest)
    }
}
