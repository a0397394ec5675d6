//! What the daemon answered, as files; nothing of it is believed before it is judged.

use std::collections::BTreeMap;

use trust::format::blob;
use trust::format::bundle::Bundle;
use trust::format::release::minisig::{self, Minisig};
use trust::format::release::{Release, manifest, sshsig, sums};
use trust::{Algorithm, Form, PublicKey, Sha256Digest, Signature};
use trust_proto::v1;
use trust_proto::words::Word as _;

use super::judge::{ENDINGS, SUMS_BUNDLE, SUMS_SIG};
use crate::failure::Failure;

/// The signatures of one batch.
#[derive(Debug)]
pub(super) struct Answer {
    /// The key that made them, in the daemon's words.
    pub(super) key: PublicKey,
    /// Where the evidence stands.
    pub(super) receipt: v1::Receipt,
    /// The leaf of the second batch, of minisign's comments.
    pub(super) second_leaf: Option<u64>,
    items: Vec<v1::SignedItem>,
}

/// Files by their names.
pub(super) type Files = BTreeMap<String, Vec<u8>>;

impl Answer {
    /// Reads an answer that has to have so many items, each signed.
    pub(super) fn read(wire: v1::SignBatchResponse, items: usize) -> Result<Self, Failure> {
        let algorithm = Algorithm::from_wire(wire.algorithm).map_err(|error| unfit().because(error))?;
        let key = PublicKey::from_spki_der(algorithm, &wire.spki_der).map_err(|error| unfit().because(error))?;
        let Some(v1::sign_batch_response::Items::List(list)) = wire.items else { return Err(unfit()) };
        if let Some(item) = list.items.iter().find(|item| !item.failure.is_empty()) {
            return Err(Failure::other(
                format!("the daemon could not sign all of it: {}; nothing was written", item.failure),
                "`trustctl status` says what is missing; then run this again",
            ));
        }
        if list.items.len() != items {
            return Err(unfit());
        }
        let receipt = wire.receipt.unwrap_or_default();
        Ok(Self { key, receipt, second_leaf: wire.second_leaf, items: list.items })
    }

    /// The files of a statement key: an item for each file of the release, and one for the whole.
    pub(super) fn statement_files(&self, release: &Release) -> Result<Files, Failure> {
        let mut files = Files::new();
        let (whole, each) = self.items.split_last().ok_or_else(unfit)?;
        for (file, item) in release.files().iter().zip(each) {
            let of = |form: Form| item.signatures.iter().filter(move |signed| signed.form == form.to_wire());
            if let [first, second] = of(Form::Minisig).collect::<Vec<_>>().as_slice() {
                let minisig = Minisig {
                    key_id: minisig::key_id(&self.key),
                    signature: first.signature.as_ref().try_into().map_err(|_| unfit())?,
                    trusted_comment: String::from_utf8(second.payload.to_vec()).map_err(|_| unfit())?,
                    comment_signature: second.signature.as_ref().try_into().map_err(|_| unfit())?,
                };
                files.insert(format!("{}.minisig", file.name()), minisig.to_text().into_bytes());
            }
            for signed in of(Form::Sshsig) {
                let text = sshsig::to_text(&self.key, &self.signature(signed)?);
                let text = text.map_err(|error| unfit().because(error))?;
                files.insert(format!("{}.sshsig", file.name()), text.into_bytes());
            }
        }
        let list = sums::write(release).into_bytes();
        for signed in &whole.signatures {
            let signature = self.signature(signed)?;
            let (name, bytes) = match Form::from_wire(signed.form).map_err(|error| unfit().because(error))? {
                Form::Bundle => {
                    (SUMS_BUNDLE, Bundle::of_blob(&self.key, &Sha256Digest::of(&list), &signature).to_bytes())
                }
                Form::Manifest => {
                    (manifest::NAME, Bundle::of_release(&self.key, signed.payload.to_vec(), &signature).to_bytes())
                }
                Form::Sig => (SUMS_SIG, blob::sig_text(&signature).into_bytes()),
                Form::Minisig | Form::Raw | Form::Sshsig | Form::Tuf => return Err(unfit()),
            };
            files.insert(name.to_owned(), bytes);
        }
        if files.contains_key(SUMS_BUNDLE) || files.contains_key(SUMS_SIG) {
            files.insert(sums::NAME.to_owned(), list);
        }
        Ok(files)
    }

    /// The files of a blob key: an item for each file of the release.
    pub(super) fn blob_files(&self, release: &Release) -> Result<Files, Failure> {
        let mut files = Files::new();
        for (file, item) in release.files().iter().zip(&self.items) {
            for signed in &item.signatures {
                let signature = self.signature(signed)?;
                let form = Form::from_wire(signed.form).map_err(|error| unfit().because(error))?;
                let bytes = match form {
                    Form::Bundle => Bundle::of_blob(&self.key, &file.digests().sha256, &signature).to_bytes(),
                    Form::Sig => blob::sig_text(&signature).into_bytes(),
                    Form::Manifest | Form::Minisig | Form::Raw | Form::Sshsig | Form::Tuf => return Err(unfit()),
                };
                let end = ENDINGS.into_iter().find(|(known, _)| *known == form).map_or("", |(_, end)| end);
                files.insert(format!("{}{end}", file.name()), bytes);
            }
        }
        Ok(files)
    }

    /// The forms of its first item, in order; the others have the same, or the answer does not pass its judge.
    pub(super) fn forms(&self) -> Result<Vec<Form>, Failure> {
        let first = self.items.first().ok_or_else(unfit)?;
        let mut forms = first
            .signatures
            .iter()
            .map(|signed| Form::from_wire(signed.form).map_err(|error| unfit().because(error)))
            .collect::<Result<Vec<_>, _>>()?;
        forms.sort_unstable();
        Ok(forms)
    }

    fn signature(&self, signed: &v1::SignedForm) -> Result<Signature, Failure> {
        Signature::new(self.key.algorithm(), signed.signature.to_vec()).map_err(|error| unfit().because(error))
    }
}

/// What the daemon answered is not what was asked for.
pub(super) fn unfit() -> Failure {
    Failure::refused(
        "the daemon answered with signatures that do not verify, or not with all; nothing was written",
        "is it of the same version? `trustctl status`; if it is, do not use it, and ask whoever runs it",
    )
}
