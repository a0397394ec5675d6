//! Starting one worker: the process, the greeting, and what it says of itself.

use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rustix::process::{Pid, PidfdFlags, pidfd_open};

use super::TokenConfig;
use super::exchange::converse;
use super::launch::Launch;
use super::live::Live;
use super::message::{Bytes, Control, ControlAnswer, Hello, PROTOCOL, Post, Reach, bytes};
use super::pin::{Counted, PinKeeper};
use super::supervisor::{Keeps, START_PATIENCE, Shared, lock};
use super::words;
use crate::{CustodyError, Judged, Pin, TokenFacts, TokenTrouble};

/// What a worker with a module in it has to start besides its first calls into the module.
const LOAD_PATIENCE: Duration = Duration::from_secs(1);

/// Why there is no worker.
pub(super) enum NoStart {
    /// The program cannot be started, or what was started does not speak as it should.
    Program(CustodyError),
    /// It runs, and its token does not serve; or it was not even started, because its PIN is known to be wrong.
    Token(TokenTrouble),
}

impl From<NoStart> for CustodyError {
    fn from(error: NoStart) -> Self {
        match error {
            NoStart::Program(error) => error,
            NoStart::Token(trouble) => trouble.into(),
        }
    }
}

/// Starts a worker, greets it and makes it the current one.
pub(super) fn start(shared: &Shared) -> Result<(Child, Arc<Live>), NoStart> {
    let launch = &shared.launch;
    let place = launch.program.display();
    let failed = |error: io::Error| {
        NoStart::Program(CustodyError::unavailable(format!("start the custody worker {place}: {error}")))
    };
    // Before anything is started: without a PIN that may be tried there is nothing to start.
    let pin = match &shared.keeps {
        Keeps::Ring { .. } => None,
        Keeps::Token { pin, .. } => Some(lock(pin).hand_out().map_err(NoStart::Token)?),
    };
    let (mut child, mut ours) = self::launch(launch, shared.name()).map_err(failed)?;
    let greeted = greet(shared, &mut ours, &child, pin.as_ref());
    drop(pin);
    let refused = match greeted {
        Ok((handle, Welcome::Ring(reopened))) => Ok((handle, reopened)),
        Ok((handle, Welcome::Token(Ok(())))) => Ok((handle, None)),
        Ok((_, Welcome::Token(Err(trouble)))) => Err(NoStart::Token(trouble)),
        Err(error) => Err(failed(error)),
    };
    let (handle, reopened) = match refused {
        Ok(greeted) => greeted,
        Err(error) => {
            let _ = child.kill(); // it may have ended already
            let _ = child.wait();
            return Err(error);
        }
    };
    // Told before anybody has a session in it. One that does not answer is found out by its first caller.
    if let Keeps::Token { .. } = &shared.keeps {
        let _ = converse(&mut ours, &Control::Tune(launch.tune()), launch.hang_after(), || false);
    }
    let live = shared.enter(Live::new(child.id(), handle, ours), reopened);
    tracing::info!(custodian = shared.name(), pid = live.pid, "custody worker started");
    Ok((child, live))
}

/// Starts the program, which waits for its first message over the stream.
pub(super) fn launch(launch: &Launch, custodian: &str) -> io::Result<(Child, UnixStream)> {
    let (ours, theirs) = UnixStream::pair()?;
    // The control connection is the worker's standard input, sessions come over it as descriptors:
    // nothing else is inherited, and no descriptor is ever open for another child to catch.
    let mut child = Command::new(&launch.program)
        .args(&launch.arguments)
        .env_clear()
        .envs(launch.environment.iter().map(|(name, value)| (name, value)))
        .current_dir("/")
        // What is sent to the daemon's whole group (Ctrl-C) is for the daemon: it still needs the worker to drain.
        .process_group(0)
        .stdin(Stdio::from(OwnedFd::from(theirs)))
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()?;
    if let Err(error) = words::relay(&mut child, custodian.to_owned()) {
        let _ = child.kill(); // it may have ended already
        let _ = child.wait();
        return Err(error);
    }
    Ok((child, ours))
}

/// What a worker that has just started says.
enum Welcome {
    /// Whether it opened the ring by itself.
    Ring(Option<Result<(), CustodyError>>),
    /// Whether its token serves.
    Token(Result<(), TokenTrouble>),
}

fn greet(
    shared: &Shared,
    control: &mut UnixStream,
    child: &Child,
    pin: Option<&Pin>,
) -> io::Result<(OwnedFd, Welcome)> {
    let pid = i32::try_from(child.id()).ok().and_then(Pid::from_raw).ok_or(io::ErrorKind::InvalidData)?;
    let handle = pidfd_open(pid, PidfdFlags::empty())?;
    let hang_after = shared.launch.hang_after();
    let parent = i32::try_from(std::process::id()).unwrap_or(0);
    let say = |post| Control::Hello(Hello { protocol: PROTOCOL, parent, post });
    let welcome = match (&shared.keeps, pin) {
        (Keeps::Ring { ring, root_file, opened_keys_max }, _) => {
            let reopen = shared.reopen();
            let post = Post::Ring {
                ring: bytes(ring),
                // The root key may have moved into another file since the start.
                root_file: reopen.as_deref().or(root_file.as_deref()).map(bytes),
                reopen: reopen.as_deref().map(bytes),
                opened_keys_max: u32::try_from(*opened_keys_max).unwrap_or(u32::MAX),
            };
            let answer = converse(control, &say(post), START_PATIENCE.saturating_add(hang_after), || false)?;
            match postcard::from_bytes(&answer) {
                Ok(ControlAnswer::Welcome { protocol: PROTOCOL, reopened }) => Welcome::Ring(reopened),
                other => return Err(no_welcome(other)),
            }
        }
        (Keeps::Token { pin: keeper, .. }, Some(pin)) => Welcome::Token(match introduce(shared, control)? {
            Ok(counted) => log_in(keeper, control, pin, counted, hang_after)?.map(|facts| shared.say(facts)),
            Err(trouble) => Err(trouble),
        }),
        (Keeps::Token { .. }, None) => return Err(io::Error::other("there is no PIN")),
    };
    Ok((handle, welcome))
}

/// Tells a process that has just started which token it is to find; comes back with whether that has counted a wrong PIN.
pub(super) fn introduce(shared: &Shared, control: &mut UnixStream) -> io::Result<Result<bool, TokenTrouble>> {
    let Keeps::Token { config, .. } = &shared.keeps else { return Err(io::Error::other("there is no token")) };
    let parent = i32::try_from(std::process::id()).unwrap_or(0);
    let patience = LOAD_PATIENCE.saturating_add(shared.launch.hang_after());
    let hello = Control::Hello(Hello { protocol: PROTOCOL, parent, post: post_of(config) });
    let answer = converse(control, &hello, patience, || false)?;
    match postcard::from_bytes(&answer) {
        Ok(ControlAnswer::Found { protocol: PROTOCOL, counted }) => Ok(counted),
        other => Err(no_welcome(other)),
    }
}

/// Has a process that found its token show it the PIN.
pub(super) fn show(
    control: &mut UnixStream,
    pin: &Pin,
    patience: Duration,
) -> io::Result<Result<(Judged, TokenFacts), TokenTrouble>> {
    let answer = pin.with(|pin| converse(control, &Control::LogIn(Bytes(pin)), patience, || false))?;
    match postcard::from_bytes(&answer) {
        Ok(ControlAnswer::LoggedIn(logged_in)) => Ok(logged_in.map(|(judged, facts)| (judged, facts.read()))),
        other => Err(no_welcome(other)),
    }
}

/// Notes what is known of a PIN before it is shown and after.
fn log_in(
    keeper: &Mutex<PinKeeper>,
    control: &mut UnixStream,
    pin: &Pin,
    counted: bool,
    patience: Duration,
) -> io::Result<Result<TokenFacts, TokenTrouble>> {
    if let Err(trouble) = lock(keeper).show(if counted { Counted::Some } else { Counted::None }) {
        return Ok(Err(trouble));
    }
    // Where this fails, what was noted stays: the PIN was shown, and nobody knows what the token said.
    let logged_in = show(control, pin, patience)?;
    lock(keeper).heard(logged_in.as_ref().map(|(judged, _)| *judged));
    Ok(logged_in.map(|(_, facts)| facts))
}

fn no_welcome(answer: Result<ControlAnswer<'_>, postcard::Error>) -> io::Error {
    match answer {
        Ok(ControlAnswer::Failed(error)) => io::Error::other(error),
        Ok(_) | Err(_) => io::Error::new(io::ErrorKind::InvalidData, "it does not speak our protocol version"),
    }
}

fn post_of(config: &TokenConfig) -> Post<'_> {
    let mut readable = paths(&config.readable);
    // What the environment names is the module's own configuration.
    let named = config.environment.iter().map(|(_, value)| Path::new(value));
    readable.extend(named.filter(|value| value.is_absolute()).map(bytes));
    Post::Token {
        name: config.place.name.as_str(),
        store: config.place.store,
        module: bytes(&config.place.module),
        token: (&config.place.token).into(),
        readable,
        writable: paths(&config.writable),
        reach: Reach {
            connect: config.connect.clone(),
            unix_sockets: !config.sockets.is_empty(),
            devices: paths(&config.devices),
        },
    }
}

fn paths(list: &[PathBuf]) -> Vec<Bytes<'_>> {
    list.iter().map(|path| bytes(path)).collect()
}
