//! A dump of the key table of the original signer, `private_keys` (SPEC §1.7), by `mysqldump` (or `mariadb-dump`) or
//! `pg_dump`.
//!
//! Of SQL only what such a dump has is read: the names of the columns, and rows of literals, or of `COPY`'s text.

use std::collections::HashMap;

use zeroize::Zeroizing;

use crate::failure::Failure;

/// The table.
const TABLE: &str = "private_keys";
const MAKE_IT: &str = "make it with: mysqldump DATABASE private_keys, or: pg_dump --table private_keys DATABASE";
/// The columns that hold bytes: PostgreSQL writes them in hexadecimal.
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
    let mut text = Text { rest: dump };
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
    /// `CREATE TABLE private_keys`
    Create,
    /// `INSERT INTO private_keys`
    Insert,
    /// `COPY public.private_keys`
    Copy,
}

/// What has not been read yet.
struct Text<'a> {
    rest: &'a [u8],
}

impl<'a> Text<'a> {
    /// Goes on behind the head of the next statement about the table; such statements begin a line.
    fn statement(&mut self) -> Option<Statement> {
        loop {
            let line_end = self.rest.iter().position(|byte| *byte == b'\n').unwrap_or(self.rest.len());
            let line = self.rest.get(..line_end)?;
            for (head, statement) in [
                ("CREATE TABLE ", Statement::Create),
                ("INSERT INTO ", Statement::Insert),
                ("COPY public.", Statement::Copy),
            ] {
                let behind = line.strip_prefix(head.as_bytes()).and_then(behind_table);
                if let Some(behind) = behind {
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

    /// The names of the columns: each first in its line, in backquotes.
    fn created(&mut self) -> Option<Vec<String>> {
        let mut columns = Vec::new();
        let end = self.rest.iter().position(|byte| *byte == b';')?;
        let body = std::str::from_utf8(self.rest.get(..end)?).ok()?;
        for line in body.lines() {
            if let Some((name, _)) = line.trim().strip_prefix('`').and_then(|rest| rest.split_once('`')) {
                columns.push(name.to_owned());
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
                    row.insert(column.clone(), literal);
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
        self.skip(b"(").then_some(())?;
        let columns = self.names()?;
        (self.word(b"FROM") && self.word(b"stdin") && self.take(b";\n")).then_some(())?;
        while !self.take(b"\\.\n") {
            let mut row = HashMap::new();
            for (number, column) in columns.iter().enumerate() {
                if number > 0 {
                    self.take(b"\t").then_some(())?;
                }
                let Some(field) = self.field()? else { continue };
                let is_bytes = BYTES.contains(&column.as_str());
                let field =
                    if is_bytes { Zeroizing::new(hex::decode(field.strip_prefix(b"\\x")?).ok()?) } else { field };
                row.insert(column.clone(), field);
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
                b'\\' => match self.next()? {
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

/// What stands behind the table's name, where it is that table's.
fn behind_table(text: &[u8]) -> Option<&[u8]> {
    let quoted = text.strip_prefix(b"`").and_then(|rest| rest.strip_prefix(TABLE.as_bytes()));
    quoted.and_then(|rest| rest.strip_prefix(b"`")).or_else(|| {
        let bare = text.strip_prefix(TABLE.as_bytes())?;
        bare.first().is_none_or(|byte| matches!(byte, b' ' | b'(')).then_some(bare)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_read_as_they_are_dumped() {
        let dump = b"-- INSERT INTO `private_keys` VALUES (1);\n\
            INSERT INTO `other` VALUES ('INSERT INTO `private_keys`');\n\
            CREATE TABLE `private_keys` (\n  `id` int,\n  `key_id` varchar(255),\n  `public` blob,\n  `deleted_at` timestamp,\n  PRIMARY KEY (`id`)\n);\n\
            INSERT INTO `private_keys` VALUES\n(1,'a\\'b\\\\',_binary '\\0\\n''',NULL),\n(2,'c',0x00ff,'2026-11-27 12:19:12');\n\
            INSERT INTO private_keys (key_id, id) VALUES ('d', -3);\n";

        let rows = rows(dump).unwrap();

        let ids: Vec<_> = rows.iter().map(|row| row.text("key_id").unwrap()).collect();
        assert_eq!(ids, ["a'b\\", "c", "d"]);
        assert_eq!(**rows[0].0["public"], [0, b'\n', b'\'']);
        assert_eq!(**rows[1].0["public"], [0, 0xff]);
        assert_eq!(rows.iter().map(Row::is_deleted).collect::<Vec<_>>(), [false, true, false]);
    }

    #[test]
    fn rows_of_postgresql_are_read_as_they_are_copied() {
        let head = "CREATE TABLE public.private_keys (\n    id integer NOT NULL\n);\n\n\
            COPY public.private_keys (id, key_id, \"private\", public, deleted_at) FROM stdin;\n";
        let dump =
            format!("{head}1\ta\\\\b\\t\t\\\\x00ff\t\\\\x\t\\N\n2\tc\t\\N\t\\\\x41\t2026-11-27 12:19:12\n\\.\n\n");

        let found = rows(dump.as_bytes()).unwrap();

        assert_eq!(found.iter().map(|row| row.text("key_id").unwrap()).collect::<Vec<_>>(), ["a\\b\t", "c"]);
        assert_eq!((&**found[0].0["private"], &**found[1].0["public"]), (&[0, 0xff][..], &b"A"[..]));
        assert!(found[0].0["public"].is_empty() && !found[1].0.contains_key("private"));
        assert_eq!(found.iter().map(Row::is_deleted).collect::<Vec<_>>(), [false, true]);
        for end in head.len()..dump.len() - 2 {
            assert!(rows(&dump.as_bytes()[..end]).is_err(), "{end}");
        }
        assert!(rows(format!("{head}1\ta\tnot hexadecimal\t\\\\x\t\\N\n\\.\n").as_bytes()).is_err());
    }

    #[test]
    fn what_is_no_dump_is_refused_wherever_it_ends() {
        let dump = include_bytes!("../../../../tests/samples/notary-signer/private_keys.sql");
        assert_eq!(rows(dump).unwrap().len(), 3);
        let from = dump.windows(6).position(|six| six == b"INSERT").unwrap() + 60;
        for end in (from..dump.len()).step_by(7) {
            // Behind the last row there is only what does not count.
            let _ = rows(&dump[..end]).map(|rows| assert_eq!(rows.len(), 3));
        }
        assert!(rows(&dump[..from]).is_err() && rows(b"").is_err() && rows(b"\x00\xff\n").is_err());
    }
}
