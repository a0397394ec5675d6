//! Verification under a key that is named, of a daemon that is believed.
//!
//! The daemon of `--endpoint` or `TRUSTD_ADDR` is not asked: what stands in the environment must not decide whom we
//! believe (D5). Whoever may not get a key does not learn its name from the list of trusted keys; so the signature is
//! verified here under that list, and the daemon is asked whether the key that verified it is the named one.

use trust::Signable;
use trust_proto::v1::{VerifyRequest, verify_request};

use super::Found;
use crate::believed::{self, KeyBook, Source};
use crate::context::Context;
use crate::failure::Failure;

/// A key by its name or id, and the daemons that may have it.
#[derive(Debug)]
pub(super) struct Named {
    name: String,
    books: Vec<KeyBook>,
}

impl Named {
    /// Asks every believed daemon for the keys it trusts for files.
    pub(super) async fn of(context: &Context, name: &str) -> Result<Self, Failure> {
        Ok(Self { name: name.to_owned(), books: believed::key_books(context).await? })
    }

    /// The key as the user named it.
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// Who signed, where it was the named key.
    pub(super) async fn counts(
        &self,
        signature: &Found,
        input: &Signable,
        bytes: &[u8],
    ) -> Result<Option<String>, Failure> {
        for book in &self.books {
            for (id, believed) in &book.keys {
                if signature.verify(&believed.key, input, bytes).is_err() {
                    continue;
                }
                let Source::Daemon { address, key, version } = &believed.source else { continue };
                let is_named = *key == self.name
                    || *id == self.name
                    || self.is_the_same(book, *version, signature, input, bytes).await?;
                if is_named {
                    return Ok(Some(format!("{} version {version}, trusted by {address}", self.name)));
                }
            }
        }
        Ok(None)
    }

    /// Whether the daemon finds the signature valid under that version of the named key.
    async fn is_the_same(
        &self,
        book: &KeyBook,
        version: u32,
        signature: &Found,
        input: &Signable,
        bytes: &[u8],
    ) -> Result<bool, Failure> {
        let (Some(signature), Signable::Digest(digest)) = (signature.signature(bytes), input) else {
            return Ok(false);
        };
        let request = VerifyRequest {
            key: self.name.clone(),
            version,
            input: Some(verify_request::Input::Digest(digest.as_bytes().to_vec().into())),
            signature: signature.into(),
        };
        Ok(book.daemon.verification().verify(request).await?.into_inner().valid)
    }
}
