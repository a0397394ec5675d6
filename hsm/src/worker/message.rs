//! What the daemon and its worker say to each other, and how it is read back into types.
//!
//! Everything borrows from its frame. Private keys are in no message, nor are data
//! keys; a passphrase or a PIN goes in and the store key comes out over the control
//! connection, in buffers that are wiped.

mod control;
mod hello;
mod order;
mod session;

use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

pub(super) use control::{Control, ControlAnswer, Tune};
pub(super) use hello::{Hello, Post, Reach};
pub(super) use order::{Context, Order, Record};
pub(super) use session::{Answer, Ask, Kept, Object, SignedBytes};

/// Both sides speak exactly this; they are one program.
pub(super) const PROTOCOL: u16 = 5;

/// A path as it goes into a message.
pub(super) fn bytes(path: &Path) -> Bytes<'_> {
    Bytes(path.as_os_str().as_bytes())
}

/// Bytes that stay where they are.
#[derive(Clone, Copy)]
pub(super) struct Bytes<'a>(pub(super) &'a [u8]);

impl Serialize for Bytes<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(self.0)
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Bytes<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        <&[u8]>::deserialize(deserializer).map(Self)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use proptest::prelude::*;
    use trust::{Algorithm, Digest, KeyId, KeyRef, KeyVersion, Purpose, Sha256Digest, Signable};

    use super::*;
    use crate::{AdoptedId, KeyObject, Material, ObjectId, SealContext, SealedKey, SigningOrder, TokenKey};

    /// Reads bytes as each message and goes on as the receiver would.
    fn read_as_everything(bytes: &[u8]) {
        let _ = postcard::from_bytes::<Control<'_>>(bytes);
        let _ = postcard::from_bytes::<ControlAnswer<'_>>(bytes);
        let _ = postcard::from_bytes::<Answer<'_>>(bytes);
        match postcard::from_bytes::<Ask<'_>>(bytes) {
            Ok(Ask::Generate(context) | Ask::Import { context, .. } | Ask::Adopt { context, .. }) => {
                drop(context.read())
            }
            Ok(Ask::Sign(orders)) => orders.iter().for_each(|order| drop(order.read())),
            Ok(Ask::Rewrap(records)) => records.iter().for_each(|record| drop(record.read())),
            Ok(Ask::Destroy(record)) => drop(record.read()),
            Ok(Ask::Objects | Ask::Forget(_) | Ask::Offer) | Err(_) => {}
        }
    }

    fn an_order() -> SigningOrder {
        SigningOrder {
            context: Arc::new(SealContext {
                store: [1; 16],
                key: KeyRef { id: KeyId::from_bytes([2; 16]), version: KeyVersion::FIRST },
                algorithm: Algorithm::EcdsaP384Sha384,
                purpose: Purpose::Raw,
                scope_hash: Sha256Digest::of(b"scope"),
            }),
            spki_sha256: Sha256Digest::of(b"spki"),
            material: Material::Sealed(SealedKey::from_bytes(&[1; 200]).unwrap()),
            inputs: vec![
                Signable::Message(b"message".to_vec()),
                Signable::Digest(Digest::Sha256([3; 32])),
                Signable::Digest(Digest::Sha384([4; 48])),
            ],
        }
    }

    #[test]
    fn a_token_key_comes_back_as_it_was_sent() {
        let adopted = AdoptedId::from_parts(b"\x01\x02", [7; 16]).unwrap();
        for object in [KeyObject::Ours(ObjectId::from_bytes([9; 32])), KeyObject::Adopted(adopted)] {
            let token = "hsm".parse().unwrap();
            let sent = SigningOrder { material: Material::Token(TokenKey { token, object }), ..an_order() };
            let bytes = encoded(&sent);

            let Ok(Ask::Sign(orders)) = postcard::from_bytes(&bytes) else { panic!("not an order") };

            assert_eq!(orders[0].read().unwrap().material, sent.material);
        }
    }

    fn encoded(order: &SigningOrder) -> Vec<u8> {
        postcard::to_allocvec(&Ask::Sign(vec![order.into()])).unwrap()
    }

    #[test]
    fn an_order_comes_back_as_it_was_sent() {
        let sent = an_order();
        let bytes = encoded(&sent);

        let Ok(Ask::Sign(orders)) = postcard::from_bytes(&bytes) else { panic!("not an order") };
        let received = orders[0].read().unwrap();

        assert_eq!(received.context, sent.context);
        assert_eq!(received.spki_sha256, sent.spki_sha256);
        assert_eq!(received.material, sent.material);
        assert!(received.inputs == sent.inputs);
    }

    #[test]
    fn an_order_with_any_byte_changed_or_cut_short_never_panics() {
        let good = encoded(&an_order());
        for index in 0..good.len() {
            for flip in [0x01, 0x80, 0xff] {
                let mut bad = good.clone();
                bad[index] ^= flip;
                read_as_everything(&bad);
            }
            read_as_everything(&good[..index]);
        }
    }

    proptest! {
        #[test]
        fn no_bytes_from_either_side_panic(bytes in proptest::collection::vec(any::<u8>(), 0..512), kind in 0_u8..12) {
            read_as_everything(&bytes);
            read_as_everything(&[&[kind], bytes.as_slice()].concat());
        }
    }
}
