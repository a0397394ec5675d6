//! `trustctl enroll`: records the CA and name of a daemon whose word about trusted keys is to count.

use std::path::Path;

use serde::Serialize;

use crate::command_line::EnrollArguments;
use crate::connect::{Daemon, Tls, certificate_fingerprint};
use crate::context::Context;
use crate::endpoint::Authority;
use crate::enrolled::{self, Enrolled};
use crate::failure::Failure;
use crate::files::{self, Lock};
use crate::output::{Paint, Shown};

/// The most daemons one user is enrolled with.
const ENROLLED_MAX: usize = 64;

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

/// Runs `trustctl enroll`.
pub(crate) async fn run(context: &Context, arguments: &EnrollArguments) -> Result<(), Failure> {
    let authority = Enrolled { address: arguments.url.clone(), ca: String::new() }.authority()?;
    let address = format!("https://{authority}");
    let directory = context.config.places.configuration_or_fail()?;
    let result = match &arguments.ca {
        None => remove(directory, &address)?,
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
    let _lock = Lock::of(directory).map_err(|error| enrolled::unwritten(directory, error))?;
    let mut daemons = enrolled::read(directory)?;
    daemons.retain(|other| other.address != daemon.address);
    daemons.push(Enrolled { address: daemon.address.clone(), ca: text });
    if daemons.len() > ENROLLED_MAX {
        return Err(Failure::usage(format!("enrolled with more than {ENROLLED_MAX} daemons"), "remove one: --remove"));
    }
    enrolled::write(directory, daemons)?;
    Ok(Enrolment {
        result: "enrolled",
        address: daemon.address,
        server_name: authority.host.clone(),
        ca_sha256: fingerprint.to_string(),
    })
}

fn remove(directory: &Path, address: &str) -> Result<Enrolment, Failure> {
    let _lock = Lock::of(directory).map_err(|error| enrolled::unwritten(directory, error))?;
    let (gone, kept): (Vec<_>, Vec<_>) =
        enrolled::read(directory)?.into_iter().partition(|daemon| daemon.address == address);
    let Some(gone) = gone.into_iter().next() else {
        return Err(Failure::refused(
            format!("not enrolled with {address}"),
            format!("enrolled.toml in {} names those you are enrolled with", directory.display()),
        ));
    };
    enrolled::write(directory, kept)?;
    let fingerprint = certificate_fingerprint(gone.ca.as_bytes()).map(|digest| digest.to_string());
    Ok(Enrolment {
        result: "removed",
        server_name: gone.authority()?.host,
        address: gone.address,
        ca_sha256: fingerprint.unwrap_or_default(),
    })
}
