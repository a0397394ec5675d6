//! The body of a publication: `multipart/form-data` (RFC 7578, RFC 2046 §5.1), read out of one bounded piece of memory.
//!
//! A reader of our own because those of the field clean file names, and a delegation's name has slashes that mean something
//! (`targets/releases`); and because a body without any part is a publication, too.

use bytes::Bytes;

/// The most parts: one for each role, and a repository with more delegations than that sends them in turns.
const PARTS_MAX: usize = 512;
/// The longest head of a part, in bytes.
const HEAD_BYTES_MAX: usize = 8 * 1024;
/// The longest boundary, in bytes (RFC 2046 §5.1.1).
const BOUNDARY_BYTES_MAX: usize = 70;

/// A file that was sent.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Upload {
    /// Its name as it was written; empty where it has none.
    pub(super) name: String,
    pub(super) bytes: Bytes,
}

/// It is no upload: its end is missing, or something in it cannot be read.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Unread;

/// The boundary that a content type names.
pub(super) fn boundary(content_type: &str) -> Result<String, Unread> {
    let (kind, parameters) = content_type.split_once(';').ok_or(Unread)?;
    if !kind.trim().eq_ignore_ascii_case("multipart/form-data") && !kind.trim().eq_ignore_ascii_case("multipart/mixed")
    {
        return Err(Unread);
    }
    let boundary = parameter(parameters, "boundary")?.ok_or(Unread)?;
    let is_sound = (1..=BOUNDARY_BYTES_MAX).contains(&boundary.len())
        && boundary.bytes().all(|b| b.is_ascii_graphic() || b == b' ')
        && !boundary.ends_with(' ');
    if is_sound { Ok(boundary) } else { Err(Unread) }
}

/// Every file of a body.
pub(super) fn read(boundary: &str, body: &Bytes) -> Result<Vec<Upload>, Unread> {
    let dashed = format!("--{boundary}");
    let delimiter = format!("\r\n{dashed}");
    // What stands before the first delimiter means nothing; that one may be the very beginning.
    let mut at = if body.starts_with(dashed.as_bytes()) {
        dashed.len()
    } else {
        find(body, 0, delimiter.as_bytes()).ok_or(Unread)?.checked_add(delimiter.len()).ok_or(Unread)?
    };
    let mut files = Vec::new();
    loop {
        let rest = body.get(at..).ok_or(Unread)?;
        if rest.starts_with(b"--") {
            return Ok(files);
        }
        if files.len() >= PARTS_MAX {
            return Err(Unread);
        }
        let padding = rest.iter().take_while(|byte| matches!(byte, b' ' | b'\t')).count();
        let head_at = at.checked_add(padding).ok_or(Unread)?;
        if !body.get(head_at..).is_some_and(|rest| rest.starts_with(b"\r\n")) {
            return Err(Unread);
        }
        // A part without a head has its empty line at once.
        let head_end = find(body, head_at, b"\r\n\r\n").ok_or(Unread)?;
        let head = body.get(head_at..head_end).filter(|head| head.len() <= HEAD_BYTES_MAX).ok_or(Unread)?;
        let begin = head_end.checked_add(4).ok_or(Unread)?;
        // An empty file's delimiter begins with the end of its head.
        let search = if head_end == head_at { head_at } else { head_end.checked_add(2).ok_or(Unread)? };
        let end = find(body, search, delimiter.as_bytes()).ok_or(Unread)?;
        files.push(Upload { name: file_name(head)?, bytes: body.slice(begin.min(end)..end) });
        at = end.checked_add(delimiter.len()).ok_or(Unread)?;
    }
}

fn find(body: &Bytes, from: usize, what: &[u8]) -> Option<usize> {
    let first = *what.first()?;
    let mut at = from;
    // Byte by byte to where it may begin: a body cannot make this slower than its own length times the boundary's.
    loop {
        let rest = body.get(at..)?;
        let skipped = rest.iter().position(|byte| *byte == first)?;
        at = at.checked_add(skipped)?;
        if body.get(at..)?.starts_with(what) {
            return Some(at);
        }
        at = at.checked_add(1)?;
    }
}

/// The file's name in a part's head; empty where there is none.
fn file_name(head: &[u8]) -> Result<String, Unread> {
    let head = std::str::from_utf8(head).map_err(|_| Unread)?;
    for line in head.split("\r\n") {
        let Some((name, value)) = line.split_once(':') else { continue };
        if name.trim().eq_ignore_ascii_case("content-disposition") {
            let parameters = value.split_once(';').map_or("", |(_, parameters)| parameters);
            return Ok(parameter(parameters, "filename")?.unwrap_or_default());
        }
    }
    Ok(String::new())
}

/// The value of a parameter (RFC 2045 §5.1), quoted or not.
fn parameter(text: &str, wanted: &str) -> Result<Option<String>, Unread> {
    let mut rest = text;
    loop {
        rest = rest.trim_start_matches(|c: char| c == ';' || c.is_ascii_whitespace());
        if rest.is_empty() {
            return Ok(None);
        }
        let (name, after) = rest.split_once('=').ok_or(Unread)?;
        let (value, after) = value(after)?;
        if name.trim().eq_ignore_ascii_case(wanted) {
            return Ok(Some(value));
        }
        rest = after;
    }
}

fn value(text: &str) -> Result<(String, &str), Unread> {
    let Some(quoted) = text.strip_prefix('"') else {
        let end = text.find(';').unwrap_or(text.len());
        let (value, rest) = text.split_at_checked(end).ok_or(Unread)?;
        return Ok((value.trim().to_owned(), rest));
    };
    let mut value = String::new();
    let mut letters = quoted.char_indices();
    while let Some((at, letter)) = letters.next() {
        match letter {
            '"' => return Ok((value, quoted.get(at.saturating_add(1)..).ok_or(Unread)?)),
            '\\' => value.push(letters.next().ok_or(Unread)?.1),
            letter => value.push(letter),
        }
    }
    Err(Unread)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn files(body: &str) -> Result<Vec<(String, String)>, Unread> {
        let files = read("B", &Bytes::copy_from_slice(body.as_bytes()))?;
        Ok(files.into_iter().map(|file| (file.name, String::from_utf8(file.bytes.to_vec()).unwrap())).collect())
    }

    fn part(name: &str, content: &str) -> String {
        format!(
            "--B\r\nContent-Disposition: form-data; name=\"files\"; filename=\"{name}\"\r\n\
             Content-Type: application/octet-stream\r\n\r\n{content}\r\n"
        )
    }

    #[test]
    fn names_come_as_they_were_written() {
        let body = [part("root", "{}"), part("targets/releases", "a\r\n--Bee\r\nb"), "--B--\r\n".to_owned()].concat();
        // `--Bee` begins like the boundary: the next letters are neither its end nor a line's.
        assert_eq!(files(&body), Err(Unread));

        let body = [part("root", "{}"), part("targets/releases", "a\r\n-B\n"), "--B--\r\n".to_owned()].concat();
        let expected =
            vec![("root".to_owned(), "{}".to_owned()), ("targets/releases".to_owned(), "a\r\n-B\n".to_owned())];
        assert_eq!(files(&body), Ok(expected));

        for (written, name) in [
            ("filename=root", "root"),
            ("FileName=\"a\\\"b\\\\c\"", "a\"b\\c"),
            ("name=\"x;filename=y\"; filename=\"../../etc\"", "../../etc"),
            ("name=files", ""),
            ("filename=\"\"", ""),
        ] {
            let body = format!("--B\r\ncontent-disposition: form-data; {written}\r\n\r\nx\r\n--B--");
            assert_eq!(files(&body), Ok(vec![(name.to_owned(), "x".to_owned())]), "{written}");
        }
    }

    #[test]
    fn a_body_without_parts_is_one() {
        for body in ["\r\n--B--\r\n", "--B--\r\n", "--B--", "before\r\n--B--behind"] {
            assert_eq!(files(body), Ok(Vec::new()), "{body:?}");
        }
    }

    #[test]
    fn a_part_may_have_no_head_and_no_bytes() {
        assert_eq!(files("--B\r\n\r\nx\r\n--B--"), Ok(vec![(String::new(), "x".to_owned())]));
        assert_eq!(files("--B\r\nA: b\r\n\r\n\r\n--B--"), Ok(vec![(String::new(), String::new())]));
        assert_eq!(files("--B\r\n\r\n\r\n--B--"), Ok(vec![(String::new(), String::new())]));
        assert_eq!(files("--B \t\r\n\r\nx\r\n--B--"), Ok(vec![(String::new(), "x".to_owned())]));
    }

    #[test]
    fn what_is_cut_short_is_no_upload_wherever_it_is_cut() {
        let whole = [part("root", "{}"), part("targets", "{}"), "--B--".to_owned()].concat();
        assert_eq!(files(&whole).map(|files| files.len()), Ok(2));
        for end in 0..whole.len() {
            assert_eq!(files(&whole[..end]), Err(Unread), "{end}");
        }
    }

    #[test]
    fn a_boundary_is_named_by_a_content_type() {
        for (good, expected) in [
            ("multipart/form-data; boundary=abc", "abc"),
            ("Multipart/Form-Data;charset=x; boundary=\"a b\"", "a b"),
            ("multipart/mixed; boundary=abc", "abc"),
        ] {
            assert_eq!(boundary(good).as_deref(), Ok(expected), "{good}");
        }
        let long = format!("multipart/form-data; boundary={}", "a".repeat(71));
        for bad in [
            "",
            "application/json",
            "multipart/form-data",
            "multipart/form-data; boundary=",
            "multipart/form-data; boundary=\"a",
            "multipart/form-data; boundary=\"a\r\nb\"",
            "multipart/form-data; x",
            "text/plain; boundary=abc",
            &long,
        ] {
            assert_eq!(boundary(bad), Err(Unread), "{bad}");
        }
    }

    #[test]
    fn there_is_an_end_to_parts_and_to_their_heads() {
        let many: String = (0..=PARTS_MAX).map(|_| part("root", "")).collect();
        assert_eq!(files(&format!("{many}--B--")), Err(Unread));
        let long = format!("--B\r\nA: {}\r\n\r\nx\r\n--B--", "a".repeat(HEAD_BYTES_MAX));
        assert_eq!(files(&long), Err(Unread));
    }
}
