//! Who waits for a turn at a repository, and behind whom.
//!
//! One at a time changes a repository. Of all who wait one of each kind stands for the turn itself, and for its kind one
//! of each name or address: an owner waits for one stranger at most, however many there are. Each kind has places of its
//! own, and no name or address has all of them, so that nobody keeps others out by coming in a crowd.

use std::mem::{Discriminant, discriminant};
use std::net::IpAddr;
use std::time::Duration;

use tokio::sync::OwnedMutexGuard;
use trust::format::tuf::Gun;
use trust::{Fault, FaultKind, Principal};

use crate::turns::Turns;

/// How many of one kind have or await their turn at one repository; more are busy.
const KIND_MAX: usize = 64;
/// How many of them have one name.
const NAME_MAX: usize = 32;
/// How many of them come from one address without a name.
const ADDRESS_MAX: usize = 16;

/// Who waits. Each variant is a kind, and what it holds tells those of it apart.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum Waiter {
    /// Somebody with a name, at the Notary door or its signer's.
    Named(Principal),
    /// Somebody at the daemon's own door, for a repository whose keys it holds.
    Owner(Principal),
    /// Whoever reads what has expired: it is signed anew for all of them by the first.
    Reader,
    /// Somebody without a name, from this address; from this machine where it is none.
    Stranger(Option<IpAddr>),
    /// The daemon by itself, for what it does from time to time.
    Upkeep,
}

impl Waiter {
    /// How many places those have who cannot be told apart from it.
    const fn places_max(&self) -> usize {
        match self {
            Self::Named(_) | Self::Owner(_) => NAME_MAX,
            Self::Stranger(_) => ADDRESS_MAX,
            Self::Reader | Self::Upkeep => KIND_MAX,
        }
    }
}

/// The locks of those who wait.
#[derive(Debug, Default)]
pub(super) struct Waiting {
    alike: Turns<(Gun, Waiter)>,
    kinds: Turns<(Gun, Discriminant<Waiter>)>,
    all: Turns<Gun>,
}

/// The right to change a repository, until it is dropped.
#[must_use]
pub(crate) struct Turn {
    // The others first: whoever is alike stands behind them anew.
    _all: OwnedMutexGuard<()>,
    _kind: OwnedMutexGuard<()>,
    _alike: OwnedMutexGuard<()>,
}

impl Waiting {
    /// Waits, at most so long, until nobody else has the turn.
    ///
    /// # Errors
    /// [`FaultKind::Busy`] where as many of the kind, the name or the address wait as may; [`FaultKind::Late`].
    pub(super) async fn turn(&self, gun: &Gun, waiter: &Waiter, patience: Duration) -> Result<Turn, Fault> {
        let busy = || Fault::new(FaultKind::Busy, "too much at once");
        // Places are taken in all three before the first is waited for: they are counted by who has the locks in hand.
        let alike = self.alike.lock_of(&(gun.clone(), waiter.clone()), waiter.places_max()).ok_or_else(busy)?;
        let kind = self.kinds.lock_of(&(gun.clone(), discriminant(waiter)), KIND_MAX).ok_or_else(busy)?;
        let all = self.all.lock_of(gun, usize::MAX).ok_or_else(busy)?;
        let turn = async {
            let alike = alike.lock_owned().await;
            let kind = kind.lock_owned().await;
            Turn { _all: all.lock_owned().await, _kind: kind, _alike: alike }
        };
        let late = |_| Fault::new(FaultKind::Late, "the time for it was over before its turn came");
        tokio::time::timeout(patience, turn).await.map_err(late)
    }
}

#[cfg(test)]
mod tests {
    use std::pin::Pin;
    use std::task::Poll;

    use super::*;

    const LONG: Duration = Duration::from_secs(3600);

    type Coming<'a> = Pin<Box<dyn Future<Output = Result<Turn, Fault>> + 'a>>;

    fn named(uid: u32) -> Waiter {
        Waiter::Named(Principal::LocalUid(uid))
    }

    fn owner(uid: u32) -> Waiter {
        Waiter::Owner(Principal::LocalUid(uid))
    }

    fn stranger(last: u8) -> Waiter {
        Waiter::Stranger(Some([192, 0, 2, last].into()))
    }

    fn gun() -> Gun {
        "registry.example.com/team/app".parse().unwrap()
    }

    async fn ended<'a>(coming: &mut Coming<'a>) -> Option<Result<Turn, Fault>> {
        std::future::poll_fn(|context| {
            Poll::Ready(match coming.as_mut().poll(context) {
                Poll::Ready(ended) => Some(ended),
                Poll::Pending => None,
            })
        })
        .await
    }

    /// Those of this kind who find a place, each of whom waits.
    async fn crowd<'a>(waiting: &'a Waiting, gun: &'a Gun, waiter: &'a Waiter) -> Vec<Coming<'a>> {
        let mut all: Vec<Coming<'a>> = Vec::new();
        loop {
            let mut coming: Coming<'a> = Box::pin(waiting.turn(gun, waiter, LONG));
            match ended(&mut coming).await {
                None => all.push(coming),
                Some(Err(fault)) if fault.kind() == FaultKind::Busy => return all,
                Some(other) => panic!("{:?}", other.map(drop)),
            }
        }
    }

    #[tokio::test]
    async fn no_address_name_or_kind_has_the_places_of_another() {
        let (waiting, gun) = (Waiting::default(), gun());
        let turn = waiting.turn(&gun, &Waiter::Upkeep, LONG).await.unwrap();
        let waiters = [
            (stranger(1), 16),
            (stranger(2), 16),
            (stranger(3), 16),
            (Waiter::Stranger(None), 16),
            // The kind is full.
            (stranger(4), 0),
            (named(1), 32),
            (named(2), 32),
            (named(3), 0),
            // One name at another door is of another kind.
            (owner(1), 32),
            (owner(2), 32),
            (Waiter::Reader, 64),
            // One of them has the turn.
            (Waiter::Upkeep, 63),
        ];
        let mut crowds = Vec::new();
        for (waiter, places) in &waiters {
            crowds.push(crowd(&waiting, &gun, waiter).await);
            assert_eq!(crowds.last().unwrap().len(), *places, "{waiter:?}");
        }

        // Elsewhere there is room for all, and here for as many as go.
        let other = "registry.example.com/team/other".parse().unwrap();
        drop(waiting.turn(&other, &stranger(1), LONG).await.unwrap());
        crowds[0].pop();
        assert_eq!(crowd(&waiting, &gun, &stranger(4)).await.len(), 1);
        drop((crowds, turn));
        drop(waiting.turn(&gun, &stranger(4), LONG).await.unwrap());
    }

    #[tokio::test]
    async fn an_owner_waits_for_one_of_each_other_kind_and_a_stranger_for_one_of_each_other_address() {
        let (waiting, gun) = (Waiting::default(), gun());
        let first = waiting.turn(&gun, &stranger(1), LONG).await.unwrap();
        let (here, there, other, mine) = (stranger(1), stranger(2), named(1), owner(1));
        let mut here = crowd(&waiting, &gun, &here).await;
        let mut others = crowd(&waiting, &gun, &other).await;
        let mut there: Coming<'_> = Box::pin(waiting.turn(&gun, &there, LONG));
        assert!(ended(&mut there).await.is_none());
        let mut mine: Coming<'_> = Box::pin(waiting.turn(&gun, &mine, LONG));
        assert!(ended(&mut mine).await.is_none());

        // Of 15 strangers and 32 with a name one has the turn before.
        drop(first);
        let named = ended(&mut others[0]).await.unwrap().unwrap();
        assert!(ended(&mut there).await.is_none() && ended(&mut here[0]).await.is_none());
        drop(named);
        assert!(ended(&mut others[1]).await.is_none());
        let owner = ended(&mut mine).await.unwrap().unwrap();
        drop(owner);

        // Whoever came last goes before those of the address that has had its turn.
        let turn = ended(&mut there).await.unwrap().unwrap();
        assert!(ended(&mut here[0]).await.is_none() && ended(&mut others[1]).await.is_none());
        drop(turn);
        drop(ended(&mut others[1]).await.unwrap().unwrap());
        drop(ended(&mut here[0]).await.unwrap().unwrap());
    }

    #[tokio::test]
    async fn whoever_has_waited_long_enough_gives_the_place_back() {
        let (waiting, gun) = (Waiting::default(), gun());
        let turn = waiting.turn(&gun, &Waiter::Upkeep, LONG).await.unwrap();

        let late = waiting.turn(&gun, &stranger(1), Duration::ZERO).await;

        assert_eq!(late.err().map(|fault| fault.kind()), Some(FaultKind::Late));
        assert_eq!(crowd(&waiting, &gun, &stranger(1)).await.len(), 16);
        drop(turn);
        drop(waiting.turn(&gun, &stranger(1), Duration::ZERO).await.unwrap());
    }
}
