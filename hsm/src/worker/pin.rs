//! A token's PIN between its source and the worker, and the memory of what the token said to it (D23).
//!
//! A PIN that has once succeeded is kept, in locked memory, and handed to every new
//! worker. One that the token has refused is wiped and marked on the disk: it is not
//! tried again, across restarts of the daemon either, until its source has another.
//! A PIN that nobody has proven is marked *before* it is shown to the token: where
//! the answer is lost, because the module crashed or hung, it may have counted as
//! wrong. It is shown once more only where the token's own flags say that it did
//! not, and never a third time (docs/decisions/0007).
//!
//! A PIN that an operator gave (`trustctl hsm login`) goes before both and is tried once,
//! whatever is marked. Only when it opened the token it is kept: in memory, never on a disk.

use std::fs::Metadata;
use std::io::Read as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use zeroize::Zeroizing;

use super::pin_mark::{Fingerprint, PinMark, Standing};
use crate::{CustodyError, Judged, Pin, PinState, TokenName, TokenTrouble, secret_file};

/// What messages call the source.
const WHAT: &str = "PIN file";

/// Where the PIN comes from, and what is known about it.
pub(super) struct PinKeeper {
    token: TokenName,
    /// The file with it; where there is none, an operator gives it.
    source: Option<PathBuf>,
    mark: PinMark,
    /// Has opened the token, and where it is from.
    proven: Option<(Pin, Origin)>,
    /// Handed to a worker that has not answered yet.
    offered: Option<Offered>,
    /// What is known about the content of a file, so that it is not stretched at every start of a worker.
    known: Option<(Identity, Standing)>,
    /// What an operator gave.
    login: Login,
}

struct Offered {
    pin: Pin,
    origin: Origin,
    standing: Standing,
    fingerprint: Option<Fingerprint>,
}

/// Where a PIN is from.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Origin {
    File(Identity),
    Operator,
}

/// How far an operator's login is.
enum Login {
    None,
    Waiting(Pin),
    /// A worker has it.
    Tried,
    Ended(Result<(), TokenTrouble>),
}

/// Whether the token has counted a wrong PIN since the last right one (`CKF_USER_PIN_COUNT_LOW`, PKCS#11 2.40 §3.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Counted {
    None,
    Some,
}

/// A file that was not written since has the same.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Identity {
    device: u64,
    inode: u64,
    changed: (i64, i64),
    modified: (i64, i64),
    length: u64,
}

impl PinKeeper {
    pub(super) fn new(token: TokenName, source: Option<PathBuf>, mark: PathBuf) -> Self {
        let mark = PinMark::at(mark);
        Self { token, source, mark, proven: None, offered: None, known: None, login: Login::None }
    }

    /// What is known about the PIN.
    pub(super) fn state(&self) -> PinState {
        match (&self.proven, &self.source, self.known) {
            (Some(_), ..) => PinState::Proven,
            (None, None, _) => PinState::Missing,
            (None, Some(_), Some((_, Standing::Refused))) => PinState::Refused,
            (None, Some(_), _) => PinState::Unproven,
        }
    }

    /// Takes an operator's PIN: the next one to be handed out, once.
    ///
    /// # Errors
    /// [`CustodyError::Unavailable`] while another operator's is at work.
    pub(super) fn give(&mut self, pin: Pin) -> Result<(), CustodyError> {
        if matches!(self.login, Login::Waiting(_) | Login::Tried) {
            return Err(CustodyError::unavailable("another login to the token is under way"));
        }
        self.login = Login::Waiting(pin);
        Ok(())
    }

    /// Whether it is known that the operator's PIN did not open the token.
    pub(super) fn has_refusal(&self) -> bool {
        matches!(self.login, Login::Ended(Err(_)))
    }

    /// How the operator's login ended; `None` when it did not. One that still waits is forgotten; what a worker has
    /// may still succeed.
    pub(super) fn end_login(&mut self) -> Option<Result<(), TokenTrouble>> {
        match std::mem::replace(&mut self.login, Login::None) {
            Login::Ended(ended) => Some(ended),
            Login::Tried => {
                self.login = Login::Tried;
                None
            }
            Login::None | Login::Waiting(_) => None,
        }
    }

    /// A PIN that may be tried; see [`PinKeeper::show`] before it is.
    ///
    /// # Errors
    /// [`TokenTrouble::PinMissing`] where there is none, [`TokenTrouble::PinWrong`] for one that the token has refused
    /// before, [`TokenTrouble::PinUnanswered`] for one that it has twice left without an answer,
    /// [`TokenTrouble::Failed`] for a source or a mark that cannot be read.
    pub(super) fn hand_out(&mut self) -> Result<Pin, TokenTrouble> {
        if let Login::Waiting(_) = &self.login
            && let Login::Waiting(pin) = std::mem::replace(&mut self.login, Login::Tried)
        {
            let copy = pin.duplicate().map_err(failed)?;
            let (origin, standing, fingerprint) = (Origin::Operator, Standing::Untried, None);
            self.offered = Some(Offered { pin: copy, origin, standing, fingerprint });
            return Ok(pin);
        }
        if let Some((pin, _)) = &self.proven {
            return pin.duplicate().map_err(failed);
        }
        let Some(source) = &self.source else {
            return Err(TokenTrouble::PinMissing { token: self.token.to_string() });
        };
        let (pin, identity) = read(source).map_err(failed)?;
        let (standing, fingerprint) = match self.known {
            Some((known, standing)) if known == identity => (standing, None),
            _ => self.mark.of(&pin).map_err(failed)?,
        };
        self.known = Some((identity, standing));
        match standing {
            Standing::Refused => Err(TokenTrouble::PinWrong),
            Standing::ShownTwice => Err(TokenTrouble::PinUnanswered),
            Standing::Untried | Standing::ShownOnce | Standing::Taken => {
                let copy = pin.duplicate().map_err(failed)?;
                let origin = Origin::File(identity);
                self.offered = Some(Offered { pin: copy, origin, standing, fingerprint });
                Ok(pin)
            }
        }
    }

    /// The PIN that has opened the token, where one has: nothing else may be tried beside the worker that serves.
    pub(super) fn proven(&self) -> Result<Option<Pin>, CustodyError> {
        self.proven.as_ref().map(|(pin, _)| pin.duplicate()).transpose()
    }

    /// Notes, durably, that the token is about to see the PIN that was handed out last.
    ///
    /// # Errors
    /// [`TokenTrouble::PinUnanswered`] where an earlier answer was lost and may have been a refusal,
    /// [`TokenTrouble::Failed`] where it cannot be noted. The PIN must not be shown then.
    pub(super) fn show(&mut self, counted: Counted) -> Result<(), TokenTrouble> {
        // An operator's is tried once in any case, and never by itself again.
        if self.offered.as_ref().is_some_and(|offered| offered.origin == Origin::Operator) {
            return Ok(());
        }
        let next = match (self.offered.as_ref().map(|offered| offered.standing), counted) {
            (None, _) if self.proven.is_some() => return Ok(()),
            (Some(Standing::Taken), _) => return Ok(()),
            (Some(Standing::Untried), _) => Standing::ShownOnce,
            (Some(Standing::ShownOnce), Counted::None) => Standing::ShownTwice,
            (_, _) => return Err(TokenTrouble::PinUnanswered),
        };
        self.note(next).map_err(failed)
    }

    /// Notes what the token said to the PIN that was shown. Where it said nothing, what was noted before stays.
    pub(super) fn heard(&mut self, logged_in: Result<Judged, &TokenTrouble>) {
        match logged_in {
            Ok(Judged::Right) => self.taken(),
            Err(TokenTrouble::PinWrong) => self.refused(),
            Err(TokenTrouble::PinUnanswered) => {}
            Ok(Judged::Not) | Err(_) => self.unjudged(),
        }
        // The token serves, although nobody knows by which PIN.
        if logged_in == Ok(Judged::Not) && matches!(self.login, Login::Tried) {
            self.login = Login::Ended(Ok(()));
        }
    }

    /// Notes that the token took the PIN that was handed out last.
    fn taken(&mut self) {
        let Some(offered) = &self.offered else { return };
        let noted = match offered.origin {
            Origin::File(_) => self.note(Standing::Taken),
            // It says nothing about the PIN in the file, unless it is the same.
            Origin::Operator => self.note_operators(),
        };
        // Where this is lost, a later daemon takes it for a PIN that was shown and not answered: no harm is done.
        if let Err(error) = noted {
            tracing::error!(%error, "a PIN that the token took cannot be marked");
        }
        self.proven = self.offered.take().map(|offered| (offered.pin, offered.origin));
        if matches!(self.login, Login::Tried) {
            self.login = Login::Ended(Ok(()));
        }
    }

    fn note_operators(&mut self) -> Result<(), CustodyError> {
        let Some(offered) = &self.offered else { return Ok(()) };
        let (Standing::ShownOnce | Standing::ShownTwice | Standing::Refused, Some(fingerprint)) =
            self.mark.of(&offered.pin)?
        else {
            return Ok(());
        };
        self.known = None;
        self.mark.write(Standing::Taken, &fingerprint)
    }

    /// Notes that the token answered and did not judge the PIN: it was away, or had us inside already.
    fn unjudged(&mut self) {
        let stands = |offered: &&Offered| offered.standing != Standing::Taken && offered.origin != Origin::Operator;
        let Some(offered) = self.offered.as_ref().filter(stands) else { return };
        if let Err(error) = self.note(offered.standing) {
            tracing::error!(%error, "the mark of a PIN that was not judged cannot be taken back");
        }
    }

    /// Notes that the token refused the PIN that was handed out last, durably.
    pub(super) fn refused(&mut self) {
        // What was refused is what was read then: the file may have another by now, which nobody has tried.
        let (standing, fingerprint) = (Standing::Untried, None);
        let proven = |(pin, origin)| Offered { pin, origin, standing, fingerprint };
        let Some(offered) = self.offered.take().or_else(|| self.proven.take().map(proven)) else { return };
        let origin = offered.origin;
        self.offered = Some(offered);
        let marked = match origin {
            Origin::File(_) => {
                self.proven = None;
                self.note(Standing::Refused)
            }
            // The mark of the file's PIN stays; where there is none, the same PIN may come to be in the file.
            Origin::Operator if self.mark.exists() => Ok(()),
            Origin::Operator => self.note(Standing::Refused),
        };
        self.offered = None;
        if matches!(self.login, Login::Tried) {
            self.login = Login::Ended(Err(TokenTrouble::PinWrong));
        }
        if let Err(error) = marked {
            tracing::error!(%error, "a PIN that the token refused cannot be marked: a restart would try it again");
        }
    }

    /// Notes that the worker which got the PIN does not serve: an operator's is not tried a second time by itself,
    /// whatever it was that went wrong.
    pub(super) fn not_proven(&mut self, trouble: &TokenTrouble) {
        if matches!(self.login, Login::Tried) {
            self.offered = None;
            self.login = Login::Ended(Err(trouble.clone()));
        }
    }

    /// Marks what was offered. A refusal holds for this daemon even where the disk does not take it.
    fn note(&mut self, standing: Standing) -> Result<(), CustodyError> {
        let Some(offered) = &mut self.offered else { return Ok(()) };
        let fingerprint = match offered.fingerprint.take() {
            Some(fingerprint) => fingerprint,
            None => Fingerprint::of(&offered.pin)?,
        };
        let noted = self.mark.write(standing, &fingerprint);
        offered.fingerprint = Some(fingerprint);
        match offered.origin {
            Origin::File(identity) if noted.is_ok() || standing == Standing::Refused => {
                self.known = Some((identity, standing));
            }
            // The file may have the same.
            Origin::Operator => self.known = None,
            Origin::File(_) => {}
        }
        noted
    }
}

/// Says what is wrong with a PIN file, without keeping the PIN.
pub(super) fn examine(path: &Path) -> Result<(), CustodyError> {
    read(path).map(drop)
}

/// The PIN of a file, without the line feed that editors leave behind it.
fn read(path: &Path) -> Result<(Pin, Identity), CustodyError> {
    let file = secret_file::open(WHAT, path)?;
    let metadata = file.metadata().map_err(|error| secret_file::unreadable(WHAT, path, &error))?;
    let mut bytes = Zeroizing::new(Vec::with_capacity(Pin::BYTES_MAX + 2));
    let limit = u64::try_from(Pin::BYTES_MAX + 2).unwrap_or(u64::MAX);
    file.take(limit).read_to_end(&mut bytes).map_err(|error| secret_file::unreadable(WHAT, path, &error))?;
    let length = bytes.strip_suffix(b"\n").unwrap_or(&bytes).len();
    let pin = bytes.get_mut(..length).map_or_else(|| Pin::take(&mut []), Pin::take);
    let pin = pin.map_err(|error| CustodyError::refused(format!("the {WHAT} {}: {error}", path.display())))?;
    Ok((pin, Identity::of(&metadata)))
}

impl Identity {
    fn of(metadata: &Metadata) -> Self {
        Self {
            device: metadata.dev(),
            inode: metadata.ino(),
            changed: (metadata.ctime(), metadata.ctime_nsec()),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
            length: metadata.len(),
        }
    }
}

fn failed(error: CustodyError) -> TokenTrouble {
    TokenTrouble::Failed { what: error.to_string() }
}

#[cfg(test)]
mod tests;
