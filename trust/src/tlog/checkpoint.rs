//! Signed checkpoints: what the log promises, and the key that promises it.

use std::fmt;
use std::str::FromStr;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::{Algorithm, Malformed, PublicKey, Sha256Digest, Signable, verify};

/// The signature type of Ed25519 over the note's text (C2SP `signed-note`).
const TYPE_ED25519: u8 = 1;
/// The longest signed note that is read, in bytes.
const NOTE_BYTES_MAX: usize = 64 * 1024;
/// The most signature lines that are read.
const SIGNATURES_MAX: usize = 64;

/// Why a note is not believed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
#[expect(clippy::exhaustive_enums, reason = "closed set, by what the caller can do")]
pub enum NoteError {
    /// It is no signed checkpoint.
    #[error("not a signed checkpoint")]
    Shape,
    /// It is of another log.
    #[error("a checkpoint of another log")]
    Origin,
    /// The log's key did not sign it.
    #[error("the log's key did not sign it")]
    Unsigned,
    /// A signature that names the log's key is wrong.
    #[error("the signature of the log's key is wrong")]
    Wrong,
}

/// What a log says of itself: this many leaves, under this root (C2SP `tlog-checkpoint`).
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(clippy::exhaustive_structs, reason = "the three lines of the specification")]
pub struct Checkpoint {
    /// The log's name: a bare host name (so that cosign takes it, too).
    pub origin: String,
    /// How many leaves.
    pub size: u64,
    /// Root over all of them.
    pub root: Sha256Digest,
}

impl Checkpoint {
    /// The exact text that is signed.
    #[must_use]
    pub fn text(&self) -> String {
        format!("{}\n{}\n{}\n", self.origin, self.size, STANDARD.encode(self.root.as_bytes()))
    }

    /// What a note says, whoever wrote it: for one's own file that is compared with more than it can forge.
    ///
    /// # Errors
    /// [`NoteError::Shape`] when it is no checkpoint with signatures.
    pub fn claimed(note: &str) -> Result<Self, NoteError> {
        Self::parse(split(note)?.0)
    }

    fn parse(text: &str) -> Result<Self, NoteError> {
        let mut lines = text.strip_suffix('\n').ok_or(NoteError::Shape)?.split('\n');
        let (origin, size, root) = match (lines.next(), lines.next(), lines.next(), lines.next()) {
            (Some(origin), Some(size), Some(root), None) => (origin, size, root),
            _ => return Err(NoteError::Shape),
        };
        let number: u64 = size.parse().map_err(|_| NoteError::Shape)?;
        let bytes: [u8; 32] =
            STANDARD.decode(root).ok().and_then(|bytes| bytes.try_into().ok()).ok_or(NoteError::Shape)?;
        let checkpoint = Self { origin: origin.to_owned(), size: number, root: Sha256Digest::from_bytes(bytes) };
        // One text for one meaning: "+7", "007" and other base64 alphabets do not come back the same.
        if checkpoint.text() == text { Ok(checkpoint) } else { Err(NoteError::Shape) }
    }
}

/// The log's Ed25519 key under its name: `origin+hash+key` (C2SP `signed-note`, "Verifier keys").
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VerifierKey {
    origin: String,
    public_key: PublicKey,
    id: [u8; 4],
}

impl VerifierKey {
    /// The key of the log called `origin`.
    ///
    /// # Errors
    /// [`Malformed`] for a name with spaces, `+` or control characters, or a key that is not Ed25519.
    pub fn new(origin: &str, public_key: PublicKey) -> Result<Self, Malformed> {
        if !origin_ok(origin) || public_key.algorithm() != Algorithm::Ed25519 {
            return Err(VERIFIER_KEY);
        }
        let raw = raw_ed25519(&public_key)?;
        let mut hashed = origin.as_bytes().to_vec();
        hashed.extend_from_slice(&[b'\n', TYPE_ED25519]);
        hashed.extend_from_slice(&raw);
        let [a, b, c, d, ..] = *Sha256Digest::of(&hashed).as_bytes();
        Ok(Self { origin: origin.to_owned(), public_key, id: [a, b, c, d] })
    }

    /// The log's name.
    #[must_use]
    pub fn origin(&self) -> &str {
        &self.origin
    }

    /// The key.
    #[must_use]
    pub const fn public_key(&self) -> &PublicKey {
        &self.public_key
    }
}

const VERIFIER_KEY: Malformed =
    Malformed::new("log key", "name+hash+base64 of an Ed25519 key, as C2SP signed-note has it");

/// An Ed25519 `SubjectPublicKeyInfo` ends in the 32 bytes of the key (RFC 8410 §4).
fn raw_ed25519(key: &PublicKey) -> Result<[u8; 32], Malformed> {
    key.spki_der().last_chunk::<32>().copied().ok_or(VERIFIER_KEY)
}

fn origin_ok(origin: &str) -> bool {
    (1..=255).contains(&origin.len()) && !origin.chars().any(|c| c.is_whitespace() || c.is_control() || c == '+')
}

impl fmt::Display for VerifierKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut bytes = vec![TYPE_ED25519];
        bytes.extend(self.public_key.spki_der().last_chunk::<32>().into_iter().flatten());
        write!(f, "{}+{}+{}", self.origin, hex::encode(self.id), STANDARD.encode(bytes))
    }
}

impl FromStr for VerifierKey {
    type Err = Malformed;

    fn from_str(text: &str) -> Result<Self, Malformed> {
        let mut parts = text.splitn(3, '+');
        let (Some(origin), Some(id), Some(key)) = (parts.next(), parts.next(), parts.next()) else {
            return Err(VERIFIER_KEY);
        };
        let bytes = STANDARD.decode(key).map_err(|_| VERIFIER_KEY)?;
        let raw: &[u8; 32] = match bytes.split_first() {
            Some((&TYPE_ED25519, raw)) => raw.try_into().map_err(|_| VERIFIER_KEY)?,
            _ => return Err(VERIFIER_KEY),
        };
        let parsed = Self::new(origin, PublicKey::from_ed25519_bytes(raw)?)?;
        if hex::encode(parsed.id) == id { Ok(parsed) } else { Err(VERIFIER_KEY) }
    }
}

/// The text and the lines of signatures of a note.
fn split(note: &str) -> Result<(&str, &str), NoteError> {
    if note.len() > NOTE_BYTES_MAX || note.chars().any(|c| c.is_control() && c != '\n') {
        return Err(NoteError::Shape);
    }
    let end = note.rfind("\n\n").ok_or(NoteError::Shape)?;
    let (text, rest) = note.split_at_checked(end + 1).ok_or(NoteError::Shape)?;
    let signatures = rest.strip_prefix('\n').and_then(|rest| rest.strip_suffix('\n')).ok_or(NoteError::Shape)?;
    Ok((text, signatures))
}

/// A checkpoint that the log's key signed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignedCheckpoint {
    checkpoint: Checkpoint,
    note: String,
}

impl SignedCheckpoint {
    /// Puts the note together; the signature is over [`Checkpoint::text`].
    ///
    /// # Errors
    /// [`NoteError`] when the checkpoint is of another origin or the signature is wrong: no wrong note is made.
    pub fn assemble(checkpoint: Checkpoint, signature: &[u8; 64], key: &VerifierKey) -> Result<Self, NoteError> {
        let mut bytes = key.id.to_vec();
        bytes.extend_from_slice(signature);
        let note = format!("{}\n\u{2014} {} {}\n", checkpoint.text(), key.origin, STANDARD.encode(bytes));
        Self::open(&note, key)
    }

    /// Reads a note and checks the log's signature; signatures of unknown keys (witnesses) do not matter.
    ///
    /// # Errors
    /// [`NoteError`] says why it is not believed.
    pub fn open(note: &str, key: &VerifierKey) -> Result<Self, NoteError> {
        let (text, signatures) = split(note)?;
        let checkpoint = Checkpoint::parse(text)?;
        if checkpoint.origin != key.origin {
            return Err(NoteError::Origin);
        }
        let mut signed = false;
        for (count, line) in signatures.split('\n').enumerate() {
            if count >= SIGNATURES_MAX {
                return Err(NoteError::Shape);
            }
            let (name, encoded) =
                line.strip_prefix("\u{2014} ").and_then(|line| line.split_once(' ')).ok_or(NoteError::Shape)?;
            let bytes = STANDARD.decode(encoded).map_err(|_| NoteError::Shape)?;
            let (id, signature) = bytes.split_first_chunk::<4>().ok_or(NoteError::Shape)?;
            if name == key.origin && *id == key.id {
                let input = Signable::Message(text.as_bytes().to_vec());
                verify::one(&key.public_key, &input, signature).map_err(|_| NoteError::Wrong)?;
                signed = true;
            }
        }
        if signed { Ok(Self { checkpoint, note: note.to_owned() }) } else { Err(NoteError::Unsigned) }
    }

    /// What it says.
    #[must_use]
    pub const fn checkpoint(&self) -> &Checkpoint {
        &self.checkpoint
    }

    /// The whole note, as it is served.
    #[must_use]
    pub fn note(&self) -> &str {
        &self.note
    }
}
