//! What an imported private key is bound to on its way: the `info` of its envelope ([`crate::envelope`]).
//!
//! Client and daemon each put it together from what they know. Where they differ in anything, what the
//! client sealed does not open: a ciphertext that somebody else sends, or under another name, is of no use.

use crate::{Algorithm, Form, KeyName, Purpose, Scope};

/// Everything that is fixed about the key, who brings it, and where it is to live.
#[derive(Debug, Clone, Copy)]
#[expect(clippy::exhaustive_structs, reason = "the caller states every part of it")]
pub struct ImportBinding<'a> {
    /// The store's uuid, 16 bytes.
    pub store: &'a [u8; 16],
    /// Who brings the key, as the daemon knows him: [`crate::Principal`] as text.
    pub principal: &'a str,
    /// Its name.
    pub name: &'a KeyName,
    /// What it is for.
    pub purpose: Purpose,
    /// How it signs.
    pub algorithm: Algorithm,
    /// For which repositories.
    pub scope: &'a Scope,
    /// What it may leave behind.
    pub forms: &'a [Form],
    /// `software`, or the token's name.
    pub custodian: &'a str,
}

impl ImportBinding<'_> {
    /// What stands for software custody, which no token may be called.
    pub const SOFTWARE: &'static str = "software";

    /// The bytes: each part behind its length (`u32`, big-endian), so that no two bindings are the same.
    #[must_use]
    pub fn info(&self) -> Vec<u8> {
        let scope = self.scope.hash();
        let head: [&[u8]; 8] = [
            b"trustd/import-key/v1",
            self.store,
            self.principal.as_bytes(),
            self.name.as_str().as_bytes(),
            self.purpose.name().as_bytes(),
            self.algorithm.name().as_bytes(),
            scope.as_bytes(),
            self.custodian.as_bytes(),
        ];
        let forms = self.forms.iter().map(|form| form.name().as_bytes());
        let mut info = Vec::with_capacity(512);
        for part in head.into_iter().chain(forms) {
            info.extend_from_slice(&u32::try_from(part.len()).unwrap_or(u32::MAX).to_be_bytes());
            info.extend_from_slice(part);
        }
        info
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_part_is_in_the_binding() {
        let (name, other) = ("team/app".parse::<KeyName>().unwrap(), "team/ap".parse::<KeyName>().unwrap());
        let scope = |text: &str| Scope::new(Purpose::Image, vec![text.parse().unwrap()]).unwrap();
        let (here, there) = (scope("r.example.com/app"), scope("r.example.com/other"));
        let own = ImportBinding {
            store: &[1; 16],
            principal: "uid:0",
            name: &name,
            purpose: Purpose::Image,
            algorithm: Algorithm::EcdsaP384Sha256,
            scope: &here,
            forms: &[Form::Sig, Form::Bundle],
            custodian: "software",
        };
        let others = [
            ImportBinding { store: &[2; 16], ..own },
            ImportBinding { principal: "uid:00", ..own },
            ImportBinding { name: &other, ..own },
            ImportBinding { purpose: Purpose::Raw, ..own },
            ImportBinding { algorithm: Algorithm::EcdsaP384Sha384, ..own },
            ImportBinding { scope: &there, ..own },
            ImportBinding { forms: &[Form::Sig], ..own },
            ImportBinding { custodian: "hsm", ..own },
        ];

        assert!(others.iter().all(|other| other.info() != own.info()));
        assert!(own.info().len() < crate::envelope::INFO_BYTES_MAX);
    }
}
