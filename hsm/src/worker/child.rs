//! The worker process itself.

mod session;

use std::ffi::OsStr;
use std::io;
use std::os::fd::AsFd as _;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use zeroize::Zeroizing;

use super::descriptor::Receiver;
use super::message::{Bytes, Control, ControlAnswer, Hello, PROTOCOL, Post, Tune};
use super::reach::Reach;
use super::{frame, sandbox};
use crate::pkcs11::MODULE_STACK_BYTES;
use crate::{
    Custodian, CustodyError, FoundToken, KekState, KeyRing as _, Offer, OfferId, Passphrase, Pin, Pkcs11Custodian,
    RootSource, SoftwareCustodian, TokenPlace, Unsealed,
};
use session::Places;

pub(super) use session::serve_session;

/// Room for any control message, so that a secret is read into memory that does not move.
const CONTROL_BYTES: usize = 64 * 1024;
/// Stack of a session thread, in bytes.
const STACK_BYTES: usize = 1024 * 1024;

/// Serves custody over standard input until the daemon closes it: what `trustd custody-worker` does.
///
/// Hardens the process first; a step of that which fails ends it. Returns when the daemon is gone.
#[must_use]
pub fn run() -> ExitCode {
    match serve() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("custody-worker: {error}");
            ExitCode::FAILURE
        }
    }
}

fn serve() -> io::Result<()> {
    sandbox::close_inherited()?;
    let first_to_go = sandbox::FirstToGo::open();
    sandbox::shut_doors()?;
    let stream = UnixStream::from(io::stdin().as_fd().try_clone_to_owned()?);
    // A person who starts this on a terminal reads a sentence instead of a hang.
    stream.peer_addr().map_err(|_| io::Error::other("this is a part of trustd, which starts it itself"))?;
    let mut control = Receiver::new(stream);
    let mut incoming = Zeroizing::new(Vec::with_capacity(CONTROL_BYTES));
    let mut outgoing = Zeroizing::new(Vec::with_capacity(CONTROL_BYTES));
    if !frame::read(&mut control, &mut incoming)? {
        return Ok(());
    }
    let Ok(Control::Hello(hello)) = postcard::from_bytes(&incoming) else { return Err(garbage()) };
    if hello.protocol != PROTOCOL {
        return Err(io::Error::other("the daemon speaks another version of this protocol"));
    }
    sandbox::die_with(hello.parent)?;
    let custodian = stand(&hello, first_to_go, &mut control, &mut outgoing)?;
    frame::write(control.stream(), &outgoing)?;
    wipe(&mut outgoing);

    let sessions = Places::default();
    while frame::read(&mut control, &mut incoming)? {
        let request = postcard::from_bytes(&incoming).map_err(|_| garbage())?;
        answer_control(&custodian, &sessions, &mut control, request, &mut outgoing)?;
        frame::write(control.stream(), &outgoing)?;
        wipe(&mut incoming);
        wipe(&mut outgoing);
    }
    Ok(())
}

/// What this process keeps.
enum Keeper {
    Software(SoftwareCustodian),
    Token(Pkcs11Custodian),
    /// A token that cannot serve: the daemon reads why, and ends this process.
    Nothing,
}

impl Keeper {
    fn custodian(&self) -> Result<&dyn Custodian, CustodyError> {
        match self {
            Self::Software(custodian) => Ok(custodian),
            Self::Token(custodian) => Ok(custodian),
            Self::Nothing => Err(CustodyError::unavailable("the token is not mounted")),
        }
    }
}

/// Closes the last doors, stands before what is kept, and leaves the last word of the welcome in `outgoing`.
fn stand(
    hello: &Hello<'_>,
    first_to_go: sandbox::FirstToGo,
    control: &mut Receiver,
    outgoing: &mut Vec<u8>,
) -> io::Result<Keeper> {
    match &hello.post {
        Post::Ring { ring, root_file, reopen, opened_keys_max } => {
            drop(first_to_go);
            let ring = path(*ring);
            sandbox::confine(&ring, root_file.map(path).as_deref())?;
            let custodian = SoftwareCustodian::new(&ring, usize::try_from(*opened_keys_max).unwrap_or(usize::MAX));
            let reopened = reopen.map(|file| custodian.unseal(RootSource::File { path: path(file) }).map(drop));
            frame::encode(&ControlAnswer::Welcome { protocol: PROTOCOL, reopened }, outgoing)?;
            Ok(Keeper::Software(custodian))
        }
        Post::Token { name, store, module, token, readable, writable, reach } => {
            let module = path(*module);
            let paths = |list: &[Bytes<'_>]| list.iter().map(|bytes| path(*bytes)).collect::<Vec<_>>();
            let reach = Reach {
                connect: reach.connect.clone(),
                unix_sockets: reach.unix_sockets,
                devices: paths(&reach.devices),
            };
            sandbox::confine_module(&module, &paths(readable), &paths(writable), &reach, first_to_go)?;
            let name = name.parse().map_err(|_| garbage())?;
            match FoundToken::find(&TokenPlace { name, store: *store, module, token: token.read() }) {
                Ok(found) => log_in(found, control, outgoing),
                Err(trouble) => {
                    frame::encode(&ControlAnswer::Found { protocol: PROTOCOL, counted: Err(trouble) }, outgoing)?;
                    Ok(Keeper::Nothing)
                }
            }
        }
    }
}

/// Says what the token is like, and waits for the PIN: the daemon notes first that it is about to be shown.
fn log_in(found: FoundToken, control: &mut Receiver, outgoing: &mut Vec<u8>) -> io::Result<Keeper> {
    let counted = Ok(found.has_counted_a_wrong_pin());
    frame::encode(&ControlAnswer::Found { protocol: PROTOCOL, counted }, outgoing)?;
    frame::write(control.stream(), outgoing)?;
    let mut incoming = Zeroizing::new(Vec::with_capacity(CONTROL_BYTES));
    if !frame::read(control, &mut incoming)? {
        return Err(io::Error::other("the daemon does not show this token its PIN"));
    }
    let Ok(Control::LogIn(pin)) = postcard::from_bytes(&incoming) else { return Err(garbage()) };
    let mut copy = Zeroizing::new(pin.0.to_vec());
    let pin = Pin::take(&mut copy).map_err(io::Error::other)?;
    wipe(&mut incoming);
    let logged_in = found.log_in(pin);
    let answer = match &logged_in {
        Ok((custodian, judged)) => Ok((*judged, custodian.facts().into())),
        Err(trouble) => Err(trouble.clone()),
    };
    frame::encode(&ControlAnswer::LoggedIn(answer), outgoing)?;
    Ok(logged_in.map_or(Keeper::Nothing, |(custodian, _)| Keeper::Token(custodian)))
}

/// Does what a control message asks and leaves the answer's frame in `outgoing`.
fn answer_control(
    keeper: &Keeper,
    sessions: &Places,
    control: &mut Receiver,
    request: Control<'_>,
    outgoing: &mut Vec<u8>,
) -> io::Result<()> {
    match (request, keeper) {
        (Control::Attach, _) => {
            let answer = attach(keeper, sessions, control).map(|()| ControlAnswer::Done);
            frame::encode(&answer.unwrap_or_else(ControlAnswer::Failed), outgoing)
        }
        (Control::Examine(plan), Keeper::Token(custodian)) => {
            super::doctor::answer(custodian, &plan, control.stream(), outgoing)
        }
        (Control::Tune(Tune { sessions_max, idle_max_ms }), Keeper::Token(custodian)) => {
            custodian.set_sessions_max(usize::try_from(sessions_max).unwrap_or(usize::MAX));
            custodian.set_session_idle_max(idle_max_ms.map(Duration::from_millis));
            frame::encode(&ControlAnswer::Done, outgoing)
        }
        (Control::Probe, Keeper::Token(custodian)) => {
            frame::encode(&ControlAnswer::Probed(custodian.probe()), outgoing)
        }
        (request, Keeper::Software(custodian)) => answer_ring(custodian, request, outgoing),
        (request, Keeper::Token(custodian)) => answer_token(custodian, request, outgoing),
        (_, Keeper::Nothing) => Err(garbage()),
    }
}

/// What a token's worker does with root keys; where the token is in trouble, the next probe tells.
fn answer_token(custodian: &Pkcs11Custodian, request: Control<'_>, outgoing: &mut Vec<u8>) -> io::Result<()> {
    let sealed;
    let answer = match request {
        Control::Offer => custodian.offer().map(offered),
        Control::WrapRoot { offer, sealed } => {
            custodian.wrap_offered(OfferId::from_bytes(offer), sealed.0).map(ControlAnswer::Wrapped)
        }
        Control::UnwrapRoot { wrapped, receiver } => match custodian.unwrap_for(&wrapped, &receiver) {
            Ok(bytes) => {
                sealed = bytes;
                Ok(ControlAnswer::Drawn(vec![Bytes(&sealed)]))
            }
            Err(error) => Err(error),
        },
        Control::DestroyWrapKey(wrapped) => custodian.destroy_wrap_key(&wrapped).map(|()| ControlAnswer::Done),
        _ => return Err(garbage()),
    };
    frame::encode(&answer.unwrap_or_else(ControlAnswer::Failed), outgoing)
}

fn offered(offer: Offer) -> ControlAnswer<'static> {
    ControlAnswer::Offered { id: *offer.id.as_bytes(), public_key: offer.public_key }
}

fn answer_ring(custodian: &SoftwareCustodian, request: Control<'_>, outgoing: &mut Vec<u8>) -> io::Result<()> {
    let answer = match request {
        Control::UnsealFile(file) => {
            return unsealed(custodian.unseal(RootSource::File { path: path(file) }), outgoing);
        }
        Control::UnsealPassphrase(bytes) => {
            let mut copy = Zeroizing::new(bytes.0.to_vec());
            let passphrase = Passphrase::take(&mut copy).map_err(|_| garbage())?;
            return unsealed(custodian.unseal(RootSource::Passphrase(passphrase)), outgoing);
        }
        Control::UnsealOffered { offer, sealed } => {
            return unsealed(custodian.unseal_offered(OfferId::from_bytes(offer), sealed.0), outgoing);
        }
        Control::Offer => custodian.offer().map(offered),
        Control::DrawRoot(receivers) => {
            let drawn = custodian.draw_root(&receivers.iter().map(to_receive).collect::<Vec<_>>());
            let sealed = drawn.as_ref().map(|sealed| sealed.iter().map(|sealed| Bytes(sealed)).collect());
            let answer = sealed.map_or_else(|error| ControlAnswer::Failed(error.clone()), ControlAnswer::Drawn);
            return frame::encode(&answer, outgoing);
        }
        Control::ChangeRoot(change) => {
            custodian.change_root(change.read().map_err(|_| garbage())?).map(|()| ControlAnswer::Done)
        }
        Control::Seal => custodian.seal().map(|()| ControlAnswer::Done),
        Control::List => custodian.list().map(|lines| {
            ControlAnswer::List(lines.iter().map(|line| (line.version.number(), state_number(line.state))).collect())
        }),
        Control::BeginRotation => custodian.begin_rotation().map(|version| ControlAnswer::Version(version.number())),
        Control::FinishRotation => custodian.finish_rotation().map(|()| ControlAnswer::Done),
        _ => return Err(garbage()),
    };
    frame::encode(&answer.unwrap_or_else(ControlAnswer::Failed), outgoing)
}

/// The offer behind a public key; what is sealed does not say which one it was.
fn to_receive(public_key: &[u8; 32]) -> Offer {
    Offer { id: OfferId::from_bytes([0; 16]), public_key: *public_key }
}

fn unsealed(unsealed: Result<Unsealed, CustodyError>, outgoing: &mut Vec<u8>) -> io::Result<()> {
    match unsealed {
        Ok(unsealed) => {
            let store_key = Bytes(unsealed.store_key.expose());
            frame::encode(&ControlAnswer::Unsealed { store_key, store: unsealed.store }, outgoing)
        }
        Err(error) => frame::encode(&ControlAnswer::Failed(error), outgoing),
    }
}

/// Starts the thread of a session whose stream came with the message.
fn attach(keeper: &Keeper, sessions: &Places, control: &mut Receiver) -> Result<(), CustodyError> {
    let stream =
        control.descriptor().map(UnixStream::from).ok_or(CustodyError::failed("receive a session's descriptor"))?;
    let place = sessions.take()?;
    let session = keeper.custodian()?.open()?;
    let (token, stack) = match keeper {
        Keeper::Token(custodian) => (Some(custodian.clone()), MODULE_STACK_BYTES),
        Keeper::Software(_) | Keeper::Nothing => (None, STACK_BYTES),
    };
    let trouble = move || token.as_ref().and_then(Pkcs11Custodian::trouble);
    let thread = std::thread::Builder::new().name("custody-session".to_owned()).stack_size(stack);
    let started = thread.spawn(move || {
        if let Err(error) = serve_session(session, stream, trouble) {
            eprintln!("custody-worker: a session ends: {error}");
        }
        drop(place);
    });
    started.map(drop).map_err(|error| CustodyError::unavailable(format!("start a session's thread: {error}")))
}

fn path(bytes: Bytes<'_>) -> std::path::PathBuf {
    Path::new(OsStr::from_bytes(bytes.0)).to_owned()
}

fn state_number(state: KekState) -> u8 {
    match state {
        KekState::Current => 0,
        KekState::Readable => 1,
        KekState::Destroyed => 2,
    }
}

/// Overwrites what a frame held and keeps the memory.
fn wipe(buffer: &mut Vec<u8>) {
    buffer.fill(0);
    std::hint::black_box(&mut *buffer);
}

fn garbage() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "a message that is none of this protocol")
}
