//! Wire words and the words of the house: one table for each enumeration, read both ways.

use trust::state::DistrustReason;
use trust::{Algorithm, Form, Malformed, Origin, Purpose};

use crate::v1;

/// A word that stands on the wire as an enumeration of `trust.v1`.
pub trait Word: Sized + Copy + PartialEq + 'static {
    /// Its name in messages to people.
    const WHAT: &'static str;
    /// Each word beside its number on the wire; 0 is never among them.
    const TABLE: &'static [(Self, i32)];

    /// Reads a word from the wire.
    ///
    /// # Errors
    /// [`Malformed`] for 0 (unspecified) and for numbers this version does not know.
    fn from_wire(number: i32) -> Result<Self, Malformed> {
        Self::TABLE
            .iter()
            .find(|(_, wire)| *wire == number)
            .map(|(word, _)| *word)
            .ok_or(Malformed::new(Self::WHAT, "a value that trust.v1 names"))
    }

    /// Its number on the wire; 0 for a word that has none.
    fn to_wire(self) -> i32 {
        Self::TABLE.iter().find(|(word, _)| *word == self).map_or(0, |(_, wire)| *wire)
    }
}

/// The number of a wire enumeration.
macro_rules! table {
    ($($word:expr => $wire:expr),+ $(,)?) => {
        &[$(($word, {
            #[expect(clippy::as_conversions, reason = "the number of a fieldless enumeration, in a constant")]
            let number = $wire as i32;
            number
        })),+]
    };
}

impl Word for Algorithm {
    const WHAT: &'static str = "algorithm";
    const TABLE: &'static [(Self, i32)] = table![
        Self::EcdsaP256Sha256 => v1::Algorithm::EcdsaP256Sha256,
        Self::EcdsaP384Sha256 => v1::Algorithm::EcdsaP384Sha256,
        Self::EcdsaP384Sha384 => v1::Algorithm::EcdsaP384Sha384,
        Self::Ed25519 => v1::Algorithm::Ed25519,
        Self::Rsa3072Pkcs1Sha256 => v1::Algorithm::Rsa3072Pkcs1Sha256,
        Self::Rsa3072PssSha256 => v1::Algorithm::Rsa3072PssSha256,
        Self::Rsa4096Pkcs1Sha256 => v1::Algorithm::Rsa4096Pkcs1Sha256,
        Self::Rsa4096PssSha256 => v1::Algorithm::Rsa4096PssSha256,
    ];
}

/// [`Purpose::Log`] has no number: no key of the API is for the log.
impl Word for Purpose {
    const WHAT: &'static str = "purpose";
    const TABLE: &'static [(Self, i32)] = table![
        Self::Delegation => v1::Purpose::Delegation,
        Self::Image => v1::Purpose::Image,
        Self::Raw => v1::Purpose::Raw,
        Self::ReleaseBlob => v1::Purpose::ReleaseBlob,
        Self::ReleaseStatement => v1::Purpose::ReleaseStatement,
        Self::Root => v1::Purpose::Root,
        Self::Snapshot => v1::Purpose::Snapshot,
        Self::Targets => v1::Purpose::Targets,
        Self::Timestamp => v1::Purpose::Timestamp,
    ];
}

impl Word for Form {
    const WHAT: &'static str = "form";
    const TABLE: &'static [(Self, i32)] = table![
        Self::Bundle => v1::Form::Bundle,
        Self::Manifest => v1::Form::Manifest,
        Self::Minisig => v1::Form::Minisig,
        Self::Raw => v1::Form::Raw,
        Self::Sig => v1::Form::Sig,
        Self::Sshsig => v1::Form::Sshsig,
        Self::Tuf => v1::Form::Tuf,
    ];
}

impl Word for Origin {
    const WHAT: &'static str = "origin of a key";
    const TABLE: &'static [(Self, i32)] = table![
        Self::Adopted => v1::Origin::Adopted,
        Self::Generated => v1::Origin::Generated,
        Self::Imported => v1::Origin::Imported,
    ];
}

impl Word for DistrustReason {
    const WHAT: &'static str = "reason of distrust";
    const TABLE: &'static [(Self, i32)] = table![
        Self::CustodyCompromise => v1::DistrustReason::CustodyCompromise,
        Self::KeyCompromise => v1::DistrustReason::KeyCompromise,
        Self::Superseded => v1::DistrustReason::Superseded,
        Self::Unspecified => v1::DistrustReason::NoneGiven,
    ];
}

#[cfg(test)]
mod tests {
    use super::*;

    fn survives<W: Word + std::fmt::Debug>(words: &[W]) {
        for word in words {
            assert_ne!(word.to_wire(), 0, "{word:?} has no number");
            assert_eq!(W::from_wire(word.to_wire()).ok(), Some(*word));
        }
        assert_eq!(W::TABLE.len(), words.len());
    }

    #[test]
    fn every_word_survives_the_wire() {
        survives(&Algorithm::ALL);
        survives(&Form::ALL);
        survives(&DistrustReason::ALL);
        survives(&Origin::ALL);
        let spoken: Vec<Purpose> = Purpose::ALL.into_iter().filter(|purpose| *purpose != Purpose::Log).collect();
        survives(&spoken);
    }

    #[test]
    fn unspecified_and_unknown_numbers_are_malformed() {
        for number in [0, -1, 99, i32::MAX] {
            assert!(Algorithm::from_wire(number).is_err());
            assert!(Form::from_wire(number).is_err());
            assert!(Purpose::from_wire(number).is_err());
            assert!(DistrustReason::from_wire(number).is_err());
        }
    }

    #[test]
    fn the_purpose_of_the_log_key_is_not_on_the_wire() {
        assert_eq!(Purpose::Log.to_wire(), 0);
    }
}
