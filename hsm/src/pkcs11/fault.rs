//! What a return code of PKCS#11 means to whoever called: the one table.

use cryptoki::error::{Error, RvError};

use crate::{CustodyError, TokenTrouble};

/// What a call that failed leaves to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Fault {
    /// The session is worth nothing any more; a new one may do.
    Session(String),
    /// A signature does not verify: the handle may mean another key by now, or the key's place is broken.
    Unsound,
    /// An object is not found. A token that is being taken away has none either, before it says that it is not there:
    /// lost is only what a new session and a new login do not find. Then it is answered by this error.
    Missing(CustodyError),
    /// Nobody is logged in any more.
    Login(String),
    /// The token has no session left; those that are open go on.
    Crowded(String),
    /// Only a new process can help.
    Child(TokenTrouble),
    /// It will not be done this way, on no session.
    Final(CustodyError),
}

/// The rung of the ladder (D24) that a return code asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Remedy {
    Session,
    Crowded,
    Login,
    Process,
    Absent,
    PinWrong,
    PinLocked,
    Full,
    Refused,
}

impl Fault {
    /// Judges a failed call; `step` says which.
    pub(super) fn of(step: &str, error: &Error) -> Self {
        let what = format!("{step}: {}", name(error));
        let remedy = match error {
            Error::Pkcs11(code, _) => remedy(*code),
            // The module does not have the function, or the wrapper cannot say it.
            Error::NullFunctionPointer | Error::NotSupported => Remedy::Refused,
            _ => Remedy::Session,
        };
        match remedy {
            Remedy::Session => Self::Session(what),
            Remedy::Crowded => Self::Crowded(what),
            Remedy::Login => Self::Login(what),
            Remedy::Process => Self::Child(TokenTrouble::Failed { what }),
            Remedy::Absent => Self::Child(TokenTrouble::Absent { what }),
            Remedy::PinWrong => Self::Child(TokenTrouble::PinWrong),
            Remedy::PinLocked => Self::Child(TokenTrouble::PinLocked { what }),
            Remedy::Full => Self::Final(CustodyError::Full { what }),
            Remedy::Refused => Self::Final(CustodyError::refused(format!("the token refuses: {what}"))),
        }
    }
}

impl From<CustodyError> for Fault {
    fn from(error: CustodyError) -> Self {
        Self::Final(error)
    }
}

/// `CKR_TOKEN_RESOURCE_EXCEEDED` of PKCS#11 3.2, which the wrapper does not know yet: more than the token can take at
/// once, an Ed25519 message of 2 MiB for one. It would be too much in a new process, too.
const RESOURCE_EXCEEDED: RvError = RvError::UnknownErrorCode(0x201);

/// The code's name as the standard has it: `CKR_` and its words, or a number for one that is the vendor's.
pub(super) fn name(error: &Error) -> String {
    match error {
        Error::Pkcs11(RESOURCE_EXCEEDED, _) => "CKR_TOKEN_RESOURCE_EXCEEDED".to_owned(),
        Error::Pkcs11(RvError::VendorDefined(code) | RvError::UnknownErrorCode(code), _) => format!("CKR {code:#010x}"),
        Error::Pkcs11(code, _) => {
            let mut name = "CKR".to_owned();
            for letter in format!("{code:?}").chars() {
                if letter.is_ascii_uppercase() {
                    name.push('_');
                }
                name.push(letter.to_ascii_uppercase());
            }
            name
        }
        error => error.to_string(),
    }
}

/// PKCS#11 3.0 §5.1. Where in doubt a new session is tried: the ladder goes on from there by itself.
fn remedy(code: RvError) -> Remedy {
    use RvError as Ckr;
    match code {
        Ckr::UserNotLoggedIn => Remedy::Login,

        Ckr::SessionCount => Remedy::Crowded,

        Ckr::TokenNotPresent | Ckr::DeviceRemoved | Ckr::SlotIdInvalid | Ckr::TokenNotRecognized => Remedy::Absent,

        Ckr::CryptokiNotInitialized
        | Ckr::CryptokiAlreadyInitialized
        | Ckr::LibraryLoadFailed
        | Ckr::NeedToCreateThreads
        | Ckr::CantLock
        | Ckr::MutexBad
        | Ckr::MutexNotLocked
        | Ckr::FipsSelfTestFailed
        | Ckr::HostMemory => Remedy::Process,

        // One that is too long or holds a letter that the token does not take is no better than a wrong one.
        Ckr::PinIncorrect | Ckr::PinInvalid | Ckr::PinLenRange => Remedy::PinWrong,
        Ckr::PinLocked | Ckr::PinExpired | Ckr::UserPinNotInitialized => Remedy::PinLocked,

        Ckr::DeviceMemory => Remedy::Full,

        Ckr::ActionProhibited
        | Ckr::ArgumentsBad
        | Ckr::AttributeReadOnly
        | Ckr::AttributeTypeInvalid
        | Ckr::AttributeValueInvalid
        | Ckr::CurveNotSupported
        | Ckr::DataInvalid
        | Ckr::DataLenRange
        | Ckr::DomainParamsInvalid
        | Ckr::FunctionNotSupported
        | Ckr::FunctionRejected
        | Ckr::KeySizeRange
        | Ckr::MechanismInvalid
        | Ckr::MechanismParamInvalid
        | Ckr::TemplateIncomplete
        | Ckr::TemplateInconsistent
        | Ckr::TokenWriteProtected
        | RESOURCE_EXCEEDED => Remedy::Refused,

        // Handles that mean nothing or another object by now, sessions that died while idle, operations that
        // somebody left open, and what a vendor says in its own tongue.
        _ => Remedy::Session,
    }
}

#[cfg(test)]
mod tests {
    use cryptoki::context::Function;

    use super::*;

    fn of(code: RvError) -> Fault {
        Fault::of("sign", &Error::Pkcs11(code, Function::Sign))
    }

    #[test]
    fn each_rung_of_the_ladder_has_its_codes() {
        for (code, rung) in [
            (RvError::SessionHandleInvalid, Remedy::Session),
            (RvError::SessionClosed, Remedy::Session),
            (RvError::ObjectHandleInvalid, Remedy::Session),
            (RvError::KeyTypeInconsistent, Remedy::Session),
            (RvError::OperationActive, Remedy::Session),
            (RvError::SessionCount, Remedy::Crowded),
            (RvError::GeneralError, Remedy::Session),
            (RvError::DeviceError, Remedy::Session),
            (RvError::BufferTooSmall, Remedy::Session),
            (RvError::VendorDefined(0x8000_0001), Remedy::Session),
            (RvError::UnknownErrorCode(0x7777), Remedy::Session),
            (RvError::UserNotLoggedIn, Remedy::Login),
            (RvError::HostMemory, Remedy::Process),
            (RvError::CryptokiNotInitialized, Remedy::Process),
            (RvError::TokenNotPresent, Remedy::Absent),
            (RvError::DeviceRemoved, Remedy::Absent),
            (RvError::PinIncorrect, Remedy::PinWrong),
            (RvError::PinLocked, Remedy::PinLocked),
            (RvError::DeviceMemory, Remedy::Full),
            (RvError::MechanismInvalid, Remedy::Refused),
            (RvError::KeySizeRange, Remedy::Refused),
            (RvError::UnknownErrorCode(0x201), Remedy::Refused),
        ] {
            assert_eq!(remedy(code), rung, "{code:?}");
        }
    }

    #[test]
    fn a_code_is_named_as_the_standard_names_it() {
        assert_eq!(of(RvError::SessionHandleInvalid), Fault::Session("sign: CKR_SESSION_HANDLE_INVALID".to_owned()));
        assert_eq!(of(RvError::VendorDefined(0x8000_0001)), Fault::Session("sign: CKR 0x80000001".to_owned()));
        assert_eq!(of(RvError::PinIncorrect), Fault::Child(TokenTrouble::PinWrong));
    }
}
