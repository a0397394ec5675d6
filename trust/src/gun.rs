//! Names of repositories, as Notary has them: globally unique names (GUN).

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use crate::Malformed;

/// The longest name, in bytes.
const BYTES_MAX: usize = 255;

/// The name of a repository: `registry.example.com:5000/team/app`, whatever its client calls it.
///
/// Printable ASCII, so that it has one spelling; no `*`, which means others, none of `"%?#\`, and no segment that is
/// empty, `.` or `..`. At most 255 bytes.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Gun(Arc<str>);

impl Gun {
    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Gun {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for Gun {
    type Err = Malformed;

    fn from_str(text: &str) -> Result<Self, Malformed> {
        let plain = |b: u8| b.is_ascii_graphic() && !matches!(b, b'*' | b'"' | b'%' | b'?' | b'#' | b'\\');
        let segment = |part: &str| !matches!(part, "" | "." | "..");
        if text.len() > BYTES_MAX || !text.bytes().all(plain) || !text.split('/').all(segment) {
            return Err(Malformed::new("repository name", "at most 255 printable characters, in segments between /"));
        }
        Ok(Self(text.into()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_no_pattern_and_no_path() {
        for good in ["a", "localhost:5001/demo/app", "docker.com/notary0.1/samplerepo", "A/b_c-d..e/_trust"] {
            assert_eq!(good.parse::<Gun>().unwrap().as_str(), good);
        }
        let long = "a".repeat(256);
        for bad in ["", "/", "/a", "a/", "a//b", "a/../b", "./a", "a b", "a*", "\u{e9}", "a\n", "a%2fb", "a?b", &long] {
            assert!(bad.parse::<Gun>().is_err(), "{bad}");
        }
    }
}
