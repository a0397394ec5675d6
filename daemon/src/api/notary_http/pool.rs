//! Something scarce that strangers take of (connections, handshakes, bytes): there is a bound for all, and one address never
//! holds all of it.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, PoisonError, Weak};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// From how many addresses on those that hold nothing any more are forgotten.
const ADDRESSES_KEPT: usize = 1024;

/// So many units, and of each address those that it may still take.
#[derive(Debug)]
pub(super) struct Pool {
    free: Arc<Semaphore>,
    each_max: usize,
    shares: Mutex<Shares>,
}

/// There only as long as somebody of the address holds something.
#[derive(Debug)]
struct Shares {
    of: HashMap<IpAddr, Weak<Semaphore>>,
    forget_at: usize,
}

/// What somebody holds, of the whole and of each share that it counts in: given back when it is dropped.
#[derive(Debug)]
pub(super) struct Held(Vec<OwnedSemaphorePermit>);

impl Pool {
    /// So many units, of which one address holds at most `each_max`.
    pub(super) fn new(units: usize, each_max: usize) -> Self {
        let shares = Mutex::new(Shares { of: HashMap::new(), forget_at: ADDRESSES_KEPT });
        Self { free: Arc::new(Semaphore::new(units)), each_max, shares }
    }

    /// So many places, of which one address has three quarters at most.
    pub(super) fn of_places(places: usize) -> Self {
        Self::new(places, places.saturating_sub(places / 4))
    }

    /// A place, if there is one for this address.
    pub(super) fn place(&self, address: IpAddr) -> Option<Held> {
        let mut held = self.open(address)?;
        held.grow_to(1)?;
        Some(held)
    }

    /// Holds nothing yet.
    pub(super) fn open(&self, address: IpAddr) -> Option<Held> {
        Held(Vec::new()).within(&self.free)?.within(&self.share(network(address)))
    }

    fn share(&self, address: IpAddr) -> Arc<Semaphore> {
        let mut shares = self.shares.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(share) = shares.of.get(&address).and_then(Weak::upgrade) {
            return share;
        }
        if shares.of.len() >= shares.forget_at {
            shares.of.retain(|_, share| share.strong_count() > 0);
            // What is left is bounded by those that hold something; each look at all of them is paid by as many that come.
            shares.forget_at = ADDRESSES_KEPT.max(shares.of.len().saturating_mul(2));
        }
        let share = Arc::new(Semaphore::new(self.each_max));
        shares.of.insert(address, Arc::downgrade(&share));
        share
    }

    #[cfg(test)]
    pub(super) fn free(&self) -> usize {
        self.free.available_permits()
    }
}

impl Held {
    /// The same, which counts in another share, too, from now on.
    pub(super) fn within(mut self, share: &Arc<Semaphore>) -> Option<Self> {
        let held = self.0.first().map_or(0, OwnedSemaphorePermit::num_permits);
        self.0.push(take(share, held)?);
        Some(self)
    }

    /// Holds so many units, if there are as many in each share; fewer than it holds already change nothing.
    pub(super) fn grow_to(&mut self, units: usize) -> Option<()> {
        for part in &mut self.0 {
            let more = take(part.semaphore(), units.saturating_sub(part.num_permits()))?;
            part.merge(more);
        }
        Some(())
    }

    /// What has to be kept for as long as it is held.
    pub(super) fn into_permits(self) -> Vec<OwnedSemaphorePermit> {
        self.0
    }
}

fn take(share: &Arc<Semaphore>, units: usize) -> Option<OwnedSemaphorePermit> {
    Arc::clone(share).try_acquire_many_owned(u32::try_from(units).ok()?).ok()
}

/// Whoever has one address of IPv6 has the other 2⁶⁴ of its network, too.
pub(super) fn network(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V4(_) => address,
        IpAddr::V6(long) => IpAddr::V6(Ipv6Addr::from_bits(long.to_bits() & (u128::MAX << 64))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn one_address_cannot_take_every_place_and_gives_its_own_back() {
        let pool = Pool::of_places(8);
        let greedy: Vec<Held> = (0..8).map_while(|_| pool.place(of("192.0.2.1"))).collect();

        assert_eq!((greedy.len(), pool.free()), (6, 2));
        let others = [pool.place(of("192.0.2.2")), pool.place(of("192.0.2.3"))];
        assert!(others.iter().all(Option::is_some) && pool.place(of("192.0.2.2")).is_none());
        drop((greedy, others));
        assert_eq!(pool.free(), 8);
        assert!(pool.place(of("192.0.2.1")).is_some());
    }

    #[test]
    fn a_network_of_ipv6_counts_as_one_address() {
        let pool = Pool::of_places(2);
        let _both = (pool.place(of("2001:db8::1")).unwrap(), pool.place(of("2001:db8::2")).unwrap());
        assert!(pool.place(of("2001:db8::3")).is_none());

        let pool = Pool::new(3, 2);
        let _both = (pool.place(of("2001:db8::1")).unwrap(), pool.place(of("2001:db8::2")).unwrap());
        assert!(pool.place(of("2001:db8::3")).is_none());
        assert!(pool.place(of("2001:db8:0:1::3")).is_some());
    }

    #[test]
    fn what_is_held_counts_in_every_share() {
        let (pool, share) = (Pool::new(10, 6), Arc::new(Semaphore::new(4)));
        let mut narrow = pool.open(of("192.0.2.1")).unwrap().within(&share).unwrap();
        let mut wide = pool.open(of("192.0.2.1")).unwrap();

        assert!(narrow.grow_to(4).is_some() && narrow.grow_to(5).is_none() && narrow.grow_to(3).is_some());
        drop(narrow);
        assert_eq!((pool.free(), share.available_permits()), (10, 4));
        assert!(wide.grow_to(6).is_some() && wide.grow_to(7).is_none());
        assert!(pool.place(of("192.0.2.1")).is_none());
        drop(wide);
        assert!(pool.place(of("192.0.2.1")).is_some());
    }

    #[test]
    fn addresses_that_hold_nothing_are_forgotten() {
        let pool = Pool::of_places(4);
        let kept = pool.place(of("192.0.2.1")).unwrap();
        for number in 0..4 * u32::try_from(ADDRESSES_KEPT).unwrap() {
            drop(pool.place(IpAddr::V4(number.into())).unwrap());
        }

        let shares = pool.shares.lock().unwrap();
        assert!(shares.of.len() <= ADDRESSES_KEPT && shares.of.contains_key(&of("192.0.2.1")), "{}", shares.of.len());
        drop(shares);
        drop(kept);
    }
}
