//! What a measurement said about a token, and how the daemon uses the token because of it.
//!
//! A profile is a file for people and for the daemon, below its data directory. It is believed about exactly the token
//! and the module that were measured: where one of them has another name or version, the profile is not used. What the
//! configuration says it never overrules.

use std::fmt;
use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::Path;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use trust_hsm::TokenFacts;
use trust_hsm::doctor::{Identity, Quirk, Report, Works};

use crate::config::TokenConfig;

/// The only version of the file.
const VERSION: u32 = 1;
/// A session is opened anew after this much idleness where handles or sessions do not survive a longer one. How long they
/// do survive nobody knows; a session costs a moment.
const IDLE_MAX: Duration = Duration::from_secs(1);
/// The longest profile, in bytes.
const BYTES_MAX: u64 = 64 * 1024;
/// The most sessions that a profile may ask for: as many as the configuration may.
const SESSIONS_MAX: u32 = 64;
/// What people read first.
const HEAD: &str = "# What `trustctl hsm doctor --write-profile` measured. The daemon reads it at its start and on a reload, and uses\n\
                    # sessions, hang_after_ms and quirks where its configuration says nothing. Delete it to be without.\n\n";

/// A token's profile.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Profile {
    version: u32,
    measured_at_unix_seconds: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    sessions: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    hang_after_ms: Option<u64>,
    quirks: Vec<String>,
    token: Named,
    /// For people: what the numbers above were made of.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    throughput: Vec<Step>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    algorithm: Vec<Tried>,
}

/// [`Identity`] in the file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Named {
    serial: String,
    label: String,
    manufacturer: String,
    model: String,
    hardware: String,
    firmware: String,
    module: String,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Step {
    sessions: u32,
    per_second: f64,
    p50_us: u64,
    p99_us: u64,
    max_us: u64,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Tried {
    name: String,
    works: bool,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    why: String,
}

/// Why a profile cannot be read or written.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ProfileError {
    #[error("{what} {place}")]
    Io {
        what: &'static str,
        place: String,
        #[source]
        source: io::Error,
    },
    #[error("the profile {place} is none that this version reads: {what}")]
    Malformed { place: String, what: String },
}

impl Profile {
    /// What a report comes to.
    pub(crate) fn of(report: &Report, measured_at_unix_seconds: u64) -> Self {
        let Identity { serial, label, manufacturer, model, hardware, firmware, module } = report.identity.clone();
        let throughput = report.throughput.iter().flat_map(|throughput| &throughput.steps).map(|step| Step {
            sessions: step.sessions,
            per_second: step.per_second.round(),
            p50_us: step.latency.p50_us,
            p99_us: step.latency.p99_us,
            max_us: step.latency.max_us,
        });
        let algorithm = report.algorithms.iter().map(|finding| Tried {
            name: finding.algorithm.clone(),
            works: matches!(finding.works, Works::Yes { .. }),
            why: match &finding.works {
                Works::Yes { .. } => String::new(),
                Works::No { why } => why.clone(),
            },
        });
        Self {
            version: VERSION,
            measured_at_unix_seconds,
            sessions: report.sessions().map(|sessions| sessions.min(SESSIONS_MAX)),
            hang_after_ms: report.hang_after().map(milliseconds),
            quirks: report.quirks.iter().map(|quirk| quirk.name().to_owned()).collect(),
            token: Named { serial, label, manufacturer, model, hardware, firmware, module },
            throughput: throughput.collect(),
            algorithm: algorithm.collect(),
        }
    }

    /// The profile at `path`; none where there is no file.
    ///
    /// # Errors
    /// [`ProfileError`] for one that cannot be read, or says what no measurement says.
    pub(crate) fn read(path: &Path) -> Result<Option<Self>, ProfileError> {
        let place = path.display().to_string();
        let io = |source| ProfileError::Io { what: "read the profile", place: place.clone(), source };
        let file = match File::open(path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(io(error)),
        };
        let mut text = String::new();
        file.take(BYTES_MAX + 1).read_to_string(&mut text).map_err(io)?;
        let malformed = |what: String| ProfileError::Malformed { place: place.clone(), what };
        if u64::try_from(text.len()).unwrap_or(u64::MAX) > BYTES_MAX {
            return Err(malformed("at most 64 KiB".to_owned()));
        }
        let profile: Self = toml::from_str(&text).map_err(|error| malformed(error.message().to_owned()))?;
        profile.check().map_err(malformed)?;
        Ok(Some(profile))
    }

    fn check(&self) -> Result<(), String> {
        let hang_after = self.hang_after_ms.unwrap_or(1000);
        if self.version != VERSION {
            return Err(format!("version {}, expected {VERSION}", self.version));
        }
        if !(1..=SESSIONS_MAX).contains(&self.sessions.unwrap_or(1)) {
            return Err("sessions: a whole number from 1 to 64".to_owned());
        }
        if !(100..=600_000).contains(&hang_after) {
            return Err("hang_after_ms: a whole number from 100 to 600000".to_owned());
        }
        match self.quirks.iter().find(|quirk| Quirk::named(quirk).is_none()) {
            Some(quirk) => Err(format!("quirks: {quirk:?} is none of this version")),
            None => Ok(()),
        }
    }

    /// Writes it to `path`, whole at every instant, for nobody but us; makes its directory where it is not there.
    ///
    /// # Errors
    /// [`ProfileError::Io`]; the file that was there before is then still there.
    pub(crate) fn write(&self, path: &Path) -> Result<(), ProfileError> {
        let place = path.display().to_string();
        let io = |source| ProfileError::Io { what: "write the profile", place: place.clone(), source };
        let text = toml::to_string(self)
            .map_err(|error| ProfileError::Malformed { place: place.clone(), what: error.to_string() })?;
        let directory = path.parent().unwrap_or(Path::new("/"));
        DirBuilder::new().recursive(true).mode(0o700).create(directory).map_err(io)?;
        let new = path.with_extension("profile.new");
        let mut options = OpenOptions::new();
        let mut file = options.write(true).create(true).truncate(true).mode(0o600).open(&new).map_err(io)?;
        file.write_all(HEAD.as_bytes()).and_then(|()| file.write_all(text.as_bytes())).map_err(io)?;
        file.sync_all().map_err(io)?;
        std::fs::rename(&new, path).map_err(io)?;
        File::open(directory).and_then(|directory| directory.sync_all()).map_err(io)
    }

    /// In what the token that is there differs from the one that was measured; none where it is the same.
    fn differs(&self, there: &TokenFacts) -> Option<String> {
        let pairs = [
            ("serial", &self.token.serial, &there.serial),
            ("manufacturer", &self.token.manufacturer, &there.manufacturer),
            ("model", &self.token.model, &there.model),
            ("firmware", &self.token.firmware, &there.firmware),
            ("module", &self.token.module, &there.module),
        ];
        pairs
            .into_iter()
            .find(|(_, measured, now)| measured != now)
            .map(|(what, measured, now)| format!("its {what} is {now:?}, and {measured:?} was measured"))
    }

    fn quirks(&self) -> Vec<Quirk> {
        self.quirks.iter().filter_map(|quirk| Quirk::named(quirk)).collect()
    }
}

/// Who said a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Source {
    Configuration,
    Default,
    Profile,
}

impl Source {
    /// The word for it.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Configuration => "configuration",
            Self::Default => "default",
            Self::Profile => "profile",
        }
    }
}

/// What became of a token's profile.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Standing {
    /// There is none.
    None,
    /// The token has not been there yet, so nobody knows whose profile it is.
    Waiting,
    /// It is another token's, and in what.
    Foreign(String),
    /// It cannot be read, and why.
    Unreadable(String),
    /// It is this token's.
    Used,
}

impl fmt::Display for Standing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::None => f.write_str("none"),
            Self::Waiting => f.write_str("not used until the token is there"),
            Self::Foreign(what) => write!(f, "not used: it is another token's, {what}"),
            Self::Unreadable(what) => write!(f, "not used: {what}"),
            Self::Used => f.write_str("used"),
        }
    }
}

/// How a token is used, and who said so.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Tuning {
    pub(crate) sessions: (usize, Source),
    pub(crate) hang_after: (Duration, Source),
    pub(crate) quirks: Vec<Quirk>,
    pub(crate) profile: Standing,
}

impl Tuning {
    /// After how long of idleness a session is opened anew; none where it may be idle for ever.
    pub(crate) fn session_idle_max(&self) -> Option<Duration> {
        let is_needed = |quirk: &Quirk| matches!(quirk, Quirk::HandlesChange | Quirk::IdleSessionsDie);
        self.quirks.iter().any(is_needed).then_some(IDLE_MAX)
    }

    /// What holds of a token that is not mounted yet.
    pub(crate) fn before_mount(config: &TokenConfig) -> Self {
        Self { profile: Standing::Waiting, ..Self::of(config, Ok(None), None) }
    }

    /// What follows from configuration, profile and the token that is there, of which nothing may be known yet.
    pub(crate) fn of(
        config: &TokenConfig,
        profile: Result<Option<Profile>, ProfileError>,
        there: Option<&TokenFacts>,
    ) -> Self {
        let (profile, standing) = match (profile, there) {
            (Err(error), _) => (None, Standing::Unreadable(error.to_string())),
            (Ok(None), _) => (None, Standing::None),
            (Ok(Some(_)), None) => (None, Standing::Waiting),
            (Ok(Some(profile)), Some(there)) => match profile.differs(there) {
                Some(what) => (None, Standing::Foreign(what)),
                None => (Some(profile), Standing::Used),
            },
        };
        let profile = profile.as_ref();
        let sessions = profile.and_then(|profile| usize::try_from(profile.sessions?).ok());
        let hang_after = profile.and_then(|profile| profile.hang_after_ms).map(Duration::from_millis);
        Self {
            sessions: choose(config.sessions, sessions, TokenConfig::SESSIONS),
            hang_after: choose(config.hang_after, hang_after, TokenConfig::HANG_AFTER),
            quirks: profile.map(Profile::quirks).unwrap_or_default(),
            profile: standing,
        }
    }
}

/// Where a token's values will come from, as far as that shows without the token: one line for people.
pub(crate) fn sources(config: &TokenConfig, profile: Result<Option<Profile>, ProfileError>) -> String {
    let (profile, remark) = match profile {
        Ok(Some(profile)) => {
            (Some(profile), "; a profile is used if the token is the one that was measured".to_owned())
        }
        Ok(None) => (None, String::new()),
        Err(error) => (None, format!("; not used: {error}")),
    };
    let of = |is_configured: bool, is_measured: bool| match (is_configured, is_measured) {
        (true, _) => Source::Configuration.name(),
        (false, true) => Source::Profile.name(),
        (false, false) => Source::Default.name(),
    };
    let measured = |says: fn(&Profile) -> bool| profile.as_ref().is_some_and(says);
    let sessions = of(config.sessions.is_some(), measured(|profile| profile.sessions.is_some()));
    let hang_after = of(config.hang_after.is_some(), measured(|profile| profile.hang_after_ms.is_some()));
    format!("token {}: sessions from the {sessions}, hang_after_ms from the {hang_after}{remark}", config.name)
}

/// The configuration wins.
fn choose<T>(configured: Option<T>, measured: Option<T>, default: T) -> (T, Source) {
    match (configured, measured) {
        (Some(value), _) => (value, Source::Configuration),
        (None, Some(value)) => (value, Source::Profile),
        (None, None) => (default, Source::Default),
    }
}

fn milliseconds(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests;
