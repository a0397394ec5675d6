//! `trustd check`: every fault of configuration, policy and files in one answer. `trustd serve` refuses the same.
//!
//! What is not there *yet* (the data directory before `trustd init`, a directory that the service manager makes) is
//! no fault of a configuration; `serve` misses it, and says so.

use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use trust_hsm::CustodyError;
use trust_hsm::worker::examine_token;

use crate::assemble::{policy_source, token_worker};
use crate::authorize::Authorizer;
use crate::backup::Recipients;
use crate::clock::Clock;
use crate::config::{Config, ConfigFault, NotaryAuth, PolicyConfig, Reading, RootConfig, TlsConfig, TokenConfig};
use crate::custody::profile::{self, Profile};
use crate::identity::Bearer;
use crate::init::{UNFINISHED, was_cut_short};
use crate::root;
use crate::serving::group_id;
use crate::tls;

/// The longest path of a Unix socket, in bytes (unix(7)).
const SOCKET_BYTES_MAX: usize = 107;
/// What `trustd init` makes.
const INSIDE: [&str; 3] = ["kek/ring", "log", "store"];

/// What is wrong, and what is only missing.
#[derive(Debug, Default)]
struct Findings {
    faults: Vec<ConfigFault>,
    missing: Vec<ConfigFault>,
}

impl Findings {
    fn fault(&mut self, place: &str, what: impl Into<String>) {
        self.faults.push(ConfigFault { place: place.to_owned(), what: what.into() });
    }

    fn missing(&mut self, place: &str, what: impl Into<String>) {
        self.missing.push(ConfigFault { place: place.to_owned(), what: what.into() });
    }
}

/// Prints every fault, one a line. Exit code 0 when there is none.
pub(crate) fn run(name: &str, reading: Reading) -> ExitCode {
    let sources = reading.config.as_ref().map(token_sources).unwrap_or_default();
    let findings = everything(reading);
    for missing in &findings.missing {
        println!("not yet: {missing}");
    }
    if findings.faults.is_empty() {
        sources.iter().for_each(|line| println!("{line}"));
        println!("{name}: no faults");
        return ExitCode::SUCCESS;
    }
    eprintln!("trustd: {}", refusal(name, &findings.faults));
    ExitCode::FAILURE
}

/// Where each token's values come from.
fn token_sources(config: &Config) -> Vec<String> {
    let line = |token: &TokenConfig| profile::sources(token, Profile::read(&config.token_profile(&token.name)));
    config.tokens.iter().map(line).collect()
}

/// What is wrong with the text, and with the files of every value that could be read.
fn everything(Reading { config, mut faults }: Reading) -> Findings {
    let mut findings = config.map_or_else(Findings::default, |config| examine(&config, tls::faults));
    // A value that could not be read stands at its default: what was found there is not about this file.
    let is_read = |found: &ConfigFault| !faults.iter().any(|fault| fault.place == found.place);
    findings.faults.retain(|found| is_read(found));
    findings.missing.retain(is_read);
    faults.append(&mut findings.faults);
    Findings { faults, ..findings }
}

/// What stops a start.
pub(crate) fn before_serving(name: &str, config: &Config) -> anyhow::Result<()> {
    let Findings { mut faults, missing } = examine(config, tls::obstacles);
    faults.extend(missing);
    if faults.is_empty() { Ok(()) } else { Err(refusal(name, &faults)) }
}

/// All faults of one configuration: what happened, each of them, and what to do.
pub(crate) fn refusal(name: &str, faults: &[ConfigFault]) -> anyhow::Error {
    let lines: Vec<String> = faults.iter().map(|fault| format!("  {fault}")).collect();
    let count = if faults.len() == 1 { "1 fault".to_owned() } else { format!("{} faults", faults.len()) };
    anyhow::anyhow!(
        "{name} has {count}\n{}\nmend all of it and run `trustd check` again; docs/config.md has every key",
        lines.join("\n")
    )
}

/// What `[tls]` is found to be wrong with.
type TlsExamination = fn(&TlsConfig, &Clock) -> Vec<ConfigFault>;

/// What the text alone does not show.
fn examine(config: &Config, examine_tls: TlsExamination) -> Findings {
    let mut findings = Findings::default();
    data_directory(config, &mut findings);
    root_kek(config, &mut findings);
    socket(&config.unix.path, &mut findings);
    if let Some(Err(error)) = config.unix.group.as_deref().map(group_id) {
        findings.fault("socket_group", format!("{error:#}"));
    }
    if let PolicyConfig::File(path) = &config.policy {
        written_by_others("policy", path, &mut findings);
    }
    if let Err(error) = Authorizer::load(policy_source(&config.policy)) {
        error.faults().for_each(|fault| findings.fault("policy", fault));
    }
    if let Some(path) = &config.backup_recipients {
        written_by_others("backup_recipients", path, &mut findings);
        if let Err(error) = Recipients::read(path) {
            findings.fault("backup_recipients", chain(&error));
        }
    }
    for token in &config.tokens {
        // Which store the keys are of does not matter to the files.
        match examine_token(&token_worker(config, token, [0; 16])) {
            Err(error) if !token.pin_file.as_deref().is_some_and(|pin| is_the_services(config, pin, &error)) => {
                findings.fault("[token]", format!("{}: {error}", token.name));
            }
            Ok(()) | Err(_) => {}
        }
    }
    if let Some(config) = &config.tls {
        findings.faults.extend(examine_tls(config, &Clock::system()));
    }
    if let Some(notary) = &config.notary {
        findings.faults.extend(examine_tls(&notary.tls, &Clock::system()));
        if let NotaryAuth::Token(token) = &notary.auth {
            findings.faults.extend(Bearer::load(token).err());
        }
    }
    one_address_each(config, &mut findings);
    findings
}

/// Two listeners on one address: the second would not open.
fn one_address_each(config: &Config, findings: &mut Findings) {
    let listeners = [
        ("[tls] listen", config.tls.as_ref().map(|tls| tls.listen)),
        ("[notary] listen", config.notary.as_ref().map(|notary| notary.tls.listen)),
        ("metrics", config.metrics),
    ];
    for (index, (place, address)) in listeners.iter().enumerate() {
        // Port 0 is another one each time.
        let Some(address) = address.filter(|address| address.port() != 0) else { continue };
        let earlier = listeners.iter().take(index).find(|(_, other)| *other == Some(address));
        if let Some((other, _)) = earlier {
            findings.fault(place, format!("{address} is the address of {other}, too"));
        }
    }
}

fn data_directory(config: &Config, findings: &mut Findings) {
    const PLACE: &str = "data_directory";
    let directory = &config.data_directory;
    let shown = directory.display();
    let is_unfinished = |entry: &std::fs::DirEntry| entry.file_name() == UNFINISHED;
    let entries = match std::fs::read_dir(directory) {
        Ok(entries) => entries.filter(|entry| !entry.as_ref().is_ok_and(is_unfinished)).count(),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => 0,
        Err(error) => return findings.fault(PLACE, format!("read {shown}: {error}")),
    };
    if entries == 0 {
        return findings.missing(PLACE, format!("nothing is in {shown}: run `trustd init` first"));
    }
    let absent = absent(directory);
    if absent.len() == INSIDE.len() {
        findings.fault(PLACE, format!("{shown} holds something else: name a new directory and run `trustd init`"));
    } else if !absent.is_empty() {
        let remedy = if was_cut_short(directory) {
            "it was not made to its end, make it again"
        } else {
            "bring it back, or import a backup"
        };
        findings.fault(PLACE, format!("{shown} is not whole, {} is missing: {remedy}", absent.join(", ")));
    }
    match std::fs::metadata(directory) {
        Ok(metadata) => guarded(&shown.to_string(), &metadata, findings),
        Err(error) => findings.fault(PLACE, format!("look at {shown}: {error}")),
    }
}

/// What of a data directory is not there.
fn absent(directory: &Path) -> Vec<&'static str> {
    INSIDE.into_iter().filter(|name| !directory.join(name).exists()).collect()
}

/// Whoever else may write there can exchange the store and the log, and the ring with them.
fn guarded(shown: &str, metadata: &std::fs::Metadata, findings: &mut Findings) {
    const PLACE: &str = "data_directory";
    if metadata.mode() & 0o077 != 0 {
        findings.fault(PLACE, format!("{shown} has mode {:04o}: chmod 700 it", metadata.mode() & 0o7777));
    }
    let us = rustix::process::geteuid().as_raw();
    if metadata.uid() != us {
        let what = format!("{shown} belongs to uid {0}, not to uid {us}: run this as uid {0}", metadata.uid());
        findings.fault(PLACE, what);
    }
}

fn root_kek(config: &Config, findings: &mut Findings) {
    const PLACE: &str = "[root_kek] file";
    // Where there is a ring it says where the root key is; one that does not read, the start finds.
    if let Ok((_, place)) = trust_hsm::root_place(&config.ring()) {
        if let Some(why) = root::unreachable(&place, config) {
            return findings.fault(PLACE, why);
        }
        if place != trust_hsm::RootPlace::File {
            return;
        }
    }
    let RootConfig::File(path) = &config.root_kek else { return };
    // A new key opens nothing of what is there, whatever else is missing.
    if !path.exists() && absent(&config.data_directory).len() == INSIDE.len() {
        return findings.missing(PLACE, format!("{} is not there: `trustd init` makes it", path.display()));
    }
    if !path.exists() {
        return findings.fault(
            PLACE,
            format!("{} is not there, and everything is sealed under it: bring it back", path.display()),
        );
    }
    match trust_hsm::examine_root_file(path) {
        Err(error) if !is_the_services(config, path, &error) => findings.fault(PLACE, error.to_string()),
        Ok(()) | Err(_) => {}
    }
}

/// Whether all that is wrong with a secret file is that root looks at one of the service's user: that is the user
/// whom the data directory belongs to. Before `trustd init` nobody knows, and `serve` sees.
fn is_the_services(config: &Config, path: &Path, fault: &CustodyError) -> bool {
    let owner = |path: &Path| std::fs::metadata(path).map(|metadata| metadata.uid()).ok();
    rustix::process::geteuid().is_root()
        && fault.to_string().contains("belongs to uid")
        && owner(&config.data_directory).is_none_or(|service| owner(path) == Some(service))
}

fn socket(path: &Path, findings: &mut Findings) {
    const PLACE: &str = "socket";
    if path.as_os_str().len() > SOCKET_BYTES_MAX {
        findings.fault(PLACE, format!("{}: a socket's path has at most {SOCKET_BYTES_MAX} bytes", path.display()));
    }
    let parent = path.parent().map(PathBuf::from).unwrap_or_default();
    match std::fs::metadata(&parent) {
        Ok(metadata) if !metadata.is_dir() => {
            findings.fault(PLACE, format!("{} is not a directory", parent.display()));
        }
        Ok(metadata) if metadata.mode() & 0o1002 == 0o002 => {
            let what =
                format!("everybody may write in {} and put another socket there: chmod o-w it", parent.display());
            findings.fault(PLACE, what);
        }
        Ok(_) => {}
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            findings.missing(PLACE, format!("its directory {} is not there: make it first", parent.display()));
        }
        Err(error) => findings.fault(PLACE, format!("look at {}: {error}", parent.display())),
    }
}

/// What decides about keys is not for everybody to write.
fn written_by_others(place: &str, path: &Path, findings: &mut Findings) {
    // A file that cannot be looked at cannot be read either; whoever reads it says so.
    if let Ok(metadata) = std::fs::metadata(path)
        && metadata.mode() & 0o002 != 0
    {
        findings.fault(place, format!("{} can be written by everybody: chmod o-w it", path.display()));
    }
}

fn chain(error: &dyn std::error::Error) -> String {
    match error.source() {
        Some(source) => format!("{error}: {}", chain(source)),
        None => error.to_string(),
    }
}

#[cfg(test)]
#[path = "check/tests.rs"]
mod tests;
