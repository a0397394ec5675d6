//! Enrolled daemons: those whose word about trusted keys counts, known by their CA and name.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::command_line::EnrollArguments;
use crate::config::user_file;
use crate::connect::{Daemon, Tls, certificate_fingerprint};
use crate::context::Context;
use crate::endpoint::{Authority, Endpoint};
use crate::failure::Failure;
use crate::files::{self, Existing, Lock};
use crate::output::{Paint, Shown};

/// The most daemons one user is enrolled with.
const ENROLLED_MAX: usize = 64;

/// A daemon whose CA and server name were recorded.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Enrolled {
    /// `https://host:port`.
    pub(crate) address: String,
    /// The CA of its certificate, PEM.
    pub(crate) ca: String,
}

#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct EnrolledFile {
    #[serde(default)]
    daemons: Vec<Enrolled>,
}

/// What `enroll` did.
#[derive(Debug, Serialize)]
struct Enrolment {
    /// "enrolled" or "removed".
    result: &'static str,
    address: String,
    server_name: String,
    ca_sha256: String,
}

impl Shown for Enrolment {
    fn text(&self, paint: Paint) -> String {
        let first = format!("{} {}", self.result, paint.strong(&self.address));
        if self.result == "removed" {
            return first;
        }
        format!(
            "{first}\n  server name {}\n  CA {}\n{}",
            self.server_name,
            self.ca_sha256,
            paint.faint("the keys this daemon reports as trusted are now believed, where no pin decides")
        )
    }
}

impl Enrolled {
    /// Host and port.
    pub(crate) fn authority(&self) -> Result<Authority, Failure> {
        match Endpoint::parse(&self.address)? {
            Endpoint::Https(authority) => Ok(authority),
            Endpoint::Unix(_) => Err(Failure::usage(
                format!("{} is no daemon on TCP", self.address),
                "a Unix socket needs no enrolment: the kernel says who serves it",
            )),
        }
    }
}

fn file(directory: &Path) -> PathBuf {
    directory.join("enrolled.toml")
}

/// The daemons this user is enrolled with.
pub(crate) fn enrolled(context: &Context) -> Result<Vec<Enrolled>, Failure> {
    match context.config.places.configuration() {
        Some(directory) => Ok(user_file::<EnrolledFile>(&file(directory))?.daemons),
        None => Ok(Vec::new()),
    }
}

/// Runs `trustctl enroll`.
pub(crate) async fn run(context: &Context, arguments: &EnrollArguments) -> Result<(), Failure> {
    let authority = Enrolled { address: arguments.url.clone(), ca: String::new() }.authority()?;
    let address = format!("https://{authority}");
    let directory = context.config.places.configuration_or_fail()?;
    let known = enrolled(context)?;
    let result = match &arguments.ca {
        None => remove(directory, known, &address)?,
        Some(ca) => add(context, directory, &authority, ca).await?,
    };
    context.output.show(&result)
}

async fn add(context: &Context, directory: &Path, authority: &Authority, ca: &Path) -> Result<Enrolment, Failure> {
    let pem = files::read_named(ca, crate::connect::PEM_BYTES_MAX)?;
    let tls = Tls::new(&pem, &context.config.tls)?;
    let not_a_ca = || Failure::usage(format!("{} holds no CA", ca.display()), "it has to be a PEM file");
    let fingerprint = certificate_fingerprint(&pem).ok_or_else(not_a_ca)?;
    let text = String::from_utf8(pem).map_err(|_| not_a_ca())?;
    // The handshake: a wrong CA or name is noticed now, not at the first pull.
    let daemon = Daemon::over_tls(authority, &tls).await?;
    let _lock = Lock::of(directory).map_err(|error| unwritten(directory, error))?;
    let mut daemons = user_file::<EnrolledFile>(&file(directory))?.daemons;
    daemons.retain(|other| other.address != daemon.address);
    daemons.push(Enrolled { address: daemon.address.clone(), ca: text });
    if daemons.len() > ENROLLED_MAX {
        return Err(Failure::usage(format!("enrolled with more than {ENROLLED_MAX} daemons"), "remove one: --remove"));
    }
    write(directory, daemons)?;
    Ok(Enrolment {
        result: "enrolled",
        address: daemon.address,
        server_name: authority.host.clone(),
        ca_sha256: fingerprint.to_string(),
    })
}

fn remove(directory: &Path, known: Vec<Enrolled>, address: &str) -> Result<Enrolment, Failure> {
    let _lock = Lock::of(directory).map_err(|error| unwritten(directory, error))?;
    let (gone, kept): (Vec<_>, Vec<_>) = known.into_iter().partition(|daemon| daemon.address == address);
    let Some(gone) = gone.into_iter().next() else {
        return Err(Failure::refused(
            format!("not enrolled with {address}"),
            format!("enrolled.toml in {} names those you are enrolled with", directory.display()),
        ));
    };
    write(directory, kept)?;
    let fingerprint = certificate_fingerprint(gone.ca.as_bytes()).map(|digest| digest.to_string());
    Ok(Enrolment {
        result: "removed",
        server_name: gone.authority()?.host,
        address: gone.address,
        ca_sha256: fingerprint.unwrap_or_default(),
    })
}

fn write(directory: &Path, daemons: Vec<Enrolled>) -> Result<(), Failure> {
    let body = toml::to_string(&EnrolledFile { daemons })
        .map_err(|error| Failure::other("write the enrolment", "this is a fault of trustctl").because(error))?;
    let text = format!("# Written by `trustctl enroll`: whose word about trusted keys counts.\n\n{body}");
    files::write(&file(directory), text.as_bytes(), 0o600, Existing::Replace)
        .map_err(|error| unwritten(directory, error))
}

fn unwritten(directory: &Path, error: std::io::Error) -> Failure {
    Failure::other(format!("write below {}", directory.display()), "is there space, and may you write there?")
        .because(error)
}
