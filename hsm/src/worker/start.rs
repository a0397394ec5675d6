//! Starting one worker: the process, the greeting, and what it says of itself.

use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use rustix::process::{Pid, PidfdFlags, pidfd_open};
use zeroize::Zeroizing;

use super::message::{Bytes, Control, ControlAnswer, Hello, PROTOCOL, Post, Reach};
use super::session::{exchange, limit};
use super::supervisor::{Keeps, Launch, Live, START_PATIENCE, Shared, bytes};
use super::{TokenConfig, frame};
use crate::{CustodyError, Pin, TokenTrouble};

/// Room for any control message, so that a passphrase is written into memory that does not move.
const CONTROL_BYTES: usize = 64 * 1024;
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
        Keeps::Token { pin, .. } => {
            let handed_out = pin.lock().unwrap_or_else(PoisonError::into_inner).hand_out();
            Some(handed_out.map_err(NoStart::Token)?)
        }
    };
    let (mut child, mut ours) = self::launch(launch).map_err(failed)?;
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
    let live = shared.enter(Live::new(child.id(), handle, ours), reopened);
    tracing::info!(pid = live.pid, "custody worker started");
    Ok((child, live))
}

/// Starts the program, which waits for its first message over the stream.
pub(super) fn launch(launch: &Launch) -> io::Result<(Child, UnixStream)> {
    let (ours, theirs) = UnixStream::pair()?;
    // The control connection is the worker's standard input, sessions come over it as descriptors:
    // nothing else is inherited, and no descriptor is ever open for another child to catch.
    let child = Command::new(&launch.program)
        .args(&launch.arguments)
        .env_clear()
        .envs(launch.environment.iter().map(|(name, path)| (name, path)))
        .current_dir("/")
        // What is sent to the daemon's whole group (Ctrl-C) is for the daemon: it still needs the worker to drain.
        .process_group(0)
        .stdin(Stdio::from(OwnedFd::from(theirs)))
        .stdout(Stdio::null())
        .spawn()?;
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
    let hang_after = shared.launch.hang_after;
    let parent = i32::try_from(std::process::id()).unwrap_or(0);
    let answer = match (&shared.keeps, pin) {
        (Keeps::Ring { ring, root_file, opened_keys_max }, _) => {
            let reopen = shared.reopen();
            let post = Post::Ring {
                ring: bytes(ring),
                // The root key may have moved into another file since the start.
                root_file: reopen.as_deref().or(root_file.as_deref()).map(bytes),
                reopen: reopen.as_deref().map(bytes),
                opened_keys_max: u32::try_from(*opened_keys_max).unwrap_or(u32::MAX),
            };
            let hello = Control::Hello(Hello { protocol: PROTOCOL, parent, post });
            converse(control, &hello, START_PATIENCE.saturating_add(hang_after))?
        }
        (Keeps::Token { .. }, Some(pin)) => introduce(shared, control, pin)?,
        (Keeps::Token { .. }, None) => return Err(io::Error::other("there is no PIN")),
    };
    let welcome = match postcard::from_bytes(&answer) {
        Ok(ControlAnswer::Welcome { protocol: PROTOCOL, reopened }) if !shared.is_token() => Welcome::Ring(reopened),
        Ok(ControlAnswer::Mounted { protocol: PROTOCOL, mounted }) if shared.is_token() => {
            let mounted = mounted.map(|facts| facts.read());
            shared.note_login(&mounted);
            Welcome::Token(mounted.map(drop))
        }
        Ok(ControlAnswer::Failed(error)) => return Err(io::Error::other(error)),
        Ok(_) | Err(_) => {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "it does not speak our protocol version"));
        }
    };
    Ok((handle, welcome))
}

/// Tells a process that has just started which token it is to open, and waits for what it says.
pub(super) fn introduce(shared: &Shared, control: &mut UnixStream, pin: &Pin) -> io::Result<Zeroizing<Vec<u8>>> {
    let Keeps::Token { config, .. } = &shared.keeps else { return Err(io::Error::other("there is no token")) };
    let parent = i32::try_from(std::process::id()).unwrap_or(0);
    let patience = LOAD_PATIENCE.saturating_add(shared.launch.hang_after);
    pin.with(|pin| {
        let post = post_of(config, pin);
        converse(control, &Control::Hello(Hello { protocol: PROTOCOL, parent, post }), patience)
    })
}

fn post_of<'a>(config: &'a TokenConfig, pin: &'a [u8]) -> Post<'a> {
    let paths = |list: &'a [PathBuf]| list.iter().map(|path| bytes(path)).collect::<Vec<_>>();
    let mut readable = paths(&config.readable);
    // What the environment names is the module's own configuration.
    readable.extend(config.environment.iter().map(|(_, path)| bytes(path)));
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
        pin: Bytes(pin),
    }
}

pub(super) fn converse(
    control: &mut UnixStream,
    request: &Control<'_>,
    patience: Duration,
) -> io::Result<Zeroizing<Vec<u8>>> {
    let mut outgoing = Zeroizing::new(Vec::with_capacity(CONTROL_BYTES));
    let mut incoming = Zeroizing::new(Vec::with_capacity(CONTROL_BYTES));
    frame::encode(request, &mut outgoing)?;
    limit(control, patience)?;
    exchange(control, &outgoing, &mut incoming)?;
    Ok(incoming)
}
