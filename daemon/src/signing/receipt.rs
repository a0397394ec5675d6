//! What leaves: signatures, and where their evidence stands.

use trust::{Fault, Form, KeyRef, PublicKey, Signature};
use trust_hsm::CustodyError;

use crate::custody;
use crate::order::{Shape, SignOrder};

/// One signature and the bytes a caller needs beside it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct SignedForm {
    /// Which form.
    pub(crate) form: Form,
    /// The exact payload under the signature, where the caller does not have it.
    pub(crate) payload: Vec<u8>,
    /// Verified under the registered public key.
    pub(crate) signature: Signature,
}

/// The signatures of one statement, or why custody could not make them.
pub(crate) type SignedItem = Result<Vec<SignedForm>, CustodyError>;

/// The end of a sign: only the fifth stage makes one, and a replay of what it kept.
#[derive(Debug, Clone)]
pub(crate) struct Receipt {
    /// Key and version that signed.
    pub(crate) key: KeyRef,
    /// Its public half.
    pub(crate) public_key: PublicKey,
    /// Origin of the log.
    pub(crate) origin: String,
    /// Index of the intent leaf.
    pub(crate) leaf: u64,
    /// One statement, or a batch.
    pub(crate) shape: Shape,
    /// One for each statement, in order.
    pub(crate) items: Vec<SignedItem>,
    /// Index of the intent to sign what the first signatures made possible: the trusted comments of a release.
    pub(crate) second_leaf: Option<u64>,
}

impl Receipt {
    /// Puts payloads and signatures together; an item of which one form failed has failed.
    pub(super) fn of(
        order: SignOrder,
        leaf: u64,
        origin: &str,
        signatures: Vec<Result<Signature, CustodyError>>,
    ) -> Self {
        let mut signatures = signatures.into_iter();
        let mut preimages = order.preimages.into_iter();
        let items = order
            .lengths
            .into_iter()
            .map(|forms| {
                let mut item = Ok(Vec::with_capacity(forms));
                for preimage in preimages.by_ref().take(forms) {
                    let signed = signatures.next().unwrap_or_else(|| {
                        Err(CustodyError::Failed { what: "custody gave fewer signatures than preimages".into() })
                    });
                    match (&mut item, signed) {
                        (Ok(done), Ok(signature)) => {
                            done.push(SignedForm { form: preimage.form, payload: preimage.payload, signature });
                        }
                        (Ok(_), Err(error)) => {
                            tracing::warn!(stage = "custody", key = %order.key, %error, "an item was not signed");
                            item = Err(error);
                        }
                        (Err(_), _) => {}
                    }
                }
                item
            })
            .collect();
        Self {
            key: order.key,
            public_key: order.public_key,
            origin: origin.to_owned(),
            leaf,
            shape: order.shape,
            items,
            second_leaf: None,
        }
    }

    /// The signatures of a request with one statement.
    ///
    /// # Errors
    /// What custody met, as the caller of one signature reads it.
    pub(crate) fn into_single(self) -> Result<Vec<SignedForm>, Fault> {
        match self.items.into_iter().next() {
            Some(Ok(forms)) => Ok(forms),
            Some(Err(error)) => Err(custody::fault(error)),
            None => Err(Fault::internal("a receipt without an item")),
        }
    }
}
