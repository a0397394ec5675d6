//! Whom the client believes (D5).
//!
//! Where a pin matches a repository, pins alone decide. Otherwise the keys count that an *enrolled* daemon reports as
//! trusted for it: one whose CA and name were recorded, or the one at the default socket, if root, the caller or the
//! user that the host's configuration names serves it. `--endpoint` and `TRUSTD_ADDR` are not looked at here: they say
//! where requests go, never whom we believe.

use std::fmt;
use std::path::Path;

use serde::Serialize;
use trust::{Algorithm, PublicKey, Purpose, Repository};
use trust_proto::v1::{ListTrustedKeysRequest, TrustedKey};
use trust_proto::words::Word as _;

use crate::checkpoint;
use crate::connect::{Daemon, NoConnection, Server, Tls};
use crate::context::Context;
use crate::endpoint::{Endpoint, default_socket};
use crate::enrolled::{self, Enrolled};
use crate::failure::Failure;
use crate::files;
use crate::pin::{self, Pin, PinSource};

/// Keys that a page of a daemon's answer has.
const PAGE: u32 = 512;
/// No more keys of one daemon are taken: where it has more, nobody is believed rather than some.
const KEYS_MAX: usize = 16_384;

/// The keys whose signatures count for one repository.
#[derive(Debug, Clone)]
pub(crate) struct Believed {
    /// At least one, unless trust data vouches for the image.
    pub(crate) keys: Vec<BelievedKey>,
}

/// One key, and why it is believed.
#[derive(Debug, Clone)]
pub(crate) struct BelievedKey {
    /// The key.
    pub(crate) key: PublicKey,
    /// Its signatures count although they name no repository or tag.
    pub(crate) any_tag: bool,
    /// Why.
    pub(crate) source: Source,
}

/// Why a key is believed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
pub(crate) enum Source {
    /// An enrolled daemon reports it.
    Daemon {
        /// Which daemon.
        address: String,
        /// The key's name, where we may know it, else its id.
        key: String,
        /// The key's version.
        version: u32,
    },
    /// A pin names it.
    Pin {
        /// For which repositories.
        repository: String,
        /// Who made the pin.
        source: PinSource,
    },
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Daemon { address, key, version } => write!(f, "{key} version {version}, trusted by {address}"),
            Self::Pin { repository, source: PinSource::Host } => write!(f, "pinned by this host for {repository}"),
            Self::Pin { repository, .. } => write!(f, "pinned for {repository}"),
        }
    }
}

/// The keys believed for `repository`.
///
/// Refused where nobody is believed; unreachable where an enrolled daemon does not answer: that is never "nobody".
pub(crate) async fn for_repository(context: &Context, repository: &Repository) -> Result<Believed, Failure> {
    let (believed, remarks) = seek(context, repository).await?;
    if believed.keys.is_empty() { Err(nobody(repository, &remarks)) } else { Ok(believed) }
}

/// The same where trust data vouches for the image already: nobody else need be believed.
pub(crate) async fn beside_trust_data(context: &Context, repository: &Repository) -> Result<Believed, Failure> {
    Ok(seek(context, repository).await?.0)
}

/// The keys, and why some daemons are not believed.
async fn seek(context: &Context, repository: &Repository) -> Result<(Believed, Vec<String>), Failure> {
    let pinned: Vec<&Pin> = pin::matching(&context.config.pins, repository).collect();
    if !pinned.is_empty() {
        return Ok((by_pins(&pinned), Vec::new()));
    }
    let (daemons, remarks) = daemons(context).await?;
    let mut keys = Vec::new();
    for daemon in &daemons {
        keys.extend(reported(context, daemon, Purpose::Image, repository.as_str()).await?);
    }
    Ok((Believed { keys: keys.into_iter().map(|(_, key)| key).collect() }, remarks))
}

/// What one believed daemon says of its keys for files.
#[derive(Debug)]
pub(crate) struct KeyBook {
    /// The daemon.
    pub(crate) daemon: Daemon,
    /// The versions whose signatures count: id of the key, version, key.
    pub(crate) keys: Vec<(String, BelievedKey)>,
}

/// The trusted keys for files of every believed daemon; refused where no daemon is believed.
pub(crate) async fn key_books(context: &Context) -> Result<Vec<KeyBook>, Failure> {
    let mut books = Vec::new();
    for daemon in some_daemons(context).await? {
        let keys = reported(context, &daemon, Purpose::ReleaseBlob, "").await?;
        books.push(KeyBook { daemon, keys });
    }
    Ok(books)
}

/// The believed daemon, where there is one; of several, the one that `--endpoint`, `TRUSTD_ADDR` or the configuration
/// names. Its log was held against what we remember of it.
pub(crate) async fn one_daemon(context: &Context) -> Result<Daemon, Failure> {
    let mut daemons = some_daemons(context).await?;
    let count = daemons.len();
    let asked = context.endpoint.to_string();
    let place = if count == 1 { Some(0) } else { daemons.iter().position(|daemon| daemon.address == asked) };
    let Some(daemon) = place.map(|place| daemons.swap_remove(place)) else {
        return Err(Failure::usage(
            format!("{count} daemons are believed, and each has keys of its own"),
            "say which one: --endpoint ADDRESS; or verify with --public-key FILE, which needs no daemon",
        ));
    };
    checkpoint::look(context, &daemon).await?;
    Ok(daemon)
}

/// Every daemon whose word counts; refused where there is none.
async fn some_daemons(context: &Context) -> Result<Vec<Daemon>, Failure> {
    let (daemons, remarks) = daemons(context).await?;
    if daemons.is_empty() {
        let mut what =
            "no daemon is believed (the one that --endpoint or TRUSTD_ADDR names is not asked for that)".to_owned();
        for remark in remarks {
            what.push_str("; ");
            what.push_str(&remark);
        }
        return Err(Failure::refused(
            what,
            "trustctl enroll URL --ca FILE; or verify with --public-key FILE, which needs no daemon",
        ));
    }
    Ok(daemons)
}

/// Every daemon whose word counts, and why others do not.
async fn daemons(context: &Context) -> Result<(Vec<Daemon>, Vec<String>), Failure> {
    let mut daemons = Vec::new();
    for enrolled in enrolled::enrolled(&context.config.places)? {
        daemons.push(reach(context, &enrolled).await?);
    }
    let mut remarks = Vec::new();
    match at_default_socket(context).await? {
        DefaultDaemon::Believed(daemon) => daemons.push(daemon),
        DefaultDaemon::Absent => {}
        DefaultDaemon::Foreign(why) => remarks.push(why),
    }
    Ok((daemons, remarks))
}

fn by_pins(pinned: &[&Pin]) -> Believed {
    let keys = pinned.iter().map(|pin| BelievedKey {
        key: pin.key.clone(),
        any_tag: pin.any_tag,
        source: Source::Pin { repository: pin.pattern.to_string(), source: pin.source },
    });
    Believed { keys: keys.collect() }
}

fn nobody(repository: &Repository, remarks: &[String]) -> Failure {
    let mut what =
        format!("nobody is believed for {repository}: no pin matches, and no enrolled daemon has a key for it");
    for remark in remarks {
        what.push_str("; ");
        what.push_str(remark);
    }
    Failure::refused(
        what,
        format!("if you know the key that signs it: trustctl pin add {repository} --public-key FILE"),
    )
}

/// Connects to a daemon the user is enrolled with, by the CA and name that were recorded.
pub(crate) async fn reach(context: &Context, enrolled: &Enrolled) -> Result<Daemon, Failure> {
    let tls = Tls::new(enrolled.ca.as_bytes(), &context.config.tls)?;
    Daemon::over_tls(&enrolled.authority()?, &tls).await
}

/// What is at the default socket.
#[derive(Debug)]
enum DefaultDaemon {
    /// A daemon of somebody we believe.
    Believed(Daemon),
    /// No socket.
    Absent,
    /// A socket of somebody else, or one that is closed to us: why it does not count.
    Foreign(String),
}

async fn at_default_socket(context: &Context) -> Result<DefaultDaemon, Failure> {
    let socket = default_socket();
    if !socket.exists() {
        return Ok(DefaultDaemon::Absent);
    }
    let (users, remark) = users(context);
    match Daemon::at_socket(&socket, Server::Users(users)).await {
        Ok(daemon) => Ok(DefaultDaemon::Believed(daemon)),
        Err(NoConnection::ServedBy(who)) => {
            Ok(DefaultDaemon::Foreign(format!("the daemon at {} is {who} and not believed{remark}", socket.display())))
        }
        // Not one of its users: then it is not this user's daemon, and others may be.
        Err(NoConnection::Closed(failure)) => Ok(DefaultDaemon::Foreign(failure.what())),
        Err(NoConnection::Failed(failure)) => Err(failure),
    }
}

/// Whose daemon at a socket is believed, and what is to be said where one of them does not exist.
fn users(context: &Context) -> (Vec<u32>, String) {
    let mut users = vec![0, rustix::process::geteuid().as_raw()];
    let mut remark = String::new();
    match context.config.server_user.as_deref().map(|name| (name, uid_of(name, Path::new("/etc/passwd")))) {
        Some((_, Some(uid))) => users.push(uid),
        Some((name, None)) => remark = format!(" (there is no user {name:?}, whom server_user names)"),
        None => {}
    }
    (users, remark)
}

/// Connects to the daemon that signs, to tell it a secret: whoever sets `TRUSTD_ADDR` is not to get it. So a socket has to
/// be root's, the user's own, or that of the user whom the host's configuration names. Over TCP the certificate tells who it
/// is.
///
/// # Errors
/// When there is no connection, or a socket is somebody else's; nothing was sent then.
pub(crate) async fn confidant(context: &Context) -> Result<Daemon, Failure> {
    let Endpoint::Unix(socket) = &context.endpoint else { return context.daemon().await };
    let (users, remark) = users(context);
    Daemon::at_socket(socket, Server::Users(users)).await.map_err(|error| match error {
        NoConnection::Failed(failure) | NoConnection::Closed(failure) => failure,
        NoConnection::ServedBy(who) => Failure::refused(
            format!("the daemon at {} is {who}, and gets no secret{remark}", socket.display()),
            "look at --endpoint and TRUSTD_ADDR; server_user in the host's trustctl.toml names whose daemon it may be",
        ),
    })
}

/// The same for a secret that a daemon takes over its socket only: nobody types one for an address.
///
/// # Errors
/// As [`confidant`]; also for an endpoint that is no socket.
pub(crate) async fn confidant_at_socket(context: &Context) -> Result<Daemon, Failure> {
    match &context.endpoint {
        Endpoint::Unix(_) => confidant(context).await,
        Endpoint::Https(authority) => Err(Failure::usage(
            format!("https://{authority}: passphrases and PINs go over the daemon's Unix socket only"),
            "run it on the daemon's machine: --endpoint unix:///run/trustd/trustd.sock",
        )),
    }
}

/// The user id of a name, from a file like `/etc/passwd`; a number is itself.
fn uid_of(name: &str, passwd: &Path) -> Option<u32> {
    if let Ok(uid) = name.parse() {
        return Some(uid);
    }
    let (bytes, _) = files::read(passwd, 16 * 1024 * 1024).ok()??;
    let text = String::from_utf8_lossy(&bytes);
    let line = text.lines().find(|line| line.split(':').next() == Some(name))?;
    line.split(':').nth(2)?.parse().ok()
}

/// What an enrolled daemon says, after its log was held against what we remember of it: key ids beside keys.
async fn reported(
    context: &Context,
    daemon: &Daemon,
    purpose: Purpose,
    repository: &str,
) -> Result<Vec<(String, BelievedKey)>, Failure> {
    checkpoint::look(context, daemon).await?;
    let keys = trusted(daemon, purpose, repository).await?.into_iter().filter_map(|key| {
        let algorithm = Algorithm::from_wire(key.algorithm).ok()?;
        let name = if key.name.is_empty() { key.key_id.clone() } else { key.name };
        let believed = BelievedKey {
            // A key that this version cannot read verifies nothing here.
            key: PublicKey::from_spki_der(algorithm, &key.spki_der).ok()?,
            any_tag: false,
            source: Source::Daemon { address: daemon.address.clone(), key: name, version: key.version },
        };
        Some((key.key_id, believed))
    });
    Ok(keys.collect())
}

/// The trusted keys of a daemon, page by page: all of them.
async fn trusted(daemon: &Daemon, purpose: Purpose, repository: &str) -> Result<Vec<TrustedKey>, Failure> {
    let mut keys = Vec::new();
    let mut page_token = String::new();
    loop {
        let (repository, purpose) = (repository.to_owned(), purpose.to_wire());
        let request = ListTrustedKeysRequest { repository, purpose, page_size: PAGE, page_token };
        let page = daemon.verification().list_trusted_keys(request).await?.into_inner();
        let is_empty = page.keys.is_empty();
        keys.extend(page.keys);
        page_token = page.next_page_token;
        // A daemon that pages for ever must not fill our memory.
        if keys.len() > KEYS_MAX {
            return Err(Failure::other(
                format!("the daemon at {} trusts more than {KEYS_MAX} keys for this", daemon.address),
                "name the key: trustctl pin add for a repository, --public-key FILE for a file; or distrust those that \
                 are used no more",
            ));
        }
        if page_token.is_empty() || is_empty {
            return Ok(keys);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::context::tests::{context, pin};

    fn repository() -> Repository {
        Repository::parse("r.example.com/team/app").unwrap()
    }

    #[tokio::test]
    async fn where_a_pin_matches_no_daemon_is_asked() {
        let mut context = context();
        context.config.pins = vec![pin("r.example.com/team/*"), pin("r.example.com/other")];
        context.config.pins[0].any_tag = true;

        let believed = for_repository(&context, &repository()).await.unwrap();

        assert_eq!(believed.keys.len(), 1);
        assert!(believed.keys[0].any_tag);
        assert_eq!(believed.keys[0].source.to_string(), "pinned for r.example.com/team/*");
    }

    #[test]
    fn nobody_believed_is_a_refusal_with_the_line_that_mends_it() {
        let failure = nobody(&repository(), &["the daemon at /s is served by uid 7 and not believed".to_owned()]);

        assert_eq!(failure.exit().code(), 1);
        assert!(failure.remedy().contains("trustctl pin add r.example.com/team/app --public-key"), "{failure:?}");
        assert!(failure.what().contains("uid 7"), "{failure:?}");
    }

    #[test]
    fn the_user_the_host_names_is_found_by_name_or_number() {
        let directory = tempfile::tempdir().unwrap();
        let passwd = directory.path().join("passwd");
        std::fs::write(&passwd, "root:x:0:0::/root:/bin/sh\ntrustd:x:991:991::/:/bin/false\n").unwrap();

        assert_eq!(uid_of("trustd", &passwd), Some(991));
        assert_eq!(uid_of("42", &passwd), Some(42));
        assert_eq!(uid_of("trust", &passwd), None);
    }
}
