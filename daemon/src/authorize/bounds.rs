//! How far the text of a policy may nest. Cedar's parser, and what drops its trees, recurse without a bound; a stack that
//! overflows ends the daemon. So this is looked at before Cedar reads anything. It may count too much, never too little.

/// The deepest nesting of `()`, `[]` and `{}`.
const DEPTH_MAX: usize = 32;
/// The most `if` of one policy: each may be in the `else` of the one before.
const IFS_MAX: usize = 32;
/// The most operators of one policy: a chain `a || b || c` is a tree as deep as the chain is long.
const OPERATORS_MAX: usize = 2048;

/// Refuses a text that nests too deeply; `Err` says where.
pub(super) fn check(text: &str) -> Result<(), String> {
    let mut rest = text;
    let mut one = Counts::default();
    while let Some(c) = rest.chars().next() {
        let taken = match c {
            '"' => string(rest).ok_or_else(|| format!("line {}: a string that does not end", line(text, rest)))?,
            '/' if rest.starts_with("//") => rest.find(['\n', '\r']).unwrap_or(rest.len()),
            c if is_word(c) => rest.find(|c| !is_word(c)).unwrap_or(rest.len()),
            c => c.len_utf8(),
        };
        let (token, after) = rest.split_at_checked(taken).unwrap_or((rest, ""));
        one.add(token).map_err(|fault| format!("line {}: {fault}", line(text, rest)))?;
        rest = after;
    }
    Ok(())
}

/// Of one policy, so far.
#[derive(Debug, Default)]
struct Counts {
    depth: usize,
    ifs: usize,
    operators: usize,
}

impl Counts {
    fn add(&mut self, token: &str) -> Result<(), String> {
        match token {
            "(" | "[" | "{" => self.depth = self.depth.saturating_add(1),
            ")" | "]" | "}" => self.depth = self.depth.saturating_sub(1),
            "if" => self.ifs = self.ifs.saturating_add(1),
            "." | "&" | "|" | "+" | "-" | "*" | "!" => self.operators = self.operators.saturating_add(1),
            // Nothing but the end of a policy has one.
            ";" => (self.ifs, self.operators) = (0, 0),
            _ => {}
        }
        if self.depth > DEPTH_MAX {
            return Err(format!("brackets in brackets, more than {DEPTH_MAX} deep"));
        }
        if self.ifs > IFS_MAX {
            return Err(format!("a policy of more than {IFS_MAX} `if`: make it several policies"));
        }
        // `&&` and `||` are two of ours.
        if self.operators > 2 * OPERATORS_MAX {
            return Err(format!("a policy of more than {OPERATORS_MAX} operators: make it several policies"));
        }
        Ok(())
    }
}

/// The length of the string literal that `text` begins with.
fn string(text: &str) -> Option<usize> {
    let mut is_escaped = false;
    for (at, c) in text.char_indices().skip(1) {
        match c {
            _ if is_escaped => is_escaped = false,
            '\\' => is_escaped = true,
            '"' => return at.checked_add(1),
            _ => {}
        }
    }
    None
}

const fn is_word(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '_'
}

fn line(text: &str, rest: &str) -> usize {
    let before = text.len().saturating_sub(rest.len());
    text.get(..before).map_or(0, |before| before.matches('\n').count()).saturating_add(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn brackets_of_strings_and_comments_do_not_nest() {
        let many = "(".repeat(1000);

        check(&format!("@id(\"{many}\\\"{many}\") // {many}\npermit (principal, action, resource);")).unwrap();
        check("permit (principal, action, resource);\n".repeat(1000).as_str()).unwrap();
    }

    #[test]
    fn what_is_too_deep_is_refused_with_its_line() {
        for (text, expected) in [
            (format!("\n{}", "(".repeat(33)), "line 2: brackets"),
            ("[{".repeat(17), "line 1: brackets"),
            (format!("// \"\r{}", "(".repeat(33)), "line 1: brackets"),
            (format!("\"\\\\\"{}", "(".repeat(33)), "line 1: brackets"),
            (format!("\n\n\"{}", "(".repeat(33)), "line 3: a string"),
            ("if ".repeat(33), "line 1: a policy of more than 32 `if`"),
            ("&& ".repeat(2049), "line 1: a policy of more than 2048 operators"),
        ] {
            let fault = check(&text).unwrap_err();
            assert!(fault.starts_with(expected), "{fault}");
        }
    }

    #[test]
    fn each_policy_is_counted_for_itself() {
        check(&format!("{};\n{};", "if ".repeat(30), "if ".repeat(30))).unwrap();
    }
}
