//! A key file of docker and notary: PKCS#8 in PEM, and before it in lines of its own whose it is.
//!
//! What those lines say is taken for a wish: it decides what the key is asked to be for, and no more.

use std::path::Path;

use trust::{Gun, Purpose};
use zeroize::Zeroizing;

use crate::failure::Failure;
use crate::key::private_file::{FILE_BYTES_MAX, Held, read_secret};

/// The longest word of a line, in bytes: a role's or a repository's name.
const WORD_BYTES_MAX: usize = 255;

/// One key file.
pub(crate) struct DockerKey {
    /// The name of the file: the key's own name in metadata.
    pub(crate) id: String,
    /// `root`, `targets`, `snapshot`, `timestamp`, or a delegation's.
    pub(crate) role: String,
    /// The repository; docker says none for root and delegations.
    pub(crate) gun: Option<Gun>,
    pub(super) held: Held,
}

impl DockerKey {
    /// Reads the file.
    pub(super) fn read(path: &Path) -> Result<Self, Failure> {
        let bytes = read_secret(path, FILE_BYTES_MAX)?;
        let text = std::str::from_utf8(&bytes).map_err(|_| not_readable(path))?;
        let (pem, lines) = apart(text).ok_or_else(|| not_readable(path))?;
        let word = |name: &str| lines.iter().find(|(found, _)| *found == name).map(|(_, word)| *word);
        if word("Proc-Type").is_some() {
            return Err(Failure::usage(
                "it is encrypted as notary did before 0.4",
                "run `notary key list` once, or any docker command with content trust: they write it anew",
            ));
        }
        let role = word("role").ok_or_else(|| {
            Failure::usage(
                "it does not say which role it is for",
                "trustctl key import NAME --purpose PURPOSE --file FILE",
            )
        })?;
        let gun = word("gun").filter(|gun| !gun.is_empty()).map(str::parse).transpose()?;
        let id = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        Ok(Self { id, role: role.to_owned(), gun, held: Held::of(path, pem.as_bytes())? })
    }

    /// What such a key is for here: whatever is none of the four roles is a delegation.
    pub(crate) fn purpose(&self) -> Purpose {
        match self.role.as_str() {
            "root" => Purpose::Root,
            "targets" => Purpose::Targets,
            "snapshot" => Purpose::Snapshot,
            "timestamp" => Purpose::Timestamp,
            _ => Purpose::Delegation,
        }
    }
}

/// Lines before a body: name and word.
type Words<'t> = Vec<(&'t str, &'t str)>;

/// PEM without the lines that stand before its body (RFC 1421 §4.4), and these.
fn apart(text: &str) -> Option<(Zeroizing<String>, Words<'_>)> {
    let mut pem = Zeroizing::new(String::with_capacity(text.len().saturating_add(1)));
    let mut lines = text.lines();
    let first = lines.next().filter(|line| line.starts_with("-----BEGIN "))?;
    pem.push_str(first);
    pem.push('\n');
    let mut words = Vec::new();
    for line in lines {
        match line.split_once(':') {
            Some((name, word)) if name.len() <= WORD_BYTES_MAX && word.len() <= WORD_BYTES_MAX => {
                words.push((name.trim(), word.trim()));
            }
            Some(_) => return None,
            None if line.trim().is_empty() => {}
            None => {
                pem.push_str(line);
                pem.push('\n');
            }
        }
    }
    Some((pem, words))
}

fn not_readable(path: &Path) -> Failure {
    Failure::usage(format!("{} is no key file of docker or notary", path.display()), "is it another's? leave it out")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lines_before_the_body_are_told_apart() {
        let text = "-----BEGIN X-----\ngun: localhost:5000/team/app\nrole: targets\n\nAAAA\n-----END X-----\n";

        let (pem, lines) = apart(text).unwrap();

        assert_eq!(*pem, "-----BEGIN X-----\nAAAA\n-----END X-----\n");
        assert_eq!(lines, [("gun", "localhost:5000/team/app"), ("role", "targets")]);
        assert!(apart("role: root\n").is_none());
        assert!(apart(&format!("-----BEGIN X-----\nrole: {}\n", "a".repeat(300))).is_none());
    }
}
