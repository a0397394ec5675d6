//! Releases: one batch, and for minisign a second one over what came out of the first.
//!
//! minisign's trusted comment is signed together with the file's signature, which nobody knows before it is made. So
//! there are two permits, two intents and two visits; the policy is asked twice, of the same facts.

use std::sync::Arc;

use trust::format::release::minisig;
use trust::{Fault, FaultKind, Form};

use super::receipt::SignedItem;
use super::{Receipt, SigningRequest};
use crate::house::House;
use crate::statement::Statement;

impl House {
    /// Signs a release in every form that was asked for.
    ///
    /// A retry by idempotency key gets the first batch from its receipt, and its comments signed anew.
    pub(crate) async fn sign_release(self: &Arc<Self>, request: SigningRequest) -> Result<Receipt, Fault> {
        let first = self.sign(request.clone()).await?;
        let comments = comments(&request, &first, self.clock().now_unix_ms() / 1000);
        if comments.is_empty() {
            return Ok(first);
        }
        let (items, statements): (Vec<usize>, Vec<Statement>) = comments.into_iter().unzip();
        let second = self.sign(SigningRequest { statements, idempotency: None, ..request }).await?;
        joined(first, &items, second)
    }
}

/// What is left to sign: the comment of each file that has minisign's first signature, beside its item.
fn comments(request: &SigningRequest, first: &Receipt, now_unix_seconds: u64) -> Vec<(usize, Statement)> {
    let of_file = |(item, (statement, signed)): (usize, (&Statement, &SignedItem))| {
        let Statement::ReleaseFile { file, release } = statement else { return None };
        let minisig = signed.as_ref().ok()?.iter().find(|signed| signed.form == Form::Minisig)?;
        let comment = Statement::ReleaseComment {
            file: file.clone(),
            release: Arc::clone(release),
            signature: minisig.signature.as_bytes().try_into().ok()?,
            comment: minisig::trusted_comment(file, now_unix_seconds),
        };
        Some((item, comment))
    };
    request.statements.iter().zip(&first.items).enumerate().filter_map(of_file).collect()
}

/// Puts the second signature of each item behind its first ones.
fn joined(mut first: Receipt, items: &[usize], second: Receipt) -> Result<Receipt, Fault> {
    if second.key != first.key {
        return Err(Fault::new(FaultKind::Conflict, "the key was rotated while the release was signed"));
    }
    for (item, signed) in items.iter().zip(second.items) {
        let Some(place) = first.items.get_mut(*item) else { continue };
        match (place.as_mut(), signed) {
            (Ok(forms), Ok(comment)) => forms.extend(comment),
            (_, Err(failure)) => *place = Err(failure),
            (Err(_), Ok(_)) => {}
        }
    }
    first.second_leaf = Some(second.leaf);
    Ok(first)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use trust::format::release::{FileDigests, FileName, Release, ReleaseFile};
    use trust::{Algorithm, KeyId, KeyRef, KeyVersion, Principal, PublicKey, Sha256Digest, Signature};

    use trust_hsm::CustodyError;

    use super::*;
    use crate::keys::KeySelector;
    use crate::signing::{Shape, SignedForm};

    fn request() -> SigningRequest {
        let file = |name: &str| {
            let digests = FileDigests {
                size_bytes: 7,
                sha256: Sha256Digest::of(name.as_bytes()),
                sha512: [0xff; 64],
                blake2b512: [0xff; 64],
            };
            ReleaseFile::new(FileName::parse(name).unwrap(), digests).unwrap()
        };
        let files = ["a", "b", "c"].map(file).to_vec();
        let release = Arc::new(Release::new(files.clone(), None, None).unwrap());
        let each = files.into_iter().map(|file| Statement::ReleaseFile { file, release: Arc::clone(&release) });
        SigningRequest {
            principal: Principal::LocalUid(7),
            key: KeySelector::parse("acme/release").unwrap(),
            statements: each.chain([Statement::Release(Arc::clone(&release))]).collect(),
            shape: Shape::Batch,
            forms: Vec::new(),
            idempotency: None,
            deadline: Duration::ZERO,
        }
    }

    fn receipt(version: u32, leaf: u64, items: Vec<SignedItem>) -> Receipt {
        // RFC 8032 §7.1, test 1.
        let key = hex::decode("d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a").unwrap();
        Receipt {
            key: KeyRef { id: KeyId::from_bytes([1; 16]), version: KeyVersion::new(version).unwrap() },
            public_key: PublicKey::from_ed25519_bytes(&key.try_into().unwrap()).unwrap(),
            origin: "log.example".to_owned(),
            leaf,
            shape: Shape::Batch,
            items,
            second_leaf: None,
        }
    }

    fn signed(form: Form, payload: &str) -> SignedItem {
        let signature = Signature::new(Algorithm::Ed25519, vec![7; 64]).unwrap();
        Ok(vec![SignedForm { form, payload: payload.into(), signature }])
    }

    /// The second file was not signed, the third has no minisign signature.
    fn first() -> Receipt {
        let failed = Err(CustodyError::Sealed);
        receipt(1, 5, vec![signed(Form::Minisig, ""), failed, signed(Form::Sshsig, ""), signed(Form::Sig, "")])
    }

    #[test]
    fn only_what_minisign_signed_gets_a_comment() {
        let found = comments(&request(), &first(), 1_790_000_000);

        let [(0, Statement::ReleaseComment { file, signature, comment, .. })] = &found[..] else { panic!("{found:?}") };
        assert_eq!((file.name().as_str(), signature), ("a", &[7; 64]));
        assert_eq!(comment, "timestamp:1790000000\tfile:a\thashed");
    }

    #[test]
    fn comments_go_behind_the_signatures_of_their_files_and_failures_in_their_place() {
        let whole = joined(first(), &[0], receipt(1, 7, vec![signed(Form::Minisig, "comment")])).unwrap();
        assert_eq!(whole.items[0].as_ref().map(Vec::len), Ok(2));
        assert_eq!(whole.items[2..], first().items[2..]);
        assert_eq!((whole.leaf, whole.second_leaf), (5, Some(7)));

        let failed = joined(first(), &[0], receipt(1, 7, vec![Err(CustodyError::Late)])).unwrap();
        assert_eq!(failed.items[0], Err(CustodyError::Late));
    }

    #[test]
    fn a_key_that_was_rotated_in_between_is_a_conflict() {
        let fault = joined(first(), &[0], receipt(2, 7, vec![signed(Form::Minisig, "comment")])).unwrap_err();

        assert_eq!(fault.kind(), FaultKind::Conflict);
    }
}
