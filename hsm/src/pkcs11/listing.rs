//! Every key in the token, whoever made it.

use cryptoki::object::{Attribute, AttributeType, KeyType, ObjectClass};
use cryptoki::session::Session;

use super::fault::Fault;
use super::login::is_inside;
use crate::{KeyClass, TokenObject, TokenObjects};

const CLASSES: [(ObjectClass, KeyClass); 3] = [
    (ObjectClass::PRIVATE_KEY, KeyClass::Private),
    (ObjectClass::PUBLIC_KEY, KeyClass::Public),
    (ObjectClass::SECRET_KEY, KeyClass::Secret),
];

/// The keys that the token keeps; not what lives in a session alone.
pub(super) fn list(session: &Session) -> Result<TokenObjects, Fault> {
    // Whoever is not logged in does not see private keys.
    if !is_inside(session)? {
        return Err(Fault::Login("list the keys: nobody is logged in".to_owned()));
    }
    let mut listed = TokenObjects { objects: Vec::new(), is_whole: true };
    for (object, class) in CLASSES {
        let template = [Attribute::Class(object), Attribute::Token(true)];
        let handles = session.find_objects(&template).map_err(|error| Fault::of("list the keys", &error))?;
        for handle in handles {
            if listed.objects.len() >= TokenObjects::MAX {
                listed.is_whole = false;
                return Ok(listed);
            }
            let types = [AttributeType::Id, AttributeType::Label, AttributeType::KeyType];
            let attributes =
                session.get_attributes(handle, &types).map_err(|error| Fault::of("look at a key", &error))?;
            listed.objects.push(read(class, &attributes));
        }
    }
    Ok(listed)
}

fn read(class: KeyClass, attributes: &[Attribute]) -> TokenObject {
    let (mut id, mut label, mut key_type) = (&[][..], String::new(), String::new());
    for attribute in attributes {
        match attribute {
            Attribute::Id(bytes) => id = bytes,
            Attribute::Label(bytes) => label = String::from_utf8_lossy(bytes).into_owned(),
            Attribute::KeyType(kind) => key_type = name(*kind),
            _ => {}
        }
    }
    TokenObject::new(class, id, &label, &key_type)
}

/// `CKK_EC_EDWARDS` is `ec-edwards`.
fn name(kind: KeyType) -> String {
    kind.to_string().trim_start_matches("CKK_").to_lowercase().replace('_', "-")
}
