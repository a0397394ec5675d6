//! Secrets that a person gives: typed without echo, from standard input, or from a file of their own. Never from a
//! command line or the environment, which others can read.

use std::fs::File;
use std::io::{IsTerminal as _, Read};
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use zeroize::Zeroizing;

use crate::failure::Failure;

/// Reads `what`, at most `bytes_max` bytes, from the terminal or else from standard input, to its end; one line feed
/// behind it is not part of it.
pub(crate) fn typed(what: &str, bytes_max: usize) -> Result<Zeroizing<Vec<u8>>, Failure> {
    let name = format!("{}{}", what.get(..1).unwrap_or_default().to_uppercase(), what.get(1..).unwrap_or_default());
    asked(what, &[name], bytes_max)
}

/// The same of one that is new: on a terminal it is typed twice, so that a slip is noticed.
pub(crate) fn new(what: &str, bytes_max: usize) -> Result<Zeroizing<Vec<u8>>, Failure> {
    asked(what, &[format!("New {what}"), "Once more".to_owned()], bytes_max)
}

/// Asks with each prompt, on a terminal; every answer must be the same.
fn asked(what: &str, prompts: &[String], bytes_max: usize) -> Result<Zeroizing<Vec<u8>>, Failure> {
    let unread = |error| Failure::other(format!("read the {what}"), REMEDY).because(error);
    if !std::io::stdin().is_terminal() {
        let bytes = whole(&mut std::io::stdin().lock(), bytes_max).map_err(unread)?;
        return fitting(what, bytes, bytes_max);
    }
    let mut answer: Option<Zeroizing<Vec<u8>>> = None;
    for prompt in prompts {
        let typed: Zeroizing<String> =
            Zeroizing::new(rpassword::prompt_password(format!("{prompt}: ")).map_err(unread)?);
        let mut bytes = Zeroizing::new(Vec::with_capacity(typed.len()));
        bytes.extend_from_slice(typed.as_bytes());
        if answer.as_ref().is_some_and(|first| *first != bytes) {
            return Err(Failure::usage("the two differ; nothing was changed", format!("type the same {what} twice")));
        }
        answer = Some(bytes);
    }
    fitting(what, answer.unwrap_or_default(), bytes_max)
}

/// The same from a file that nobody else may read.
pub(crate) fn in_file(what: &str, path: &Path, bytes_max: usize) -> Result<Zeroizing<Vec<u8>>, Failure> {
    let shown = path.display();
    let unread = |error| {
        Failure::usage(format!("read the {what} from {shown}"), "is it there, and yours to read?").because(error)
    };
    let mut file = File::open(path).map_err(unread)?;
    let metadata = file.metadata().map_err(unread)?;
    if metadata.is_file() && metadata.mode() & 0o077 != 0 {
        return Err(Failure::usage(format!("others may read the {what} in {shown}"), format!("chmod 600 {shown}")));
    }
    fitting(what, whole(&mut file, bytes_max).map_err(unread)?, bytes_max)
}

const REMEDY: &str = "type it, or give it on standard input";

/// Everything up to the bound and what shows that it is more, in memory that does not move.
fn whole(source: &mut impl Read, bytes_max: usize) -> std::io::Result<Zeroizing<Vec<u8>>> {
    let room = bytes_max.saturating_add(2);
    let mut bytes = Zeroizing::new(Vec::with_capacity(room));
    source.take(u64::try_from(room).unwrap_or(u64::MAX)).read_to_end(&mut bytes)?;
    if bytes.last() == Some(&b'\n') {
        bytes.pop();
    }
    Ok(bytes)
}

fn fitting(what: &str, bytes: Zeroizing<Vec<u8>>, bytes_max: usize) -> Result<Zeroizing<Vec<u8>>, Failure> {
    match bytes.len() {
        0 => Err(Failure::usage(format!("the {what} is empty"), REMEDY)),
        length if length <= bytes_max => Ok(bytes),
        _ => Err(Failure::usage(format!("the {what} is longer than {bytes_max} bytes"), "is it the right one?")),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn a_file_is_read_whole_without_its_line_feed_and_bounded() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("pin");
        let read = |bytes: &[u8], mode: u32| {
            std::fs::write(&path, bytes).unwrap();
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
            in_file("PIN", &path, 4)
        };

        assert_eq!(*read(b"1234\n", 0o600).unwrap(), b"1234");
        assert_eq!(*read(b"12\n\n", 0o600).unwrap(), b"12\n");
        for (bytes, mode, word) in
            [(&b"\n"[..], 0o600, "empty"), (b"12345", 0o600, "longer than 4"), (b"1234", 0o640, "others may read")]
        {
            let failure = read(bytes, mode).unwrap_err();
            assert!(failure.what().contains(word), "{failure:?}");
        }
        std::fs::remove_file(&path).unwrap();
        assert!(in_file("PIN", &path, 4).is_err());
    }
}
