//! Bodies that are being received, and what is read of them: all together have a bound, and each holds of it what it has
//! sent, and what it says.
//!
//! What is only announced holds nothing: whoever announces much and sends little keeps nobody out.

use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt as _;
use hyper::body::Body;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::refusal::NotServed;

/// How many of the longest bodies may be held at once.
const BODIES_MAX: usize = 4;
/// Bodies are counted in units of so many bytes.
const UNIT_BYTES: usize = 1024;

/// How many values of JSON the files of one body may hold together: parsed, each takes up to some 300 bytes.
pub(super) const VALUES_MAX: u32 = 256 * 1024;

/// Those of one door. Cheap to clone.
#[derive(Debug, Clone)]
pub(super) struct Bodies {
    bytes_max: usize,
    /// What none of them holds, in units.
    free: Arc<Semaphore>,
    /// How many values more may be read of them.
    values: Arc<Semaphore>,
    /// Places for long ones that are being read.
    readers: Arc<Semaphore>,
}

impl Bodies {
    /// With room for a few that have `bytes_max` each.
    pub(super) fn new(bytes_max: usize) -> Self {
        let units = bytes_max.div_ceil(UNIT_BYTES).saturating_mul(BODIES_MAX);
        let values = usize::try_from(VALUES_MAX).unwrap_or(usize::MAX).saturating_mul(BODIES_MAX);
        let [free, values, readers] = [units, values, BODIES_MAX].map(|permits| Arc::new(Semaphore::new(permits)));
        Self { bytes_max, free, values, readers }
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
    pub(super) fn hold_values(&self, values: u32) -> Result<OwnedSemaphorePermit, NotServed> {
        Arc::clone(&self.values).try_acquire_many_owned(values).map_err(|_| NotServed::Busy)
    }

    /// A whole body, and its place among those that are held.
    ///
    /// # Errors
    /// [`NotServed::TooLong`] of a body that is, or is going to be; [`NotServed::Busy`] where the others leave no room
    /// for the next bytes; [`NotServed::MalformedUpload`] where it breaks off.
    pub(super) async fn receive(
        &self,
        mut body: impl Body<Data = Bytes> + Unpin,
    ) -> Result<(Bytes, OwnedSemaphorePermit), NotServed> {
        let announced = body.size_hint().lower();
        if usize::try_from(announced).map_or(true, |length| length > self.bytes_max) {
            return Err(NotServed::TooLong);
        }
        let mut held = self.take(0)?;
        let mut whole = BytesMut::new();
        while let Some(frame) = body.frame().await {
            let Ok(frame) = frame else { return Err(NotServed::MalformedUpload) };
            let Some(data) = frame.data_ref() else { continue };
            let length = whole.len().saturating_add(data.len());
            if length > self.bytes_max {
                return Err(NotServed::TooLong);
            }
            held.merge(self.take(length.div_ceil(UNIT_BYTES).saturating_sub(held.num_permits()))?);
            whole.extend_from_slice(data);
        }
        Ok((whole.freeze(), held))
    }

    fn take(&self, units: usize) -> Result<OwnedSemaphorePermit, NotServed> {
        let units = u32::try_from(units).map_err(|_| NotServed::TooLong)?;
        Arc::clone(&self.free).try_acquire_many_owned(units).map_err(|_| NotServed::Busy)
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
    async fn sent(bodies: &Bodies, length: usize) -> Result<(Bytes, OwnedSemaphorePermit), NotServed> {
        let (sender, body) = dripping(Some(length));
        sender.send(vec![7; length].into()).await.unwrap();
        drop(sender);
        bodies.receive(body).await
    }

    #[tokio::test]
    async fn those_who_announce_much_and_send_little_keep_nobody_out() {
        let bodies = Arc::new(Bodies::new(LONGEST));
        let mut slow = Vec::new();
        for announced in [Some(LONGEST), None].into_iter().cycle().take(2 * BODIES_MAX) {
            let (sender, body) = dripping(announced);
            sender.send(Bytes::from_static(b"a")).await.unwrap();
            let bodies = Arc::clone(&bodies);
            let task = tokio::spawn(async move { bodies.receive(body).await });
            // It has taken what was sent, and waits for more.
            while sender.capacity() < sender.max_capacity() && !task.is_finished() {
                tokio::task::yield_now().await;
            }
            slow.push((sender, task));
        }

        let (whole, held) = sent(&bodies, LONGEST).await.unwrap();
        assert_eq!((whole.len(), held.num_permits()), (LONGEST, LONGEST / UNIT_BYTES));
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
        for _ in 0..BODIES_MAX {
            held.push(sent(&bodies, LONGEST).await.unwrap());
        }

        assert!(matches!(sent(&bodies, 1).await, Err(NotServed::Busy)));
        held.pop();
        assert!(sent(&bodies, LONGEST).await.is_ok());
    }

    #[test]
    fn what_is_read_of_all_together_has_a_bound() {
        let bodies = Bodies::new(LONGEST);
        let mut held: Vec<_> = (0..BODIES_MAX).map(|_| bodies.hold_values(VALUES_MAX).unwrap()).collect();

        assert!(matches!(bodies.hold_values(1), Err(NotServed::Busy)));
        held.pop();
        assert!(bodies.hold_values(VALUES_MAX).is_ok());
    }

    #[tokio::test]
    async fn what_is_too_long_is_refused_when_it_is_announced_or_when_it_comes() {
        let bodies = Bodies::new(LONGEST);
        let (_kept, announced) = dripping(Some(LONGEST + 1));
        assert!(matches!(bodies.receive(announced).await, Err(NotServed::TooLong)));

        let (sender, chunked) = dripping(None);
        for length in [LONGEST, 1] {
            sender.send(vec![7; length].into()).await.unwrap();
        }
        assert!(matches!(bodies.receive(chunked).await, Err(NotServed::TooLong)));
        assert_eq!(bodies.free.available_permits(), BODIES_MAX * LONGEST / UNIT_BYTES);
    }
}
