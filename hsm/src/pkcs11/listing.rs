//! Every key in the token, whoever made it.

use cryptoki::object::{Attribute, AttributeType, KeyType, ObjectClass};
use cryptoki::session::Session;

use super::fault::Fault;
use super::login::is_inside;
use crate::{KeyHalf, TokenObject, TokenObjects};

/// The private and public keys that the token keeps; not what lives in a session alone.
pub(super) fn list(session: &Session) -> Result<TokenObjects, Fault> {
    // Whoever is not logged in does not see private keys.
    if !is_inside(session)? {
        return Err(Fault::Login("list the keys: nobody is logged in".to_owned()));
    }
    let mut listed = TokenObjects { objects: Vec::new(), is_whole: true };
    for (class, half) in [(ObjectClass::PRIVATE_KEY, KeyHalf::Private), (ObjectClass::PUBLIC_KEY, KeyHalf::Public)] {
        let template = [Attribute::Class(class), Attribute::Token(true)];
        let handles = session.find_objects(&template).map_err(|error| Fault::of("list the keys", &error))?;
        for handle in handles {
            if listed.objects.len() >= TokenObjects::MAX {
                listed.is_whole = false;
                return Ok(listed);
            }
            let types = [AttributeType::Id, AttributeType::Label, AttributeType::KeyType];
            let attributes =
                session.get_attributes(handle, &types).map_err(|error| Fault::of("look at a key", &error))?;
            listed.objects.push(read(half, &attributes));
        }
    }
    Ok(listed)
}

fn read(half: KeyHalf, attributes: &[Attribute]) -> TokenObject {
    let (mut id, mut label, mut key_type) = (&[][..], String::new(), String::new());
    for attribute in attributes {
        match attribute {
            Attribute::Id(bytes) => id = bytes,
            Attribute::Label(bytes) => label = String::from_utf8_lossy(bytes).into_owned(),
            Attribute::KeyType(kind) => key_type = name(*kind),
            _ => {}
        }
    }
    TokenObject::new(half, id, &label, &key_type)
}

fn name(kind: KeyType) -> String {
    match kind {
        KeyType::EC => "ec".to_owned(),
        KeyType::EC_EDWARDS => "ec-edwards".to_owned(),
        KeyType::RSA => "rsa".to_owned(),
        other => other.to_string().to_lowercase(),
    }
}
