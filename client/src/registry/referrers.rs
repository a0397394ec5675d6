//! Which manifests refer to another one: the referrers API, page by page.
//!
//! The fallback for registries without that API is a tag like any other; what it means is a matter of formats, and the
//! callers read and write it.

use reqwest::header::{ACCEPT, HeaderValue, LINK};
use reqwest::{Method, StatusCode, Url};
use trust::Sha256Digest;

use super::exchange::{Answer, Ask};
use super::guard::Way;
use super::{MANIFEST_BYTES_MAX, Registry, RegistryError};

/// So many pages of a list are read.
const PAGES_MAX: usize = 8;

/// What a registry says about who refers to a manifest.
#[derive(Debug)]
pub(crate) enum Referrers {
    /// It has no referrers API: the fallback tag counts.
    NoApi,
    /// The pages of the list, each an OCI image index, not parsed.
    Pages {
        /// Their bytes.
        pages: Vec<Vec<u8>>,
        /// More pages follow, which are not read.
        more: bool,
    },
}

impl Registry {
    /// Who refers to the manifest `subject`. No filter is asked for: registries report artifact types differently.
    ///
    /// # Errors
    /// [`RegistryError`]; "no such API" is not one.
    pub(crate) async fn referrers(&self, subject: &Sha256Digest) -> Result<Referrers, RegistryError> {
        let mut url = self.url(&format!("referrers/{subject}"))?;
        let mut pages = Vec::new();
        while pages.len() < PAGES_MAX {
            let mut ask = Ask::new(Method::GET, url.clone(), MANIFEST_BYTES_MAX);
            ask.headers.insert(ACCEPT, HeaderValue::from_static("application/vnd.oci.image.index.v1+json"));
            let answer = self.channel.ask(&ask).await?;
            match answer.status {
                StatusCode::OK => {}
                // distribution 2.8 gives a page of text; others say that they do not know the method or the path.
                StatusCode::BAD_REQUEST
                | StatusCode::NOT_FOUND
                | StatusCode::METHOD_NOT_ALLOWED
                | StatusCode::NOT_ACCEPTABLE
                    if pages.is_empty() =>
                {
                    return Ok(Referrers::NoApi);
                }
                _ => return Err(self.channel.refused(&ask, &answer)),
            }
            let next = self.next_page(&url, &answer)?;
            pages.push(answer.body);
            let Some(next) = next else { return Ok(Referrers::Pages { pages, more: false }) };
            url = next;
        }
        Ok(Referrers::Pages { pages, more: true })
    }

    /// `Link: <…>; rel="next"`; it must stay in the registry.
    fn next_page(&self, url: &Url, answer: &Answer) -> Result<Option<Url>, RegistryError> {
        let links = answer.headers.get_all(LINK).iter().filter_map(|value| value.to_str().ok());
        let Some(target) = links.flat_map(|value| value.split(',')).find_map(next) else { return Ok(None) };
        let next = url.join(target).map_err(|_| self.channel.exchange.detour(url, "a next page that is no URL"))?;
        match self.channel.exchange.way(&next)? {
            Way::Home => Ok(Some(next)),
            Way::Abroad => Err(self.channel.exchange.detour(&next, "a next page at another host")),
        }
    }
}

/// The target of one link, if it is the next page.
fn next(link: &str) -> Option<&str> {
    let (target, parameters) = link.trim().strip_prefix('<')?.split_once('>')?;
    let is_next = |parameter: &str| matches!(parameter.trim(), "rel=next" | "rel=\"next\"");
    parameters.split(';').any(is_next).then_some(target)
}

#[cfg(test)]
mod tests {
    use super::next;

    #[test]
    fn the_next_page_is_found_among_links() {
        assert_eq!(next("</v2/a/referrers/x?n=2>; rel=\"next\""), Some("/v2/a/referrers/x?n=2"));
        assert_eq!(next("<x>; title=a; rel=next"), Some("x"));
        assert_eq!(next("<x>; rel=\"prev\""), None);
        assert_eq!(next("x; rel=next"), None);
    }
}
