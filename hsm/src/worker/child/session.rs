//! One session in the worker process: a thread, a stream, and whatever keeps the keys.

use std::io;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use trust::{KeyId, Sha256Digest};

use super::garbage;
use crate::worker::frame;
use crate::worker::message::{Answer, Ask, Bytes, Kept, Order, Record};
use crate::{
    AdoptOrder, CustodyError, DestroyOrder, Generated, ImportOrder, Offer, OfferId, Removed, RewrapOrder, Session,
    SigningOrder, TokenTrouble,
};

/// The most session threads, far more than the daemon opens: dead sessions may not have been noticed yet.
const SESSIONS_MAX: usize = 1024;

/// The places of session threads that are taken.
#[derive(Clone, Default)]
pub(super) struct Places(Arc<AtomicUsize>);

/// One of them, given back when it is dropped: also by a thread that panics.
pub(super) struct Place(Places);

impl Places {
    pub(super) fn take(&self) -> Result<Place, CustodyError> {
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
pub(in crate::worker) fn serve_session(
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
        Ask::Adopt { context, id, spki_sha256, may_do_more } => {
            let order = AdoptOrder {
                context: context.read().map_err(|_| garbage())?,
                id: id.0.to_vec(),
                spki_sha256: spki_sha256.map(Sha256Digest::from_bytes),
                may_do_more: *may_do_more,
            };
            made(session.adopt(&order), outgoing)
        }
        Ask::Sign(orders) => {
            let orders = orders.iter().map(Order::read).collect::<Result<Vec<SigningOrder>, _>>();
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
            let orders = records.iter().map(Record::read).collect::<Result<Vec<RewrapOrder>, _>>();
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

        fn adopt(&mut self, _: &AdoptOrder) -> Result<Generated, CustodyError> {
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
