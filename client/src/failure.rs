//! What went wrong, for a person: what happened, and what can be done about it.
//!
//! The one place where faults become exit codes. `trustctl --help` prints the table.

use std::error::Error;
use std::fmt;
use std::time::Duration;

use serde_json::json;
use tonic::Status;
use trust::{Fault, FaultKind, Malformed};
use trust_proto::fault;

/// How `trustctl` ends when something did not work.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Exit {
    /// Refused, or not verified.
    Refused,
    /// The call itself is wrong.
    Usage,
    /// Nobody answers, or not now: trying again later may help.
    Unreachable,
    /// Anything else.
    Other,
    /// Done as far as the caller can: others have to do their part, and nothing is published before.
    Waiting,
    /// `trustctl run` started no container (D3).
    NotStarted,
}

impl Exit {
    /// The process' exit code.
    pub(crate) const fn code(self) -> u8 {
        match self {
            Self::Refused => 1,
            Self::Usage => 2,
            Self::Unreachable => 3,
            Self::Other => 4,
            Self::Waiting => 5,
            Self::NotStarted => 125,
        }
    }

    const fn name(self) -> &'static str {
        match self {
            Self::Refused => "refused",
            Self::Usage => "usage",
            Self::Unreachable => "unreachable",
            Self::Other => "other",
            Self::Waiting => "waiting",
            Self::NotStarted => "not-started",
        }
    }
}

/// A command that did not do what was asked.
#[derive(Debug)]
pub(crate) struct Failure {
    exit: Exit,
    what: String,
    remedy: String,
    source: Option<Box<dyn Error + Send + Sync>>,
    of_registry: bool,
}

impl Failure {
    /// A failure of any kind: what happened, and what can be done. Neither ends with a full stop.
    pub(crate) fn new(exit: Exit, what: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { exit, what: what.into(), remedy: remedy.into(), source: None, of_registry: false }
    }

    /// Somebody said no, or a signature does not count.
    pub(crate) fn refused(what: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self::new(Exit::Refused, what, remedy)
    }

    /// The call or a configuration is wrong.
    pub(crate) fn usage(what: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self::new(Exit::Usage, what, remedy)
    }

    /// Nobody answers.
    pub(crate) fn unreachable(what: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self::new(Exit::Unreachable, what, remedy)
    }

    /// Anything else.
    pub(crate) fn other(what: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self::new(Exit::Other, what, remedy)
    }

    /// Adds the error behind it; its chain is printed after what happened.
    #[must_use]
    pub(crate) fn because(mut self, source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        self.source = Some(source.into());
        self
    }

    /// The same as what a registry, or a trust server, did; without it whatever is unreachable is the daemon.
    #[must_use]
    pub(crate) const fn of_registry(mut self) -> Self {
        self.of_registry = true;
        self
    }

    /// Whether it is what a registry, or a trust server, did.
    pub(crate) const fn is_of_registry(&self) -> bool {
        self.of_registry
    }

    /// The same with another exit code: `run` ends with 125 whatever kept it from starting a container.
    #[must_use]
    pub(crate) const fn ends_with(mut self, exit: Exit) -> Self {
        self.exit = exit;
        self
    }

    /// The same with another remedy, where a command knows a better one.
    #[must_use]
    pub(crate) fn remedied_by(mut self, remedy: impl Into<String>) -> Self {
        self.remedy = remedy.into();
        self
    }

    /// The same, with a better remedy for a refusal by the daemon; where it could not be asked, the old one stays.
    #[must_use]
    pub(crate) fn refusal_remedied_by(self, remedy: &str) -> Self {
        if self.exit == Exit::Refused { self.remedied_by(remedy) } else { self }
    }

    /// How the process ends.
    pub(crate) const fn exit(&self) -> Exit {
        self.exit
    }

    /// What happened, its causes included, in one line that a terminal takes.
    pub(crate) fn what(&self) -> String {
        let mut text = self.what.clone();
        let mut next = self.source.as_deref().map(|source| {
            let source: &(dyn Error + 'static) = source;
            source
        });
        while let Some(source) = next {
            let cause = source.to_string();
            // Many libraries repeat their source in their own words.
            if !text.contains(&cause) {
                text.push_str(": ");
                text.push_str(&cause);
            }
            next = source.source();
        }
        printable(&text)
    }

    /// What can be done about it, in one line.
    pub(crate) fn remedy(&self) -> String {
        printable(&self.remedy)
    }

    /// The same as a JSON object.
    pub(crate) fn to_json(&self) -> serde_json::Value {
        json!({"error": {"exit": self.exit.code(), "kind": self.exit.name(), "what": self.what(), "remedy": self.remedy()}})
    }
}

/// Text that may come from a peer, fit for one line of a terminal: control characters, and the marks that turn the
/// direction of writing around, are replaced.
pub(crate) fn printable(text: &str) -> String {
    let turns = |c: char| matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    text.chars().map(|c| if c.is_control() || turns(c) { '\u{fffd}' } else { c }).collect()
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.what())
    }
}

/// What the daemon said, or why it could not be heard.
impl From<Status> for Failure {
    fn from(status: Status) -> Self {
        // A status that was made here has a source; one that came over the wire has none.
        if status.source().is_some() || status.code() == tonic::Code::Cancelled {
            return Self::unreachable(
                "the connection to the daemon broke",
                "is it running, and does it accept this client? its log says why it closed a connection",
            )
            .because(status);
        }
        fault::from_status(&status).into()
    }
}

impl From<Fault> for Failure {
    fn from(fault: Fault) -> Self {
        let remedy = match fault.comes_back_after() {
            Some(after) => format!("try again in {}", humantime::format_duration(whole_seconds(after))),
            None => remedy(fault.kind()).to_owned(),
        };
        Self::new(exit(fault.kind()), fault.public().to_owned(), remedy)
    }
}

/// What was typed or read does not have the shape it needs.
impl From<Malformed> for Failure {
    fn from(malformed: Malformed) -> Self {
        Self::usage(format!("not a {}", malformed.what), format!("it has to be {}", malformed.expected))
    }
}

fn whole_seconds(after: Duration) -> Duration {
    Duration::from_secs(after.as_secs().saturating_add(u64::from(after.subsec_nanos() > 0)))
}

/// The exit code of each kind of fault.
const fn exit(kind: FaultKind) -> Exit {
    match kind {
        FaultKind::Malformed => Exit::Usage,
        FaultKind::Unauthenticated
        | FaultKind::Forbidden
        | FaultKind::Missing
        | FaultKind::Taken
        | FaultKind::Conflict
        | FaultKind::Refused => Exit::Refused,
        FaultKind::Busy | FaultKind::Unavailable | FaultKind::Late => Exit::Unreachable,
        FaultKind::Internal => Exit::Other,
    }
}

/// What can be done where the command knows no better.
const fn remedy(kind: FaultKind) -> &'static str {
    match kind {
        FaultKind::Malformed => "trustctl COMMAND --help says what a command takes",
        FaultKind::Unauthenticated => {
            "show a certificate that the daemon accepts: certificate and key in the configuration"
        }
        FaultKind::Forbidden => {
            "ask whoever writes the daemon's policy; `trustctl key list` shows the keys you may use, `trustctl status` \
             who you are to the daemon"
        }
        FaultKind::Missing => "`trustctl key list` shows what there is",
        FaultKind::Taken => "choose another name, or use the one that is there: `trustctl key list`",
        FaultKind::Conflict => "somebody else was faster: look at the present state, then try again",
        FaultKind::Refused => "`trustctl key show NAME` shows the key's state, purpose and scope",
        FaultKind::Busy => "try again in a moment",
        FaultKind::Unavailable => "`trustctl status` says what is missing; a sealed daemon needs `trustctl unseal`",
        FaultKind::Late => "whether it was done is not known: `trustctl audit log` says; then try again",
        FaultKind::Internal => "the daemon's log has the cause",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_of_fault_has_the_documented_exit_code() {
        let codes = FaultKind::ALL.map(|kind| (kind.name(), exit(kind).code()));

        assert_eq!(
            codes,
            [
                ("malformed", 2),
                ("unauthenticated", 1),
                ("forbidden", 1),
                ("missing", 1),
                ("taken", 1),
                ("conflict", 1),
                ("refused", 1),
                ("busy", 3),
                ("unavailable", 3),
                ("late", 3),
                ("internal", 4),
            ]
        );
    }

    #[test]
    fn a_broken_connection_is_unreachable_whatever_its_code() {
        let mut status = Status::unknown("transport error");
        status.set_source(std::sync::Arc::new(std::io::Error::other("reset")));

        let failure = Failure::from(status);

        assert_eq!(failure.exit(), Exit::Unreachable);
        assert!(failure.what().contains("reset"), "{failure:?}");
    }

    #[test]
    fn a_refusal_of_the_daemon_keeps_its_words() {
        let failure = Failure::from(Status::failed_precondition("the key is disabled"));

        assert_eq!(failure.exit(), Exit::Refused);
        assert_eq!(failure.what(), "the key is disabled");
        assert!(!failure.remedy().is_empty());
    }

    #[test]
    fn nothing_a_peer_says_reaches_the_terminal_as_a_command() {
        let failure = Failure::other("a\u{1b}[2Jb\nc\u{202e}d", "\u{7}x");

        assert_eq!(failure.what(), "a\u{fffd}[2Jb\u{fffd}c\u{fffd}d");
        assert_eq!(failure.remedy(), "\u{fffd}x");
    }

    #[test]
    fn when_to_come_back_is_said() {
        let fault = Fault::new(FaultKind::Busy, "too many").retry_after(Duration::from_millis(1500));

        assert_eq!(Failure::from(fault).remedy(), "try again in 2s");
    }
}
