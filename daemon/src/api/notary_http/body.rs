//! Bodies that are being received, and what is read of them: all together have a bound, and each holds of it what it has
//! sent, and what it says.
//!
//! What is only announced holds nothing: whoever announces much and sends little keeps nobody out. Nor does whoever sends much
//! and does not end: one address holds at most half of it, and all whom the policy would let publish nothing hold a
//! quarter together.

use std::net::IpAddr;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt as _;
use hyper::body::Body;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::pool::{Held, Pool};
use super::refusal::NotServed;

/// How many of the longest bodies may be held at once.
const BODIES_MAX: usize = 4;
/// How many of these one address may have.
const OF_ONE_ADDRESS_MAX: usize = 2;
/// How many of these all strangers may have.
const OF_STRANGERS_MAX: usize = 1;
/// Bodies are counted in units of so many bytes.
const UNIT_BYTES: usize = 1024;

/// How many values of JSON the files of one body may hold together: parsed, each takes up to some 300 bytes.
pub(super) const VALUES_MAX: u32 = 256 * 1024;

/// Those of one door. Cheap to clone.
#[derive(Debug, Clone)]
pub(super) struct Bodies {
    bytes_max: usize,
    /// What none of them holds, in units.
    units: Arc<Room>,
    /// How many values more may be read of them.
    values: Arc<Room>,
    /// Places for long ones that are being read.
    readers: Arc<Semaphore>,
}

/// Whose body it is.
#[derive(Debug, Clone, Copy)]
pub(super) struct Sender {
    /// Where it comes from.
    pub(super) address: IpAddr,
    /// How much room there is for it.
    pub(super) standing: Standing,
}

/// Whether the policy would let somebody publish something.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Standing {
    /// Nothing, for all that can be said before it is sent.
    Stranger,
    /// Something.
    Publisher,
}

/// What all bodies share of one thing.
#[derive(Debug)]
struct Room {
    all: Pool,
    strangers: Arc<Semaphore>,
}

impl Room {
    /// For a few bodies that have `each_max` each.
    fn new(each_max: usize) -> Self {
        let [all, address, strangers] =
            [BODIES_MAX, OF_ONE_ADDRESS_MAX, OF_STRANGERS_MAX].map(|bodies| each_max.saturating_mul(bodies));
        Self { all: Pool::new(all, address), strangers: Arc::new(Semaphore::new(strangers)) }
    }

    /// Holds nothing yet.
    fn open(&self, sender: Sender) -> Result<Held, NotServed> {
        let held = self.all.open(sender.address);
        let held = match sender.standing {
            Standing::Publisher => held,
            Standing::Stranger => held.and_then(|held| held.within(&self.strangers)),
        };
        held.ok_or(NotServed::Busy)
    }
}

impl Bodies {
    /// With room for a few that have `bytes_max` each.
    pub(super) fn new(bytes_max: usize) -> Self {
        let values = usize::try_from(VALUES_MAX).unwrap_or(usize::MAX);
        let [units, values] = [bytes_max.div_ceil(UNIT_BYTES), values].map(|each| Arc::new(Room::new(each)));
        Self { bytes_max, units, values, readers: Arc::new(Semaphore::new(BODIES_MAX)) }
    }

    /// A place to read a long one, which takes memory before anybody knows how much; waits for it.
    ///
    /// # Errors
    /// None in practice: the places are never closed.
    pub(super) async fn reader(&self) -> Result<OwnedSemaphorePermit, NotServed> {
        Arc::clone(&self.readers).acquire_owned().await.map_err(|_| NotServed::Internal)
    }

    /// A place for so many values that were read.
    ///
    /// # Errors
    /// [`NotServed::Busy`] where those of others leave no room for them.
    pub(super) fn hold_values(&self, values: u32, sender: Sender) -> Result<Held, NotServed> {
        let mut held = self.values.open(sender)?;
        let values = usize::try_from(values).map_err(|_| NotServed::TooLong)?;
        held.grow_to(values).ok_or(NotServed::Busy)?;
        Ok(held)
    }

    /// A whole body, and its place among those that are held.
    ///
    /// # Errors
    /// [`NotServed::TooLong`] of a body that is, or is going to be; [`NotServed::Busy`] where the others leave no room
    /// for the next bytes; [`NotServed::MalformedUpload`] where it breaks off.
    pub(super) async fn receive(
        &self,
        mut body: impl Body<Data = Bytes> + Unpin,
        sender: Sender,
    ) -> Result<(Bytes, Held), NotServed> {
        let announced = body.size_hint().lower();
        if usize::try_from(announced).map_or(true, |length| length > self.bytes_max) {
            return Err(NotServed::TooLong);
        }
        let mut held = self.units.open(sender)?;
        let mut whole = BytesMut::new();
        while let Some(frame) = body.frame().await {
            let Ok(frame) = frame else { return Err(NotServed::MalformedUpload) };
            let Some(data) = frame.data_ref() else { continue };
            let length = whole.len().saturating_add(data.len());
            if length > self.bytes_max {
                return Err(NotServed::TooLong);
            }
            held.grow_to(length.div_ceil(UNIT_BYTES)).ok_or(NotServed::Busy)?;
            whole.extend_from_slice(data);
        }
        Ok((whole.freeze(), held))
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;
    use std::pin::Pin;
    use std::task::{Context, Poll};

    use hyper::body::{Frame, SizeHint};
    use tokio::sync::mpsc;

    use super::*;

    const LONGEST: usize = 8 * UNIT_BYTES;

    /// Somebody with an address of their own.
    fn publisher(last: u8) -> Sender {
        Sender { address: [192, 0, 2, last].into(), standing: Standing::Publisher }
    }

    fn stranger(last: u8) -> Sender {
        Sender { standing: Standing::Stranger, ..publisher(last) }
    }

    /// A body that comes as it is sent, of an announced length or chunked.
    struct Dripping {
        announced: Option<u64>,
        sent: mpsc::Receiver<Bytes>,
    }

    impl Body for Dripping {
        type Data = Bytes;
        type Error = Infallible;

        fn poll_frame(
            mut self: Pin<&mut Self>,
            context: &mut Context<'_>,
        ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
            self.sent.poll_recv(context).map(|data| data.map(|data| Ok(Frame::data(data))))
        }

        fn size_hint(&self) -> SizeHint {
            self.announced.map(SizeHint::with_exact).unwrap_or_default()
        }
    }

    fn dripping(announced: Option<usize>) -> (mpsc::Sender<Bytes>, Dripping) {
        let (sender, sent) = mpsc::channel(8);
        (sender, Dripping { announced: announced.map(|length| u64::try_from(length).unwrap()), sent })
    }

    /// A body that is there at once.
    async fn sent(bodies: &Bodies, length: usize, sender: Sender) -> Result<(Bytes, Held), NotServed> {
        let (sending, body) = dripping(Some(length));
        sending.send(vec![7; length].into()).await.unwrap();
        drop(sending);
        bodies.receive(body, sender).await
    }

    fn is_busy<T>(ended: &Result<T, NotServed>) -> bool {
        matches!(ended, Err(NotServed::Busy))
    }

    #[tokio::test]
    async fn those_who_announce_much_and_send_little_keep_nobody_out() {
        let bodies = Arc::new(Bodies::new(LONGEST));
        let mut slow = Vec::new();
        for announced in [Some(LONGEST), None].into_iter().cycle().take(2 * BODIES_MAX) {
            let (sender, body) = dripping(announced);
            sender.send(Bytes::from_static(b"a")).await.unwrap();
            let bodies = Arc::clone(&bodies);
            let task = tokio::spawn(async move { bodies.receive(body, publisher(1)).await });
            // It has taken what was sent, and waits for more.
            while sender.capacity() < sender.max_capacity() && !task.is_finished() {
                tokio::task::yield_now().await;
            }
            slow.push((sender, task));
        }

        let (whole, held) = sent(&bodies, LONGEST, publisher(1)).await.unwrap();
        assert_eq!(whole.len(), LONGEST);
        drop(held);

        for (sender, task) in slow {
            drop(sender);
            assert_eq!(task.await.unwrap().unwrap().0.len(), 1);
        }
    }

    #[tokio::test]
    async fn all_together_hold_no_more_than_the_bound() {
        let bodies = Bodies::new(LONGEST);
        let mut held = Vec::new();
        for last in [1, 1, 2, 2] {
            held.push(sent(&bodies, LONGEST, publisher(last)).await.unwrap());
        }

        assert_eq!((held.len(), bodies.units.all.free()), (BODIES_MAX, 0));
        assert!(is_busy(&sent(&bodies, 1, publisher(3)).await));
        held.pop();
        assert!(sent(&bodies, LONGEST, publisher(3)).await.is_ok());
    }

    #[tokio::test]
    async fn one_address_and_all_strangers_leave_room_for_others() {
        let bodies = Bodies::new(LONGEST);
        let one = [sent(&bodies, LONGEST, publisher(1)).await, sent(&bodies, LONGEST, publisher(1)).await];
        assert!(one.iter().all(Result::is_ok) && is_busy(&sent(&bodies, 1, publisher(1)).await));
        let all = sent(&bodies, LONGEST, stranger(2)).await;
        assert!(all.is_ok() && is_busy(&sent(&bodies, 1, stranger(3)).await));

        assert!(sent(&bodies, LONGEST, publisher(2)).await.is_ok());
        drop(all);
        assert!(sent(&bodies, LONGEST, stranger(3)).await.is_ok());
    }

    #[test]
    fn what_is_read_of_all_together_has_a_bound() {
        let bodies = Bodies::new(LONGEST);
        let mut held: Vec<_> = [1, 1, 2, 2].map(|last| bodies.hold_values(VALUES_MAX, publisher(last)).unwrap()).into();

        assert!(is_busy(&bodies.hold_values(1, publisher(3))));
        held.pop();
        assert!(is_busy(&bodies.hold_values(1, publisher(1))));
        assert!(bodies.hold_values(VALUES_MAX, stranger(3)).is_ok());
    }

    #[tokio::test]
    async fn what_is_too_long_is_refused_when_it_is_announced_or_when_it_comes() {
        let bodies = Bodies::new(LONGEST);
        let (_kept, announced) = dripping(Some(LONGEST + 1));
        assert!(matches!(bodies.receive(announced, publisher(1)).await, Err(NotServed::TooLong)));

        let (sender, chunked) = dripping(None);
        for length in [LONGEST, 1] {
            sender.send(vec![7; length].into()).await.unwrap();
        }
        assert!(matches!(bodies.receive(chunked, publisher(1)).await, Err(NotServed::TooLong)));
        assert_eq!(bodies.units.all.free(), BODIES_MAX * LONGEST / UNIT_BYTES);
    }
}
