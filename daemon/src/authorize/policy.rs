//! Policy texts: read whole, validated strictly, known by their hash.

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::fs::File;
use std::io::Read as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::str::FromStr as _;

use cedar_policy::{Effect, PolicyId, PolicySet, Schema, ValidationMode, Validator};
use miette::Diagnostic;
use trust::Sha256Digest;

use super::bounds;
use crate::idempotency::RequestHash;

/// What policies may look at.
const SCHEMA: &str = include_str!("../../policy/schema.cedarschema");
/// The policy of a daemon that was given none.
const DEFAULT: &str = include_str!("../../policy/default.cedar");
/// The longest policy file, in bytes.
const POLICY_BYTES_MAX: u64 = 1024 * 1024;
const TOO_LONG: &str = "at most 1 MiB";
/// The stack on which Cedar reads: what passes the bounds needs a part of it, with room for what a later Cedar needs.
const STACK_BYTES: usize = 64 * 1024 * 1024;
/// The longest `@id`.
const NAME_CHARS_MAX: usize = 64;
/// The longest `@message`, in bytes: docker shows an answer of at most 1,024 bytes, and it stands in one.
const WORDS_BYTES_MAX: usize = 300;

/// Where the policy comes from.
#[derive(Debug, Clone)]
pub(crate) enum PolicySource {
    /// The operator's file; it replaces the default.
    File(PathBuf),
    /// The default, in which root administers.
    Default,
    /// The default, in which this uid administers, too (zero-configuration mode).
    DefaultFor(u32),
}

/// A policy that was validated.
#[derive(Debug)]
pub(crate) struct Policy {
    set: PolicySet,
    /// What leaves cite: to ask the set means to have Cedar's grammar read the word `id`, at each decision anew.
    names: HashMap<PolicyId, String>,
    /// What whoever is refused reads.
    words: HashMap<PolicyId, String>,
    text: String,
    revision: Sha256Digest,
}

/// Every fault of a policy.
#[derive(Debug)]
pub(crate) struct PolicyError {
    place: String,
    faults: Vec<String>,
}

impl PolicyError {
    fn new(source: &PolicySource, faults: Vec<String>) -> Self {
        let place = match source {
            PolicySource::File(path) => path.display().to_string(),
            PolicySource::Default | PolicySource::DefaultFor(_) => "the default policy".to_owned(),
        };
        Self { place, faults }
    }

    /// One line for each fault.
    pub(crate) fn faults(&self) -> impl Iterator<Item = String> + '_ {
        self.faults.iter().map(|fault| format!("policy {}: {fault}", self.place))
    }
}

impl fmt::Display for PolicyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (number, fault) in self.faults().enumerate() {
            if number > 0 {
                f.write_str("; ")?;
            }
            f.write_str(&fault)?;
        }
        Ok(())
    }
}

impl std::error::Error for PolicyError {}

impl Policy {
    /// Reads and validates.
    pub(super) fn load(source: &PolicySource) -> Result<Self, PolicyError> {
        let text = match source {
            PolicySource::File(path) => read(path).map_err(|fault| PolicyError::new(source, vec![fault]))?,
            PolicySource::Default => DEFAULT.to_owned(),
            PolicySource::DefaultFor(uid) => format!(
                "{DEFAULT}\n// Without a configuration, the user who started the daemon administers it.\n\
                 @id(\"owner-administers\")\npermit (principal is LocalUid, action, resource)\n\
                 when {{ principal.uid == {uid} }};\n"
            ),
        };
        Self::parse_apart(text).map_err(|faults| PolicyError::new(source, faults))
    }

    /// Parses on a stack of its own: one that overflows is not a fault, it is the end of the daemon.
    fn parse_apart(text: String) -> Result<Self, Vec<String>> {
        bounds::check(&text).map_err(|fault| vec![fault])?;
        std::thread::Builder::new()
            .name("policy".to_owned())
            .stack_size(STACK_BYTES)
            .spawn(|| Self::parse(text))
            .map_err(|error| vec![format!("no thread to read it on: {error}")])?
            .join()
            .unwrap_or_else(|_| Err(vec!["reading it failed; the log has the reason".to_owned()]))
    }

    fn parse(text: String) -> Result<Self, Vec<String>> {
        let (schema, _) = Schema::from_cedarschema_str(SCHEMA).map_err(|error| vec![error.to_string()])?;
        let set = PolicySet::from_str(&text)
            .map_err(|errors| errors.iter().map(|error| located(&text, error)).collect::<Vec<_>>())?;
        let result = Validator::new(schema).validate(&set, ValidationMode::Strict);
        let faults: Vec<String> = result
            .validation_errors()
            .map(ToString::to_string)
            // A warning names a policy that can never apply: somebody meant something else.
            .chain(result.validation_warnings().map(ToString::to_string))
            .chain(misleading(&set))
            .collect();
        if !faults.is_empty() {
            return Err(faults);
        }
        let revision = RequestHash::default().add(text.as_bytes()).add(SCHEMA.as_bytes()).finish();
        let name = |policy: &cedar_policy::Policy| policy.annotation("id").map(ToOwned::to_owned);
        let names = set.policies().filter_map(|policy| Some((policy.id().clone(), name(policy)?))).collect();
        let words = set.policies().filter_map(|policy| {
            let words = policy.annotation("message").filter(|_| policy.effect() == Effect::Forbid)?;
            Some((policy.id().clone(), words.to_owned()))
        });
        let words = words.collect();
        Ok(Self { set, names, words, text, revision })
    }

    /// SHA-256 over policy and schema.
    pub(crate) const fn revision(&self) -> Sha256Digest {
        self.revision
    }

    /// The texts of policy and schema, for the archive (D27).
    pub(crate) fn texts(&self) -> (&str, &'static str) {
        (&self.text, SCHEMA)
    }

    pub(super) const fn set(&self) -> &PolicySet {
        &self.set
    }

    /// The `@message` of a policy that forbids.
    pub(super) fn words_of(&self, id: &PolicyId) -> Option<&str> {
        self.words.get(id).map(String::as_str)
    }

    /// A policy's `@id`, or its place in the file.
    pub(super) fn name_of(&self, id: &PolicyId) -> String {
        self.names.get(id).map_or_else(|| id.to_string(), Clone::clone)
    }
}

/// What is sound Cedar and cannot be meant here.
fn misleading(set: &PolicySet) -> Vec<String> {
    let mut faults = Vec::new();
    if set.num_of_policies() == 0 {
        // A file that was cut off while it was written would lock everybody out.
        faults.push("no policy in it: everything would be denied".to_owned());
    }
    for template in set.templates() {
        faults.push(format!("{}: a template, and nothing here fills it in", template.id()));
    }
    let mut names = HashSet::new();
    for name in set.policies().filter_map(|policy| policy.annotation("id")) {
        let fits = (1..=NAME_CHARS_MAX).contains(&name.chars().count()) && !name.chars().any(char::is_control);
        if !fits {
            faults.push(format!("@id: 1 to {NAME_CHARS_MAX} characters, none of them a control character"));
        } else if !names.insert(name) {
            faults.push(format!("@id(\"{name}\"): two policies; the log cites them by it"));
        }
    }
    for policy in set.policies() {
        let Some(words) = policy.annotation("message") else { continue };
        if policy.effect() != Effect::Forbid {
            faults.push(format!("@message(\"{words}\"): only a policy that forbids has words for whoever is refused"));
        } else if !(1..=WORDS_BYTES_MAX).contains(&words.len()) || words.chars().any(char::is_control) {
            faults.push(format!("@message: 1 to {WORDS_BYTES_MAX} bytes, none of them a control character"));
        }
    }
    faults
}

fn read(path: &Path) -> Result<String, String> {
    let found = std::fs::metadata(path).map_err(|error| error.to_string())?;
    if !found.is_file() {
        return Err("not a file".to_owned());
    }
    if found.permissions().mode() & 0o002 != 0 {
        return Err("everybody may write it: chmod o-w".to_owned());
    }
    if found.len() > POLICY_BYTES_MAX {
        return Err(TOO_LONG.to_owned());
    }
    let mut bytes = Vec::new();
    let file = File::open(path).map_err(|error| error.to_string())?;
    // It may have grown since; a policy that is cut may lack its last forbid.
    file.take(POLICY_BYTES_MAX.saturating_add(1)).read_to_end(&mut bytes).map_err(|error| error.to_string())?;
    if u64::try_from(bytes.len()).is_ok_and(|length| length > POLICY_BYTES_MAX) {
        return Err(TOO_LONG.to_owned());
    }
    String::from_utf8(bytes).map_err(|error| error.to_string())
}

/// A parse error with its line.
fn located(text: &str, error: &impl Diagnostic) -> String {
    match error.labels().and_then(|mut labels| labels.next()) {
        Some(label) => {
            let line = text.get(..label.offset()).map_or(0, |before| before.matches('\n').count()).saturating_add(1);
            format!("line {line}: {error}")
        }
        None => error.to_string(),
    }
}
