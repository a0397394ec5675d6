//! The keys of a measurement: made, known for ours, deleted.

use std::collections::BTreeSet;

use cryptoki::object::{Attribute, AttributeType, ObjectHandle};
use cryptoki::session::Session;
use trust::Algorithm;

use super::super::fault::Fault;
use super::super::generate::{Lifetime, make, make_with};
use super::super::login::is_inside;
use super::super::object::{self, Found, read_public};
use super::super::{Inner, mechanism};
use crate::{CustodyError, ObjectId};

/// What objects of a measurement are called.
const LABEL: &str = "trustd doctor";
/// How their ids begin; the rest is random.
const MARK: [u8; 16] = *b"trustd-doctor/01";
/// The most ids that are listed.
const LISTED_MAX: usize = 64;

/// A key of a measurement.
pub(super) struct Key {
    pub(super) algorithm: Algorithm,
    pub(super) found: Found,
    pub(super) public: ObjectHandle,
    id: ObjectId,
}

/// The session that makes them, and those that are still there.
pub(super) struct Keys<'a> {
    inner: &'a Inner,
    /// Keys that go with a session go with this one.
    session: Session,
    lifetime: Lifetime,
    made: Vec<ObjectId>,
}

impl<'a> Keys<'a> {
    pub(super) fn open(inner: &'a Inner) -> Result<Self, Fault> {
        Ok(Self { inner, session: open(inner)?, lifetime: Lifetime::Session, made: Vec::new() })
    }

    pub(super) const fn session(&self) -> &Session {
        &self.session
    }

    /// Whether keys that go with a session were refused.
    pub(super) const fn are_in_the_token(&self) -> bool {
        matches!(self.lifetime, Lifetime::Token)
    }

    /// A new key. Where the token makes none that goes with a session it makes one that must be deleted.
    pub(super) fn make(&mut self, algorithm: Algorithm) -> Result<Key, Fault> {
        let offered = self.inner.mechanisms()?;
        mechanism::check(algorithm, &offered)?;
        let id = new_id()?;
        let (public, private) = match make(&self.session, algorithm, id, LABEL, self.lifetime) {
            Err(Fault::Final(_)) if matches!(self.lifetime, Lifetime::Session) => {
                let made = make(&self.session, algorithm, id, LABEL, Lifetime::Token)?;
                self.lifetime = Lifetime::Token;
                made
            }
            made => made?,
        };
        self.made.push(id);
        for half in [private, public] {
            object::check_id(&self.session, half, id.as_bytes())?;
        }
        let public_key = read_public(&self.session, public, algorithm)?;
        Ok(Key { algorithm, found: Found { private, public_key }, public, id })
    }

    /// Whether the token makes a key that nobody can change later.
    pub(super) fn takes_unmodifiable(&mut self, algorithm: Algorithm) -> Result<bool, Fault> {
        let id = new_id()?;
        match make_with(&self.session, algorithm, id, LABEL, self.lifetime, &[Attribute::Modifiable(false)]) {
            Ok(_) => {
                let _ = object::destroy_all(&self.session, id.as_bytes()); // what stays is found at the end
                Ok(true)
            }
            Err(Fault::Final(_)) => Ok(false),
            Err(fault) => Err(fault),
        }
    }

    /// Deletes a key, by its id: its handle may be the very one that has been found to mean another key.
    pub(super) fn delete(&mut self, key: &Key) {
        // What cannot be deleted is looked for at the end.
        let _ = object::destroy_all(&self.session, key.id.as_bytes());
        self.made.retain(|id| *id != key.id);
    }

    /// Begins anew with another session, logged in: what went with the old one is gone, and its handles with it.
    pub(super) fn renew(&mut self) -> Result<(), Fault> {
        let seen = self.inner.login().generation();
        self.made.clear();
        self.session = match open(self.inner) {
            Ok(session) if is_inside(&session).unwrap_or(false) => session,
            Ok(_) | Err(_) => {
                self.inner.renew_login(seen)?;
                open(self.inner)?
            }
        };
        Ok(())
    }

    /// Deletes objects in the token that an earlier measurement left there, and counts them.
    pub(super) fn sweep(&self) -> Result<u32, Fault> {
        let mut swept: u32 = 0;
        for (object, _) in self.ours()? {
            if self.session.destroy_object(object).is_ok() {
                swept = swept.saturating_add(1);
            }
        }
        Ok(swept)
    }

    /// Deletes everything; the ids of what could not be.
    pub(super) fn delete_all(&mut self) -> Vec<String> {
        for id in std::mem::take(&mut self.made) {
            let _ = object::destroy_all(&self.session, id.as_bytes()); // looked for below
        }
        let swept = self.sweep().or_else(|_| self.renew().and_then(|()| self.sweep()));
        let left = swept.and_then(|_| self.ours());
        left.map_or_else(
            |_| vec!["unknown: the token could not be asked any more".to_owned()],
            |left| left.into_iter().map(|(_, id)| id).collect::<BTreeSet<_>>().into_iter().collect(),
        )
    }

    /// Objects in the token that bear our label and our mark, and their ids.
    fn ours(&self) -> Result<Vec<(ObjectHandle, String)>, Fault> {
        let template = [Attribute::Token(true), Attribute::Label(LABEL.as_bytes().to_vec())];
        let found =
            self.session.find_objects(&template).map_err(|error| Fault::of("look for what was left", &error))?;
        let ours = found.into_iter().take(LISTED_MAX).filter_map(|object| {
            let told = self.session.get_attributes(object, &[AttributeType::Id]).ok()?;
            told.into_iter().find_map(|attribute| match attribute {
                Attribute::Id(id) if id.starts_with(&MARK) => Some((object, hex::encode(id))),
                _ => None,
            })
        });
        Ok(ours.collect())
    }
}

fn open(inner: &Inner) -> Result<Session, Fault> {
    inner.context.open_rw_session(inner.slot).map_err(|error| Fault::of("open a session", &error))
}

fn new_id() -> Result<ObjectId, CustodyError> {
    let mut bytes = [0; 32];
    crate::cipher::random(&mut bytes)?;
    let (mark, _) = bytes.split_at_mut(MARK.len());
    mark.copy_from_slice(&MARK);
    Ok(ObjectId::from_bytes(bytes))
}
