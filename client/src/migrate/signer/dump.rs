//! A dump of the key table of the original signer, `private_keys` (SPEC §1.7), by `mysqldump` (or `mariadb-dump`) or
//! `pg_dump`.
//!
//! Of SQL only what such a dump has is read: the names of the columns, and rows of literals, or of `COPY`'s text.
//! PostgreSQL writes bytes as text, and where a server is not told otherwise a backslash in its strings is one.

use std::collections::HashMap;

use zeroize::Zeroizing;

use crate::failure::Failure;

/// The table.
const TABLE: &str = "private_keys";
const MAKE_IT: &str = "make it with: mysqldump DATABASE private_keys, or: pg_dump --table private_keys DATABASE";
/// With this and `on;` or `off;` `pg_dump` says how its strings are to be read.
const STANDARD_STRINGS: &[u8] = b"SET standard_conforming_strings = ";
/// The columns that hold bytes.
const BYTES: [&str; 2] = ["public", "private"];
/// The most rows, and columns of one.
const ROWS_MAX: usize = 100_000;
const COLUMNS_MAX: usize = 64;
/// The longest literal, in bytes: an encrypted key has some 400.
const LITERAL_BYTES_MAX: usize = 64 * 1024;
/// The columns where the dump does not say them.
const COLUMNS: [&str; 14] = [
    "id",
    "created_at",
    "updated_at",
    "deleted_at",
    "key_id",
    "encryption_alg",
    "keywrap_alg",
    "algorithm",
    "passphrase_alias",
    "public",
    "private",
    "gun",
    "role",
    "last_used",
];

/// One row: what stands in each column, and nothing where it is NULL.
pub(super) struct Row(HashMap<String, Zeroizing<Vec<u8>>>);

impl Row {
    /// A column that is text.
    pub(super) fn text(&self, column: &str) -> Option<&str> {
        self.0.get(column).and_then(|bytes| std::str::from_utf8(bytes).ok())
    }

    /// Whether the signer had deleted it.
    pub(super) fn is_deleted(&self) -> bool {
        self.0.contains_key("deleted_at")
    }
}

/// The rows of a dump.
pub(super) fn rows(dump: &[u8]) -> Result<Vec<Row>, Failure> {
    let mut columns: Vec<String> = COLUMNS.iter().map(|&name| name.to_owned()).collect();
    let mut text = Text { rest: dump, is_postgresql: false, escapes: true };
    let mut rows = Vec::new();
    while let Some(statement) = text.statement() {
        match statement {
            Statement::Create => columns = text.created().ok_or_else(unreadable)?,
            Statement::Insert => text.inserted(&columns, &mut rows).ok_or_else(unreadable)?,
            Statement::Copy => text.copied(&mut rows).ok_or_else(unreadable)?,
        }
    }
    if rows.is_empty() {
        return Err(Failure::usage(format!("there are no rows of the table {TABLE} in the dump"), MAKE_IT));
    }
    Ok(rows)
}

fn unreadable() -> Failure {
    Failure::usage(format!("the dump cannot be read where it has the table {TABLE}"), MAKE_IT)
}

enum Statement {
    /// `CREATE TABLE private_keys (…);`
    Create,
    /// `INSERT INTO private_keys VALUES …;`
    Insert,
    /// `COPY public.private_keys (…) FROM stdin;`
    Copy,
}

/// What has not been read yet.
struct Text<'a> {
    rest: &'a [u8],
    /// Whether PostgreSQL wrote it.
    is_postgresql: bool,
    /// Whether a backslash in a string escapes.
    escapes: bool,
}

impl<'a> Text<'a> {
    /// Goes on behind the head of the next statement about the table; such statements begin a line.
    fn statement(&mut self) -> Option<Statement> {
        loop {
            let line_end = self.rest.iter().position(|byte| *byte == b'\n').unwrap_or(self.rest.len());
            let line = self.rest.get(..line_end)?;
            if let Some(standard) = line.strip_prefix(STANDARD_STRINGS) {
                (self.is_postgresql, self.escapes) = (true, standard == b"off;");
            }
            for (head, statement) in
                [("CREATE TABLE ", Statement::Create), ("INSERT INTO ", Statement::Insert), ("COPY ", Statement::Copy)]
            {
                if let Some(behind) = line.strip_prefix(head.as_bytes()).and_then(|rest| self.behind_table(rest)) {
                    let at = line.len().saturating_sub(behind.len());
                    self.rest = self.rest.get(at..)?;
                    return Some(statement);
                }
            }
            if line_end >= self.rest.len() {
                return None;
            }
            self.rest = self.rest.get(line_end.saturating_add(1)..)?;
        }
    }

    /// What stands behind the table's name, where it is that table's.
    fn behind_table(&mut self, text: &'a [u8]) -> Option<&'a [u8]> {
        let (first, behind) = identifier(text)?;
        let Some(rest) = behind.strip_prefix(b".") else { return (first == TABLE.as_bytes()).then_some(behind) };
        let (_, behind) = identifier(rest).filter(|(second, _)| *second == TABLE.as_bytes())?;
        // A schema; `mysqldump` names no database before a table.
        if !self.is_postgresql && !text.starts_with(b"`") {
            (self.is_postgresql, self.escapes) = (true, false);
        }
        Some(behind)
    }

    /// The names of the columns: each first in its line, and a word in capitals there is none.
    fn created(&mut self) -> Option<Vec<String>> {
        let mut columns = Vec::new();
        let end = self.rest.iter().position(|byte| *byte == b';')?;
        for line in self.rest.get(..end)?.split(|byte| *byte == b'\n') {
            let column =
                identifier(line.trim_ascii_start()).filter(|(name, _)| !name.iter().any(u8::is_ascii_uppercase));
            if let Some((column, _)) = column {
                columns.push(std::str::from_utf8(column).ok()?.to_owned());
            }
        }
        self.rest = self.rest.get(end..)?;
        (1..=COLUMNS_MAX).contains(&columns.len()).then_some(columns)
    }

    /// `[(columns)] VALUES (…),(…);`
    fn inserted(&mut self, columns: &[String], rows: &mut Vec<Row>) -> Option<()> {
        let named = if self.skip(b"(") { Some(self.names()?) } else { None };
        let columns = named.as_deref().unwrap_or(columns);
        self.word(b"VALUES").then_some(())?;
        loop {
            self.skip(b"(").then_some(())?;
            let mut row = HashMap::new();
            for (number, column) in columns.iter().enumerate() {
                if number > 0 {
                    self.skip(b",").then_some(())?;
                }
                if let Some(literal) = self.literal()? {
                    row.insert(column.clone(), self.value(column, literal)?);
                }
            }
            self.skip(b")").then_some(())?;
            put(Row(row), rows)?;
            if !self.skip(b",") {
                return self.skip(b";").then_some(());
            }
        }
    }

    /// `(columns) FROM stdin;`, then a line for each row, its columns between tabs, and a line `\.`.
    fn copied(&mut self, rows: &mut Vec<Row>) -> Option<()> {
        self.is_postgresql = true;
        self.skip(b"(").then_some(())?;
        let columns = self.names()?;
        (self.word(b"FROM") && self.word(b"stdin") && self.take(b";\n")).then_some(())?;
        while !self.take(b"\\.\n") {
            let mut row = HashMap::new();
            for (number, column) in columns.iter().enumerate() {
                if number > 0 {
                    self.take(b"\t").then_some(())?;
                }
                if let Some(field) = self.field()? {
                    row.insert(column.clone(), self.value(column, field)?);
                }
            }
            self.take(b"\n").then_some(())?;
            put(Row(row), rows)?;
        }
        Some(())
    }

    /// A column of `COPY`'s text format; NULL is nothing.
    fn field(&mut self) -> Option<Option<Zeroizing<Vec<u8>>>> {
        let field = self.run(|byte| !matches!(byte, b'\t' | b'\n'))?;
        if field == b"\\N" {
            return Some(None);
        }
        let mut bytes = Zeroizing::new(Vec::with_capacity(field.len()));
        let mut left = field.iter();
        while let Some(byte) = left.next() {
            bytes.push(match byte {
                b'\\' => match left.next()? {
                    b'b' => 8,
                    b'f' => 12,
                    b'n' => b'\n',
                    b'r' => b'\r',
                    b't' => b'\t',
                    b'v' => 11,
                    other => *other,
                },
                other => *other,
            });
        }
        Some(Some(bytes))
    }

    /// What a column holds that was written so.
    fn value(&self, column: &str, written: Zeroizing<Vec<u8>>) -> Option<Zeroizing<Vec<u8>>> {
        if self.is_postgresql && BYTES.contains(&column) { bytes(&written) } else { Some(written) }
    }

    fn names(&mut self) -> Option<Vec<String>> {
        let end = self.rest.iter().position(|byte| *byte == b')')?;
        let body = std::str::from_utf8(self.rest.get(..end)?).ok()?;
        let names: Vec<String> = body.split(',').map(|name| name.trim().trim_matches(['`', '"']).to_owned()).collect();
        self.rest = self.rest.get(end.saturating_add(1)..)?;
        (names.len() <= COLUMNS_MAX).then_some(names)
    }

    /// A string, a number, bytes in hexadecimal, or NULL; `None` for anything else.
    fn literal(&mut self) -> Option<Option<Zeroizing<Vec<u8>>>> {
        self.white();
        if self.word(b"NULL") {
            return Some(None);
        }
        self.word(b"_binary");
        self.white();
        if self.take(b"0x") {
            let digits = self.run(|byte| byte.is_ascii_hexdigit())?;
            return hex::decode(digits).ok().map(|bytes| Some(Zeroizing::new(bytes)));
        }
        if self.take(b"'") {
            return self.string().map(Some);
        }
        let number = self.run(|byte| byte.is_ascii_digit() || matches!(byte, b'-' | b'.'))?;
        (!number.is_empty()).then(|| Some(Zeroizing::new(number.to_vec())))
    }

    /// The rest of a string, behind its first quote.
    fn string(&mut self) -> Option<Zeroizing<Vec<u8>>> {
        // Its memory does not move: no copy of it is left behind.
        let length = self.rest.iter().take(LITERAL_BYTES_MAX).position(|byte| *byte == b'\n');
        let mut bytes = Zeroizing::new(Vec::with_capacity(length.unwrap_or(LITERAL_BYTES_MAX)));
        loop {
            let byte = self.next()?;
            let byte = match byte {
                b'\'' if self.take(b"'") => b'\'',
                b'\'' => return Some(bytes),
                b'\\' if self.escapes => match self.next()? {
                    b'0' => 0,
                    b'n' => b'\n',
                    b'r' => b'\r',
                    b't' => b'\t',
                    b'b' => 8,
                    b'Z' => 26,
                    other => other,
                },
                other => other,
            };
            if bytes.len() == LITERAL_BYTES_MAX {
                return None;
            }
            bytes.push(byte);
        }
    }

    fn next(&mut self) -> Option<u8> {
        let (first, rest) = self.rest.split_first()?;
        self.rest = rest;
        Some(*first)
    }

    fn run(&mut self, fits: impl Fn(u8) -> bool) -> Option<&'a [u8]> {
        let end = self.rest.iter().position(|byte| !fits(*byte)).unwrap_or(self.rest.len());
        let (run, rest) = self.rest.split_at_checked(end)?;
        self.rest = rest;
        (run.len() <= LITERAL_BYTES_MAX).then_some(run)
    }

    fn white(&mut self) {
        while let Some((first, rest)) = self.rest.split_first() {
            if !first.is_ascii_whitespace() {
                return;
            }
            self.rest = rest;
        }
    }

    fn take(&mut self, bytes: &[u8]) -> bool {
        let rest = self.rest.strip_prefix(bytes);
        self.rest = rest.unwrap_or(self.rest);
        rest.is_some()
    }

    fn skip(&mut self, bytes: &[u8]) -> bool {
        self.white();
        self.take(bytes)
    }

    fn word(&mut self, word: &[u8]) -> bool {
        self.white();
        let goes_on = |byte: &u8| byte.is_ascii_alphanumeric() || *byte == b'_';
        let is_whole = self.rest.get(word.len()).is_none_or(|byte| !goes_on(byte));
        is_whole && self.take(word)
    }
}

/// One row more, if there may be one.
fn put(row: Row, rows: &mut Vec<Row>) -> Option<()> {
    (rows.len() < ROWS_MAX).then(|| rows.push(row))
}

/// A name, in quotes or not, and what stands behind it.
fn identifier(text: &[u8]) -> Option<(&[u8], &[u8])> {
    let quote = text.first().filter(|first| matches!(first, b'`' | b'"'));
    let begin = usize::from(quote.is_some());
    let rest = text.get(begin..)?;
    let goes_on = |byte: &u8| byte.is_ascii_alphanumeric() || *byte == b'_';
    let end = match quote {
        Some(quote) => rest.iter().position(|byte| byte == quote)?,
        None => rest.iter().position(|byte| !goes_on(byte)).unwrap_or(rest.len()),
    };
    let (name, behind) = rest.split_at_checked(end)?;
    (!name.is_empty()).then_some((name, behind.get(begin..)?))
}

/// Bytes as PostgreSQL writes them: in hexadecimal; with `bytea_output = escape`, those that are not printed in octal.
fn bytes(written: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
    if let Some(digits) = written.strip_prefix(b"\\x") {
        return hex::decode(digits).ok().map(Zeroizing::new);
    }
    let mut bytes = Zeroizing::new(Vec::with_capacity(written.len()));
    let mut left = written;
    while let Some((first, rest)) = left.split_first() {
        let (byte, rest) = match (first, rest) {
            (b'\\', [b'\\', rest @ ..]) => (b'\\', rest),
            (b'\\', [a @ b'0'..=b'3', b @ b'0'..=b'7', c @ b'0'..=b'7', rest @ ..]) => {
                (((a & 3) << 6) | ((b & 7) << 3) | (c & 7), rest)
            }
            (b'\\', _) => return None,
            (other, rest) => (*other, rest),
        };
        bytes.push(byte);
        left = rest;
    }
    Some(bytes)
}

#[cfg(test)]
mod tests;
