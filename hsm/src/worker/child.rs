//! The worker process itself.

use std::ffi::OsStr;
use std::io;
use std::os::fd::AsFd as _;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use trust::KeyId;
use zeroize::Zeroizing;

use super::descriptor::Receiver;
use super::message::{Answer, Ask, Bytes, Control, ControlAnswer, Hello, Kept, PROTOCOL, Post};
use super::reach::Reach;
use super::{frame, sandbox};
use crate::pkcs11::MODULE_STACK_BYTES;
use crate::{
    Custodian, CustodyError, DestroyOrder, FoundToken, Generated, ImportOrder, KekState, KeyRing as _, Offer, OfferId,
    Passphrase, Pin, Pkcs11Custodian, Removed, RewrapOrder, RootSource, Session, SigningOrder, SoftwareCustodian,
    TokenPlace, TokenTrouble, Unsealed,
};

/// The most session threads, far more than the daemon opens: dead sessions may not have been noticed yet.
const SESSIONS_MAX: usize = 1024;
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
    let custodian = stand(&hello, &mut control, &mut outgoing)?;
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
fn stand(hello: &Hello<'_>, control: &mut Receiver, outgoing: &mut Vec<u8>) -> io::Result<Keeper> {
    match &hello.post {
        Post::Ring { ring, root_file, reopen, opened_keys_max } => {
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
            sandbox::confine_module(&module, &paths(readable), &paths(writable), &reach)?;
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

/// The places of session threads that are taken.
#[derive(Clone, Default)]
struct Places(Arc<AtomicUsize>);

/// One of them, given back when it is dropped: also by a thread that panics.
struct Place(Places);

impl Places {
    fn take(&self) -> Result<Place, CustodyError> {
        let more = |taken: usize| (taken < SESSIONS_MAX).then(|| taken.saturating_add(1));
        match self.0.fetch_update(Ordering::AcqRel, Ordering::Acquire, more) {
            Ok(_) => Ok(Place(self.clone())),
            Err(_) => Err(CustodyError::unavailable("too many custody sessions")),
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.0.fetch_sub(1, Ordering::AcqRel);
    }
}

/// Answers one session's frames until its stream ends. What was not done because of `trouble` is answered by that;
/// what another session's trouble did not reach is answered as it came out.
pub(super) fn serve_session(
    mut session: Box<dyn Session>,
    mut stream: UnixStream,
    trouble: impl Fn() -> Option<TokenTrouble>,
) -> io::Result<()> {
    let (mut incoming, mut outgoing) = (Vec::new(), Vec::new());
    while frame::read(&mut stream, &mut incoming)? {
        let ask = postcard::from_bytes(&incoming).map_err(|_| garbage())?;
        answer(&mut *session, &ask, &mut outgoing)?;
        if let Some(trouble) = trouble()
            && was_not_done(&outgoing)
        {
            frame::encode(&Answer::Sick(trouble), &mut outgoing)?;
        }
        frame::write(&mut stream, &outgoing)?;
    }
    Ok(())
}

/// Whether a frame answers that custody was not there, for all that was asked.
fn was_not_done(answer: &[u8]) -> bool {
    let unavailable = |error: &CustodyError| matches!(error, CustodyError::Unavailable { .. });
    match answer.split_first_chunk::<4>().and_then(|(_, answer)| postcard::from_bytes(answer).ok()) {
        Some(Answer::Failed(error)) => unavailable(&error),
        Some(Answer::Signed(orders)) => orders.iter().all(|order| match order {
            Ok(signed) => signed.iter().all(|one| one.as_ref().is_err_and(unavailable)),
            Err(error) => unavailable(error),
        }),
        Some(_) | None => false,
    }
}

/// Does what is asked and leaves the answer's frame in `outgoing`.
fn answer(session: &mut dyn Session, ask: &Ask<'_>, outgoing: &mut Vec<u8>) -> io::Result<()> {
    match ask {
        Ask::Generate(context) => made(session.generate(&context.read().map_err(|_| garbage())?), outgoing),
        Ask::Import { context, offer, info, envelope } => {
            let order = ImportOrder {
                context: context.read().map_err(|_| garbage())?,
                offer: OfferId::from_bytes(*offer),
                info: info.0.to_vec(),
                envelope: envelope.0.to_vec(),
            };
            made(session.import(&order), outgoing)
        }
        Ask::Sign(orders) => {
            let orders = orders.iter().map(super::message::Order::read).collect::<Result<Vec<SigningOrder>, _>>();
            // The daemon looks at the deadline; here time would only be counted twice.
            let signed = session.sign(&orders.map_err(|_| garbage())?, Duration::MAX);
            let bytes = signed.iter().map(|order| match order {
                Ok(signatures) => Ok(signatures
                    .iter()
                    .map(|signature| signature.as_ref().map(|bytes| Bytes(bytes.as_bytes())).map_err(Clone::clone))
                    .collect()),
                Err(error) => Err(error.clone()),
            });
            frame::encode(&Answer::Signed(bytes.collect()), outgoing)
        }
        Ask::Rewrap(records) => {
            let orders = records.iter().map(super::message::Record::read).collect::<Result<Vec<RewrapOrder>, _>>();
            let rewrapped = session.rewrap(&orders.map_err(|_| garbage())?);
            let kept = rewrapped.iter().map(|record| record.as_ref().map(Kept::from).map_err(Clone::clone));
            frame::encode(&Answer::Rewrapped(kept.collect()), outgoing)
        }
        Ask::Offer => match session.offer() {
            Ok(Offer { id, public_key }) => {
                frame::encode(&Answer::Offered { id: *id.as_bytes(), public_key }, outgoing)
            }
            Err(error) => frame::encode(&Answer::Failed(error), outgoing),
        },
        Ask::Destroy(record) => {
            let RewrapOrder { context, spki_sha256, material } = record.read().map_err(|_| garbage())?;
            match session.destroy(&DestroyOrder { context, spki_sha256, material }) {
                Ok(removed) => frame::encode(&Answer::Destroyed { were_there: removed == Removed::Deleted }, outgoing),
                Err(error) => frame::encode(&Answer::Failed(error), outgoing),
            }
        }
        Ask::Objects => match session.objects() {
            Ok(listed) => {
                let objects = listed.objects.iter().map(Into::into).collect();
                frame::encode(&Answer::Objects { objects, is_whole: listed.is_whole }, outgoing)
            }
            Err(error) => frame::encode(&Answer::Failed(error), outgoing),
        },
        Ask::Forget(id) => match session.forget(KeyId::from_bytes(*id)) {
            Ok(()) => frame::encode(&Answer::Forgotten, outgoing),
            Err(error) => frame::encode(&Answer::Failed(error), outgoing),
        },
    }
}

fn made(made: Result<Generated, CustodyError>, outgoing: &mut Vec<u8>) -> io::Result<()> {
    match made {
        Ok(generated) => {
            let (spki, material) = (Bytes(generated.public_key.spki_der()), Kept::from(&generated.material));
            frame::encode(&Answer::Generated { spki, material }, outgoing)
        }
        Err(error) => frame::encode(&Answer::Failed(error), outgoing),
    }
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

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;
    use crate::{Material, SealContext, SignedOrder, TokenObjects};

    /// A session that is one answer, or a panic where it has none.
    struct Scripted(Option<CustodyError>);

    impl Session for Scripted {
        fn generate(&mut self, _: &SealContext) -> Result<Generated, CustodyError> {
            Err(self.0.clone().unwrap())
        }

        fn offer(&mut self) -> Result<Offer, CustodyError> {
            Err(self.0.clone().unwrap())
        }

        fn import(&mut self, _: &ImportOrder) -> Result<Generated, CustodyError> {
            Err(self.0.clone().unwrap())
        }

        fn sign(&mut self, _: &[SigningOrder], _: Duration) -> Vec<SignedOrder> {
            Vec::new()
        }

        fn rewrap(&mut self, _: &[RewrapOrder]) -> Vec<Result<Material, CustodyError>> {
            Vec::new()
        }

        fn destroy(&mut self, _: &DestroyOrder) -> Result<Removed, CustodyError> {
            Err(self.0.clone().unwrap())
        }

        fn objects(&mut self) -> Result<TokenObjects, CustodyError> {
            Err(self.0.clone().unwrap())
        }

        fn forget(&mut self, _: KeyId) -> Result<(), CustodyError> {
            self.0.clone().map_or(Ok(()), Err)
        }
    }

    fn asked(answer: Option<CustodyError>) -> Vec<u8> {
        let (mut ours, theirs) = UnixStream::pair().unwrap();
        let mut frame = Vec::new();
        frame::encode(&Ask::Forget([1; 16]), &mut frame).unwrap();
        ours.write_all(&frame).unwrap();
        ours.shutdown(std::net::Shutdown::Write).unwrap();
        serve_session(Box::new(Scripted(answer)), theirs, || Some(TokenTrouble::PinWrong)).unwrap();
        assert!(frame::read(&mut ours, &mut frame).unwrap());
        frame
    }

    #[test]
    fn an_answer_that_was_found_is_not_replaced_by_the_trouble_of_another_session() {
        let done = asked(None);
        let refused = asked(Some(CustodyError::refused("by itself")));
        let lost = asked(Some(CustodyError::unavailable("no token")));

        assert!(matches!(postcard::from_bytes(&done), Ok(Answer::Forgotten)));
        assert!(matches!(postcard::from_bytes(&refused), Ok(Answer::Failed(CustodyError::Refused { .. }))));
        assert!(matches!(postcard::from_bytes(&lost), Ok(Answer::Sick(TokenTrouble::PinWrong))));
    }

    #[test]
    fn a_signature_that_was_made_is_worth_more_than_the_trouble_beside_it() {
        let framed = |orders| {
            let mut frame = Vec::new();
            frame::encode(&Answer::Signed(orders), &mut frame).unwrap();
            frame
        };
        let lost = || Err(CustodyError::unavailable("no token"));

        assert!(!was_not_done(&framed(vec![Ok(vec![Ok(Bytes(&[1])), lost()])])));
        assert!(!was_not_done(&framed(vec![Err(CustodyError::refused("by itself"))])));
        assert!(was_not_done(&framed(vec![Ok(vec![lost(), lost()]), lost().map(|_: Bytes<'_>| Vec::new())])));
    }

    #[test]
    fn a_session_that_panics_gives_its_place_back() {
        let sessions = Places::default();
        let place = sessions.take().unwrap();
        let thread = std::thread::spawn(move || {
            let _place = place;
            panic!("as a session may");
        });

        assert!(thread.join().is_err());

        assert_eq!(sessions.0.load(Ordering::Acquire), 0);
    }
}
