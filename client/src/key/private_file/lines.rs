//! Lines that stand before the body of a PEM (RFC 1421 §4.4): docker and notary say in them whose the key is, older programs
//! how it is encrypted.

use zeroize::Zeroizing;

/// The longest name and the longest word of a line, in bytes: a role's or a repository's name.
const WORD_BYTES_MAX: usize = 255;

/// Lines before a body: name and word.
pub(crate) type Words<'t> = Vec<(&'t str, &'t str)>;

/// PEM without the lines that stand before its body (RFC 1421 §4.4), and these.
pub(crate) fn apart(text: &str) -> Option<(Zeroizing<String>, Words<'_>)> {
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
