//! Passphrases: each that opened one key is tried for all others before anybody is asked.

use std::path::PathBuf;

use zeroize::Zeroizing;

use crate::failure::Failure;
use crate::key::private_file::{PASSPHRASE_BYTES_MAX, PrivateFile, passphrase_in, typed_passphrase};
use crate::output::Output;

/// So often one key's passphrase is asked for.
const ASKED_MAX: usize = 3;
/// So many are tried: each costs time that the file decides.
const TRIED_MAX: usize = 64;

/// Those that are known.
pub(super) struct Passphrases {
    known: Vec<Zeroizing<Vec<u8>>>,
    asks: bool,
}

impl Passphrases {
    /// Those in files; where there are none, a terminal is asked.
    pub(super) fn read(files: &[PathBuf]) -> Result<Self, Failure> {
        if files.len() > TRIED_MAX {
            return Err(Failure::usage(format!("more than {TRIED_MAX} passphrases"), "bring the keys in parts"));
        }
        let known = files.iter().map(|file| passphrase_in(file)).collect::<Result<_, _>>()?;
        Ok(Self { known, asks: files.is_empty() && Output::asks() })
    }

    /// Opens a key, which is called `what`, with those that are known, else with what is typed.
    pub(super) fn open(
        &mut self,
        what: &str,
        with: impl Fn(&[u8]) -> Result<PrivateFile, Failure>,
    ) -> Result<PrivateFile, Failure> {
        // Of several refusals the last is as good as any.
        let mut refused = None;
        for passphrase in &self.known {
            match with(passphrase) {
                Ok(file) => return Ok(file),
                Err(failure) => refused = Some(failure),
            }
        }
        if !self.asks {
            return Err(refused.unwrap_or_else(|| Failure::usage("it is encrypted, and nobody is there to ask", ONE)));
        }
        for _ in 0..ASKED_MAX {
            let typed = typed_passphrase(&format!("Passphrase of {what} (empty: leave it out): "))?;
            if typed.is_empty() {
                return Err(Failure::usage("left out: no passphrase was given", ONE));
            }
            if typed.len() > PASSPHRASE_BYTES_MAX {
                continue;
            }
            if let Ok(file) = with(&typed) {
                if self.known.len() < TRIED_MAX {
                    self.known.push(typed);
                }
                return Ok(file);
            }
        }
        Err(Failure::refused("it does not open with what was typed", ONE))
    }
}

const ONE: &str = "run it again with its passphrase: on a terminal, or --passphrase-file FILE";
