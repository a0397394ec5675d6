//! Calls that cannot be read: two lines, as for every other failure.

use clap::CommandFactory as _;
use clap::error::ErrorKind;

use crate::command_line::CommandLine;
use crate::failure::Failure;
use crate::output::Format;

/// What a call that clap did not read comes to.
#[derive(Debug)]
pub(crate) enum Unread {
    /// Help or version was asked for: this text, and all is well.
    Asked(String),
    /// Nothing was said to do: this text.
    Nothing(String),
    /// Something is wrong with it.
    Wrong(Failure),
}

/// Reads what clap says.
pub(crate) fn unread(error: &clap::Error) -> Unread {
    let text = error.render();
    match error.kind() {
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => Unread::Asked(text.to_string()),
        ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => Unread::Nothing(text.to_string()),
        _ => Unread::Wrong(wrong(&text.to_string())),
    }
}

/// The first paragraph says what is wrong; a tip, where there is one, what to do, else how it is called.
fn wrong(text: &str) -> Failure {
    let paragraphs: Vec<String> = text
        .split("\n\n")
        .map(|paragraph| paragraph.split_whitespace().collect::<Vec<_>>().join(" "))
        .filter(|paragraph| !paragraph.is_empty())
        .collect();
    let first = paragraphs.first().map_or("the call cannot be read", String::as_str);
    let what = first.strip_prefix("error: ").unwrap_or(first);
    let with = |prefix: &str| paragraphs.iter().find_map(|paragraph| paragraph.strip_prefix(prefix));
    let remedy = match (with("tip: "), with("Usage: ")) {
        (Some(tip), _) => format!("{tip}; --help says more"),
        (None, Some(usage)) => format!("{usage}; --help says more"),
        (None, None) => "trustctl --help, or trustctl COMMAND --help, says how it is called".to_owned(),
    };
    Failure::usage(what, remedy)
}

/// The format that was asked for in a call that could not be read otherwise.
pub(crate) fn format_of(arguments: impl Iterator<Item = std::ffi::OsString>) -> Format {
    let mut before = None;
    for argument in arguments {
        if argument == "--output=json" || (argument == "json" && before.is_some_and(|before| before == "--output")) {
            return Format::Json;
        }
        before = Some(argument);
    }
    Format::Text
}

/// Whether a call that could not be read was one of `run`.
pub(crate) fn is_run(arguments: impl Iterator<Item = std::ffi::OsString>) -> bool {
    let read = CommandLine::command().ignore_errors(true).try_get_matches_from(arguments);
    read.is_ok_and(|matches| matches.subcommand_name() == Some("run"))
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;
    use crate::command_line::CommandLine;

    fn said(arguments: &[&str]) -> Failure {
        let error = CommandLine::try_parse_from([&["trustctl"], arguments].concat()).unwrap_err();
        match unread(&error) {
            Unread::Wrong(failure) => failure,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn what_is_typed_wrong_gets_two_lines() {
        for (arguments, what, remedy) in [
            (&["key", "craete"][..], "unrecognized subcommand 'craete'", "create"),
            (&["key", "create", "a", "--purpose", "imge"], "'imge'", "'image'"),
            (&["sign", "a"], "--key <KEY>", "trustctl sign"),
            (&["pull", "--frce", "a"], "--frce", "--help"),
        ] {
            let failure = said(arguments);

            assert_eq!(failure.exit().code(), 2);
            assert!(failure.what().contains(what), "{failure:?}");
            assert!(failure.remedy().contains(remedy), "{failure:?}");
        }
    }

    #[test]
    fn help_is_no_failure_and_nothing_to_do_is_one() {
        let error = |arguments: &[&str]| CommandLine::try_parse_from([&["trustctl"], arguments].concat()).unwrap_err();

        assert!(matches!(unread(&error(&["key", "--help"])), Unread::Asked(_)));
        assert!(matches!(unread(&error(&[])), Unread::Nothing(_)));
    }

    #[test]
    fn json_is_seen_in_a_call_that_cannot_be_read() {
        let format = |arguments: &[&str]| format_of(arguments.iter().map(std::ffi::OsString::from));

        assert_eq!(format(&["nonsense", "--output", "json"]), Format::Json);
        assert_eq!(format(&["--output=json"]), Format::Json);
        assert_eq!(format(&["json", "--output", "text"]), Format::Text);
    }

    #[test]
    fn a_call_of_run_that_cannot_be_read_is_known_for_one() {
        let of_run = |line: &str| is_run(line.split(' ').map(std::ffi::OsString::from));

        for line in
            ["trustctl run", "trustctl run --as", "trustctl --output json run", "trustctl --endpoint x run --as"]
        {
            assert!(of_run(line), "{line}");
        }
        for line in ["trustctl pull", "trustctl pull run --as", "trustctl --endpoint run", "trustctl --unknown"] {
            assert!(!of_run(line), "{line}");
        }
    }
}
